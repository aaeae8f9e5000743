use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::{ConfigError, PipelineFile};
use crate::fingerprint::{ActionKey, Digest};
use crate::store::{Artifact, FileState, FileStates, Lock, Placed, Reading, Record, RecordOutcome, Store, files_below, is_passed_over};

use super::EngineError;

/// The name of the right that every run shares, and that whoever clears the store has alone.
pub const LIVE: &str = "live";

/// The folder that a pipeline's paths are relative to, and the state kept in it.
#[derive(Debug)]
pub struct Workspace {
    /// The folder.
    pub root: PathBuf,
    /// Its store.
    pub store: Store,
    /// The digests of its files.
    pub files: FileStates,
    /// Where outputs of the pipeline appeared in it.
    pub placed: Placed,
}

impl Workspace {
    /// The root of the workspace of a pipeline file: the nearest folder upward that holds `.git` or `.retune`, else the file's own.
    #[must_use]
    pub fn root_of(pipeline: &Path) -> PathBuf {
        PipelineFile::workspace_of(pipeline)
    }

    /// Opens the workspace of a pipeline file for work.
    ///
    /// # Errors
    /// When its state cannot be written.
    pub fn open(pipeline: &Path) -> Result<Self, EngineError> {
        let root = Self::root_of(pipeline);
        let store = Store::open(&root.join(".retune")).map_err(|error| EngineError::Workspace { path: root.clone(), reason: error.to_string() })?;
        Ok(Self::with(root, store, pipeline))
    }

    /// Opens the workspace of a pipeline file for looking: nothing is written but remembered digests, where there is a place for them.
    #[must_use]
    pub fn look(pipeline: &Path) -> Self {
        let root = Self::root_of(pipeline);
        let store = Store::at(&root.join(".retune"));
        Self::with(root, store, pipeline)
    }

    /// Whether a run is going on here.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.store.root().is_dir() && matches!(Lock::try_alone(&self.store, LIVE), Ok(None))
    }

    /// Whether all outputs lie at the paths in the workspace that are their names.
    #[must_use]
    pub fn all_stand(&self, outcome: &RecordOutcome) -> bool {
        outcome.outputs.iter().all(|(path, artifact)| self.stands(path, *artifact))
    }

    /// Whether the file or folder at a path of the workspace is an artifact already.
    #[must_use]
    pub fn stands(&self, path: &str, artifact: Artifact) -> bool {
        let same = |path: &str, digest| self.files.digest(path, Reading::Program).is_ok_and(|(found, _)| found == digest);
        match artifact {
            Artifact::File { .. } | Artifact::Program { .. } => same(path, artifact.identity()),
            Artifact::Tree { .. } => {
                let Ok(files) = self.store.tree(artifact) else {
                    return false;
                };
                // What lies there and is not of the folder would be read by whoever reads the folder.
                let known: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
                let inside = path.len() + 1;
                let extra = |(found, _): &(String, FileState)| found.get(inside..).is_some_and(|name| !known.contains(name) && !is_passed_over(name));
                let whole = files_below(&self.root, path, &|_| true).is_ok_and(|found| !found.iter().any(extra));
                let folders = self.store.empty_folders(artifact).unwrap_or_default();
                let whole = whole && folders.iter().all(|folder| self.root.join(path).join(folder).is_dir());
                whole && files.par_iter().with_min_len(64).all(|file| same(&format!("{path}/{}", file.path), file.artifact().identity()))
            }
        }
    }

    /// The record of a key, where all that it names is in the store, or can be put back into it from the workspace, where outputs
    /// appear there. Tells whether the store has all of it.
    #[must_use]
    pub fn find(&self, key: ActionKey, appears: bool) -> Option<(Record, bool)> {
        if let Some(record) = self.store.find(key) {
            return Some((record, true));
        }
        let record = self.store.remembered(key).filter(|_| appears)?;
        let there = |(path, artifact): (&String, &Artifact)| self.store.has(*artifact) || self.recognize(path, artifact.digest()) == Some(*artifact);
        record.outcome.outputs.iter().all(there).then_some((record, false))
    }

    /// Puts back into the store what it has lost of a result and lies in the workspace. Tells whether all of it is there now.
    #[must_use]
    pub fn restock(&self, outcome: &RecordOutcome) -> bool {
        let back = |path: &str, artifact: Artifact| {
            self.recognize(path, artifact.digest()) == Some(artifact) && self.store.copy_path(&self.root.join(path)).is_ok_and(|kept| kept == artifact)
        };
        outcome.outputs.iter().all(|(path, artifact)| self.store.has(*artifact) || back(path, *artifact))
    }

    /// What lies at a path of the workspace, if it is of this digest.
    #[must_use]
    pub fn recognize(&self, path: &str, digest: Digest) -> Option<Artifact> {
        let place = self.root.join(path);
        let metadata = std::fs::metadata(&place).ok()?;
        if metadata.is_file() {
            let size = metadata.len();
            let either = [Artifact::File { digest, size }, Artifact::Program { digest, size }];
            return either.into_iter().find(|artifact| self.stands(path, *artifact));
        }
        self.store.tree_of(&place, false).ok().filter(|tree| tree.digest() == digest)
    }

    /// Whether a file is what a stage made that the pipeline does not have any more, where no other makes it.
    #[must_use]
    pub fn is_left(&self, path: &str) -> bool {
        self.placed.covers(path, || self.files.digest(path, Reading::Bytes).ok().map(|(digest, _)| digest))
    }

    fn with(root: PathBuf, store: Store, pipeline: &Path) -> Self {
        let files = FileStates::load(&root, &store.root().join("files"));
        let placed = Placed::of(store.root(), &name_in(&root, pipeline));
        Self { root, store, files, placed }
    }

    /// Where in the workspace a path leads by a link in its folders, if it does.
    #[must_use]
    pub fn linked(&self, path: &str) -> Option<String> {
        let place = self.root.join(path);
        let real = place.parent()?.canonicalize().ok()?.join(place.file_name()?);
        let inside = real.strip_prefix(self.root.canonicalize().ok()?).ok()?;
        (inside != Path::new(path)).then(|| inside.display().to_string())
    }

    /// What a file is called inside of the workspace.
    #[must_use]
    pub fn name_of(&self, file: &Path) -> PathBuf {
        name_in(&self.root, file)
    }
}

