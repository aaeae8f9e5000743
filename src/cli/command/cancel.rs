use std::path::Path;

use clap::Args;

use crate::engine::{self, JobChange, Workspace};
use crate::provider::JobState;

use super::super::exit::Exit;
use super::super::next::{next, step};
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::wait::wait_for;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The job, as `retune jobs` names it
    job: String,
}

pub fn cancel(arguments: &Arguments) -> Result<Exit, Problem> {
    let workspace = Workspace::look(Path::new("retune.kdl"));
    let job = wait_for(engine::change_job(&workspace, &arguments.job, JobChange::Cancel))?;
    match job.state {
        JobState::Cancelled => say!("{} is {}; the next run of its stage makes a new one", job.id, job.word),
        JobState::Succeeded | JobState::Failed => say!("{} is over already: {}", job.id, job.word),
        JobState::Going | JobState::Paused => {
            say!("{} was asked to cancel, and the provider still says that it is {}", job.id, job.word);
        }
    }
    next([step("jobs", "how all jobs stand")]);
    Ok(Exit::Done)
}
