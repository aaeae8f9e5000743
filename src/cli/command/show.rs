use std::collections::BTreeMap;

use clap::Args;
use clap_complete::ArgValueCompleter;
use serde::Serialize;

use crate::config::in_shell;
use crate::engine::{self, Account, Standing, Workspace};
use crate::grade::{OVERFIT_GAP, Outcome, SLICE_GAP, Verdict, chance};
use crate::ledger::LockFile;
use crate::store::{Artifact, Record};

use super::super::completing::words;
use super::super::exit::Exit;
use super::super::format;
use super::super::next::{Step, next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{complain, filled, say};
use super::super::table::Table;
use super::super::target::{Changes, Target};
use super::get::is_own;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2, add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Print where its results come from: an in-toto statement with a SLSA predicate for each action, one a line
    #[arg(long)]
    provenance: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, schemars::JsonSchema)]
pub struct Shown {
    stage: String,
    kind: String,
    current: bool,
    actions: Vec<ShownAction>,
    metrics: BTreeMap<String, f64>,
    verdict: Option<Verdict>,
}

#[derive(Serialize, schemars::JsonSchema)]
pub struct ShownAction {
    name: String,
    record: Option<Record>,
}

pub fn show(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = recipe.named(target.stage()?)?;
    let workspace = Workspace::look(&recipe.file.path);
    let plan = engine::plan(&recipe, &workspace, &[])?;
    let account = Account::of(&plan.stages[stage], &LockFile::read(&recipe.lock_path())?, &workspace.store);
    if arguments.provenance {
        let mut none = true;
        for record in account.records() {
            let made_under = Some(record.made_under()).filter(|key| *key != record.key);
            let maker = made_under.and_then(|key| workspace.store.remembered(key));
            say!("{}", engine::statement(&account.name, record, maker.as_ref()));
            none = false;
        }
        if none {
            complain!("`{}` has no result in this store: `retune run {}`", account.name, in_shell(&account.name));
            return Ok(Exit::Failed);
        }
        return Ok(Exit::Done);
    }
    let shown = Shown {
        current: account.standing == Standing::Cached,
        metrics: account.metrics(),
        verdict: account.verdict(&workspace.store),
        stage: account.name,
        kind: account.kind,
        actions: account.actions.into_iter().map(|(name, record)| ShownAction { name, record }).collect(),
    };
    if arguments.json {
        print_json(&shown)
    } else {
        print(&shown);
        next(steps(&shown, &arguments.changes.again(target.pipeline.as_deref())));
    }
    Ok(Exit::Done)
}

/// `again` are the words by which another command means the same pipeline.
fn steps(shown: &Shown, again: &str) -> Vec<Step> {
    let words = format!("{}{again}", in_shell(&shown.stage));
    if shown.actions.iter().all(|action| action.record.is_none()) {
        return vec![step(format!("run {words}"), "makes it, and what it needs")];
    }
    let more = match shown.kind.as_str() {
        "prepare" => step(format!("inspect {words} --row 1"), "one row on its way through the operators"),
        "evaluate" | "train" | "select" => step(format!("report{again}"), "a page with data, losses, mistakes and provenance"),
        "deploy" => step("deployments", "what each alias stands for"),
        _ => step(format!("log {words}"), "what it said"),
    };
    let mut outputs = shown.actions.iter().filter_map(|action| action.record.as_ref()).flat_map(|record| record.outcome.outputs.keys());
    let has_files = outputs.any(|name| !is_own(&shown.kind, name));
    std::iter::once(more).chain(has_files.then(|| step(format!("get {words} --to DIR"), "its outputs as files"))).collect()
}

/// What was measured of a model, with the baseline beside it. Where several graders compare them, chances are corrected for that.
fn figures(metrics: &BTreeMap<String, f64>) -> String {
    let is_corrected = metrics.keys().any(|name| name.ends_with(".gain.p-holm"));
    let mut table = Table::new(&["metric", "model", "baseline", "gain", if is_corrected { "p (Holm)" } else { "p" }]);
    let cell = |name: String| if metrics.contains_key(&name) { format::with_interval(metrics, &name) } else { String::new() };
    for name in format::measured(metrics) {
        let p = metrics.get(&format!("{name}.gain.p-holm")).or_else(|| metrics.get(&format!("{name}.gain.p"))).map(|p| chance(*p));
        table.row([name.clone(), cell(name.clone()), cell(format::of_baseline(&name)), cell(format!("{name}.gain")), p.unwrap_or_default()]);
    }
    for gap in [SLICE_GAP, OVERFIT_GAP].into_iter().filter(|gap| metrics.contains_key(*gap)) {
        table.row([gap.to_owned(), cell(gap.to_owned())]);
    }
    table.render()
}

fn print(shown: &Shown) {
    let lost = shown.actions.iter().all(|action| action.record.is_none());
    let state = match (lost, shown.current) {
        (true, _) => "no account of a result",
        (false, true) => "up to date",
        (false, false) => "stale: this is its last result",
    };
    say!("{} ({}), {state}", shown.stage, shown.kind);
    if lost {
        say!("it has no result in this store yet");
        return;
    }
    let summary = if shown.kind == "evaluate" { figures(&shown.metrics) } else { format::metrics(&shown.kind, &shown.metrics) };
    if !summary.is_empty() {
        say!("{summary}");
    }
    let mut table = Table::new(&["action", "output", "size", "blake3"]);
    for action in &shown.actions {
        let outputs = action.record.iter().flat_map(|record| &record.outcome.outputs);
        for (name, artifact) in outputs.filter(|(name, _)| !is_own(&shown.kind, name)) {
            table.row([action.name.clone(), name.clone(), size(*artifact), artifact.digest().short()]);
        }
    }
    say!("\n{}", table.render());
    for action in &shown.actions {
        if let Some(record) = &action.record {
            let made = record.finished.strftime("%Y-%m-%d %H:%M:%S UTC");
            let model = record.outcome.model.as_ref().map_or(String::new(), |model| format!(", model: {model}"));
            for accepted in &record.outcome.accepted {
                say!("{}: held for {} and was kept: {}", action.name, accepted.from.0.short(), accepted.reason);
            }
            if let Some(resumed) = &record.outcome.resumed {
                say!("{}: resumed from {resumed}", action.name);
            }
            let (key, took) = (record.key.0.short(), format::seconds(record.seconds));
            say!("{}", filled(&format!("{}: fingerprint {key}, made {made} in {took} by run {}{model}", action.name, record.run), 2));
        }
    }
    for gate in shown.verdict.iter().flat_map(|verdict| &verdict.gates) {
        let word = match gate.outcome {
            Outcome::Pass => "met",
            Outcome::Inconclusive => "inconclusive",
            Outcome::Fail => "NOT met",
        };
        say!("{}", filled(&format!("gate {word}: {}: {}", gate.gate, gate.reason), 2));
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn size(artifact: Artifact) -> String {
    match artifact {
        Artifact::File { size, .. } | Artifact::Program { size, .. } => format!("{} B", format::count(size as f64)),
        Artifact::Tree { .. } => "folder".to_owned(),
    }
}
