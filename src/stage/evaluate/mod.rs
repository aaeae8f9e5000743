mod gates;
mod generate;
mod grade;
mod verdict;

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::fingerprint::{Leaf, Tree, settings_of};
use crate::grade::grader::{self, GRADERS};
use crate::provider::{Api, Declared};

use super::{Action, Compiler, Input, StageKind, providers, scheduling, train};
use generate::{Asked, Generate};

static SETTING: Setting = Setting::new("evaluate", "Asks a model questions that it was not trained on, grades the answers and holds them against gates.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&MODEL, &BASELINE, &DATA, &PROVIDER, &GENERATE, &grader::SETTING, &gates::SETTING]));
static MODEL: Setting =
    Setting::new("model", "The model that is judged.").once().arguments(&[Slot::new("name", Kind::Model, "A train stage, or the name of a model.")]);
static BASELINE: Setting = Setting::new("baseline", "The model that it is compared with on the same rows.").arguments(&[Slot::new(
    "name",
    Kind::Model,
    "A train stage, or the name of a model.",
)]);
static DATA: Setting = Setting::new("data", "The questions.")
    .once()
    .arguments(&[Slot::new("stage", Kind::Stage(&["prepare"]), "A prepare stage.")])
    .properties(&[Slot::new("split", Kind::Choice(&["train", "validation", "test"]), "Which part of it.").or(Fallback::Text("test")).without_effect()]);
static PROVIDER: Setting = Setting::new("provider", "Who answers for a model that no stage makes; that of the judged train stage where it is not given.")
    .arguments(&[Slot::new("name", Kind::Provider, "A built-in or declared provider.")]);
static GENERATE: Setting = Setting::new("generate", "How answers are generated: the likeliest token each time.").properties(&[
    Slot::new("max-tokens", Kind::Integer(1, 16_384), "The most tokens in an answer.").or(Fallback::Integer(MAX_TOKENS)),
    Slot::new("batch", Kind::Flag, "Whether a hosted model is asked in one batch: within a day, at a lower price.").or(Fallback::Flag(false)).without_effect(),
]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

const MAX_TOKENS: i64 = 32;
/// The version of generating; raised when the same model would be asked in another way.
const GENERATE_VERSION: u32 = 1;
/// What the deploy stage calls the verdict, and the figures that it rests on.
pub const VERDICT: &str = "verdict";
pub use grade::METRICS;

/// Which model an evaluate stage judges: the name that is written.
pub fn judged(block: &Block) -> &str {
    block.child_text("model").unwrap_or_default()
}

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let mut actions = vec![asking(stage, "generate", "model", compiler)?];
    let baseline = block.child("baseline").is_some();
    if baseline {
        actions.push(asking(stage, "generate-baseline", "baseline", compiler)?);
    }
    actions.extend(grading(stage, compiler, baseline));
    actions.push(deciding(stage, compiler, baseline)?);
    Ok(actions)
}

fn questions(block: &Block, compiler: &Compiler<'_>) -> Option<Input> {
    let data = block.child("data")?;
    let stage = compiler.pipeline.stage(data.text("stage"))?;
    Some(Input::output("data", &stage.name, data.text("split")))
}

/// The action that asks one of the two models.
fn asking(stage: &StageDecl, name: &'static str, role: &str, compiler: &Compiler<'_>) -> Result<Action, ConfigError> {
    let block = &stage.block;
    let limit = block.child("generate").map_or(MAX_TOKENS, |generate| generate.integer("max-tokens"));
    let max_tokens = usize::try_from(limit).unwrap_or(usize::MAX);
    let batch = block.child("generate").is_some_and(|generate| generate.flag("batch"));
    let output = if role == "baseline" { generate::BASELINE_ANSWERS } else { generate::ANSWERS };
    let mut inputs: Vec<Input> = questions(block, compiler).into_iter().collect();
    let written = block.child_text(role).unwrap_or_default();
    let declarations = &compiler.pipeline.providers;
    let mut context = BTreeMap::new();
    let asked = if let Some(made_by) = train_stage(written, compiler) {
        inputs.push(Input::output("model", &made_by.name, train::MODEL_OUTPUT));
        let declared = provider(train::provider_name(&made_by.block), block, compiler)?;
        context.insert("provider".to_owned(), providers::provider_tree(&declared, providers::Purpose::Asking));
        inputs.extend(providers::files(&declared, compiler));
        Asked::Made { declarations: declarations.clone() }
    } else {
        let judged = train_stage(judged(block), compiler).map(|judged| train::provider_name(&judged.block));
        let named = block.child_text("provider").or(judged).unwrap_or("local");
        let declared = provider(named, block, compiler)?;
        check_named(block, role, written, &declared, compiler)?;
        context.insert("provider".to_owned(), providers::provider_tree(&declared, providers::Purpose::Asking));
        inputs.extend(providers::files(&declared, compiler));
        context.insert("model".to_owned(), providers::model_tree(&declared, written));
        Asked::Named { declared: Box::new(declared), name: written.to_owned() }
    };
    Ok(Action {
        name: name.to_owned(),
        version: GENERATE_VERSION,
        settings: Tree::map([("max-tokens", Tree::leaf(Leaf::Integer(limit)))]),
        context,
        inputs,
        outputs: vec![output.to_owned()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(Generate { asked, max_tokens, batch, output }),
    })
}

fn train_stage<'a>(name: &str, compiler: &Compiler<'a>) -> Option<&'a StageDecl> {
    compiler.pipeline.stage(name).filter(|stage| stage.kind == "train")
}

