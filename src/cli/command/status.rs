use std::path::PathBuf;

use clap::Args;

use crate::config::in_shell;
use crate::engine::{self, PlannedStage, Standing, Workspace};

use super::super::exit::Exit;
use super::super::next::{Step, next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::result;
use super::super::table::Table;
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn status(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let workspace = Workspace::look(&recipe.file.path);
    let plan = engine::plan(&recipe, &workspace, &[])?;
    if arguments.json {
        print_json(&plan.summary());
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["stage", "state", "made", "why"]);
    for stage in &plan.stages {
        let state = match stage.standing() {
            Standing::Cached if stage.gated() => "gated",
            Standing::Cached => "up to date",
            Standing::Run => "stale",
            Standing::Unknown => "waits",
        };
        let done = stage.actions.iter().filter(|action| action.standing == Standing::Cached).filter_map(|action| action.key);
        let made = done.filter_map(|key| workspace.store.remembered(key)).map(|record| record.finished).max();
        let made = made.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
        table.row([stage.name.clone(), state.to_owned(), made, stage.reasons().into_iter().next().unwrap_or_default()]);
    }
    result(format_args!("{}", table.render()));
    next(steps(&plan.stages, &arguments.changes.again(arguments.pipeline.as_deref())));
    Ok(Exit::Done)
}

/// `again` are the words by which another command means the same pipeline.
fn steps(stages: &[PlannedStage], again: &str) -> Vec<Step> {
    let first = |is: fn(&PlannedStage) -> bool| stages.iter().find(|stage| is(stage)).map(|stage| in_shell(&stage.name));
    let gated = first(PlannedStage::gated).map(|gated| step(format!("show {gated}{again}"), "which gate said no, and why"));
    let stale = first(|stage| stage.standing() == Standing::Run).map(|stale| step(format!("why {stale}{again}"), "what changed, old and new"));
    let due = stages.iter().any(|stage| stage.standing() != Standing::Cached).then(|| step(format!("run{again}"), "makes what is not up to date"));
    let steps: Vec<Step> = [gated, stale, due].into_iter().flatten().collect();
    if steps.is_empty() { vec![step(format!("metrics{again}"), "the figures of all stages")] } else { steps }
}
