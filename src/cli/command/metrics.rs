use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::engine::{self, Account, Standing, Workspace};
use crate::ledger::LockFile;

use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// Print JSON, with every figure
    #[arg(long)]
    json: bool,
}

/// The figures of a stage's last result.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct StageMetrics {
    stage: String,
    kind: String,
    /// Whether it is the result that the pipeline has now.
    current: bool,
    metrics: BTreeMap<String, f64>,
}

pub fn metrics(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let workspace = Workspace::look(&recipe.file.path);
    let plan = engine::plan(&recipe, &workspace, &[])?;
    let lock = LockFile::read(&recipe.lock_path())?;
    let accounts = plan.stages.iter().map(|stage| Account::of(stage, &lock, &workspace.store)).filter(|account| !account.is_lost());
    let all: Vec<StageMetrics> = accounts
        .map(|account| StageMetrics { current: account.standing == Standing::Cached, metrics: account.metrics(), stage: account.name, kind: account.kind })
        .filter(|stage| !stage.metrics.is_empty())
        .collect();
    if arguments.json {
        print_json(&all);
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        say!("no stage has figures yet");
        next([step(format!("run{}", arguments.changes.again(arguments.pipeline.as_deref())), "makes them")]);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["stage", "state", "figures"]);
    for stage in &all {
        let state = if stage.current { "up to date" } else { "stale" };
        for (nth, figure) in format::figures(&stage.kind, &stage.metrics).into_iter().enumerate() {
            let (name, state) = if nth == 0 { (stage.stage.clone(), state) } else { (String::new(), "") };
            table.row([name, state.to_owned(), figure]);
        }
    }
    result(format_args!("{}", table.render()));
    let again = arguments.changes.again(arguments.pipeline.as_deref());
    next([step(format!("show STAGE{again}"), "more of one stage"), step(format!("report{again}"), "all of it as a page")]);
    Ok(Exit::Done)
}
