use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use walkdir::WalkDir;

use crate::config::StageName;
use crate::data::DataError;
use crate::fingerprint::{ActionKey, Preimage, Tree};
use crate::stage::{Given, Source, StageError};
use crate::store::{Artifact, FileState, Reading};

use super::recipe::{ActionNode, Recipe};
use super::workspace::Workspace;

/// What is known of what the stages make: artifacts by stage and name.
pub type Made = BTreeMap<(StageName, String), Artifact>;

/// An action with all that its key covers at hand.
#[derive(Debug)]
pub struct Ready {
    pub preimage: Preimage,
    pub key: ActionKey,
    pub given: BTreeMap<String, Given>,
    /// The files of the workspace that it reads, and the states in which they were hashed.
    pub states: Vec<(PathBuf, FileState)>,
}

/// Looks at all inputs of an action, whose makers must be done.
pub fn ready(recipe: &Recipe, workspace: &Workspace, node: &ActionNode, made: &Made) -> Result<Ready, StageError> {
    let (action, mut given, mut states) = (&node.action, BTreeMap::new(), Vec::new());
    let mut inputs = BTreeMap::new();
    for input in &action.inputs {
        match &input.source {
            Source::Output { stage, output } => {
                let artifact = made.get(&(stage.clone(), output.clone()));
                let artifact = *artifact.ok_or_else(|| StageError::NoInput { name: format!("{output} of {stage}") })?;
                inputs.insert(input.name.clone(), Tree::content(artifact.digest(), format!("made by `{stage}`")));
                given.insert(input.name.clone(), Given::Artifact { name: input.name.clone(), artifact });
            }
            Source::Files { pattern, pinned, optional, reading } => {
                let mut files = Vec::new();
                for path in matches(&workspace.root, pattern)?.into_iter().filter(|path| !recipe.outputs.covers(path)) {
                    let place = workspace.root.join(&path);
                    let (digest, state) = workspace.files.digest(&place, *reading)?;
                    if let Some(pinned) = pinned {
                        let (found, _) = workspace.files.digest(&place, Reading::Bytes)?;
                        if found != *pinned {
                            return Err(StageError::PinMismatch { path, found: found.to_string() });
                        }
                    }
                    inputs.insert(path.clone(), Tree::content(digest, "a file of the workspace"));
                    states.push((place, state));
                    files.push((path, digest));
                }
                if files.is_empty() && !optional {
                    return Err(DataError::NoSource { pattern: pattern.clone(), workspace: workspace.root.display().to_string() }.into());
                }
                given.insert(input.name.clone(), Given::Files(files));
            }
        }
    }
    let stage = &recipe.pipeline.stages[node.stage];
    let preimage = Preimage {
        kind: format!("{}/{}", stage.kind, action.name),
        version: action.version,
        settings: action.settings.clone(),
        inputs,
        context: action.context.clone(),
    };
    Ok(Ready { key: preimage.key(), preimage, given, states })
}

/// The files that a path, folder or glob of the workspace means, sorted, with `/`.
fn matches(root: &Path, pattern: &str) -> Result<Vec<String>, StageError> {
    let pattern = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/");
    let place = root.join(&pattern);
    if place.is_file() {
        return Ok(vec![pattern]);
    }
    if place.is_dir() {
        return listed(root, &place, |_| true);
    }
    let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() else {
        return Ok(Vec::new());
    };
    let fixed: PathBuf = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect();
    let start = root.join(fixed);
    if !start.is_dir() {
        return Ok(Vec::new());
    }
    let matcher = glob.compile_matcher();
    listed(root, &start, |path| matcher.is_match(path))
}

fn listed(root: &Path, start: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, StageError> {
    let hidden = |name: &std::ffi::OsStr| matches!(name.to_str(), Some(".git" | ".retune"));
    let mut files = Vec::new();
    for entry in WalkDir::new(start).follow_links(true).into_iter().filter_entry(|entry| !hidden(entry.file_name())) {
        let entry = entry.map_err(|error| StageError::Io {
            doing: "list",
            path: error.path().unwrap_or(start).to_owned(),
            source: error.into_io_error().unwrap_or_else(|| std::io::Error::other("a link leads back to a folder above it")),
        })?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let Some(path) = path.to_str() else {
            let source = std::io::Error::other("its name is not UTF-8");
            return Err(StageError::Io { doing: "use", path: entry.path().to_owned(), source });
        };
        if wanted(path) {
            files.push(path.to_owned());
        }
    }
    files.sort();
    Ok(files)
}

/// Which of the files were touched since they were hashed.
pub fn touched(ready: &Ready) -> Option<&Path> {
    let moved = |(path, state): &&(PathBuf, FileState)| FileState::of(path).ok() != Some(*state);
    ready.states.iter().find(moved).map(|(path, _)| path.as_path())
}
