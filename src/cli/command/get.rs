use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::config::in_shell;
use crate::engine::{self, Standing, Workspace};
use crate::ledger::LockFile;
use crate::stage::KEPT;
use crate::store::{Artifact, Known};

use super::super::completing::words;
use super::super::exit::Exit;
use super::super::next::{aside, step};
use super::super::problem::Problem;
use super::super::speak::{complain, say};
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2, add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// The folder to write to; the stage's name where it is not given
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Whether an output is for the stage itself, and nothing that people look at.
pub fn is_own(kind: &str, name: &str) -> bool {
    kind == "prepare" && name == KEPT
}

pub fn get(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = &recipe.stages[recipe.named(target.stage()?)?];
    let workspace = Workspace::look(&recipe.file.path);
    let lock = LockFile::read(&recipe.lock_path())?;
    let folder = arguments.to.clone().unwrap_or_else(|| PathBuf::from(stage.name.as_str()));
    let actions = lock.stages.get(stage.name.as_str()).into_iter().flat_map(|locked| locked.actions.values());
    let records: Vec<_> = actions.filter_map(|action| workspace.store.remembered(action.fingerprint)).collect();
    if records.is_empty() {
        let words = format!("{}{}", in_shell(stage.name.as_str()), arguments.changes.again(target.pipeline.as_deref()));
        complain!("`{}` has no result in this store yet: `retune run {words}`", stage.name);
        return Ok(Exit::Failed);
    }
    let outputs: Vec<(PathBuf, Artifact)> = records
        .iter()
        .flat_map(|record| &record.outcome.outputs)
        .filter(|(name, _)| !is_own(&stage.kind, name))
        .map(|(name, artifact)| (folder.join(name), *artifact))
        .collect();
    let stage_plan = engine::plan(&recipe, &workspace, &[stage.name.to_string()])?;
    if stage_plan.stages.iter().any(|planned| planned.name == stage.name.as_str() && planned.standing() != Standing::Cached) {
        complain!("`{}` is stale: this is its last result", stage.name);
    }
    // Either all of it is written or nothing.
    for (place, artifact) in &outputs {
        workspace.store.verify_all(*artifact).inspect_err(|_| Known::forget(&workspace.store))?;
        if place.exists() && !workspace.store.knows(place) {
            complain!("{} is there already and is nothing that retune made; move it away, or name another folder with --to", place.display());
            return Ok(Exit::Failed);
        }
    }
    for (place, artifact) in &outputs {
        workspace.store.export(*artifact, place)?;
        say!("{}", place.display());
    }
    let words = format!("{}{}", in_shell(stage.name.as_str()), arguments.changes.again(target.pipeline.as_deref()));
    aside([step(format!("show {words} --provenance"), "what they were made of, as a statement for others")]);
    Ok(Exit::Done)
}
