use clap::Args;
use serde::Serialize;

use crate::engine::{self, Standing, Workspace};
use crate::fingerprint::Change;
use crate::ledger::{Event, runs};

use super::super::exit::Exit;
use super::super::print_json;
use super::super::problem::Problem;
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2)]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    stage: String,
    action: String,
    changes: Vec<Change>,
    reasons: Vec<String>,
    last: Vec<String>,
}

pub fn why(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words);
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = recipe.named(target.stage()?)?;
    let workspace = Workspace::look(&recipe.file.path);
    let plan = engine::plan(&recipe, &workspace)?;
    let planned = &plan.stages[stage];
    let answer = Answer {
        stage: planned.name.clone(),
        action: planned.standing().word().to_owned(),
        changes: planned.actions.iter().flat_map(|action| action.changes.clone()).collect(),
        reasons: planned.reasons(),
        last: last(&workspace, &recipe.name, &planned.name),
    };
    if arguments.json {
        print_json(&answer);
        return Ok(Exit::Done);
    }
    match planned.standing() {
        Standing::Cached => println!("`{}` is up to date", planned.name),
        Standing::Run => println!("`{}` would run:", planned.name),
        Standing::Unknown => println!("whether `{}` runs is not known yet:", planned.name),
    }
    for reason in &answer.reasons {
        println!("  {reason}");
    }
    if planned.standing() == Standing::Cached && !answer.last.is_empty() {
        println!("it last ran because:");
        for reason in &answer.last {
            println!("  {reason}");
        }
    }
    Ok(Exit::Done)
}

/// Why the stage ran when it last did, by the ledger.
fn last(workspace: &Workspace, pipeline: &str, stage: &str) -> Vec<String> {
    let of_pipeline = |events: &[Event]| matches!(events.first(), Some(Event::RunStarted { pipeline: of, .. }) if of == pipeline);
    let found = runs(&workspace.store.root().join("runs")).into_iter().filter(|run| of_pipeline(&run.events)).find_map(|run| {
        let started = run.events.into_iter().filter_map(|event| match event {
            Event::ActionStarted { stage: of, action, reasons, .. } if of == stage => Some((action, reasons)),
            _ => None,
        });
        let lines: Vec<String> = started.flat_map(|(action, reasons)| reasons.into_iter().map(move |reason| format!("{action}: {reason}"))).collect();
        (!lines.is_empty()).then_some(lines)
    });
    found.unwrap_or_default()
}
