//! What may stand in a pipeline file, as data.
//!
//! One [`Setting`] describes one node: what it is called, its arguments, properties and children, each
//! with type, range, default and a sentence of documentation. Decoding, fingerprints, messages and the
//! reference all come from these tables, so that a setting is described in one place only.

/// How often a node may stand in its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Exactly once.
    Once,
    /// Not at all or once.
    Optional,
    /// Any number of times.
    Many,
}

/// Whether a setting can change what a stage makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It can, so it is part of the fingerprint.
    Result,
    /// It cannot: a name of something whose content is fingerprinted instead, or a matter of how, not what.
    None,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any string.
    Text,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A number within bounds, both included.
    Number(f64, f64),
    /// A number above zero, up to a bound.
    Positive(f64),
    /// A part of a whole, from 0 to 1.
    Share,
    /// An amount of US dollars.
    Money,
    /// One of another kind, or `"auto"`: whoever does it chooses.
    OrAuto(&'static Self),
    /// `#true` or `#false`.
    Flag,
    /// A minijinja template over the fields of a row.
    Template,
    /// The name of a stage of one of these kinds.
    Stage(&'static [&'static str]),
    /// The name of a stage of one of these kinds, or of a model of the provider.
    Model(&'static [&'static str]),
    /// The name of a provider: a built-in one, or one declared with `provider`.
    Provider,
    /// A file, folder or glob of the workspace that is read.
    Input,
    /// A file or folder of the workspace that is written.
    Output,
    /// A file of the workspace that tells others of a result, and that no stage reads.
    Manifest,
    /// A folder below the workspace, or below the folder that a command works in.
    Folder,
    /// A time, with its unit: `"90m"`. Decoded to milliseconds.
    Duration,
    /// An amount of data, with its unit: `"4GiB"`. Decoded to bytes.
    Size,
    /// The name of an environment variable that is passed on, and is part of the fingerprint by its value.
    Variable,
    /// A secret: `(secret)"NAME"` or `(env)"NAME"`, looked up when it is used and never stored.
    Secret,
    /// Whatever scalar is written (a parameter).
    Any,
}

/// What holds where a value is not written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// It must be written.
    Required,
    /// Nothing: the stage does without.
    Absent,
    /// This string.
    Text(&'static str),
    /// This whole number.
    Integer(i64),
    /// This number.
    Number(f64),
    /// This flag.
    Flag(bool),
}

/// One argument or property of a node.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its name: the property's key, or what the argument is called in messages.
    pub name: &'static str,
    /// One sentence on what it does.
    pub doc: &'static str,
    /// What it must be.
    pub kind: Kind,
    /// What holds where it is not written.
    pub fallback: Fallback,
    /// Whether it can change the result.
    pub effect: Effect,
}

impl Slot {
    /// A required slot.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        let effect = match kind {
            Kind::Stage(_) | Kind::Model(_) | Kind::Provider | Kind::Input | Kind::Secret | Kind::Variable => Effect::None,
            _ => Effect::Result,
        };
        Self { name, doc, kind, fallback: Fallback::Required, effect }
    }

    /// The same slot with a default.
    #[must_use]
    pub const fn or(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// The same slot, kept out of the fingerprint.
    #[must_use]
    pub const fn without_effect(mut self) -> Self {
        self.effect = Effect::None;
        self
    }
}

/// One node of the language.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The node's name.
    pub name: &'static str,
    /// One sentence on what it does.
    pub doc: &'static str,
    /// How often it may stand in its parent.
    pub repeat: Repeat,
    /// Its arguments, in order.
    pub arguments: &'static [Slot],
    /// What further arguments are, where it takes any number of them.
    pub rest: Option<&'static Slot>,
    /// Its properties.
    pub properties: &'static [Slot],
    /// What any further property is, where its name is the user's own.
    pub open_properties: Option<&'static Slot>,
    /// The nodes that may stand inside it.
    pub children: fn() -> Vec<&'static Self>,
    /// What any further node inside it is, where its name is the user's own.
    pub open_children: Option<&'static Self>,
    /// The node inside it that says as how many instances of its own a stage stands.
    pub spread: Option<&'static str>,
    /// Whether its place among its ordered siblings means something (an operator).
    pub ordered: bool,
    /// Whether it can change the result.
    pub effect: Effect,
    /// The version of what it does; a change of behaviour raises it, so that results made before are made again.
    pub version: u32,
}

const fn no_children() -> Vec<&'static Setting> {
    Vec::new()
}

impl Setting {
    /// A node without arguments that may be left out.
    #[must_use]
    pub const fn new(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            repeat: Repeat::Optional,
            arguments: &[],
            rest: None,
            properties: &[],
            open_properties: None,
            children: no_children,
            open_children: None,
            spread: None,
            ordered: false,
            effect: Effect::Result,
            version: 0,
        }
    }

    /// The same node, which must stand exactly once.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.repeat = Repeat::Once;
        self
    }

    /// The same node, which may stand any number of times.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.repeat = Repeat::Many;
        self
    }

    /// The same node with arguments.
    #[must_use]
    pub const fn arguments(mut self, slots: &'static [Slot]) -> Self {
        self.arguments = slots;
        self
    }

    /// The same node, which takes any number of further arguments.
    #[must_use]
    pub const fn rest(mut self, slot: &'static Slot) -> Self {
        self.rest = Some(slot);
        self
    }

    /// The same node with properties.
    #[must_use]
    pub const fn properties(mut self, slots: &'static [Slot]) -> Self {
        self.properties = slots;
        self
    }

    /// The same node with children.
    #[must_use]
    pub const fn children(mut self, children: fn() -> Vec<&'static Self>) -> Self {
        self.children = children;
        self
    }

    /// The same node, whose properties have names of the user's own.
    #[must_use]
    pub const fn open_properties(mut self, slot: &'static Slot) -> Self {
        self.open_properties = Some(slot);
        self
    }

    /// The same node, which also holds nodes with names of the user's own.
    #[must_use]
    pub const fn open_children(mut self, setting: &'static Self) -> Self {
        self.open_children = Some(setting);
        self
    }

    /// The same stage, which stands as so many instances as a node inside it says, one for each place.
    #[must_use]
    pub const fn spread(mut self, by: &'static str) -> Self {
        self.spread = Some(by);
        self
    }

    /// The same node as an operator of this version: repeatable, and its place in the order counts.
    #[must_use]
    pub const fn operator(mut self, version: u32) -> Self {
        self.repeat = Repeat::Many;
        self.ordered = true;
        self.version = version;
        self
    }

    /// The same node, kept out of the fingerprint.
    #[must_use]
    pub const fn without_effect(mut self) -> Self {
        self.effect = Effect::None;
        self
    }

    /// The slot of this name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&'static Slot> {
        let mut slots = self.arguments.iter().chain(self.properties);
        slots.find(|slot| slot.name == name)
    }
}
