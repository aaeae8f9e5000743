use std::path::PathBuf;

use clap::Args;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

pub fn check(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let stages = recipe.pipeline.stages.len();
    println!("{}: {stages} stages, {} actions, nothing wrong", recipe.pipeline.file.name, recipe.order.len());
    Ok(Exit::Done)
}
