use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;

/// Writes a file so that it is either there whole or not there: beside its place, then renamed into it.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write(path, bytes, 0o666)
}

/// The same, for a file that nobody may write to afterwards.
pub(super) fn write_sealed(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write(path, bytes, 0o444)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let temporary = beside(path);
    let written = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        StoreError::Io { doing: "write", path: path.to_owned(), source }
    })
}

/// A name beside `path` that no other writer uses.
pub(super) fn beside(path: &Path) -> std::path::PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.part", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}
