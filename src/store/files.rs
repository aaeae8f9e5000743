use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::fingerprint::Digest;

use super::{StoreError, write_atomically};

/// What the system says of a file without reading it. If none of it changed, the content did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    size: u64,
    /// Modification time in nanoseconds since 1970.
    modified: i64,
    /// Time of the last change of the inode, in nanoseconds since 1970.
    changed: i64,
    inode: u64,
}

impl FileState {
    /// The state of a file now.
    ///
    /// # Errors
    /// When the file is not there, cannot be looked at, or is no regular file.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
        if !metadata.is_file() {
            return Err(StoreError::OddFile { path: path.to_owned() });
        }
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Ok(Self {
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        })
    }

    /// Whether the file was last touched so long before `now` that a later change must show in its times.
    fn settled(&self, now: i64) -> bool {
        // The coarsest clock that a file system here stamps files with ticks every 10 ms; FAT's 2 s need the rest.
        const GRAIN: i64 = 2_100_000_000;
        self.modified.max(self.changed) + GRAIN < now
    }
}

/// The digests of workspace files, remembered by the states in which they were read.
#[derive(Debug)]
pub struct FileStates {
    path: PathBuf,
    table: Mutex<Table>,
}

/// What of a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// Every byte.
    Bytes,
    /// The text: a line that ends in CR LF is the same as one that ends in LF, so that a checkout on
    /// another system is the same data.
    Text,
}

impl Reading {
    /// The bytes that count.
    #[must_use]
    pub fn of(self, bytes: Vec<u8>) -> Vec<u8> {
        if self == Self::Bytes || !bytes.windows(2).any(|pair| pair == b"\r\n") {
            return bytes;
        }
        let ends = bytes.iter().skip(1).chain([&0]);
        bytes.iter().zip(ends).filter(|pair| *pair != (&b'\r', &b'\n')).map(|(byte, _)| *byte).collect()
    }

    fn hash(self, path: &Path, size: u64) -> Result<Digest, StoreError> {
        match self {
            Self::Bytes => hash_file(path, size),
            Self::Text => Ok(Digest::of(&self.of(fs::read(path).map_err(StoreError::io("read", path))?))),
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    known: BTreeMap<PathBuf, (FileState, Digest)>,
    texts: BTreeMap<PathBuf, (FileState, Digest)>,
    changed: bool,
}

impl Table {
    const fn of(&mut self, reading: Reading) -> &mut BTreeMap<PathBuf, (FileState, Digest)> {
        match reading {
            Reading::Bytes => &mut self.known,
            Reading::Text => &mut self.texts,
        }
    }
}

impl FileStates {
    /// Loads the table of a workspace. A table that is missing or cannot be read is an empty one.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let (known, texts) = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path: path.to_owned(), table: Mutex::new(Table { known, texts, changed: false }) }
    }

    /// The digest of a file and the state in which it has that digest, read only if its state is new.
    ///
    /// # Errors
    /// When the file cannot be read, or changes again and again while it is read.
    pub fn digest(&self, path: &Path, reading: Reading) -> Result<(Digest, FileState), StoreError> {
        let before = FileState::of(path)?;
        if let Some((state, digest)) = self.lock().of(reading).get(path)
            && *state == before
        {
            return Ok((*digest, before));
        }
        let digest = reading.hash(path, before.size)?;
        let after = FileState::of(path)?;
        if after != before {
            return Err(StoreError::MovingFile { path: path.to_owned() });
        }
        if after.settled(now()) {
            let mut table = self.lock();
            table.of(reading).insert(path.to_owned(), (after, digest));
            table.changed = true;
        }
        Ok((digest, after))
    }

    /// Writes the table down if there is anything new in it. It is a help only: failing to is no error.
    pub fn save(&self) {
        let table = self.lock();
        if table.changed
            && let Ok(bytes) = serde_json::to_vec(&(&table.known, &table.texts))
        {
            let _ = write_atomically(&self.path, &bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| i64::try_from(elapsed.as_nanos()).unwrap_or(0))
}

/// Files above this are hashed by memory map on all cores.
const LARGE: u64 = 1 << 20;

fn hash_file(path: &Path, size: u64) -> Result<Digest, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let fed = if size > LARGE { hasher.update_mmap_rayon(path).map(drop) } else { fs::File::open(path).and_then(|file| hasher.update_reader(file).map(drop)) };
    fed.map_err(StoreError::io("read", path))?;
    Ok(hasher.finalize().into())
}
