//! `select`: passes on the best of several models, by a figure that is known of each.

mod choose;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{ConfigError, Fallback, Kind, PLACE, Setting, Slot, StageDecl, Value, nearest};
use crate::fingerprint::{Leaf, Tree, settings_of};
use crate::provider::Api;

use super::made::{MadeBy, made_by};
use super::{Action, Compiler, Input, StageKind, evaluate, providers, scheduling, train};
pub use choose::{CHOICE, Ranked};
use choose::{Candidate, Choose, Figures};

static SETTING: Setting = Setting::new("select", "Passes on the best of several models.")
    .many()
    .spread(KEEP.name)
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&FROM, &BY, &GOAL, &KEEP]));
static FROM: Setting = Setting::new("from", "Whose models are compared, each once: of a stage with a matrix all instances are.")
    .many()
    .arguments(&[Slot::new("stage", Kind::Stage(&["train", "evaluate"]), "A train stage, or an evaluate stage, which stands for the model that it judges.")]);
static BY: Setting = Setting::new("by", "The figure that they are compared by.").once().arguments(&[Slot::new(
    "metric",
    Kind::Text,
    "Of train stages `validation-loss`, `train-loss` or `loss-gap`; of evaluate stages any metric that they tell.",
)]);
static GOAL: Setting =
    Setting::new("goal", "What is better.").once().arguments(&[Slot::new("goal", Kind::Choice(&["min", "max"]), "The least of the figures, or the greatest.")]);
static KEEP: Setting = Setting::new("keep", "How many are passed on; with several, `NAME[place=1]` is the best, `NAME[place=2]` the next.")
    .without_effect()
    .arguments(&[Slot::new("count", Kind::Integer(1, 100), "How many.").or(Fallback::Integer(1))]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: false };

const VERSION: u32 = 2;

/// The names of the stages that a select stage compares, each once.
fn named(stage: &StageDecl) -> BTreeSet<&str> {
    stage.block.all(FROM.name).map(|from| from.text("stage")).collect()
}

