use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use kdl::{KdlDocument, KdlNode};

use super::budget::{BUDGET, Budget};
use super::decode::Decoder;
use super::error::{ConfigError, MatrixError, ValueError, with_article};
use super::expand::instances;
use super::file::{PipelineFile, Span, Spanned};
use super::include::{INCLUDE, follow};
use super::language::{DEFAULTS, Language, PARAMS, PIPELINE, PROFILE};
use super::lint;
use super::matrix::{Axis, MATRIX, PLACE, Values, described};
use super::name::StageName;
use super::nearest::offer;
use super::params::{self, Overrides};
use super::profile::{Overlays, in_force};
use super::scope::{Scope, Seen};
use super::table::{Kind, Slot};
use super::value::{Params, Value};
use super::wanted::{BadBrackets, HOW, Wanted, stem};
use super::written::Written;
use super::{Block, parse};

/// A stage as declared: for one with a matrix, one of its instances.
#[derive(Clone, Debug)]
pub struct StageDecl {
    /// Its name.
    pub name: StageName,
    /// Where the name is written.
    pub name_span: Span,
    /// Its kind (`collect`, `train`, ...).
    pub kind: &'static str,
    /// Its settings; the name is among them as an argument.
    pub block: Block,
    /// What it stands for where it is an instance: values by axis.
    pub values: Values,
}

/// A place where one stage names another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The stage that names the other, by its place in [`Pipeline::stages`].
    pub from: usize,
    /// The stage that is named.
    pub to: usize,
    /// Where it is named.
    pub span: Span,
}

/// A pipeline as decoded: every value checked by its table, references resolved.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The text that it came from.
    pub file: PipelineFile,
    /// The workspace that its paths are relative to.
    pub root: PathBuf,
    /// The profile in force.
    pub profile: Option<String>,
    /// Declared providers.
    pub providers: Vec<Block>,
    /// What a run may spend.
    pub budget: Budget,
    /// The stages in the order written. Those with mistakes in them are left out.
    pub stages: Vec<StageDecl>,
    /// Which stage names which.
    pub references: Vec<Reference>,
    /// The kinds of all declared stages by name, those with mistakes in them too.
    pub declared: BTreeMap<String, &'static str>,
    /// The top-level nodes that are no stages, in the order in which they count.
    pub shared: Vec<Span>,
    /// What its meaning depends on besides its text.
    pub seen: Seen,
    /// What is most likely not meant.
    pub warnings: Vec<ConfigError>,
    places: HashMap<String, usize>,
    /// The stages whose matrix is wrong, so that nobody knows what instances they have.
    broken: BTreeSet<String>,
}

/// Whether all of a pipeline is decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    Part,
}

impl Pipeline {
    /// Decodes a pipeline, with the files that it includes. What could be decoded comes back beside all that is wrong.
    #[must_use]
    pub fn decode(file: PipelineFile, language: Language, overrides: &Overrides) -> (PipelineFile, Option<Self>, Vec<ConfigError>) {
        let (file, nodes) = follow(file);
        match nodes {
            Ok(nodes) => {
                let (pipeline, errors) = Self::decode_nodes(file.clone(), &nodes, language, overrides, Extent::Whole);
                (file, Some(pipeline), errors)
            }
            Err((nodes, mut errors)) => {
                // What is in the files that cannot be had may be what others speak of.
                let (_, found) = Self::decode_nodes(file.clone(), &nodes, language, overrides, Extent::Whole);
                errors.extend(found.into_iter().filter(|error| !may_be_elsewhere(error)));
                (file, None, errors)
            }
        }
    }

    /// Decodes some of the top-level nodes of a text that is known to be right, as if the others were not there.
    #[must_use]
    pub fn decode_part(file: PipelineFile, nodes: &[Span], language: Language, overrides: &Overrides) -> (Option<Self>, Vec<ConfigError>) {
        match parse::excerpt(&file.text, nodes) {
            Ok(nodes) => {
                let (pipeline, errors) = Self::decode_nodes(file, &nodes, language, overrides, Extent::Part);
                (Some(pipeline), errors)
            }
            Err(errors) => (None, errors),
        }
    }

