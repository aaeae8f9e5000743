use std::path::PathBuf;

use clap::Args;

use crate::config::{Finding, PipelineErrors};
use crate::engine::{EngineError, discover};

use super::super::exit::Exit;
use super::super::findings::Checked;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::target::{Changes, checked};
use super::check_data::{self, DataArguments};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    data: DataArguments,
}

pub fn check(arguments: &Arguments) -> Result<Exit, Problem> {
    if let Some(file) = &arguments.data.file {
        return check_data::file(file, &arguments.data);
    }
    if arguments.data.json && !arguments.data.data {
        return as_json(arguments);
    }
    let recipe = arguments.changes.check(arguments.pipeline.as_ref())?;
    if arguments.data.data {
        return check_data::stages(&recipe, &arguments.data);
    }
    let wrong = match recipe.warnings.len() {
        0 => "nothing wrong".to_owned(),
        1 => "nothing wrong, 1 warning".to_owned(),
        several => format!("nothing wrong, {several} warnings"),
    };
    let (stages, actions) = (format::number(recipe.stages.len(), "stage"), format::number(recipe.order.len(), "action"));
    say!("{}: {stages}, {actions}, {wrong}", recipe.file.name);
    next([step(format!("plan{}", arguments.changes.again(arguments.pipeline.as_deref())), "what a run would do, and what it would cost")]);
    Ok(Exit::Done)
}

fn as_json(arguments: &Arguments) -> Result<Exit, Problem> {
    let path = match discover(arguments.pipeline.as_deref()) {
        Ok(path) => path,
        Err(EngineError::Usage(error)) => {
            print_json(&Checked::of("", None, &[Finding::from(&error)], false, None));
            return Ok(Exit::Wrong);
        }
        Err(error) => return Err(error.into()),
    };
    let (name, denies) = (path.display().to_string(), arguments.changes.denies());
    let checked = match checked(&path, &arguments.changes.overrides()) {
        Ok(recipe) => Checked::of(&name, Some(&recipe.file), &recipe.warnings, denies, Some((recipe.stages.len(), recipe.order.len()))),
        Err(PipelineErrors { file, found, .. }) => Checked::of(&name, file.as_deref(), &found, denies, None),
    };
    print_json(&checked);
    Ok(if checked.ok() { Exit::Done } else { Exit::Wrong })
}
