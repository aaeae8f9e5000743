use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// By what it shows that a small file was replaced: its inode, its last change in nanoseconds, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64, i64, i64, u64);

impl Stamp {
    /// That of a file, if it is there.
    pub fn of(path: &Path) -> Option<Self> {
        let state = std::fs::metadata(path).ok()?;
        Some(Self(state.ino(), state.mtime(), state.mtime_nsec(), state.len()))
    }
}
