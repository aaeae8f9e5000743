use clap::Args;
use clap_complete::ArgValueCompleter;
use serde::Serialize;

use crate::config::in_shell;
use crate::engine::{self, PlannedStage, Standing, Workspace};
use crate::fingerprint::Change;
use crate::ledger::{Event, run};

use super::super::completing::words;
use super::super::exit::Exit;
use super::super::format::one_line;
use super::super::next::{next, step};
use super::super::print_json;
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, schemars::JsonSchema)]
pub struct Answer {
    stage: String,
    action: String,
    changes: Vec<Change>,
    reasons: Vec<String>,
    last: Vec<String>,
}

pub fn why(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = recipe.named(target.stage()?)?;
    let workspace = Workspace::look(&recipe.file.path);
    let name = recipe.stages[stage].name.to_string();
    // What else the pipeline has says nothing of it.
    let plan = engine::plan(&recipe, &workspace, std::slice::from_ref(&name))?;
    let planned = plan.stages.iter().find(|planned| planned.name == name).expect("the plan of a stage has that stage");
    let answer = Answer {
        stage: planned.name.clone(),
        action: planned.standing().word().to_owned(),
        changes: planned.actions.iter().flat_map(|action| action.changes.clone()).collect(),
        reasons: planned.reasons(),
        last: last(&workspace, planned),
    };
    if arguments.json {
        print_json(&answer);
        return Ok(Exit::Done);
    }
    match planned.standing() {
        Standing::Cached => say!("`{}` is up to date", planned.name),
        Standing::Run => say!("`{}` would run:", planned.name),
        Standing::Unknown => say!("whether `{}` runs is not known yet:", planned.name),
    }
    for reason in &answer.reasons {
        say!("  {}", one_line(reason.clone()));
    }
    if planned.standing() == Standing::Cached && !answer.last.is_empty() {
        say!("its result was made because:");
        for reason in &answer.last {
            say!("  {}", one_line(reason.clone()));
        }
    }
    let words = format!("{}{}", in_shell(&name), arguments.changes.again(target.pipeline.as_deref()));
    next([match planned.standing() {
        Standing::Cached => step(format!("show {words}"), "what it made"),
        Standing::Run | Standing::Unknown => step(format!("run {words}"), "makes it, and what it needs"),
    }]);
    Ok(Exit::Done)
}

/// Why the results that the stage has were made, by the ledger.
fn last(workspace: &Workspace, planned: &PlannedStage) -> Vec<String> {
    let several = planned.actions.len() > 1;
    let records = planned.actions.iter().filter_map(|action| Some((&action.name, workspace.store.remembered(action.key?)?)));
    let reasons = records.flat_map(|(name, record)| {
        let key = record.key.to_string();
        let events = run(&workspace.store.root().join("runs"), record.run).events.into_iter();
        let reasons = events.filter_map(move |event| match event {
            Event::ActionStarted { key: of, reasons, .. } if of == key => Some(reasons),
            _ => None,
        });
        reasons.flatten().map(move |reason| if several { format!("{name}: {reason}") } else { reason })
    });
    reasons.collect()
}