/// The stages that a select stage compares, with those whose models they stand for.
pub fn candidates<'a>(stage: &'a StageDecl, compiler: &Compiler<'a>) -> Vec<(&'a StageDecl, MadeBy<'a>)> {
    let named = named(stage).into_iter().filter_map(|name| compiler.pipeline.stage(name));
    let made = |named: &'a StageDecl| match named.kind {
        "train" => made_by(named.name.as_str(), compiler),
        _ => made_by(evaluate::judged(&named.block), compiler),
    };
    named.filter_map(|named| Some((named, made(named)?))).collect()
}

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let wrong = |at, problem: String, label: &str, help: String| ConfigError::Contradiction { problem, label: label.into(), at, help };
    let compared = candidates(stage, compiler);
    let Some(first) = block.child(FROM.name) else {
        return Err(ConfigError::MissingNode { node: stage.kind.into(), child: FROM.name.into(), at: block.name_span.into(), help: FROM.doc.into() });
    };
    // A stage that has a mistake of its own is no second mistake.
    let is_broken = |name: &str| compiler.pipeline.declared.contains_key(name) && compiler.pipeline.stage(name).is_none();
    let judges_broken = |name: &str| compiler.pipeline.stage(name).is_some_and(|stage| stage.kind == "evaluate" && is_broken(evaluate::judged(&stage.block)));
    let is_told = |name: &str| {
        is_broken(name) || compiler.pipeline.is_broken(name) || compiler.pipeline.stage(name).is_none_or(|stage| !["train", "evaluate"].contains(&stage.kind))
    };
    if named(stage).into_iter().any(|name| is_told(name) || judges_broken(name)) {
        return Ok(Vec::new());
    }
    if compared.len() < named(stage).len() {
        let from = block.all(FROM.name).find(|from| !compared.iter().any(|(stage, _)| stage.name.as_str() == from.text("stage"))).unwrap_or(first);
        let problem = format!("`{}` judges a model that no stage makes", from.text("stage"));
        return Err(wrong(from.span_of("stage").into(), problem, "has nothing to pass on", "compare stages that judge a train stage".into()));
    }
    if let Some((other, _)) = compared.iter().find(|(stage, _)| stage.kind != compared[0].0.kind) {
        let problem = format!("`{}` and `{}` are stages of two kinds", compared[0].0.name, other.name);
        return Err(wrong(first.span_of("stage").into(), problem, "have no figure in common", "compare train stages, or evaluate stages".into()));
    }
    let providers_of = |made: &MadeBy<'_>| made.trained.iter().map(|trained| train::provider_name(&trained.block).to_owned()).collect::<Vec<_>>();
    let all: Vec<String> = compared.iter().flat_map(|(_, made)| providers_of(made)).collect();
    if let Some(other) = all.iter().find(|provider| **provider != all[0]) {
        let problem = format!("one model is made by `{}`, another by `{other}`", all[0]);
        let help = "who asks the best one must know where it is: let one provider make all of them".into();
        return Err(wrong(first.span_of("stage").into(), problem, "of several providers", help));
    }
    let keep = block.child(KEEP.name).map_or(1, |keep| keep.count("count"));
    if keep > compared.len() {
        let at = block.child(KEEP.name).map_or(stage.name_span, |keep| keep.span_of("count"));
        let (problem, help) = (format!("{keep} of {} cannot be kept", compared.len()), format!("keep {} at most", compared.len()));
        return Err(wrong(at.into(), problem, "more than there are", help));
    }
    let is_judged = compared.first().is_some_and(|(stage, _)| stage.kind == "evaluate");
    let known = ["validation-loss", "train-loss", "loss-gap"];
    let by = block.child_text(BY.name).unwrap_or_default();
    let unknown = |help: String| {
        let at = block.child(BY.name).map_or(block.name_span, |by| by.span_of("metric")).into();
        ConfigError::UnknownChoice { name: BY.name.into(), found: format!("{by:?}"), at, help }
    };
    if !is_judged && !known.contains(&by) {
        return Err(unknown(format!("train stages tell {}; for the metrics of an evaluate stage, write `from` with its name", known.join(", "))));
    }
    for (judge, _) in compared.iter().filter(|_| is_judged) {
        let told = evaluate::metrics(&judge.block)?;
        if !told.iter().any(|metric| by == metric) {
            let near = nearest(by, told.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
            let has_interval = |name: &&String| told.contains(&format!("{name}.low")) && !name.contains(".gain") && !name.contains("baseline.");
            let first = told.iter().filter(has_interval).cloned().collect::<Vec<_>>().join(", ");
            return Err(unknown(format!("`{}` tells {first} and parts of them{}", judge.name, near.unwrap_or_default())));
        }
    }
    let wants_validation = !is_judged && by != "train-loss";
    if let Some((stage, _)) = compared.iter().find(|(stage, _)| wants_validation && !train::has_validation(&stage.block, compiler.pipeline)) {
        return Err(unknown(format!("`{}` learns without validation rows, and tells no such figure: give its data some, or take `train-loss`", stage.name)));
    }
    let place = match stage.values.get(PLACE).map(|place| &place.value) {
        Some(Value::Integer(place)) => usize::try_from(*place).unwrap_or(1),
        _ => 1,
    };
    let mut settings = settings_of(block, &compiler.pipeline.file, |_| true);
    if let (Tree::Map(settings), 2..) = (&mut settings, place) {
        settings.insert(PLACE.to_owned(), Tree::leaf(Leaf::Integer(i64::try_from(place).unwrap_or(i64::MAX))));
    }
    let declared = providers::find(all.first().map_or("local", String::as_str), &compiler.pipeline.providers, first.span_of("stage"))?;
    let figures = if is_judged { Figures::Judged } else { Figures::Losses { keeps_best: declared.api == Api::Local } };
    let mut inputs = Vec::new();
    let mut chosen_from = Vec::new();
    for (compared, made) in &compared {
        let candidate = Candidate::of(compared.name.as_str());
        inputs.push(Input::output(&candidate.model, &made.stage.name, train::MODEL_OUTPUT));
        inputs.push(Input::output(&candidate.losses, &made.stage.name, train::LOSSES_OUTPUT));
        if is_judged {
            inputs.push(Input::output(&candidate.metrics, &compared.name, evaluate::METRICS));
        }
        chosen_from.push(candidate);
    }
    Ok(vec![Action {
        name: "select".to_owned(),
        version: VERSION,
        settings,
        context: BTreeMap::new(),
        inputs,
        outputs: [train::MODEL_OUTPUT, train::LOSSES_OUTPUT, CHOICE].map(str::to_owned).to_vec(),
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(Choose { candidates: chosen_from, figures, by: by.to_owned(), is_max: block.child_text(GOAL.name) == Some("max"), place }),
    }])
}