    fn decode_nodes(file: PipelineFile, nodes: &[KdlNode], language: Language, overrides: &Overrides, extent: Extent) -> (Self, Vec<ConfigError>) {
        let (mut errors, mut seen) = (Vec::new(), Seen::default());
        let root = PipelineFile::workspace_of(&file.path);
        let text = file.text.clone();
        let profile = in_force(nodes, overrides, &mut errors);
        let (params, order) = params::collect(nodes, profile, overrides, (&text, &root), &mut seen, &mut errors);
        let declared = nodes.iter().filter(|node| node.name().value() == language.provider.name);
        let declared = declared.filter_map(|node| node.get(0).and_then(|name| name.as_string()).map(str::to_owned));
        let providers: Vec<String> = language.providers.iter().map(|&name| name.to_owned()).chain(declared).collect();
        let no_axes = Params::new();
        let scope = Scope { text: &text, root: &root, params: &params, axes: &no_axes };
        let mut decoder = Decoder { scope, providers: &providers, errors, seen, is_partial: false, axes: BTreeSet::new(), own: None };
        let overlays = Overlays::of(nodes, profile);
        if extent == Extent::Whole {
            decoder.axes = axes_in(nodes);
            Overlays::check(nodes, profile, &order, language, &mut decoder);
        }
        let mut pipeline = Self {
            name: String::new(),
            profile: overrides.profile.clone(),
            providers: Vec::new(),
            budget: Budget::default(),
            stages: Vec::new(),
            references: Vec::new(),
            declared: BTreeMap::new(),
            shared: Vec::new(),
            seen: Seen::default(),
            warnings: Vec::new(),
            places: HashMap::new(),
            broken: BTreeSet::new(),
            root: root.clone(),
            file,
        };
        let written = pipeline.take_nodes(nodes, &overlays, language, &mut decoder);
        pipeline.take_stages(&written, &mut decoder);
        let Decoder { mut errors, seen, axes, .. } = decoder;
        pipeline.seen = seen;
        pipeline.resolve(&mut errors);
        // A parameter whose value cannot be had is no parameter that is missing as well, and neither is an axis of a wrong matrix.
        let is_told = |name: &String| order.contains(name) && !params.contains_key(name) || !pipeline.broken.is_empty() && axes.contains(name);
        errors.retain(|error| !matches!(error, ConfigError::Value(ValueError::UnknownParam { name, .. }) if is_told(name)));
        if errors.is_empty() && extent == Extent::Whole {
            let axes: Vec<&Axis> = written.iter().flat_map(|stage| &stage.axes).collect();
            pipeline.warnings = lint::lint(&pipeline.file.text, &pipeline.seen, nodes, &params, &axes);
        }
        (pipeline, errors)
    }

    fn take_nodes(&mut self, nodes: &[KdlNode], overlays: &Overlays<'_>, language: Language, decoder: &mut Decoder<'_>) -> Vec<Written> {
        let (mut named, mut budgeted): (Option<Span>, Option<Span>) = (None, None);
        let mut stages = Vec::new();
        let mut names: HashMap<String, Span> = HashMap::new();
        for node in nodes {
            let at = node.name().span();
            let mut again = |first: Option<Span>, name: &str| {
                let repeated = first.map(|first| ConfigError::Repeated { name: name.into(), place: "the pipeline".into(), first: first.into(), at });
                let is_again = repeated.is_some();
                decoder.errors.extend(repeated);
                is_again
            };
            let kind = node.name().value();
            if let Some(setting) = language.stage(kind) {
                let node = overlays.settled(node, setting);
                stages.extend(Written::of(node.into_owned(), setting, decoder, &mut names));
                continue;
            }
            self.shared.push(node.span().into());
            match kind {
                _ if kind == PARAMS.name => {
                    if let Some(entry) = node.entries().first() {
                        decoder.errors.push(ConfigError::SurplusArgument { node: kind.into(), takes: "no value".into(), at: entry.span() });
                    }
                }
                // Taken before.
                _ if kind == PROFILE.name || kind == DEFAULTS.name => {}
                _ if kind == INCLUDE.name => drop(decoder.block(node, &INCLUDE)),
                _ if kind == PIPELINE.name => {
                    if !again(named.replace(at.into()), kind)
                        && let Some(block) = decoder.block(node, &PIPELINE)
                    {
                        block.text("name").clone_into(&mut self.name);
                    }
                }
                _ if kind == BUDGET.name => {
                    if !again(budgeted.replace(at.into()), kind) {
                        self.take_budget(node, decoder);
                    }
                }
                _ if kind == language.provider.name => self.providers.extend(decoder.block(&overlays.settled(node, language.provider), language.provider)),
                _ => decoder.errors.push(ConfigError::UnknownNode {
                    name: kind.into(),
                    place: "the file".into(),
                    at,
                    help: offer(kind, language.nodes().iter().map(|node| node.name), ""),
                }),
            }
        }
        overlays.over(BUDGET.name).for_each(|node| self.take_budget(node, decoder));
        let first = nodes.first().map_or(Span::default(), |node| Span::from(node.name().span()));
        // What is wrong with the very first node, or with no place in particular, is most likely why.
        let is_why = |error: &ConfigError| [0, first.start].contains(&error.offset()) && !matches!(error, ConfigError::Value(ValueError::BadSet { .. }));
        if named.is_none() && !decoder.errors.iter().any(is_why) {
            decoder.errors.push(ConfigError::UnnamedPipeline { at: first.into() });
        }
        stages
    }

