//! Where things go that are in the way and that the store does not have: nothing of the user's is ever overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Store;

/// A place of its own for what lies at a path of the workspace, and what it is called to the user. `by` says who moves it.
#[must_use]
pub fn displaced(store: &Store, path: &str, by: &str) -> (PathBuf, String) {
    let folder = store.displaced().join(by);
    let mut name = path.to_owned();
    let mut number = 1;
    while fs::symlink_metadata(folder.join(&name)).is_ok() {
        number += 1;
        name = format!("{path}.{number}");
    }
    (folder.join(&name), format!(".retune/displaced/{by}/{name}"))
}

/// Moves a file or folder, also to another file system.
///
/// # Errors
/// When it can be neither renamed nor copied; it stays where it was then.
pub fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(from, to)?;
            if from.is_dir() && !from.is_symlink() { fs::remove_dir_all(from) } else { fs::remove_file(from) }
        }
        done => done,
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?;
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if !kind.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
