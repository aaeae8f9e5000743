use std::path::PathBuf;

use clap::Args;

use crate::config::{PipelineErrors, PipelineFile, format, with_includes};
use crate::engine::{EngineError, discover};
use crate::store::write_atomically;

use super::super::exit::Exit;
use super::super::next::{next, step};
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::target::quoted;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file; those that it includes are laid out too
    pipeline: Option<PathBuf>,
    /// Change nothing, and end with exit code 2 where something would be changed
    #[arg(long)]
    check: bool,
}

pub fn fmt(arguments: &Arguments) -> Result<Exit, Problem> {
    let path = discover(arguments.pipeline.as_deref())?;
    let file = PipelineFile::read(&path).map_err(|error| PipelineErrors::unread(&path.display().to_string(), &error))?;
    let file = with_includes(file)?;
    let mut changed = 0;
    for part in file.parts.iter() {
        let text = file.text_of(part);
        let formatted = format(text).map_err(|errors| PipelineErrors::new(&file, &errors))?;
        if formatted == text {
            continue;
        }
        changed += 1;
        if arguments.check {
            say!("{}: would be laid out anew", part.name);
            continue;
        }
        // A link stays one.
        let place = std::fs::canonicalize(&part.path).unwrap_or_else(|_| part.path.clone());
        write_atomically(&place, formatted.as_bytes()).map_err(|error| EngineError::Workspace { path: place, reason: error.to_string() })?;
        say!("{}: laid out anew", part.name);
    }
    if changed == 0 {
        say!("{}: nothing to do", file.name);
    }
    let words = arguments.pipeline.iter().map(|path| format!(" {}", quoted(&path.display().to_string()))).collect::<String>();
    if arguments.check && changed > 0 {
        next([step(format!("fmt{words}"), "lays it out")]);
        return Ok(Exit::Wrong);
    }
    next([step(format!("check{words}"), "what is wrong with it")]);
    Ok(Exit::Done)
}
