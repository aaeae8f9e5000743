//! The files below a folder, with their states.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

use super::{FileState, StoreError};

/// Which paths are wanted.
pub type Wanted<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// The files below the folder `start` of `root` that are `wanted`, by path relative to `root`, sorted. Links are followed; git's
/// folder and our own are passed over.
///
/// # Errors
/// When a folder cannot be read, a name is not UTF-8, or a link leads back to a folder above it.
pub fn files_below(root: &Path, start: &str, wanted: Wanted<'_>) -> Result<Vec<(String, FileState)>, StoreError> {
    let place = root.join(start);
    let above = fs::canonicalize(&place).map_err(StoreError::io("list", &place))?;
    let mut files = Walk { root, wanted }.folder(CWD, &place, start, &[above])?;
    files.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    root: &'a Path,
    wanted: Wanted<'a>,
}

impl Walk<'_> {
    /// The files below a folder, which is `name` seen from `parent` and `path` seen from the root. `above` holds the folders that
    /// lead here, without links, so that a link back to one of them is known.
    fn folder(self, parent: BorrowedFd<'_>, name: &Path, path: &str, above: &[PathBuf]) -> Result<Vec<(String, FileState)>, StoreError> {
        let failed = |error: rustix::io::Errno| StoreError::io("list", &self.root.join(path))(error.into());
        let open = openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        // What goes while the folder is looked at was never there.
        let gone = |error: &StoreError| matches!(error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        for entry in Dir::read_from(&open).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let bytes = entry.file_name().to_bytes();
            if matches!(bytes, b"." | b".." | b".git" | b".retune") {
                continue;
            }
            let place = || self.root.join(path).join(OsStr::from_bytes(bytes));
            let Ok(name) = str::from_utf8(bytes) else {
                return Err(StoreError::OddName { path: place() });
            };
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let kind = match entry.file_type() {
                FileType::Symlink | FileType::Unknown => {
                    let stat = statat(&open, name, AtFlags::empty()).map_err(|error| StoreError::io("list", &place())(error.into()))?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            match kind {
                FileType::Directory => folders.push((name.to_owned(), inner, entry.file_type() == FileType::Symlink)),
                FileType::RegularFile if (self.wanted)(&inner) => match FileState::at(open.as_fd(), name, place) {
                    Ok(state) => files.push((inner, state)),
                    Err(error) if gone(&error) => {}
                    Err(error) => return Err(error),
                },
                _ => {}
            }
        }
        let descend = |(name, inner, linked): &(String, String, bool)| {
            let real = if *linked { self.real(inner, above)? } else { above[above.len() - 1].join(name) };
            let above: Vec<PathBuf> = above.iter().cloned().chain([real]).collect();
            self.folder(open.as_fd(), Path::new(name), inner, &above)
        };
        let inside: Vec<Vec<(String, FileState)>> = folders.par_iter().map(descend).collect::<Result<_, _>>()?;
        files.extend(inside.into_iter().flatten());
        Ok(files)
    }

    /// Where a link to a folder leads, which must not be back up.
    fn real(self, path: &str, above: &[PathBuf]) -> Result<PathBuf, StoreError> {
        let place = self.root.join(path);
        let real = fs::canonicalize(&place).map_err(StoreError::io("list", &place))?;
        if above.iter().any(|folder| folder.starts_with(&real)) {
            let source = std::io::Error::other("a link leads back to a folder above it");
            return Err(StoreError::Io { doing: "list", path: place, source });
        }
        Ok(real)
    }
}
