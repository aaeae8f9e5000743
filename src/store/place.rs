//! Objects of the store as files that people and commands see.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fingerprint::Digest;

use super::files::hash_file;
use super::write::{beside, write_atomically};
use super::{Artifact, Store, StoreError};

/// Files below this are copied: a copy of so little costs no more than a link, and may be written to.
const SMALL: u64 = 1 << 20;

impl Store {
    /// Lays an artifact at `target`, which is replaced whole. Its bytes are verified on the way. Large files share
    /// their blocks with the store where the file system can do that, and are read-only links to it where it cannot.
    ///
    /// # Errors
    /// As [`Store::read`], and when `target` cannot be written.
    pub fn export(&self, artifact: Artifact, target: &Path) -> Result<(), StoreError> {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        match artifact {
            Artifact::File { .. } if artifact.size() < SMALL => {
                clear_folder(target)?;
                write_atomically(target, &self.read(artifact)?)
            }
            Artifact::File { digest, size } => {
                let temporary = beside(target);
                self.verify(digest, size)?;
                clear_folder(target)?;
                let laid = share(&self.object(digest), &temporary).and_then(|()| fs::rename(&temporary, target));
                laid.map_err(|error| {
                    let _ = fs::remove_file(&temporary);
                    StoreError::io("write", target)(error)
                })
            }
            Artifact::Tree { .. } => {
                let temporary = beside(target);
                let laid = self.lay_tree(artifact, &temporary, Self::export).and_then(|()| {
                    clear_folder(target)?;
                    if target.is_symlink() || target.exists() {
                        fs::remove_file(target).map_err(StoreError::io("replace", target))?;
                    }
                    fs::rename(&temporary, target).map_err(StoreError::io("write", target))
                });
                if laid.is_err() {
                    let _ = fs::remove_dir_all(&temporary);
                }
                laid
            }
        }
    }

    /// Lays an artifact at `target`, where nothing is, for a command to read: as read-only links to its verified objects.
    ///
    /// # Errors
    /// As [`Store::read`], and when `target` cannot be written.
    pub fn link(&self, artifact: Artifact, target: &Path) -> Result<(), StoreError> {
        let Artifact::File { digest, size } = artifact else {
            return self.lay_tree(artifact, target, Self::link);
        };
        self.verify(digest, size)?;
        let place = self.object(digest);
        match fs::hard_link(&place, target) {
            Ok(()) => Ok(()),
            // Another file system, or more links than one object can have.
            Err(_) => fs::copy(&place, target).map(drop).map_err(StoreError::io("write", target)),
        }
    }

    fn lay_tree(&self, tree: Artifact, target: &Path, lay: fn(&Self, Artifact, &Path) -> Result<(), StoreError>) -> Result<(), StoreError> {
        fs::create_dir_all(target).map_err(StoreError::io("create", target))?;
        for entry in self.tree(tree)? {
            let place = target.join(&entry.path);
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
            }
            let file = Artifact::File { digest: entry.digest, size: entry.size };
            if entry.executable {
                // A link would share its rights with the object.
                fs::write(&place, self.read(file)?).map_err(StoreError::io("write", &place))?;
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).map_err(StoreError::io("write", &place))?;
            } else {
                lay(self, file, &place)?;
            }
        }
        Ok(())
    }

    /// Makes sure that an object is what its name says.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn verify(&self, digest: Digest, size: u64) -> Result<(), StoreError> {
        match hash_file(&self.object(digest), size) {
            Ok(found) if found == digest => Ok(()),
            Ok(found) => Err(self.set_aside(digest, found)),
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Err(StoreError::Missing { digest }),
            Err(error) => Err(error),
        }
    }
}

fn clear_folder(target: &Path) -> Result<(), StoreError> {
    if target.is_dir() && !target.is_symlink() { fs::remove_dir_all(target).map_err(StoreError::io("replace", target)) } else { Ok(()) }
}

/// Gives a large object a second file: sharing its blocks, else its inode, else as a copy.
fn share(object: &Path, target: &Path) -> std::io::Result<()> {
    let cloned = fs::File::open(object).and_then(|from| {
        let to = fs::File::create_new(target)?;
        Ok(rustix::fs::ioctl_ficlone(&to, &from)?)
    });
    if cloned.is_ok() {
        return Ok(());
    }
    let _ = fs::remove_file(target);
    fs::hard_link(object, target).or_else(|_| fs::copy(object, target).map(drop))
}