/// What a file, which need not be there, is called inside of a workspace: the same wherever somebody stands who speaks of it, and
/// when the workspace is moved.
pub fn name_in(root: &Path, file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let place = absolute.parent().zip(absolute.file_name()).and_then(|(folder, name)| Some(folder.canonicalize().ok()?.join(name)));
    let inside = place.zip(root.canonicalize().ok()).and_then(|(place, root)| place.strip_prefix(root).ok().map(Path::to_owned));
    inside.unwrap_or(absolute)
}

/// The pipeline that is meant: the one that is named, else `retune.kdl`, else the only one in `pipelines/`, else the only one here.
///
/// # Errors
/// When none is named and there is none, or there are several.
pub fn discover(named: Option<&Path>) -> Result<PathBuf, EngineError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let usual = PathBuf::from("retune.kdl");
    if usual.is_file() {
        return Ok(usual);
    }
    let entries = std::fs::read_dir("pipelines").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_pipeline = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".kdl") && !name.ends_with(".lock.kdl")
    };
    let mut found: Vec<PathBuf> = entries.filter(is_pipeline).collect();
    found.sort();
    if found.is_empty() {
        // Those beside, by their content: prices stand in a file of that ending too.
        let here = std::fs::read_dir(".").into_iter().flatten().flatten().map(|entry| PathBuf::from(entry.file_name()));
        let begins = |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.starts_with("pipeline ")));
        found = here.filter(|path| is_pipeline(path) && begins(path)).collect();
        found.sort();
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(EngineError::Usage(ConfigError::NoPipeline {
            found: "there is none here, and none in pipelines/".into(),
            help: "name one: `retune COMMAND path/to/pipeline.kdl`".into(),
        })),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(EngineError::Usage(ConfigError::NoPipeline {
                found: format!("there is no retune.kdl, and there are {} others", names.len()),
                help: format!("name one of them: {}", names.join(", ")),
            }))
        }
    }
}
