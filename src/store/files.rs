use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, statat};
use serde::{Deserialize, Serialize};

use crate::fingerprint::Digest;

use super::file_table::FileTable;
use super::text::{Text, is_packed};
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
    /// Whether it may be executed.
    executable: bool,
}

impl FileState {
    /// How long the file is, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The state of a file now.
    ///
    /// # Errors
    /// When the file is not there, cannot be looked at, or is no regular file.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        Self::at(CWD, path, || path.to_owned())
    }

    /// The state of a file below an open folder, called `place` in messages.
    pub(super) fn at(folder: BorrowedFd<'_>, path: impl rustix::path::Arg, place: impl Fn() -> PathBuf) -> Result<Self, StoreError> {
        let stat = statat(folder, path, AtFlags::empty()).map_err(|error| StoreError::io("read", &place())(error.into()))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(StoreError::OddFile { path: place() });
        }
        let nanoseconds = |seconds: i64, rest: u64| seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(rest);
        Ok(Self {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            executable: stat.st_mode & 0o111 != 0,
        })
    }

    /// Whether the file was last touched so long before `now` that a later change must show in its times.
    fn settled(&self, now: i64) -> bool {
        /// A kernel stamps files with a clock that ticks every 10 ms at the slowest.
        const TICK: i64 = 50_000_000;
        /// Some file systems keep whole seconds only, FAT every other one.
        const COARSE: i64 = 2_100_000_000;
        let last = self.modified.max(self.changed);
        let grain = if last % 1_000_000_000 == 0 { COARSE } else { TICK };
        last + grain < now
    }
}

/// The digests of workspace files, remembered by the states in which they were read.
#[derive(Debug)]
pub struct FileStates {
    /// The folder that paths are relative to.
    root: PathBuf,
    /// The same, open.
    folder: Option<OwnedFd>,
    /// Where the table is kept.
    place: PathBuf,
    table: Mutex<Table>,
}

/// What of a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reading {
    /// Every byte.
    Bytes,
    /// Every byte, and whether it may be executed.
    Program,
    /// The text: a line that ends in CR LF is the same as one that ends in LF, so that a checkout on
    /// another system is the same data.
    Text,
}

impl Reading {
    /// The bytes that count.
    #[must_use]
    pub fn of(self, bytes: Vec<u8>) -> Vec<u8> {
        if self != Self::Text || is_packed(&bytes) || !bytes.windows(2).any(|pair| pair == b"\r\n") {
            return bytes;
        }
        let ends = bytes.iter().skip(1).chain([&0]);
        bytes.iter().zip(ends).filter(|pair| *pair != (&b'\r', &b'\n')).map(|(byte, _)| *byte).collect()
    }

    fn hash(self, path: &Path, state: &FileState) -> Result<Digest, StoreError> {
        match self {
            Self::Program if state.executable => Ok(hash_file(path)?.of_program()),
            Self::Bytes | Self::Program => hash_file(path),
            Self::Text => Text::open(path).and_then(Text::digest).map_err(StoreError::io("read", path)),
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    bytes: FileTable,
    programs: FileTable,
    texts: FileTable,
    changed: bool,
}

impl Table {
    const fn of(&mut self, reading: Reading) -> &mut FileTable {
        match reading {
            Reading::Bytes => &mut self.bytes,
            Reading::Program => &mut self.programs,
            Reading::Text => &mut self.texts,
        }
    }
}

impl FileStates {
    /// Loads the table of a workspace. A table that is missing or cannot be read is an empty one.
    #[must_use]
    pub fn load(root: &Path, place: &Path) -> Self {
        let stored = fs::read(place).unwrap_or_default();
        let (bytes, first) = FileTable::read(&stored);
        let (programs, second) = FileTable::read(&stored[first..]);
        let (texts, _) = FileTable::read(&stored[first + second..]);
        let folder = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
        Self { root: root.to_owned(), folder, place: place.to_owned(), table: Mutex::new(Table { bytes, programs, texts, changed: false }) }
    }

    /// The digest of a file of the workspace and the state in which it has that digest, read only if its state is new.
    ///
    /// # Errors
    /// When the file cannot be read, or changes while it is read.
    pub fn digest(&self, path: &str, reading: Reading) -> Result<(Digest, FileState), StoreError> {
        let before = self.state(path)?;
        if let Some((_, digest)) = self.lock().of(reading).get(path).filter(|(state, _)| *state == before) {
            return Ok((digest, before));
        }
        let place = self.root.join(path);
        let digest = reading.hash(&place, &before);
        let after = self.state(path)?;
        if after != before {
            return Err(StoreError::MovingFile { path: place });
        }
        let digest = digest?;
        if after.settled(now()) {
            let mut table = self.lock();
            table.of(reading).insert(path, after, digest);
            table.changed = true;
        }
        Ok((digest, after))
    }

    /// The digests of many files whose states were just looked at, read on all cores where a state is new.
    ///
    /// # Errors
    /// As [`FileStates::digest`], for the first file that has a problem.
    pub fn digests(&self, files: Vec<(String, FileState)>, reading: Reading) -> Result<Vec<(String, Digest, FileState)>, StoreError> {
        let known: Vec<Option<Digest>> = {
            let mut table = self.lock();
            let (known, mut near) = (table.of(reading), 0);
            let digest = |(path, state): &(String, FileState)| known.get_near(path, &mut near).filter(|(seen, _)| seen == state).map(|(_, digest)| digest);
            files.iter().map(digest).collect()
        };
        let found = |((path, state), known): ((String, FileState), Option<Digest>)| {
            let (digest, state) = known.map_or_else(|| self.digest(&path, reading), |digest| Ok((digest, state)))?;
            Ok((path, digest, state))
        };
        if known.iter().all(Option::is_some) {
            return files.into_iter().zip(known).map(found).collect();
        }
        files.into_par_iter().with_min_len(16).zip(known).map(found).collect()
    }

    /// The state of a file of the workspace now.
    ///
    /// # Errors
    /// As [`FileState::of`].
    pub fn state(&self, path: &str) -> Result<FileState, StoreError> {
        match &self.folder {
            Some(folder) => FileState::at(folder.as_fd(), path, || self.root.join(path)),
            None => FileState::of(&self.root.join(path)),
        }
    }

    /// Writes the table down if there is anything new in it. It is a help only: failing to is no error.
    pub fn save(&self) {
        let mut table = self.lock();
        if std::mem::take(&mut table.changed) {
            let mut bytes = Vec::new();
            [&table.bytes, &table.programs, &table.texts].into_iter().for_each(|part| part.write(&mut bytes));
            let _ = write_atomically(&self.place, &bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| i64::try_from(elapsed.as_nanos()).unwrap_or(0))
}

/// The digest of a file's content.
pub(super) fn hash_file(path: &Path) -> Result<Digest, StoreError> {
    Digest::of_file(path).map_err(StoreError::io("read", path))
}
