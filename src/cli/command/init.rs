use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::engine::{EngineError, Workspace};
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
    let inside = below(&folder)?;
    let is_wanted = |path: &str| !folder.join(path).exists() && (inside.is_none() || path != IGNORED);
    let files: Vec<_> = files.into_iter().filter(|(path, _)| is_wanted(path)).collect();
    for (path, content) in &files {
        match &inside {
            Some((_, inside)) if *path == PIPELINE => write(&folder.join(path), &moved(content, inside))?,
            _ => write(&folder.join(path), content)?,
        }
    }
    for (path, _) in &files {
        say!("{}", folder.join(path).display());
    }
    if let Some((root, _)) = &inside {
        say!("\nthe workspace is {}, which has .git or .retune: paths in the pipeline begin there", root.display());
    }
    let enter = arguments.folder.as_ref().map_or_else(String::new, |folder| format!("cd {} && ", folder.display()));
    say!("\nnext: {enter}retune run");
    Ok(Exit::Done)
}

/// The workspace that a folder lies in, and what the folder is called there. None where it is a workspace of its own.
fn below(folder: &Path) -> Result<Option<(PathBuf, String)>, Problem> {
    let unwritable = |error: std::io::Error| EngineError::Workspace { path: folder.to_owned(), reason: error.to_string() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let root = Workspace::root_of(&folder.join(PIPELINE));
    let inside = folder.canonicalize().map_err(unwritable)?.strip_prefix(&root).ok().map(|inside| inside.display().to_string());
    Ok(inside.filter(|inside| !inside.is_empty()).map(|inside| (root, inside)))
}

/// A pipeline whose paths begin in a folder above its own.
fn moved(pipeline: &str, inside: &str) -> String {
    let folders =
        ["data/", "work/"].into_iter().flat_map(|folder| ['"', ' '].map(|before| (format!("{before}{folder}"), format!("{before}{inside}/{folder}"))));
    folders.fold(pipeline.to_owned(), |text, (from, to)| text.replace(&from, &to))
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
