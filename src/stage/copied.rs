//! Copies of files of the workspace for work that must not touch them.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::fingerprint::Digest;

use super::StageError;

/// Files from this size on share their blocks with the user's file where the file system can do that, and are copied where it cannot,
/// but not hashed once more: that the user's file did not change meanwhile is seen by its state. No link of any kind would do: a
/// hard one changes the state of the user's file, and a symbolic one is no file to whoever packs or looks for files.
pub const LARGE: u64 = 256 << 20;

/// Copies a file of the workspace, which shows what was copied to be what the key covers.
///
/// # Errors
/// When it cannot be copied, or is not what it was.
pub fn copy_of(workspace: &Path, path: &str, digest: Digest, target: &Path) -> Result<(), StageError> {
    let source = workspace.join(path);
    let failed = |error| StageError::Io { doing: "copy", path: source.clone(), source: error };
    let from = File::open(&source).map_err(failed)?;
    let metadata = from.metadata().map_err(failed)?;
    if metadata.len() >= LARGE {
        return shared(from, &metadata, target).map_err(failed);
    }
    let found = copied(from, &metadata, target).map_err(failed)?;
    let is_program = metadata.permissions().mode() & 0o111 != 0;
    if digest == found || is_program && digest == found.of_program() { Ok(()) } else { Err(StageError::InputChanged { path: path.to_owned() }) }
}

/// Copies a file, and tells the digest of the copy.
fn copied(mut from: File, metadata: &Metadata, target: &Path) -> io::Result<Digest> {
    /// A file up to this size goes through memory, so that it is not read a second time to be hashed.
    const SMALL: u64 = 1 << 20;
    let mut to = File::options().write(true).create_new(true).mode(metadata.permissions().mode()).open(target)?;
    if metadata.len() > SMALL {
        io::copy(&mut from, &mut to)?;
        return Digest::of_file(target);
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    from.read_to_end(&mut content)?;
    to.write_all(&content)?;
    Ok(Digest::of(&content))
}

fn shared(mut from: File, metadata: &Metadata, target: &Path) -> io::Result<()> {
    let mut to = File::options().write(true).create_new(true).mode(metadata.permissions().mode()).open(target)?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
        io::copy(&mut from, &mut to)?;
    }
    Ok(())
}
