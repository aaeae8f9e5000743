use std::path::Path;

use clap::Args;

use crate::engine::Workspace;
use crate::ledger::Alias;

use super::super::exit::Exit;
use super::super::format;
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;

#[derive(Debug, Args)]
pub struct Arguments {}

pub fn deployments(_: &Arguments) -> Result<Exit, Problem> {
    let aliases = Alias::all(&Workspace::root_of(Path::new("retune.kdl")))?;
    if aliases.is_empty() {
        say!("nothing was deployed yet");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["alias", "version", "", "model", "blake3", "deployed", "metrics"]);
    for alias in &aliases {
        for (number, version) in (1_u32..).zip(&alias.versions) {
            let state = match version.rolled_back {
                _ if number == alias.current => "current",
                _ if version.deleted.is_some() => "deleted",
                Some(_) => "rolled back",
                None => "",
            };
            let told = match format::metrics("evaluate", &version.metrics) {
                told if told.is_empty() => "-".into(),
                told => told,
            };
            let deployed = version.deployed.strftime("%Y-%m-%d %H:%M:%S").to_string();
            table.row([alias.name.clone(), number.to_string(), state.to_owned(), version.model.clone(), version.artifact.short(), deployed, told]);
        }
    }
    result(format_args!("{}", table.render()));
    Ok(Exit::Done)
}
