use std::path::PathBuf;

use clap::Args;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

pub fn check(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.check(arguments.pipeline.as_ref())?;
    say!("{}: {} stages, {} actions, nothing wrong", recipe.file.name, recipe.stages.len(), recipe.order.len());
    Ok(Exit::Done)
}
