use std::path::Path;

use clap::Args;
use jiff::Timestamp;

use crate::config::nearest;
use crate::engine::Workspace;
use crate::ledger::{Alias, LedgerError};
use crate::stage::inform;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::{complain, say};
use super::super::wait::wait_for;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The alias
    alias: String,
}

pub fn rollback(arguments: &Arguments) -> Result<Exit, Problem> {
    let root = Workspace::root_of(Path::new("retune.kdl"));
    let alias = Alias::read(&root, &arguments.alias)?;
    if alias.versions.is_empty() {
        let known = Alias::all(&root)?;
        let names: Vec<&str> = known.iter().map(|alias| alias.name.as_str()).collect();
        let help = match nearest(&arguments.alias, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "a deploy stage makes aliases: `retune run`".into(),
            None => format!("there are: {}", names.join(", ")),
        };
        return Err(LedgerError::UnknownAlias { alias: arguments.alias.clone(), help }.into());
    }
    let workspace = Workspace::open(Path::new("retune.kdl"))?;
    let (mut before, mut was_tried) = (0, false);
    let alias = Alias::change(&workspace.store, &root, &arguments.alias, |alias| {
        (before, was_tried) = (alias.latest(), alias.trial.is_some());
        alias.roll_back(Timestamp::now()).map(drop)
    })?;
    let model = alias.now().map_or_else(String::new, |version| format!("{} {}", version.model, version.artifact.short()));
    let how = if was_tried { "stays with" } else { "stands again for" };
    say!("`{}` {how} version {} ({model}); version {before} is marked as rolled back", alias.name, alias.current);
    say!("commit deployments/{}.kdl; `retune run` keeps to it until something changes", alias.name);
    tell(&workspace, &alias.name)
}

/// Brings those outside to what an alias stands for now.
pub fn tell(workspace: &Workspace, alias: &str) -> Result<Exit, Problem> {
    let untold = wait_for(async { Ok(inform(&workspace.store, &workspace.root, alias).await?) })?;
    untold.iter().for_each(|problem| complain!("{problem}"));
    if untold.is_empty() {
        return Ok(Exit::Done);
    }
    complain!("mend that, then `retune deployments --tell` tells those who do not know yet");
    Ok(Exit::Failed)
}
