use std::io::Write;

use clap::Args;

use crate::engine::Workspace;
use crate::ledger::{Event, runs};

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2)]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
}

pub fn log(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words);
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = &recipe.stages[recipe.named(target.stage()?)?];
    let folder = Workspace::look(&recipe.file.path).store.root().join("runs");
    let name = stage.name.as_str();
    let started = |event: &Event| matches!(event, Event::ActionStarted { stage, .. } if stage == name);
    let last = runs(&folder).into_iter().find(|run| run.events.iter().any(started));
    let Some(run) = last else {
        eprintln!("`{name}` has not run in this workspace");
        return Ok(Exit::Failed);
    };
    for event in &run.events {
        match event {
            Event::Note { stage, message } if stage == name => println!("{message}"),
            Event::ActionFailed { stage, message, .. } if stage == name => println!("{message}"),
            _ => {}
        }
    }
    let printed = std::fs::read(folder.join(run.id.to_string()).join("logs").join(format!("{name}.log"))).unwrap_or_default();
    // A reader that closes early (`head`) is no error.
    let _ = std::io::stdout().write_all(&printed);
    Ok(Exit::Done)
}
