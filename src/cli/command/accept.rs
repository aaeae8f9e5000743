use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::config::in_shell;
use crate::engine::{self, Workspace};

use super::super::completing::words;
use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2, add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Why its last result still holds
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

pub fn accept(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = recipe.named(target.stage()?)?;
    let workspace = Workspace::open(&recipe.file.path)?;
    let accepted = engine::accept(&recipe, &workspace, stage, &arguments.reason)?;
    say!("the last result of `{}` is kept over:", recipe.stages[stage].name);
    for action in &accepted {
        for change in &action.changes {
            say!("  {}: {change}", action.action);
        }
    }
    say!("the lock file and the provenance of the result say so, and why; `retune run --force {}` makes it anew", in_shell(recipe.stages[stage].name.as_str()));
    Ok(Exit::Done)
}
