use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kdl::{KdlDocument, KdlError, KdlNode};
use serde::{Deserialize, Serialize};

use super::block::Block;
use super::decode::{Decoder, offer};
use super::error::{ConfigError, with_article};
use super::excerpt;
use super::file::{PipelineFile, Span, Spanned};
use super::params::{self, Overrides};
use super::table::{Fallback, Kind, Setting, Slot};
use super::value::Value;

/// The name of a stage: letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageName(String);

impl StageName {
    /// Takes a text as a name, if it can be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let dots = text.chars().all(|c| c == '.');
        (!text.is_empty() && text.chars().count() <= 100 && text.chars().all(fine) && !dots).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What the language has beyond this folder's own nodes: the stage kinds and the built-in providers.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    /// The tables of the stage kinds.
    pub stages: &'static [&'static Setting],
    /// The names of the providers that need no declaration.
    pub providers: &'static [&'static str],
    /// The table of a `provider` declaration.
    pub provider: &'static Setting,
}

/// A stage as declared.
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
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The file that it came from.
    pub file: PipelineFile,
    /// The profile in force.
    pub profile: Option<String>,
    /// Declared providers.
    pub providers: Vec<Block>,
    /// What a run may spend, in US dollars, where there is a bound.
    pub budget: Option<f64>,
    /// The stages in the order written. Those with mistakes in them are left out.
    pub stages: Vec<StageDecl>,
    /// Which stage names which.
    pub references: Vec<Reference>,
    /// The kinds of all declared stages by name, those with mistakes in them too.
    pub declared: BTreeMap<String, &'static str>,
    /// The top-level nodes that are no stages.
    pub shared: Vec<Span>,
    /// The environment variables that the file's meaning depends on.
    pub variables: BTreeSet<String>,
}

static PIPELINE: Setting = Setting::new("pipeline", "Names the pipeline.")
    .once()
    .arguments(&[Slot::new("name", Kind::Text, "The pipeline's name.")])
    .properties(&[Slot::new("description", Kind::Text, "What it is for.").or(Fallback::Absent)]);

static BUDGET: Setting = Setting::new("budget", "What a run may spend at providers; it stops before it would spend more.")
    .without_effect()
    .properties(&[Slot::new("usd", Kind::Number(0.0, 1e9), "US dollars.")]);

/// Nesting beyond this is refused before the parser sees it, since it would recurse as deep.
const DEEPEST: usize = 64;

impl Pipeline {
    /// Decodes a pipeline file. What could be decoded comes back beside all that is wrong.
    #[must_use]
    pub fn decode(file: PipelineFile, language: Language, overrides: &Overrides) -> (Option<Self>, Vec<ConfigError>) {
        if let Some(error) = too_deep(&file.text) {
            return (None, vec![error]);
        }
        match KdlDocument::parse_v2(&file.text) {
            Ok(document) => Self::decode_document(file, &document, language, overrides),
            Err(error) => (None, syntax_errors(error)),
        }
    }

    /// Decodes some of the top-level nodes of a file that is known to be right, as if the others were not there.
    #[must_use]
    pub fn decode_part(file: PipelineFile, nodes: &[Span], language: Language, overrides: &Overrides) -> (Option<Self>, Vec<ConfigError>) {
        match excerpt::parse(&file.text, nodes) {
            Ok(document) => Self::decode_document(file, &document, language, overrides),
            Err(error) => (None, syntax_errors(error)),
        }
    }

    fn decode_document(file: PipelineFile, document: &KdlDocument, language: Language, overrides: &Overrides) -> (Option<Self>, Vec<ConfigError>) {
        let mut errors = Vec::new();
        let params = params::collect(document, overrides, &mut errors);
        let declared = document.nodes().iter().filter(|node| node.name().value() == "provider");
        let declared = declared.filter_map(|node| node.get(0).and_then(|name| name.as_string()).map(str::to_owned));
        let providers: Vec<String> = language.providers.iter().map(|&name| name.to_owned()).chain(declared).collect();
        let mut decoder = Decoder { params: &params, providers: &providers, errors, variables: BTreeSet::new() };
        let mut pipeline = Self {
            name: String::new(),
            profile: overrides.profile.clone(),
            providers: Vec::new(),
            budget: None,
            stages: Vec::new(),
            references: Vec::new(),
            declared: stage_names(document, language),
            shared: Vec::new(),
            variables: BTreeSet::new(),
            file,
        };
        let named = pipeline.take_nodes(document, language, &mut decoder);
        if named.is_none() && !decoder.errors.iter().any(|error| error.offset() == 0 && !matches!(error, ConfigError::BadSet { .. })) {
            let length = document.nodes().first().map_or(0, |node| node.name().span().len());
            let start = document.nodes().first().map_or(0, |node| node.name().span().offset());
            decoder.errors.push(ConfigError::UnnamedPipeline { at: Span { start, length }.into() });
        }
        pipeline.variables = decoder.variables;
        let mut errors = decoder.errors;
        let known = pipeline.declared.clone();
        pipeline.resolve(&known, &mut errors);
        (Some(pipeline), errors)
    }