    fn take_budget(&mut self, node: &KdlNode, decoder: &mut Decoder<'_>) {
        match decoder.block(node, &BUDGET).map(|block| Budget::of(&block)) {
            Some(Ok(budget)) => self.budget = Budget { usd: budget.usd.or(self.budget.usd), tokens: budget.tokens.or(self.budget.tokens) },
            Some(Err(error)) => decoder.errors.push(error),
            None => {}
        }
    }

    fn take_stages(&mut self, written: &[Written], decoder: &mut Decoder<'_>) {
        let all = instances(written, decoder.scope, &mut decoder.errors);
        self.broken = written.iter().filter(|stage| stage.is_broken).map(|stage| stage.name.clone()).collect();
        let mut names: HashMap<String, Span> = HashMap::new();
        for (stage, instances) in written.iter().zip(all) {
            // A stage of which nothing came is no stage that is missing as well.
            self.declared.insert(stage.name.clone(), stage.setting.name);
            for instance in instances {
                if let Some(first) = names.insert(instance.name.clone(), stage.name_span) {
                    let (name, first, at) = (instance.name, first.into(), stage.name_span.into());
                    decoder.errors.push(ConfigError::DuplicateStage { name, first, at });
                    continue;
                }
                self.declared.insert(instance.name.clone(), stage.setting.name);
                let Some(mut block) = decoder.instance(&stage.node, stage.setting, &instance.values, &instance.own) else {
                    continue;
                };
                instance.bind(&mut block);
                let name = StageName::of_instance(instance.name);
                self.stages.push(StageDecl { name, name_span: stage.name_span, kind: stage.setting.name, block, values: instance.values });
            }
        }
        self.places = self.stages.iter().enumerate().map(|(place, stage)| (stage.name.to_string(), place)).collect();
    }

    fn resolve(&mut self, errors: &mut Vec<ConfigError>) {
        let mut references = Vec::new();
        for (from, stage) in self.stages.iter().enumerate() {
            for_each_slot(&stage.block, &mut |slot, value| {
                let (kinds, name): (&[&str], &str) = match (slot.kind, &value.value) {
                    (Kind::Stage(kinds), Value::Text(name)) => (kinds, name),
                    // What is no stage, nor an instance of one, is a model's own name.
                    (Kind::Model(kinds), Value::Text(name)) if self.declared.get(stem(name)).is_some_and(|kind| kinds.contains(kind)) => (kinds, name),
                    _ => return,
                };
                match self.declared.get(name) {
                    None => errors.extend(self.dangling(name, kinds, value.span)),
                    Some(kind) if !kinds.contains(kind) => errors.push(ConfigError::WrongReference {
                        name: name.to_owned(),
                        found: with_article(kind),
                        wanted: with_article(&kinds.join(" or ")),
                        at: value.span.into(),
                        target: self.stage(name).map_or(value.span, |stage| stage.name_span).into(),
                    }),
                    Some(_) => references.extend(self.places.get(name).map(|&to| Reference { from, to, span: value.span })),
                }
            });
        }
        self.references = references;
    }

