use std::path::PathBuf;

use clap::Args;

use crate::engine::{self, Plan, PlannedAction, Standing, Workspace};

use super::super::exit::Exit;
use super::super::print_json;
use super::super::problem::Problem;
use super::super::table::Table;
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// Show the actions that each stage compiles to
    #[arg(long)]
    actions: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn plan(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let plan = engine::plan(&recipe, &Workspace::look(&recipe.file.path))?;
    if arguments.json {
        print_json(&plan.summary());
        return Ok(Exit::Done);
    }
    if arguments.actions {
        print!("{}", actions(&plan))
    } else {
        print!("{}", stages(&plan))
    }
    println!("\n{}", verdict(&plan));
    Ok(Exit::Done)
}

/// The stages of a plan as a table.
pub fn stages(plan: &Plan) -> String {
    let mut table = Table::new(&["stage", "kind", "action", "why"]);
    for stage in &plan.stages {
        let reasons = stage.reasons();
        let first = reasons.first().cloned().unwrap_or_default();
        table.row([stage.name.clone(), stage.kind.clone(), stage.standing().word().to_owned(), first]);
        for reason in reasons.into_iter().skip(1) {
            table.row([String::new(), String::new(), String::new(), reason]);
        }
    }
    table.render()
}

fn actions(plan: &Plan) -> String {
    let mut table = Table::new(&["stage", "action", "does", "fingerprint", "why"]);
    for stage in &plan.stages {
        for PlannedAction { name, standing, key, reasons, .. } in &stage.actions {
            let key = key.map_or_else(|| "-".to_owned(), |key| key.0.short());
            table.row([stage.name.clone(), name.clone(), standing.word().to_owned(), key, reasons.join("; ")]);
        }
    }
    table.render()
}

fn verdict(plan: &Plan) -> String {
    let counted = |standing| plan.stages.iter().filter(|stage| stage.standing() == standing).count();
    let (run, unknown) = (counted(Standing::Run), counted(Standing::Unknown));
    if run + unknown == 0 {
        return "nothing would run: all results are there".into();
    }
    let unknown = if unknown == 0 { String::new() } else { format!(", and for {unknown} it shows once their inputs are made") };
    format!("{run} of {} stages would run{unknown}", plan.stages.len())
}
