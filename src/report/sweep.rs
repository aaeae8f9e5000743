use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::Value;
use crate::engine::{Account, Plan, Recipe, Workspace};
use crate::ledger::LockFile;

use super::chart::{Axis, Line, Path, lines, parallel};
use super::page::{ReportError, render};
use super::section::curves;

/// More figures than this are no axes that anybody could follow.
const FIGURES: usize = 5;

#[derive(Debug, Serialize)]
struct Page {
    title: String,
    pipeline: String,
    version: &'static str,
    stage: String,
    axes: Vec<String>,
    figures: Vec<String>,
    rows: Vec<Row>,
    missing: Vec<String>,
    chart: Option<String>,
    losses: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    values: Vec<Option<String>>,
    figures: Vec<Option<f64>>,
    best: bool,
}

/// The page about the instances of a stage: the values of their axes, and what came of them.
///
/// # Errors
/// When what is kept of them cannot be read, or the page cannot be written.
pub fn of_sweep(recipe: &Recipe, workspace: &Workspace, plan: &Plan, instances: &[usize]) -> Result<String, ReportError> {
    let lock = LockFile::read(&recipe.lock_path())?;
    let all: Vec<(usize, Account)> = instances.iter().map(|&stage| (stage, Account::of(&plan.stages[stage], &lock, &workspace.store))).collect();
    let (lost, known): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, account)| account.is_lost());
    let axes: BTreeSet<&String> = instances.iter().flat_map(|&stage| recipe.stages[stage].values.keys()).collect();
    let figures = figures(&known);
    // The first figure is the one that is looked at; of losses less is better.
    let lower_is_better = figures.first().is_some_and(|figure| figure.ends_with("loss") || figure.ends_with("gap") || figure == "perplexity");
    let value = |account: &Account, figure: &String| account.metrics().get(figure).copied();
    let first = |account: &Account| figures.first().and_then(|figure| value(account, figure));
    let best = known.iter().filter_map(|(stage, account)| Some((*stage, first(account)?))).reduce(|best, other| {
        let better = if lower_is_better { other.1 < best.1 } else { other.1 > best.1 };
        if better { other } else { best }
    });
    let is_best = |stage: usize| best.is_some_and(|(best, _)| best == stage);
    let mut rows: Vec<Row> = known
        .iter()
        .map(|(stage, account)| Row {
            name: account.name.clone(),
            values: axes.iter().map(|axis| recipe.stages[*stage].values.get(*axis).map(Value::plain)).collect(),
            figures: figures.iter().map(|figure| value(account, figure)).collect(),
            best: is_best(*stage),
        })
        .collect();
    rows.sort_by(|a, b| {
        let order = a.figures.first().copied().flatten().unwrap_or(f64::NAN).total_cmp(&b.figures.first().copied().flatten().unwrap_or(f64::NAN));
        if lower_is_better { order } else { order.reverse() }
    });
    let stage = recipe.stages[instances[0]].name.stem().to_owned();
    let losses: Vec<Line> =
        known.iter().filter_map(|(_, account)| curves(account, &workspace.store).pop().map(|line| Line { name: account.name.clone(), ..line })).collect();
    let page = Page {
        title: format!("{stage}: sweep"),
        pipeline: recipe.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        chart: drawn(&stage, &axes, &figures, &known, recipe, is_best),
        losses: if losses.len() <= 4 { lines(&format!("Validation loss of each instance of {stage}"), "step", &losses, &[]) } else { None },
        axes: axes.iter().map(ToString::to_string).collect(),
        figures,
        rows,
        missing: lost.into_iter().map(|(_, account)| account.name).collect(),
        stage,
    };
    render("sweep.html", &page)
}

/// The figures that the instances are compared by: those that say most of a model first.
fn figures(known: &[(usize, Account)]) -> Vec<String> {
    const FIRST: [&str; 3] = ["validation-loss", "train-loss", "loss-gap"];
    let all: BTreeSet<String> = known.iter().flat_map(|(_, account)| account.metrics().into_keys()).collect();
    let graded = known.first().map(|(_, account)| account.metrics()).unwrap_or_default();
    let graded = super::format::graded(&graded).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let losses = FIRST.into_iter().map(str::to_owned).filter(|name| all.contains(name));
    let mut figures: Vec<String> = graded.into_iter().chain(losses).collect();
    if figures.is_empty() {
        figures = all.iter().filter(|name| !name.contains('.')).cloned().collect();
    }
    figures.truncate(FIGURES);
    figures
}

fn drawn(
    stage: &str,
    axes: &BTreeSet<&String>,
    figures: &[String],
    known: &[(usize, Account)],
    recipe: &Recipe,
    is_best: impl Fn(usize) -> bool,
) -> Option<String> {
    let values = |axis: &str| known.iter().filter_map(|(stage, _)| recipe.stages[*stage].values.get(axis)).collect::<Vec<_>>();
    let number = |value: &Value| match value {
        #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^52")]
        Value::Integer(number) => *number as f64,
        Value::Number(number) => *number,
        Value::Text(_) | Value::Flag(_) => f64::INFINITY,
    };
    // The values that were tried stand evenly apart: no setting lies between them.
    let axis = |name: &&String| {
        let mut values = values(name);
        values.sort_by(|a, b| number(a).total_cmp(&number(b)).then_with(|| a.plain().cmp(&b.plain())));
        let mut words: Vec<String> = values.into_iter().map(Value::plain).collect();
        words.dedup();
        Axis { name: name.to_string(), words: Some(words) }
    };
    let mut all: Vec<Axis> = axes.iter().map(axis).collect();
    let place = |axis: &Axis, value: &Value| axis.words.as_ref()?.iter().position(|word| *word == value.plain()).map(crate::grade::count);
    let path = |(stage, account): &(usize, Account)| {
        let metrics = account.metrics();
        let settings = all.iter().map(|axis| recipe.stages[*stage].values.get(&axis.name).and_then(|value| place(axis, value)));
        let measured = figures.iter().map(|figure| metrics.get(figure).copied());
        Path { name: account.name.clone(), values: settings.chain(measured).collect(), is_best: is_best(*stage) }
    };
    let paths: Vec<Path> = known.iter().map(path).collect();
    all.extend(figures.iter().map(|figure| Axis { name: figure.clone(), words: None }));
    parallel(&format!("The instances of {stage}: their settings, and what was measured of them"), &all, &paths)
}