fn provider(name: &str, block: &Block, compiler: &Compiler<'_>) -> Result<Declared, ConfigError> {
    providers::find(name, &compiler.pipeline.providers, block.child("provider").map_or(block.name_span, |child| child.span_of("name")))
}

/// A local model must be one that there is: otherwise the name of a stage was mistyped, most likely.
fn check_named(block: &Block, role: &str, name: &str, declared: &Declared, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
    // A train stage that is there and has a mistake of its own is no second mistake.
    let broken = compiler.pipeline.declared.get(name) == Some(&"train");
    if broken || declared.api != Api::Local || train::untuned(declared, name).is_ok() {
        return Ok(());
    }
    let stages = compiler.pipeline.stages.iter().filter(|stage| stage.kind == "train").map(|stage| stage.name.as_str());
    let known: Vec<&str> = stages.chain([crate::model::TINY]).collect();
    let help = crate::config::nearest(name, known.iter().copied())
        .map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
    Err(ConfigError::DanglingReference {
        name: name.to_owned(),
        wanted: "train".into(),
        at: block.child(role).map_or(block.name_span, |child| child.span_of("name")).into(),
        help,
    })
}

fn grading(stage: &StageDecl, compiler: &Compiler<'_>, baseline: bool) -> Option<Action> {
    let block = &stage.block;
    let declared = block.child("grader")?;
    let kind = GRADERS.iter().find(|kind| kind.name == declared.text("kind"))?;
    let mut inputs: Vec<Input> = questions(block, compiler).into_iter().collect();
    inputs.push(Input::output(generate::ANSWERS, &stage.name, generate::ANSWERS));
    if baseline {
        inputs.push(Input::output(generate::BASELINE_ANSWERS, &stage.name, generate::BASELINE_ANSWERS));
    }
    Some(Action {
        name: "grade".to_owned(),
        version: kind.version,
        settings: settings_of(block, &compiler.pipeline.file, |name| name == "grader"),
        context: BTreeMap::new(),
        inputs,
        outputs: vec![grade::SCORES.to_owned(), METRICS.to_owned()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(grade::Grade { grader: grader::prepare(declared)? }),
    })
}

fn deciding(stage: &StageDecl, compiler: &Compiler<'_>, baseline: bool) -> Result<Action, ConfigError> {
    let block = &stage.block;
    Ok(Action {
        name: "verdict".to_owned(),
        version: verdict::VERSION,
        settings: settings_of(block, &compiler.pipeline.file, |name| name == "gate"),
        context: BTreeMap::new(),
        inputs: vec![Input::output(METRICS, &stage.name, METRICS)],
        outputs: vec![VERDICT.to_owned()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(verdict::Decide { gates: gates::all(block, baseline)? }),
    })
}
