use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::engine::{self, Machine, ProviderState, Workspace};

use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;
use super::super::target::Changes;
use super::super::wait::wait_for;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// List every deployed alias whose model retires, when, and which provider could take the recipe; asks the providers
    #[arg(long)]
    lifecycle: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, schemars::JsonSchema)]
pub struct Finding {
    what: String,
    fine: bool,
    says: String,
}

pub fn doctor(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = match &arguments.pipeline {
        Some(_) => Some(arguments.changes.load(arguments.pipeline.as_ref())?),
        None => engine::discover(None).ok().map(|path| arguments.changes.load(Some(&path))).transpose()?,
    };
    let workspace = Workspace::look(recipe.as_ref().map_or(Path::new("retune.kdl"), |recipe| &recipe.file.path));
    if arguments.lifecycle {
        return lifecycle(recipe.as_ref(), &workspace, arguments.json);
    }
    let findings = findings(recipe.as_ref(), &workspace)?;
    let exit = if findings.iter().all(|finding| finding.fine) { Exit::Done } else { Exit::Failed };
    if arguments.json {
        print_json(&findings);
        return Ok(exit);
    }
    let mut table = Table::new(&["state", "what", "found"]);
    for Finding { what, fine, says } in findings {
        table.row([if fine { "ok" } else { "LOOK" }.to_owned(), what, says]);
    }
    result(format_args!("{}", table.render()));
    let again = arguments.changes.again(arguments.pipeline.as_deref());
    next([match (exit, &recipe) {
        (_, None) => step("doctor PIPELINE", "what that needs; `retune init` writes one"),
        (Exit::Done, _) => step(format!("plan{again}"), "what a run would do, and what it would cost"),
        _ => step(format!("doctor{again}"), "looks again, once that is mended"),
    }]);
    Ok(exit)
}

fn findings(recipe: Option<&engine::Recipe>, workspace: &Workspace) -> Result<Vec<Finding>, Problem> {
    let mut findings = Vec::new();
    let mut find = |what: &str, fine: bool, says: String| findings.push(Finding { what: what.to_owned(), fine, says });
    match recipe {
        Some(recipe) => find("pipeline", true, format!("{} ({})", recipe.file.name, format::number(recipe.stages.len(), "stage"))),
        None => find("pipeline", false, "there is none here: name one, or let `retune init` write one".into()),
    }
    let writable = std::fs::metadata(&workspace.root).is_ok_and(|root| !root.permissions().readonly());
    find("workspace", writable, workspace.root.display().to_string());
    let machine = Machine::here(std::thread::available_parallelism().map_or(1, usize::from));
    find("machine", true, machine.to_string());
    // Without a pipeline nobody knows who is needed.
    let is_needed = recipe.is_some();
    for ProviderState { name, place, lacks } in recipe.map_or_else(|| Ok(engine::built_in()), engine::Recipe::needed)? {
        let says = if lacks.is_empty() { place } else { format!("{place}; {}", lacks.join("; ")) };
        find(&format!("provider {name}"), lacks.is_empty() || !is_needed, says);
    }
    Ok(findings)
}

fn lifecycle(recipe: Option<&engine::Recipe>, workspace: &Workspace, json: bool) -> Result<Exit, Problem> {
    let outlooks = wait_for(engine::lifecycle(recipe, workspace))?;
    if json {
        print_json(&outlooks);
        return Ok(Exit::Done);
    }
    if outlooks.is_empty() {
        say!("nothing is deployed");
        next([step("run", "deploys what its gates let through")]);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["alias", "model", "retires", "new jobs until", "could go to"]);
    for outlook in outlooks {
        let retires = match (outlook.retires, outlook.which, outlook.note) {
            (Some(day), Some(which), _) => format!("{day} ({which})"),
            (_, _, Some(note)) => note,
            _ => "nothing announced".into(),
        };
        let others = if outlook.could_take.is_empty() { "-".into() } else { outlook.could_take.join(", ") };
        table.row([outlook.alias, outlook.model, retires, outlook.no_jobs_after.unwrap_or_else(|| "-".into()), others]);
    }
    result(format_args!("{}", table.render()));
    next([step("deployments", "what each alias stands for")]);
    Ok(Exit::Done)
}
