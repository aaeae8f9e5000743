//! The actions that ask models.

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, stem};
use crate::fingerprint::{Leaf, Tree};
use crate::grade::grader::Measured;
use crate::provider::{Api, Declared};

use super::super::made::made_by;
use super::super::{Action, Compiler, Input, providers, train};
use super::ask::{ANSWERS, SAMPLES, TOOK};
use super::generate::{Asked, Generate};
use super::part::Part;
use super::rows::{BASELINE_ANSWERS, TRAINING_ANSWERS};

pub static SETTING: Setting = Setting::new("generate", "How answers are generated.").properties(&[
    Slot::new("max-tokens", Kind::Integer(1, 16_384), "The most tokens in an answer.").or(Fallback::Integer(MAX_TOKENS)),
    Slot::new("temperature", Kind::Number(0.0, 2.0), "How freely tokens are chosen; 0 for the likeliest each time.").or(Fallback::Number(0.0)),
    Slot::new("samples", Kind::Integer(1, 100), "How often each question is asked: the mean counts, and `pass@k` is told.").or(Fallback::Integer(1)),
    Slot::new("batch", Kind::Flag, "Whether a hosted model is asked in one batch: within a day, at a lower price.").or(Fallback::Flag(false)).without_effect(),
]);

const MAX_TOKENS: i64 = 32;
/// The version of generating; raised when the same model would be asked in another way.
const VERSION: u32 = 2;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The model that is judged.
    Model,
    /// What it is compared with.
    Baseline,
    /// The model that is judged, about what it learnt.
    Training,
}

impl Whom {
    /// What its action, its answers, and the node with its model are called.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Model => ("generate", ANSWERS, "model"),
            Self::Baseline => ("generate-baseline", BASELINE_ANSWERS, "baseline"),
            Self::Training => ("generate-training", TRAINING_ANSWERS, "model"),
        }
    }
}

/// The most tokens of an answer in a stage, and how freely they are chosen.
pub fn sizes(stage: &Block) -> (usize, f64) {
    let generate = stage.child(SETTING.name);
    let limit = generate.map_or(MAX_TOKENS, |generate| generate.integer("max-tokens"));
    (usize::try_from(limit).unwrap_or(usize::MAX), generate.map_or(0.0, |generate| generate.number("temperature")))
}

/// How often each question of a stage is asked.
pub fn samples(stage: &Block) -> usize {
    stage.child(SETTING.name).and_then(|generate| usize::try_from(generate.integer("samples")).ok()).unwrap_or(1)
}

