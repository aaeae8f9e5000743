use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fingerprint::{ActionKey, Digest};

use super::files::hash_file;
use super::pack::Packs;
use super::write::{beside, write_atomically, write_sealed};
use super::{Known, StoreError};

/// The store of one workspace: `.retune/`.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    pub(super) packs: Arc<Packs>,
}

/// Something that a stage made, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Artifact {
    /// A file.
    File {
        /// Digest of its bytes.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A folder.
    Tree {
        /// Digest of its manifest, which lists its files by name and digest.
        digest: Digest,
        /// Size of the manifest in bytes.
        size: u64,
    },
    /// A file that may be executed.
    Program {
        /// Digest of its bytes.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
}

impl Artifact {
    /// The digest that names it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        match self {
            Self::File { digest, .. } | Self::Tree { digest, .. } | Self::Program { digest, .. } => *digest,
        }
    }

    /// What stands for it in a key.
    #[must_use]
    pub fn identity(&self) -> Digest {
        match self {
            Self::File { digest, .. } | Self::Tree { digest, .. } => *digest,
            Self::Program { digest, .. } => digest.of_program(),
        }
    }

    /// Its size in bytes; that of the manifest for a folder.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Tree { size, .. } | Self::Program { size, .. } => *size,
        }
    }
}

impl Store {
    /// Opens the store at `root` (the `.retune` folder), making it where it does not exist.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for folder in ["cas", "actions", "runs", "jobs", "tmp"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        }
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            write_atomically(&ignore, b"*\n")?;
        }
        Ok(Self::at(root))
    }

    /// The store at `root` for looking only: nothing is made on disk.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), packs: Arc::new(Packs::new(root.join("packs"))) }
    }

    /// The `.retune` folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn object(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("cas").join(&name[..2]).join(&name[2..])
    }

    pub(super) fn record(&self, key: ActionKey) -> PathBuf {
        self.root.join("actions").join(format!("{key}.json"))
    }

    /// Where the checkpoints of all actions lie.
    pub(super) fn all_checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Where checkpoints of an action lie while it is not done.
    #[must_use]
    pub fn checkpoints(&self, key: ActionKey) -> PathBuf {
        self.all_checkpoints().join(key.to_string())
    }

    /// Lets go of the checkpoints of an action that is done.
    pub fn clear_checkpoints(&self, key: ActionKey) {
        let _ = fs::remove_dir_all(self.checkpoints(key));
    }

    /// Where things lie that had to make room for an output and that no stage made.
    #[must_use]
    pub fn displaced(&self) -> PathBuf {
        self.root.join("displaced")
    }

    /// The bytes of an object as text, if it is here and is text.
    ///
    /// # Errors
    /// As [`Store::read`], but for one that is missing.
    pub fn text(&self, digest: Digest) -> Result<Option<String>, StoreError> {
        match self.read(Artifact::File { digest, size: 0 }) {
            Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps bytes.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Artifact, StoreError> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let place = self.object(digest);
        if !self.holds(digest, size) {
            self.in_shard(&place, |place| write_sealed(place, bytes))?;
        }
        Ok(Artifact::File { digest, size })
    }

    /// Takes a file into the store; with [`Taking::Move`] out of the place where it was made, unless it has other names.
    ///
    /// # Errors
    /// When the file cannot be read or the store cannot be written.
    pub(super) fn take_file(&self, path: &Path, taking: Taking) -> Result<Artifact, StoreError> {
        let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
        let size = metadata.len();
        if taking == Taking::Copy && size <= SMALL {
            return self.put_bytes(&fs::read(path).map_err(StoreError::io("read", path))?);
        }
        let digest = hash_file(path)?;
        let place = self.object(digest);
        if self.holds(digest, size) {
            return Ok(Artifact::File { digest, size });
        }
        let own = taking == Taking::Move && fs::symlink_metadata(path).is_ok_and(|link| link.is_file() && link.nlink() == 1);
        let moved = |place: &Path| fs::rename(path, place).map_err(StoreError::io("write", place));
        if own && seal(path).is_ok() && self.in_shard(&place, moved).is_ok() {
            return Ok(Artifact::File { digest, size });
        }
        let temporary = beside(&self.root().join("tmp").join("object"));
        let copied = fs::copy(path, &temporary).and_then(|_| seal(&temporary)).map_err(StoreError::io("write", &temporary));
        let kept = copied.and_then(|()| {
            // What was copied may be another file by now than what was hashed.
            let digest = hash_file(&temporary)?;
            let place = self.object(digest);
            self.in_shard(&place, |place| fs::rename(&temporary, place).map_err(StoreError::io("write", place)))?;
            let size = fs::metadata(&place).map_err(StoreError::io("read", &place))?.len();
            Ok(Artifact::File { digest, size })
        });
        if kept.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        kept
    }

    /// Writes an object. The folder that it belongs in is there nearly always, and is made where it is not.
    fn in_shard(&self, place: &Path, write: impl Fn(&Path) -> Result<(), StoreError>) -> Result<(), StoreError> {
        match write(place) {
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let shard = place.parent().unwrap_or(&self.root);
                fs::create_dir_all(shard).map_err(StoreError::io("create", shard))?;
                write(place)
            }
            done => done,
        }
    }

    /// Reads an object whole, and makes sure that it is what its name says.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or is corrupt; a corrupt one is set aside.
    pub fn read(&self, artifact: Artifact) -> Result<Vec<u8>, StoreError> {
        let digest = artifact.digest();
        let place = self.object(digest);
        let bytes = match fs::read(&place) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self.read_packed(digest),
            Err(error) => return Err(StoreError::io("read", &place)(error)),
        };
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(self.set_aside(digest, found));
        }
        Ok(bytes)
    }

    /// Reads an object that is in a pack, verified.
    fn read_packed(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let packed = self.packs.find(digest).ok_or(StoreError::Missing { digest })?;
        let bytes = packed.read()?;
        let found = Digest::of(&bytes);
        if found == digest {
            return Ok(bytes);
        }
        self.packs.set_aside(&packed)?;
        Known::forget(self);
        Err(StoreError::Corrupt { digest, found })
    }

    /// Whether an object of this size is here.
    pub(super) fn holds(&self, digest: Digest, size: u64) -> bool {
        is_file_of(&self.object(digest), size) || self.packs.find(digest).is_some_and(|packed| packed.size == size)
    }

    /// The same as far as is known, without a look for what others have packed meanwhile.
    pub(super) fn is_known(&self, digest: Digest, size: u64) -> bool {
        self.packs.known(digest).is_some_and(|packed| packed.size == size) || is_file_of(&self.object(digest), size)
    }

    /// Moves a corrupt object out of the way, so that it is made again.
    pub(super) fn set_aside(&self, digest: Digest, found: Digest) -> StoreError {
        let place = self.object(digest);
        match fs::rename(&place, place.with_extension("corrupt")) {
            Ok(()) => {
                Known::forget(self);
                StoreError::Corrupt { digest, found }
            }
            Err(error) => StoreError::io("set aside", &place)(error),
        }
    }

    /// Whether all of an artifact is here, by size; its bytes are verified when they are used.
    #[must_use]
    pub fn has(&self, artifact: Artifact) -> bool {
        let present = self.holds(artifact.digest(), artifact.size());
        match artifact {
            Artifact::File { .. } | Artifact::Program { .. } => present,
            Artifact::Tree { .. } => {
                let files = if present { self.tree(artifact).ok() } else { None };
                files.is_some_and(|files| files.iter().all(|file| self.holds(file.digest, file.size)))
            }
        }
    }
}

/// Files up to this size are read whole.
const SMALL: u64 = 1 << 20;

/// Whether something that the store takes stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// It goes.
    Move,
    /// It stays.
    Copy,
}

fn is_file_of(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Makes an object read-only: its name says what its content is.
pub(super) fn seal(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}
