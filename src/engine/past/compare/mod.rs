//! Two runs side by side: what they were made from, what came out, what it took.

mod predictions;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::fingerprint::{ActionKey, Change, explain};
use crate::ledger::{self, Event, LockFile, LockedStage, RunSummary, SNAPSHOT};
use crate::stage::{KINDS, USD, USD_PAID};
use crate::store::{Artifact, Record, Store};

use super::super::EngineError;
use super::super::plan::explain::listed;
pub use predictions::{Flip, Predictions};
pub use rows::{ChangedRow, Rows};

/// Two runs side by side. This is the form that `diff --json` prints.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Comparison {
    /// The first run.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// The stages of either, those that are the same left out.
    pub stages: Vec<StageComparison>,
    /// The names of the stages that are the same in both.
    pub same: Vec<String>,
}

/// One of the two runs.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Side {
    /// The run.
    pub run: String,
    /// The name that the user gave it.
    pub name: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its pipeline.
    pub pipeline: String,
    /// How it ended.
    pub status: String,
    /// The seconds that it took.
    pub seconds: f64,
    /// The tokens that the models were trained on that it made.
    pub tokens: f64,
    /// What it cost, in US dollars, where that is known: what was made before costs nothing again.
    pub usd: f64,
}

/// A stage that is not the same in both runs.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct StageComparison {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// `changed`, `only in a` or `only in b`.
    pub state: &'static str,
    /// What it was made from, field by field.
    pub changes: Vec<Change>,
    /// Its figures.
    pub metrics: Vec<MetricPair>,
    /// The seconds that it took.
    pub seconds: (Option<f64>, Option<f64>),
    /// Its rows, by output.
    pub rows: Vec<Rows>,
    /// Its answers, where it judged a model.
    pub predictions: Option<Predictions>,
    /// The outputs whose content differs.
    pub outputs: Vec<String>,
    /// Results that are not in this store any more, so that they cannot be compared.
    pub missing: Vec<String>,
}

/// A figure of a stage in both runs.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct MetricPair {
    /// Its name.
    pub name: String,
    /// In the first run.
    pub a: Option<Figure>,
    /// In the second.
    pub b: Option<Figure>,
}

/// A figure, with the bounds of its 95 % interval where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// The lower bound.
    pub low: Option<f64>,
    /// The upper bound.
    pub high: Option<f64>,
}

/// A run with all that its results consist of.
struct Whole {
    side: Side,
    lock: LockFile,
}

/// Compares two runs of a workspace. A run is named by its id, the beginning of its id, its name, `last`, or `last~2`.
///
/// # Errors
/// When there is no such run, or it left no results.
pub fn compare(store: &Store, a: &str, b: &str) -> Result<Comparison, EngineError> {
    let runs = ledger::runs(&store.root().join("runs"));
    let (a, b) = (whole(store, &runs, a)?, whole(store, &runs, b)?);
    let names: BTreeSet<&String> = a.lock.stages.keys().chain(b.lock.stages.keys()).collect();
    let (mut stages, mut same) = (Vec::new(), Vec::new());
    for name in names {
        let (old, new) = (a.lock.stages.get(name), b.lock.stages.get(name));
        if old.map(keys) == new.map(keys) {
            same.push(name.clone());
        } else {
            stages.push(stage(store, name, old, new)?);
        }
    }
    // In the order of the work, as far as the kinds tell it.
    stages.sort_by_key(|stage: &StageComparison| KINDS.iter().position(|kind| kind.setting.name == stage.kind));
    Ok(Comparison { a: a.side, b: b.side, stages, same })
}

fn keys(stage: &LockedStage) -> Vec<(&String, ActionKey)> {
    stage.actions.iter().map(|(name, action)| (name, action.fingerprint)).collect()
}

/// The run that is meant.
///
/// # Errors
/// When there is none, or several.
pub fn meant<'a>(runs: &'a [RunSummary], name: &str) -> Result<&'a RunSummary, EngineError> {
    let unknown = |help: String| EngineError::UnknownRun { name: name.to_owned(), help };
    if let Some(back) = name.strip_prefix("last") {
        let back = if back.is_empty() { Some(0) } else { back.strip_prefix('~').and_then(|back| back.parse::<usize>().ok()) };
        let found = back.and_then(|back| runs.iter().filter(|run| run.status().is_some()).nth(back));
        return found.ok_or_else(|| unknown(format!("there are {} runs that ended", runs.iter().filter(|run| run.status().is_some()).count())));
    }
    if let Some(named) = runs.iter().find(|run| run.name() == Some(name)) {
        return Ok(named);
    }
    let mut found = runs.iter().filter(|run| run.id.to_string().starts_with(name));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => Err(unknown(format!("it begins {} and {}; write more of it", one.id, other.id))),
        (None, _) => Err(unknown("`retune runs` lists them; `last` and `last~1` are the latest ones".into())),
    }
}