    /// The error of a name that is that of no stage; none where what is wrong is told already.
    fn dangling(&self, name: &str, kinds: &[&str], span: Span) -> Option<ConfigError> {
        let stage = stem(name);
        let bad_instance = |bad: BadBrackets| {
            let at = span.within(&self.file.text, name, bad.at).into();
            Some(MatrixError::BadInstance { name: name.to_owned(), problem: bad.problem, at, help: HOW.into() }.into())
        };
        let wanted = match Wanted::parse(name) {
            Err(bad) if self.declared.contains_key(stage) => return bad_instance(bad),
            _ if self.is_broken(name) => return None,
            wanted => wanted.ok().filter(|_| name != stage && self.declared.contains_key(stage)),
        };
        let instances: Vec<&StageDecl> = self.stages.iter().filter(|found| found.name.stem() == stage && !found.values.is_empty()).collect();
        let known = described(instances.iter().map(|stage| &stage.values));
        let help = match wanted.map(|wanted| (wanted.among(&instances, value), wanted.each_is_among(&instances, value))) {
            Some((Err(bad), _)) => return bad_instance(bad),
            Some(_) if known.is_empty() => format!("`{stage}` has no instances: write its name alone"),
            Some((Ok(meant), _)) if !meant.instances.is_empty() => {
                "an axis that a stage has from others cannot stand in a name: leave it out, and the two go together by it".into()
            }
            Some((_, true)) => format!("`{stage}` has each of these values, and `exclude` or `only` leaves them out together"),
            Some(_) => format!("`{stage}` has {known}"),
            None => {
                let fitting = self.declared.iter().filter(|(_, kind)| kinds.contains(*kind)).map(|(name, _)| name.as_str());
                offer(name, fitting, "the pipeline has no such stage yet; declare one")
            }
        };
        Some(ConfigError::DanglingReference { name: name.to_owned(), wanted: kinds.join(" or "), at: span.into(), help })
    }

    /// Whether the matrix of the stage that a name is of is wrong, so that nobody knows what instances it has.
    #[must_use]
    pub fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(stem(name))
    }

    /// The stage of this name.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageDecl> {
        self.places.get(name).map(|&place| &self.stages[place])
    }
}

fn value<'a>(stage: &'a &StageDecl, axis: &str) -> Option<&'a Value> {
    stage.values.get(axis).map(|value| &value.value)
}

/// Whether an error would not be one if another file could be read.
const fn may_be_elsewhere(error: &ConfigError) -> bool {
    matches!(
        error,
        ConfigError::Value(ValueError::UnknownParam { .. } | ValueError::BadSet { .. })
            | ConfigError::DanglingReference { .. }
            | ConfigError::NothingToOverride { .. }
            | ConfigError::UnknownProfile { .. }
            | ConfigError::UnknownChoice { .. }
            | ConfigError::UnnamedPipeline { .. }
            | ConfigError::MissingNode { .. }
    )
}

/// The names of all axes that nodes have, wherever a matrix stands.
fn axes_in(nodes: &[KdlNode]) -> BTreeSet<String> {
    let mut axes = BTreeSet::from([PLACE.to_owned()]);
    for node in nodes {
        let inside = node.children().map(KdlDocument::nodes).unwrap_or_default();
        if node.name().value() == MATRIX.name {
            axes.extend(inside.iter().map(|axis| axis.name().value().to_owned()));
        }
        axes.extend(axes_in(inside));
    }
    axes
}

/// Calls `visit` with every slot of a block and of all blocks inside it.
pub(super) fn for_each_slot(block: &Block, visit: &mut impl FnMut(&'static Slot, &Spanned<Value>)) {
    for (name, value) in &block.slots {
        if let Some(slot) = block.setting.slot(name) {
            visit(slot, value);
        }
    }
    for value in &block.rest {
        block.setting.rest.into_iter().for_each(|slot| visit(slot, value));
    }
    for child in &block.children {
        for_each_slot(child, visit);
    }
}

impl Block {
    /// Every slot with a value, in this block and all blocks inside it.
    pub fn each_slot(&self, mut visit: impl FnMut(&'static Slot, &Spanned<Value>)) {
        for_each_slot(self, &mut visit);
    }
}