    fn take_nodes(&mut self, document: &KdlDocument, language: Language, decoder: &mut Decoder<'_>) -> Option<Span> {
        let mut named = None;
        let mut names: BTreeMap<StageName, Span> = BTreeMap::new();
        for node in document.nodes() {
            if !language.stages.iter().any(|stage| stage.name == node.name().value()) {
                self.shared.push(node.span().into());
            }
            match node.name().value() {
                "params" | "profile" => check_free_form(node, decoder),
                "pipeline" => {
                    if let Some(first) = named.replace(Span::from(node.name().span())) {
                        let at = node.name().span();
                        decoder.errors.push(ConfigError::Repeated { name: "pipeline".into(), place: "the file".into(), first: first.into(), at });
                    } else if let Some(block) = decoder.block(node, &PIPELINE) {
                        self.name = block.text("name").to_owned();
                    }
                }
                "budget" => self.take_budget(node, decoder),
                "provider" => self.providers.extend(decoder.block(node, language.provider)),
                kind => match language.stages.iter().copied().find(|stage| stage.name == kind) {
                    Some(setting) => self.take_stage(node, setting, decoder, &mut names),
                    None => {
                        let all = language.stages.iter().map(|stage| stage.name).chain(["pipeline", "params", "profile", "provider", "budget"]);
                        decoder.errors.push(ConfigError::UnknownNode {
                            name: kind.into(),
                            place: "the file".into(),
                            at: node.name().span(),
                            help: offer(kind, all, ""),
                        });
                    }
                },
            }
        }
        named
    }

    fn take_budget(&mut self, node: &KdlNode, decoder: &mut Decoder<'_>) {
        let Some(block) = decoder.block(node, &BUDGET) else {
            return;
        };
        if self.budget.replace(block.number("usd")).is_some() {
            let at = node.name().span();
            decoder.errors.push(ConfigError::Repeated { name: "budget".into(), place: "the file".into(), first: at, at });
        }
    }

    fn take_stage(&mut self, node: &KdlNode, setting: &'static Setting, decoder: &mut Decoder<'_>, names: &mut BTreeMap<StageName, Span>) {
        let block = decoder.block(node, setting);
        let Some(entry) = node.entries().iter().find(|entry| entry.name().is_none()) else {
            return;
        };
        let Some(text) = entry.value().as_string() else {
            return;
        };
        let name_span = Span::from(entry.span());
        let Some(name) = StageName::new(text) else {
            decoder.errors.push(ConfigError::BadName { name: text.into(), at: name_span.into() });
            return;
        };
        if let Some(first) = names.get(&name) {
            decoder.errors.push(ConfigError::DuplicateStage { name: text.into(), first: (*first).into(), at: name_span.into() });
            return;
        }
        names.insert(name.clone(), name_span);
        self.stages.extend(block.map(|block| StageDecl { name, name_span, kind: setting.name, block }));
    }

