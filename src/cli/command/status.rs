use std::path::PathBuf;

use clap::Args;

use crate::engine::{self, Standing, Workspace};

use super::super::exit::Exit;
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
    Ok(Exit::Done)
}
