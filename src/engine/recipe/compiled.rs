//! A compiled pipeline on disk, so that a run that finds nothing changed need not parse a long file again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Budget, Finding, Overrides, Part, PipelineFile, Span};
use crate::fingerprint::Digest;
use crate::graph::Outputs;
use crate::store::write_atomically;

use super::super::workspace::name_in;
use super::{ActionNode, StageNode};

/// What of a recipe is worth keeping: all that planning needs. The settings of a stage are read again from the text when it has to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Compiled {
    /// The pipeline's name.
    pub name: String,
    /// What a run may spend.
    pub budget: Budget,
    /// The top-level nodes that are no stages.
    pub shared: Vec<Span>,
    /// The files that its text is of.
    pub parts: Vec<Part>,
    /// The environment variables that the file's meaning depends on, with digests of their values.
    pub variables: Vec<(String, Option<Digest>)>,
    /// The files of the workspace whose content is a value in it, with the digests of these.
    pub files: Vec<(String, Option<Digest>)>,
    /// What is most likely not meant.
    pub warnings: Vec<Finding>,
    pub stages: Vec<StageNode>,
    pub actions: Vec<ActionNode>,
    /// The actions, each after all that it needs.
    pub order: Vec<u32>,
    pub outputs: Outputs,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// What it was compiled from, and by which program.
    source: Digest,
    compiled: Compiled,
}

impl Compiled {
    /// What is kept of a pipeline under these overrides, if it is still right, and its text with that of the files that it
    /// includes.
    pub fn load(state: &Path, file: &PipelineFile, overrides: &Overrides) -> Option<(Self, PipelineFile)> {
        let bytes = std::fs::read(place(state, file, overrides)).ok()?;
        let Stored { source: known, compiled } = postcard::from_bytes(&bytes).ok()?;
        let file = if compiled.parts.len() > 1 { file.with_known(&compiled.parts)? } else { file.clone() };
        let root = state.parent().unwrap_or(state);
        let same = compiled.variables.iter().all(|(name, digest)| variable(name) == *digest)
            && compiled.files.iter().all(|(path, digest)| std::fs::read(root.join(path)).ok().map(|bytes| Digest::of(&bytes)) == *digest);
        (known == source(&file, overrides)? && same).then_some((compiled, file))
    }

    /// Keeps it. It is a help only: failing to is no error.
    pub fn save(self, state: &Path, file: &PipelineFile, overrides: &Overrides) -> Self {
        let Some(source) = source(file, overrides) else {
            return self;
        };
        let stored = Stored { source, compiled: self };
        let place = place(state, file, overrides);
        if let (true, Ok(bytes)) = (state.is_dir(), postcard::to_allocvec(&stored)) {
            let folder = place.parent().unwrap_or(state);
            let _ = std::fs::create_dir_all(folder).map_err(drop).and_then(|()| write_atomically(&place, &bytes).map_err(drop));
        }
        stored.compiled
    }
}

/// The digest of an environment variable's value: the value itself may be a secret.
pub fn variable(name: &str) -> Option<Digest> {
    std::env::var_os(name).map(|value| Digest::of(value.as_encoded_bytes()))
}

/// By what the file is called in the workspace, and in messages too: those stand in what is kept.
fn place(state: &Path, file: &PipelineFile, overrides: &Overrides) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    let name = name_in(state.parent().unwrap_or(state), &file.path).to_string_lossy().into_owned();
    for part in [&name, &file.name].into_iter().chain(&overrides.profile).chain(&overrides.set) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    state.join("compiled").join(Digest::from(hasher.finalize()).short())
}

/// Covers the text, what the command line changes of it, and the program that read it.
fn source(file: &PipelineFile, overrides: &Overrides) -> Option<Digest> {
    let program = std::env::current_exe().and_then(std::fs::metadata).ok()?;
    let modified = program.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let mut hasher = blake3::Hasher::new_derive_key("retune compiled pipeline v3");
    hasher.update(format!("{} {} {modified:?} {overrides:?} {:?}", env!("CARGO_PKG_VERSION"), program.len(), file.name).as_bytes());
    // Where one file ends and the next begins counts too.
    for part in file.parts.iter() {
        hasher.update(format!("{:?} {} {} ", part.name, part.start, part.length).as_bytes());
    }
    hasher.update(file.text.as_bytes());
    Some(hasher.finalize().into())
}