    fn resolve(&mut self, known: &BTreeMap<String, &'static str>, errors: &mut Vec<ConfigError>) {
        let places: BTreeMap<&str, usize> = self.stages.iter().enumerate().map(|(index, stage)| (stage.name.as_str(), index)).collect();
        let mut references = Vec::new();
        for (from, stage) in self.stages.iter().enumerate() {
            for_each_slot(&stage.block, &mut |slot, value| {
                let (kinds, name): (&[&str], &str) = match (slot.kind, &value.value) {
                    (Kind::Stage(kinds), Value::Text(name)) => (kinds, name),
                    (Kind::Model, Value::Text(name)) if known.get(name).is_some_and(|&kind| kind == "train") => (&["train"], name),
                    _ => return,
                };
                match known.get(name) {
                    None => errors.push(dangling(name, kinds, value.span, known)),
                    Some(kind) if !kinds.contains(kind) => errors.push(ConfigError::WrongReference {
                        name: name.to_owned(),
                        found: with_article(kind),
                        wanted: with_article(&kinds.join(" or ")),
                        at: value.span.into(),
                        target: places.get(name).map_or(value.span, |&to| self.stages[to].name_span).into(),
                    }),
                    Some(_) => references.extend(places.get(name).map(|&to| Reference { from, to, span: value.span })),
                }
            });
        }
        self.references = references;
    }

    /// The stage of this name.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageDecl> {
        self.stages.iter().find(|stage| stage.name.as_str() == name)
    }
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

fn dangling(name: &str, kinds: &[&str], span: Span, known: &BTreeMap<String, &'static str>) -> ConfigError {
    let fitting = known.iter().filter(|(_, kind)| kinds.contains(*kind)).map(|(name, _)| name.as_str());
    let help = offer(name, fitting, "the pipeline has no such stage yet; declare one");
    ConfigError::DanglingReference { name: name.to_owned(), wanted: kinds.join(" or "), at: span.into(), help }
}

/// All declared stages, those with mistakes in them too, so that a reference to one of them is no second error.
fn stage_names(document: &KdlDocument, language: Language) -> BTreeMap<String, &'static str> {
    let nodes = document.nodes().iter();
    nodes
        .filter_map(|node| {
            let setting = language.stages.iter().find(|stage| stage.name == node.name().value())?;
            Some((node.get(0)?.as_string()?.to_owned(), setting.name))
        })
        .collect()
}

/// `params` and `profile` hold names of the user's own; only their shape is checked here.
fn check_free_form(node: &KdlNode, decoder: &mut Decoder<'_>) {
    let is_profile = node.name().value() == "profile";
    let wanted = usize::from(is_profile);
    if is_profile && node.get(0).and_then(|name| name.as_string()).is_none() {
        decoder.errors.push(ConfigError::MissingValue {
            node: "profile".into(),
            what: "a name".into(),
            at: node.name().span(),
            help: "write it as `profile \"name\" { params { ... } }`".into(),
        });
    }
    for entry in node.entries().iter().skip(wanted) {
        let takes = if is_profile { "one value (name)" } else { "no value" };
        decoder.errors.push(ConfigError::SurplusArgument { node: node.name().value().into(), takes: takes.into(), at: entry.span() });
    }
    if is_profile {
        for child in node.children().into_iter().flat_map(KdlDocument::nodes).filter(|child| child.name().value() != "params") {
            let name = child.name().value();
            decoder.errors.push(ConfigError::UnknownNode {
                name: name.into(),
                place: "`profile`".into(),
                at: child.name().span(),
                help: offer(name, ["params"].into_iter(), ""),
            });
        }
    }
}

/// Finds nesting of braces, or of block comments, that the recursive parser should not be asked to follow.
fn too_deep(text: &str) -> Option<ConfigError> {
    let (mut braces, mut comments) = (0_usize, 0_usize);
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match (byte, bytes.get(at + 1)) {
            (b'{', _) => braces += 1,
            (b'}', _) => braces = braces.saturating_sub(1),
            (b'/', Some(b'*')) => comments += 1,
            (b'*', Some(b'/')) => comments = comments.saturating_sub(1),
            _ => {}
        }
        if braces.max(comments) > DEEPEST {
            return Some(ConfigError::TooDeep { limit: DEEPEST, at: Span { start: at, length: 1 }.into() });
        }
    }
    None
}

fn syntax_errors(error: KdlError) -> Vec<ConfigError> {
    let diagnostics = error.diagnostics.into_iter();
    diagnostics
        .map(|diagnostic| ConfigError::Syntax {
            problem: diagnostic.message.clone().unwrap_or_else(|| "unexpected text".into()),
            label: diagnostic.label.clone().unwrap_or_else(|| "here".into()),
            at: diagnostic.span,
            help: diagnostic.help.clone().unwrap_or_else(|| "strings need quotes, properties are `name=value`, booleans `#true` and `#false`".into()),
        })
        .collect()
}
