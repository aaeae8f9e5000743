use std::path::Path;

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::engine::Workspace;
use crate::engine::compare::{Comparison, Figure, Predictions, Rows, Side, StageComparison, compare};
use crate::provider::dollars;

use super::super::completing::runs;
use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::result;
use super::super::table::Table;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A run: its id or the beginning of it, its name, `last`, `last~1`
    #[arg(add = ArgValueCompleter::new(runs))]
    a: String,
    /// Another run
    #[arg(add = ArgValueCompleter::new(runs))]
    b: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn diff(arguments: &Arguments) -> Result<Exit, Problem> {
    let store = Workspace::look(Path::new("retune.kdl")).store;
    let comparison = compare(&store, &arguments.a, &arguments.b)?;
    if arguments.json {
        print_json(&comparison);
    } else {
        result(format_args!("{}", text(&comparison)));
        next([step(format!("report {} {}", comparison.a.run, comparison.b.run), "the same as a page, with losses and answers side by side")]);
    }
    Ok(Exit::Done)
}

fn text(comparison: &Comparison) -> String {
    let (a, b) = (&comparison.a, &comparison.b);
    let mut table = Table::new(&["", "run", "pipeline", "status", "time", "trained tokens", "cost"]);
    let side = |label: &str, side: &Side| {
        let name = side.name.as_ref().map_or_else(|| side.run.clone(), |name| format!("{} ({name})", side.run));
        let cost = if side.usd > 0.0 { dollars(side.usd) } else { "-".into() };
        [label.to_owned(), name, side.pipeline.clone(), side.status.clone(), format::seconds(side.seconds), format::count(side.tokens), cost]
    };
    table.row(side("a", a));
    table.row(side("b", b));
    let mut out = table.render();
    for stage in &comparison.stages {
        out += &stage_text(stage);
    }
    if comparison.stages.is_empty() {
        let done = |side: &Side| side.status == "ok" || side.status == "accepted";
        out += match done(a) && done(b) {
            true => "\nthe two consist of the same results\n",
            false => "\nthe two left the same results behind; what did not come to its end left none\n",
        };
    } else if !comparison.same.is_empty() {
        out += &format!("\nthe same in both: {}\n", comparison.same.join(", "));
    }
    out
}

fn stage_text(stage: &StageComparison) -> String {
    let mut out = format!("\n{} ({}), {}\n", stage.name, stage.kind, stage.state);
    for change in &stage.changes {
        out += &format!("  {}\n", crate::engine::line(change));
    }
    let mut table = Table::new(&["  metric", "a", "b", "b - a"]);
    for pair in &stage.metrics {
        let difference = pair.a.zip(pair.b).map_or_else(|| "-".into(), |(a, b)| format!("{:+}", rounded(b.value - a.value)));
        table.row([format!("  {}", pair.name), figure(pair.a), figure(pair.b), difference]);
    }
    if !stage.metrics.is_empty() {
        out += &table.render();
    }
    for rows in &stage.rows {
        out += &rows_text(rows);
    }
    out += &stage.predictions.as_ref().map(predictions_text).unwrap_or_default();
    if let (Some(a), Some(b)) = stage.seconds {
        out += &format!("  time {} -> {}\n", format::seconds(a), format::seconds(b));
    }
    for missing in &stage.missing {
        out += &format!("  the result {missing} is not in this store any more\n");
    }
    out
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn figure(figure: Option<Figure>) -> String {
    match figure {
        None => "-".into(),
        Some(Figure { value, low: Some(low), high: Some(high) }) => format!("{} [{}, {}]", rounded(value), rounded(low), rounded(high)),
        Some(Figure { value, .. }) => rounded(value).to_string(),
    }
}

fn rows_text(rows: &Rows) -> String {
    let mut out =
        format!("  {}: {} -> {} rows: {} added, {} removed, {} changed\n", rows.output, rows.counts.0, rows.counts.1, rows.added, rows.removed, rows.changed);
    let cut = |text: &str| format::shortened(text, 70);
    rows.added_samples.iter().for_each(|row| out += &format!("    + {}\n", cut(row)));
    rows.removed_samples.iter().for_each(|row| out += &format!("    - {}\n", cut(row)));
    rows.changed_samples.iter().for_each(|row| out += &format!("    ~ {}: {} -> {}\n", cut(&row.asks), cut(&row.old), cut(&row.new)));
    out
}

fn predictions_text(found: &Predictions) -> String {
    let mut out =
        format!("  of {} rows in both: {} fixed, {} broken, {} worth the same in other words\n", found.rows, found.fixed, found.broken, found.reworded);
    for flip in &found.samples {
        let word = if flip.fixed { "fixed " } else { "broken" };
        out += &format!("    {word} {}: wanted {:?}, a {:?}, b {:?}\n", format::shortened(&flip.asked, 60), flip.wanted, flip.old, flip.new);
    }
    out
}
