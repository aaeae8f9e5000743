//! A training under way on disk: all that the next step depends on, so that a training that goes on from there gives the
//! same bytes as one that was never stopped.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fingerprint::Digest;
use crate::store::write_atomically;

use super::optimizer::AdamW;
use super::trained::Trained;

/// Where a training keeps its checkpoints, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPlace {
    /// A folder that is there.
    pub folder: PathBuf,
    /// Steps from one to the next.
    pub every: usize,
}

/// A training after some steps.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The parameters that are trained.
    pub parameters: Vec<f32>,
    /// The optimizer's moments.
    pub optimizer: AdamW,
    /// What came of it so far.
    pub done: Trained,
}

impl CheckpointPlace {
    /// The furthest checkpoint that can be read whole.
    pub fn latest(&self) -> Option<Checkpoint> {
        let mut steps: Vec<usize> = self.steps().collect();
        steps.sort_unstable();
        steps.into_iter().rev().find_map(|step| read(&self.file(step)))
    }

    /// Writes a checkpoint if its turn has come, and lets go of those before it. One that cannot be written is no reason to
    /// stop the training.
    pub fn keep(&self, step: usize, checkpoint: impl FnOnce() -> Checkpoint) {
        if step.is_multiple_of(self.every) {
            self.keep_now(step, checkpoint);
        }
    }

    /// Writes a checkpoint out of turn.
    pub fn keep_now(&self, step: usize, checkpoint: impl FnOnce() -> Checkpoint) {
        let before: Vec<usize> = self.steps().collect();
        if write(&self.file(step), &checkpoint()).is_some() {
            for old in before.into_iter().filter(|&old| old != step) {
                let _ = std::fs::remove_file(self.file(old));
            }
        }
    }

    fn file(&self, step: usize) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    fn steps(&self) -> impl Iterator<Item = usize> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok())
    }
}

/// A digest stands before the content, so that half a file is known for what it is.
fn write(path: &Path, checkpoint: &Checkpoint) -> Option<()> {
    let body = postcard::to_allocvec(checkpoint).ok()?;
    let mut bytes = Digest::of(&body).as_bytes().to_vec();
    bytes.extend(body);
    write_atomically(path, &bytes).ok()
}

fn read(path: &Path) -> Option<Checkpoint> {
    let bytes = std::fs::read(path).ok()?;
    let (digest, body) = bytes.split_at_checked(32)?;
    if Digest::of(body).as_bytes() != digest { None } else { postcard::from_bytes(body).ok() }
}
