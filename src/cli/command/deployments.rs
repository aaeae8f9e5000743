use std::path::Path;

use clap::Args;

use crate::config::in_shell;
use crate::engine::Workspace;
use crate::ledger::{Alias, Trial};
use crate::stage::Tallies;
use crate::store::Store;

use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Tell those outside who do not know yet what their alias stands for
    #[arg(long)]
    tell: bool,
}

pub fn deployments(arguments: &Arguments) -> Result<Exit, Problem> {
    let workspace = Workspace::look(Path::new("retune.kdl"));
    let aliases = Alias::all(&workspace.root)?;
    if arguments.tell {
        let workspace = Workspace::open(Path::new("retune.kdl"))?;
        let told = aliases.iter().map(|alias| super::rollback::tell(&workspace, &alias.name)).collect::<Result<Vec<Exit>, Problem>>()?;
        return Ok(if told.contains(&Exit::Failed) { Exit::Failed } else { Exit::Done });
    }
    if aliases.is_empty() {
        say!("nothing was deployed yet");
        next([step("run", "deploys what its gates let through")]);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["alias", "version", "", "model", "blake3", "deployed", "metrics"]);
    for alias in &aliases {
        for (number, version) in (1_u32..).zip(&alias.versions) {
            let tried = alias.trial.as_ref().filter(|trial| trial.version == number).map(Trial::told);
            let state = match version.rolled_back {
                _ if tried.is_some() => tried.as_deref().unwrap_or_default(),
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
    for alias in &aliases {
        for (number, version) in (1_u32..).zip(&alias.versions) {
            version.why.iter().for_each(|why| say!("version {number} of `{}` went back: {why}", alias.name));
        }
        alias.trial.iter().for_each(|trial| tell(&workspace.store, alias, trial));
        for outward in alias.outward.iter().filter(|outward| outward.told.unwrap_or_default() != alias.current) {
            say!("{} does not know yet: `retune deployments --tell`", outward.way.told());
        }
    }
    let older = aliases.iter().find(|alias| alias.earlier().is_some());
    let back = older.map(|alias| step(format!("rollback {}", in_shell(&alias.name)), "back to the version before"));
    next(back.into_iter().chain([step("serve", "answers for the aliases by OpenAI's protocol")]));
    Ok(Exit::Done)
}

/// How a version that is tried stands beside the current one, by what gateways have observed.
fn tell(store: &Store, alias: &Alias, trial: &Trial) {
    let Some(tallies) = alias.trial_name().and_then(|name| Tallies::read(store, &name).ok()) else {
        return;
    };
    let (tried, current) = (tallies.tried.errors.count, tallies.current.errors.count);
    say!("version {} of `{}` ({}) gave {tried} answers beside {current} of version {}", trial.version, alias.name, trial.told(), alias.current);
    tallies.beside(trial).iter().for_each(|figure| say!("  {}", figure.told()));
    if let Some(same) = tallies.same.mean() {
        say!("  {:.1} % of {} answers were the same", same * 100.0, tallies.same.count);
    }
}
