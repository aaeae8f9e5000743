use std::path::Path;

use clap::Args;

use crate::engine::{self, JobChange, Workspace};

use super::super::exit::Exit;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;
use super::super::wait::wait_for;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Ask the providers how the jobs stand
    #[arg(long)]
    refresh: bool,
    /// Let a job rest, where the provider can do that
    #[arg(long, value_name = "JOB", conflicts_with = "refresh")]
    pause: Option<String>,
    /// Let a job go on that rests
    #[arg(long, value_name = "JOB", conflicts_with_all = ["refresh", "pause"])]
    resume: Option<String>,
    /// Follow a job no more: the next run of its stage makes a new one, which is paid for
    #[arg(long, value_name = "JOB", conflicts_with_all = ["refresh", "pause", "resume"])]
    forget: Option<String>,
    /// Delete what a job left at its provider: the tuned model, and the files that it learnt from
    #[arg(long, value_name = "JOB", conflicts_with_all = ["refresh", "pause", "resume"])]
    delete: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn jobs(arguments: &Arguments) -> Result<Exit, Problem> {
    let workspace = Workspace::look(Path::new("retune.kdl"));
    let asked = arguments.forget.as_ref().map(|job| (job, JobChange::Forget));
    let asked = asked.or(arguments.pause.as_ref().map(|job| (job, JobChange::Pause))).or(arguments.resume.as_ref().map(|job| (job, JobChange::Resume)));
    if let Some(id) = &arguments.delete {
        wait_for(engine::change_job(&workspace, id, JobChange::Delete))?;
        say!("what {id} left at its provider is deleted");
        next([step("jobs", "how all jobs stand")]);
        return Ok(Exit::Done);
    }
    if let Some((id, change)) = asked {
        let job = wait_for(engine::change_job(&workspace, id, change))?;
        say!("{} is {}", job.id, job.word);
        next([step("jobs", "how all jobs stand")]);
        return Ok(Exit::Done);
    }
    let known = wait_for(engine::jobs(&workspace, arguments.refresh))?;
    if arguments.json {
        print_json(&known);
        return Ok(Exit::Done);
    }
    if known.is_empty() {
        say!("no remote job was begun in this workspace");
        next([step("plan", "what a run would do, and where")]);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["job", "provider", "base", "stage", "status", "fingerprint"]);
    for job in known {
        let short = job.key[..engine::SHOWN].to_owned();
        table.row([job.job.unwrap_or_else(|| "-".into()), job.provider, job.model, job.stage.unwrap_or_else(|| "-".into()), job.status, short]);
    }
    result(format_args!("{}", table.render()));
    next([step("jobs --refresh", "asks the providers how they stand"), step("cancel JOB", "ends one; `retune run` follows those that go on")]);
    Ok(Exit::Done)
}
