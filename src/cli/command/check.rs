use std::path::PathBuf;

use clap::Args;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::target::Changes;
use super::check_data::{self, DataArguments};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    data: DataArguments,
}

pub fn check(arguments: &Arguments) -> Result<Exit, Problem> {
    if let Some(file) = &arguments.data.file {
        return check_data::file(file, &arguments.data);
    }
    let recipe = arguments.changes.check(arguments.pipeline.as_ref())?;
    if arguments.data.data {
        return check_data::stages(&recipe, &arguments.data);
    }
    say!("{}: {} stages, {} actions, nothing wrong", recipe.file.name, recipe.stages.len(), recipe.order.len());
    Ok(Exit::Done)
}
