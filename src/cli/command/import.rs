use std::path::{Path, PathBuf};

use clap::Args;

use crate::engine::{self, EngineError, Workspace};
use crate::store::write_atomically;

use super::super::exit::Exit;
use super::super::importer::import as imported;
use super::super::next::{next, step};
use super::super::problem::Problem;
use super::super::speak::{complain, result, say};
use super::super::target::quoted;
use super::super::wait::wait_for;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A config of OpenAI's API, promptfoo, Axolotl, LLaMA-Factory or DVC; or the id of a fine-tuning job of OpenAI (`ftjob-...`)
    #[arg(value_name = "FILE|JOB")]
    of: String,
    /// The pipeline to write, in place of printing it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub fn import(arguments: &Arguments) -> Result<Exit, Problem> {
    let text = if arguments.of.starts_with("ftjob-") {
        let workspace = Workspace::look(Path::new("retune.kdl"));
        wait_for(engine::told_of_job(&workspace, &arguments.of))?.to_string()
    } else {
        let path = PathBuf::from(&arguments.of);
        std::fs::read_to_string(&path).map_err(|error| EngineError::Workspace { path, reason: error.to_string() })?
    };
    let name = Path::new(&arguments.of).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let found = match imported(&text, &name) {
        Ok(found) => found,
        Err(problem) => {
            complain!("{} cannot be imported: {problem}", arguments.of);
            return Ok(Exit::Wrong);
        }
    };
    let Some(place) = &arguments.to else {
        result(format_args!("{}", found.pipeline));
        return Ok(Exit::Done);
    };
    if place.exists() {
        complain!("{} is there already; name another file with --to, or move it away", place.display());
        return Ok(Exit::Failed);
    }
    write_atomically(place, found.pipeline.as_bytes())?;
    let left = match found.left {
        0 => "all of it has a counterpart".to_owned(),
        1 => "1 setting has no counterpart, and stands in a comment at its end".to_owned(),
        several => format!("{several} settings have no counterpart, and stand in comments at its end"),
    };
    say!("{} is written, of {}: {left}", place.display(), found.of);
    next([step(format!("check {}", quoted(&place.display().to_string())), "what is wrong with it")]);
    Ok(Exit::Done)
}
