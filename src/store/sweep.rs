//! Looking at a whole store: what is in it, whether it is right, and letting go of what nobody needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::fingerprint::{ActionKey, Digest};

use super::attempt::clear_dead;
use super::{Artifact, Known, Record, Store, StoreError};

/// What a store holds.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Usage {
    /// Records of actions.
    pub records: Part,
    /// Content that they name.
    pub objects: Part,
    /// Events, logs and copies of lock files of runs.
    pub runs: Part,
    /// Checkpoints of stages that are not done.
    pub checkpoints: Part,
    /// What models answered, by question.
    pub answers: Part,
    /// Models of the hub.
    pub models: Part,
    /// What lay where an output had to go, and nobody had made.
    pub displaced: Part,
    /// Attempts under way, and what killed ones left.
    pub attempts: Part,
    /// Tables that may be deleted at any time.
    pub tables: Part,
}

/// How many files a part of the store has, and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Part {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What was let go of, or would be.
#[derive(Clone, Copy, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Swept {
    /// Records.
    pub records: Part,
    /// Objects.
    pub objects: Part,
    /// Everything else.
    pub rest: Part,
}

/// What a look at all of a store found.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Verified {
    /// How many objects there are.
    pub objects: u64,
    /// Those that were not what their names say, and are set aside.
    pub corrupt: Vec<Digest>,
    /// Those that a record or an index names, and that are not here or not whole.
    pub missing: Vec<Digest>,
}

impl Part {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Store {
    /// How much of everything there is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let part = |names: &[&str]| {
            let mut part = Part::default();
            for name in names {
                files(&self.root().join(name)).for_each(|(_, bytes)| part.add(bytes));
            }
            part
        };
        Usage {
            records: part(&["actions"]),
            objects: part(&["cas", "packs"]),
            runs: part(&["runs", "jobs"]),
            checkpoints: part(&["checkpoints"]),
            answers: part(&["answers"]),
            models: part(&["models"]),
            displaced: part(&["displaced"]),
            attempts: part(&["tmp"]),
            tables: part(&["files", "known", "compiled", "placed"]),
        }
    }

    /// Reads every object and sets those aside that are not what their names say.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn verify_objects(&self) -> Result<Verified, StoreError> {
        let packed = self.packs.all().into_iter().map(|(digest, packed)| (digest, packed.size));
        let objects: Vec<(Digest, u64)> = self.objects().chain(packed).collect();
        let wrong: Vec<StoreError> = objects.par_iter().filter_map(|&(digest, size)| self.verify(digest, size).err()).collect();
        let (mut corrupt, mut gone) = (Vec::new(), Vec::new());
        for error in wrong {
            match error {
                StoreError::Corrupt { digest, .. } => corrupt.push(digest),
                // A pack that is damaged goes with all that it holds.
                StoreError::Missing { digest } => gone.push(digest),
                error => return Err(error),
            }
        }
        let lost = |artifact: &Artifact| (!self.has(*artifact) && !corrupt.contains(&artifact.digest())).then(|| artifact.digest());
        let named = self.records().flat_map(|record| record.outcome.outputs.into_values());
        let mut missing: Vec<Digest> = named.filter_map(|artifact| lost(&artifact)).chain(gone).collect();
        missing.sort_unstable();
        missing.dedup();
        // Whatever an index says: the next run looks for itself.
        Known::forget(self);
        Ok(Verified { objects: objects.len() as u64, corrupt, missing })
    }

    /// All records that can be read.
    fn records(&self) -> impl Iterator<Item = Record> {
        let keys = files(&self.root().join("actions")).filter_map(|(path, _)| path.file_stem()?.to_str()?.parse().ok());
        keys.filter_map(|key| self.remembered(ActionKey(key)))
    }

    /// Lets go of every record but those of `keys`, and of every object but those that these records or `artifacts` name.
    /// Nothing may be at work in the store meanwhile. With `dry` it is only counted.
    ///
    /// # Errors
    /// When a manifest that is needed cannot be read, or something cannot be deleted.
    pub fn sweep(&self, keys: &BTreeSet<ActionKey>, artifacts: &BTreeSet<Digest>, dry: bool) -> Result<Swept, StoreError> {
        let mut kept = artifacts.clone();
        for record in keys.iter().filter_map(|&key| self.remembered(key)) {
            kept.extend(record.outcome.outputs.values().map(Artifact::digest));
            kept.extend(record.preimage.inputs.values().filter_map(|content| content.listing));
        }
        for tree in kept.clone().into_iter().filter_map(|digest| self.find_tree(digest)) {
            kept.extend(self.tree(tree)?.into_iter().map(|file| file.digest));
        }
        if !dry {
            Known::forget(self);
            clear_dead(&self.root().join("tmp"));
        }
        let mut swept = Swept::default();
        let (packed, bytes) = self.packs.sweep(&kept, dry)?;
        swept.objects = Part { files: packed, bytes };
        for (path, bytes) in files(&self.root().join("actions")) {
            let key = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).map(ActionKey);
            if key.is_none_or(|key| !keys.contains(&key)) {
                swept.records.add(bytes);
                delete(&path, dry)?;
            }
        }
        for (path, bytes) in files(&self.root().join("cas")) {
            if digest_of(&path).is_none_or(|digest| !kept.contains(&digest)) {
                swept.objects.add(bytes);
                delete(&path, dry)?;
            }
        }
        Ok(swept)
    }

    /// Lets go of checkpoints but those of `keys`.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub fn sweep_checkpoints(&self, keys: &BTreeSet<ActionKey>, dry: bool) -> Result<Part, StoreError> {
        let mut swept = Part::default();
        for entry in fs::read_dir(self.all_checkpoints()).into_iter().flatten().flatten() {
            let key = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(ActionKey);
            if key.is_some_and(|key| keys.contains(&key)) {
                continue;
            }
            let path = entry.path();
            files(&path).for_each(|(_, bytes)| swept.add(bytes));
            if !dry {
                fs::remove_dir_all(&path).map_err(StoreError::io("delete", &path))?;
            }
        }
        Ok(swept)
    }

    fn objects(&self) -> impl Iterator<Item = (Digest, u64)> {
        files(&self.root().join("cas")).filter_map(|(path, bytes)| Some((digest_of(&path)?, bytes)))
    }
}

fn delete(path: &Path, dry: bool) -> Result<(), StoreError> {
    if dry { Ok(()) } else { fs::remove_file(path).map_err(StoreError::io("delete", path)) }
}

/// The digest that the place of an object says, if it is one.
fn digest_of(path: &Path) -> Option<Digest> {
    let shard = path.parent()?.file_name()?.to_str()?;
    format!("{shard}{}", path.file_name()?.to_str()?).parse().ok()
}

/// All files below a place, with their sizes.
fn files(place: &Path) -> impl Iterator<Item = (PathBuf, u64)> + use<> {
    let entries = walkdir::WalkDir::new(place).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    entries.map(|entry| (entry.path().to_owned(), entry.metadata().map_or(0, |metadata| metadata.len())))
}
