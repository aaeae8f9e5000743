use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::engine::EngineError;
use crate::store::write_atomically;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::say;
use super::super::template::{TEMPLATES, Template};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder to write into; this one where it is not given
    folder: Option<PathBuf>,
    /// What to begin with
    #[arg(long, default_value = TEMPLATES[0].name, value_parser = PossibleValuesParser::new(TEMPLATES.iter().map(|template| template.name)), help = about())]
    template: String,
}

/// What there is, a line each.
fn about() -> String {
    let lines = TEMPLATES.iter().map(|template| format!("{}: {}", template.name, template.about));
    format!("What to begin with. {}", lines.collect::<Vec<_>>().join("; "))
}

const PIPELINE: &str = "retune.kdl";
/// Where there is one already, it is the user's.
const IGNORED: &str = ".gitignore";

pub fn init(arguments: &Arguments) -> Result<Exit, Problem> {
    let folder = arguments.folder.clone().unwrap_or_default();
    let template = TEMPLATES.iter().find(|template| template.name == arguments.template).unwrap_or(&TEMPLATES[0]);
    let files = files(template);
    // Nothing is written over, and nothing is written in part.
    if let Some((taken, _)) = files.iter().filter(|(path, _)| *path != IGNORED).find(|(path, _)| folder.join(path).exists()) {
        return Err(EngineError::Taken { path: folder.join(taken) }.into());
    }
    let files: Vec<_> = files.into_iter().filter(|(path, _)| !folder.join(path).exists()).collect();
    for (path, content) in &files {
        write(&folder.join(path), content)?;
    }
    for (path, _) in &files {
        say!("{}", folder.join(path).display());
    }
    let enter = arguments.folder.as_ref().map_or_else(String::new, |folder| format!("cd {} && ", folder.display()));
    say!("\nnext: {enter}retune run");
    Ok(Exit::Done)
}

fn files(template: &Template) -> Vec<(&'static str, String)> {
    let mut files = (template.files)();
    files.push((PIPELINE, template.pipeline.to_owned()));
    files.push((IGNORED, "/.retune/\n".to_owned()));
    files
}

fn write(path: &Path, content: &str) -> Result<(), Problem> {
    let unwritable = |reason: String| EngineError::Workspace { path: path.to_owned(), reason };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| unwritable(error.to_string()))?;
    }
    write_atomically(path, content.as_bytes()).map_err(|error| unwritable(error.to_string()).into())
}