/// The action that asks one of the models of a stage. `measured` is what graders want to know of the answers.
pub fn asking(part: Part<'_>, whom: Whom, measured: Measured, compiler: &Compiler<'_>) -> Result<Action, ConfigError> {
    let stage = &part.stage.block;
    let generate = stage.child(SETTING.name);
    let (max_tokens, temperature) = sizes(stage);
    let batch = generate.is_some_and(|generate| generate.flag("batch"));
    let is_sample = whom == Whom::Training;
    let samples = if is_sample { 1 } else { samples(stage) };
    if let Some(generate) = generate.filter(|_| samples > 1 && temperature == 0.0) {
        return Err(contradiction(generate, "samples", "samples of the likeliest answer are all the same", "give it a `temperature=` too, such as 0.8"));
    }
    let (name, output, role) = whom.names();
    let asked = if is_sample { part.prepared("data", "train", compiler) } else { part.questions(compiler) };
    let mut inputs: Vec<Input> = asked.into_iter().collect();
    let mut context = BTreeMap::new();
    let declared = asked_at(stage, role, compiler)?;
    if let Some(generate) = generate.filter(|_| measured.seconds && batch) {
        return Err(contradiction(generate, "batch", "how long an answer of a batch takes is not told", "take out `batch`, or the grader"));
    }
    if measured.any() && matches!(declared.api, Api::Command(_)) {
        let help = "take out the graders `latency` and `cost`";
        return Err(contradiction(stage.child(role).unwrap_or(stage), "name", "an outside program does not tell what its answers take", help));
    }
    context.insert("provider".to_owned(), providers::provider_tree(&declared, providers::Purpose::Asking));
    let asked = if let Some(made_by) = made_by(stage.child_text(role).unwrap_or_default(), compiler) {
        inputs.push(Input::output("model", &made_by.stage.name, train::MODEL_OUTPUT));
        Asked::Made { declarations: compiler.pipeline.providers.clone() }
    } else {
        let written = stage.child_text(role).unwrap_or_default();
        context.insert("model".to_owned(), providers::model_tree(&declared, written));
        inputs.extend(providers::model_files(&declared, written, compiler));
        Asked::Named { declared: Box::new(declared.clone()), name: written.to_owned() }
    };
    inputs.extend(providers::files(&declared, compiler));
    let mut settings = BTreeMap::from([("max-tokens".to_owned(), Tree::leaf(Leaf::Integer(i64::try_from(max_tokens).unwrap_or(i64::MAX))))]);
    settings.extend((temperature > 0.0).then(|| ("temperature".to_owned(), Tree::leaf(Leaf::Number(temperature)))));
    settings.extend((samples > 1).then(|| (SAMPLES.to_owned(), Tree::leaf(Leaf::Integer(i64::try_from(samples).unwrap_or(i64::MAX))))));
    let took = [("seconds", measured.seconds), ("usd", measured.usd)].map(|(what, is)| (what, Tree::leaf(Leaf::Flag(is))));
    settings.extend(measured.any().then(|| (TOOK.to_owned(), Tree::map(took))));
    settings.extend(part.setting());
    let output = part.named(output);
    Ok(Action {
        name: part.named(name),
        version: VERSION,
        settings: Tree::Map(settings),
        context,
        inputs,
        outputs: vec![output.clone()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(Generate { asked, max_tokens, temperature, samples, measured, batch, output, is_sample }),
    })
}

fn contradiction(node: &Block, slot: &str, problem: &str, help: &str) -> ConfigError {
    ConfigError::Contradiction { problem: problem.into(), label: "cannot be".into(), at: node.span_of(slot).into(), help: help.into() }
}

/// Who answers for the model that stands in a node (`model`, `baseline`) of a stage.
pub fn asked_at(stage: &Block, role: &str, compiler: &Compiler<'_>) -> Result<Declared, ConfigError> {
    let written = stage.child_text(role).unwrap_or_default();
    let trained_at = |name: &str| made_by(name, compiler).and_then(|made_by| Some(train::provider_name(made_by.block()?).to_owned()));
    if let Some(made_at) = trained_at(written) {
        return provider(&made_at, stage, compiler);
    }
    let judged = trained_at(super::judged(stage));
    let declared = provider(stage.child_text("provider").or(judged.as_deref()).unwrap_or("local"), stage, compiler)?;
    check_named(stage, role, written, &declared, compiler)?;
    Ok(declared)
}

fn provider(name: &str, stage: &Block, compiler: &Compiler<'_>) -> Result<Declared, ConfigError> {
    providers::find(name, &compiler.pipeline.providers, stage.child("provider").map_or(stage.name_span, |child| child.span_of("name")))
}

/// A local model must be one that there is: otherwise the name of a stage was mistyped, most likely.
fn check_named(stage: &Block, role: &str, name: &str, declared: &Declared, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
    // A train stage that is there and has a mistake of its own is no second mistake; neither is an instance that is told of already.
    let broken = compiler.pipeline.declared.get(stem(name)).is_some_and(|kind| ["train", "select"].contains(kind));
    if broken || declared.api != Api::Local || train::untuned(declared, name).is_ok() {
        return Ok(());
    }
    let stages = compiler.pipeline.stages.iter().filter(|stage| ["train", "select"].contains(&stage.kind)).map(|stage| stage.name.as_str());
    let known: Vec<&str> = stages.chain([crate::model::TINY]).collect();
    let help = crate::config::nearest(name, known.iter().copied())
        .map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
    Err(ConfigError::DanglingReference {
        name: name.to_owned(),
        wanted: "train or select".into(),
        at: stage.child(role).map_or(stage.name_span, |child| child.span_of("name")).into(),
        help,
    })
}