fn whole(store: &Store, runs: &[RunSummary], name: &str) -> Result<Whole, EngineError> {
    let run = meant(runs, name)?;
    let none = || EngineError::UnknownRun { name: name.to_owned(), help: format!("{} did not come to its end, and left no results of its own", run.id) };
    let results = run.results().ok_or_else(none)?;
    let place = store.root().join("runs").join(results).join(SNAPSHOT);
    if !place.is_file() {
        let help = format!("`cache gc` has let go of the results of {}; `cache gc --keep-runs N` keeps more of them", run.id);
        return Err(EngineError::UnknownRun { name: name.to_owned(), help });
    }
    let lock = LockFile::read(&place)?;
    let mut side = Side {
        run: run.id.to_string(),
        name: run.name().map(str::to_owned),
        tags: Vec::new(),
        pipeline: String::new(),
        status: run.status().unwrap_or("unfinished").to_owned(),
        seconds: 0.0,
        tokens: 0.0,
        usd: 0.0,
    };
    if let Some(Event::RunStarted { pipeline, tags, .. }) = run.events.first() {
        side.pipeline.clone_from(pipeline);
        side.tags.clone_from(tags);
    }
    if let Some(Event::RunDone { seconds, .. }) = run.events.last() {
        side.seconds = *seconds;
    }
    let made = lock.stages.values().flat_map(|stage| records(store, stage).into_values()).flatten();
    for record in made.filter(|record| record.run == side.run && record.outcome.accepted.is_empty()) {
        side.tokens += record.outcome.metrics.get("trained-tokens").copied().unwrap_or_default();
        let figure = |name: &str| record.outcome.metrics.get(name).copied();
        side.usd += figure(USD_PAID).or_else(|| figure(USD)).unwrap_or_default();
    }
    Ok(Whole { side, lock })
}

fn records<'a>(store: &Store, stage: &'a LockedStage) -> BTreeMap<&'a str, Option<Record>> {
    stage.actions.iter().map(|(name, action)| (name.as_str(), store.remembered(action.fingerprint))).collect()
}

fn stage(store: &Store, name: &str, a: Option<&LockedStage>, b: Option<&LockedStage>) -> Result<StageComparison, EngineError> {
    let (old, new) = (a.map(|stage| records(store, stage)).unwrap_or_default(), b.map(|stage| records(store, stage)).unwrap_or_default());
    let kind = b.or(a).map(|stage| stage.kind.clone()).unwrap_or_default();
    let state = match (a, b) {
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "only in a",
        (None, _) => "only in b",
    };
    let lost = |records: &BTreeMap<&str, Option<Record>>, side: &str| -> Vec<String> {
        records.iter().filter(|(_, record)| record.is_none()).map(|(action, _)| format!("{action} of {side}")).collect()
    };
    let missing = [lost(&old, "a"), lost(&new, "b")].concat();
    let mut changes = Vec::new();
    for (action, record) in &new {
        let (Some(new), Some(Some(old))) = (record, old.get(action)) else {
            continue;
        };
        let found = explain(&old.preimage, &new.preimage).into_iter().flat_map(|change| listed(store, &old.preimage, &new.preimage, change));
        // What one action of the stage hands to the next is no news.
        let own = format!("made by `{name}`");
        let found = found.filter(|change| change.origin.as_ref() != Some(&own) && !changes.contains(change));
        changes.extend(found.collect::<Vec<_>>());
    }
    let outcome = |records: &BTreeMap<&str, Option<Record>>| -> (BTreeMap<String, f64>, BTreeMap<String, Artifact>, Option<f64>) {
        let there: Vec<&Record> = records.values().flatten().collect();
        let seconds = (!there.is_empty()).then(|| there.iter().map(|record| record.seconds).sum());
        let metrics = there.iter().flat_map(|record| record.outcome.metrics.clone()).collect();
        (metrics, there.iter().flat_map(|record| record.outcome.outputs.clone()).collect(), seconds)
    };
    let ((metrics_a, outputs_a, seconds_a), (metrics_b, outputs_b, seconds_b)) = (outcome(&old), outcome(&new));
    let names: BTreeSet<&String> = outputs_a.keys().chain(outputs_b.keys()).collect();
    let differing: Vec<String> = names.into_iter().filter(|name| outputs_a.get(*name) != outputs_b.get(*name)).cloned().collect();
    let pairs = |wanted: &[&str]| -> Vec<(String, Artifact, Artifact)> {
        let both = differing.iter().filter(|name| wanted.contains(&name.as_str()));
        both.filter_map(|name| Some((name.clone(), *outputs_a.get(name)?, *outputs_b.get(name)?))).collect()
    };
    let wanted: &[&str] = match kind.as_str() {
        "collect" => &["rows"],
        "prepare" => &["train", "validation", "test"],
        _ => &[],
    };
    let rows =
        pairs(wanted).into_iter().map(|(output, a, b)| Ok(rows::compare(output, &store.read(a)?, &store.read(b)?))).collect::<Result<_, EngineError>>()?;
    let scores = if kind == "evaluate" { pairs(&["scores"]) } else { Vec::new() };
    let predictions = scores.first().map(|(_, a, b)| Ok::<_, EngineError>(predictions::compare(&store.read(*a)?, &store.read(*b)?))).transpose()?;
    Ok(StageComparison {
        name: name.to_owned(),
        kind,
        state,
        changes,
        metrics: paired(&metrics_a, &metrics_b),
        seconds: (seconds_a, seconds_b),
        rows,
        predictions,
        outputs: differing,
        missing,
    })
}

/// The figures of both, each with its bounds; those that are the same in both are left out.
fn paired(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> Vec<MetricPair> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).filter(|name| !name.ends_with(".low") && !name.ends_with(".high")).collect();
    let figure = |metrics: &BTreeMap<String, f64>, name: &str| {
        let bound = |which: &str| metrics.get(&format!("{name}.{which}")).copied();
        metrics.get(name).map(|&value| Figure { value, low: bound("low"), high: bound("high") })
    };
    let pairs = names.into_iter().map(|name| MetricPair { name: name.clone(), a: figure(a, name), b: figure(b, name) });
    pairs.filter(|pair| pair.a != pair.b).collect()
}
