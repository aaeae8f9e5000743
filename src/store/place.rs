//! Objects of the store as files that people and commands see.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::fingerprint::Digest;

use super::cas::seal;
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
            Artifact::Program { digest, size } => {
                clear_folder(target)?;
                let temporary = beside(target);
                self.copy_program(digest, size, &temporary)?;
                fs::rename(&temporary, target).map_err(StoreError::io("write", target))
            }
            Artifact::Tree { .. } => {
                // In the store's own folder, where a kill leaves nothing for others to read; it is mostly on the same file system.
                let near = self.root().join("tmp").join(target.file_name().unwrap_or_default());
                let same = |place: &Path| fs::metadata(place.parent().unwrap_or(place)).map(|folder| folder.dev()).ok();
                let temporary = if same(&near).is_some() && same(&near) == same(target) { beside(&near) } else { beside(target) };
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
        let (digest, size) = match artifact {
            Artifact::File { digest, size } => (digest, size),
            Artifact::Program { digest, size } => return self.copy_program(digest, size, target),
            Artifact::Tree { .. } => return self.lay_tree(artifact, target, Self::link),
        };
        self.verify(digest, size)?;
        let place = self.object(digest);
        match fs::hard_link(&place, target) {
            // Whoever had it before may have changed its rights, which all links share.
            Ok(()) if fs::metadata(&place).is_ok_and(|object| object.permissions().mode() & 0o777 != 0o444) => {
                seal(&place).map_err(StoreError::io("seal", &place))
            }
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bytes = self.read(Artifact::File { digest, size })?;
                fs::write(target, bytes).and_then(|()| seal(target)).map_err(StoreError::io("write", target))
            }
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
            lay(self, entry.artifact(), &place)?;
        }
        for folder in self.empty_folders(tree)? {
            let place = target.join(folder);
            fs::create_dir_all(&place).map_err(StoreError::io("create", &place))?;
        }
        Ok(())
    }

    /// A copy, since a link would share its rights with the object.
    fn copy_program(&self, digest: Digest, size: u64, target: &Path) -> Result<(), StoreError> {
        let bytes = self.read(Artifact::File { digest, size })?;
        let written = fs::write(target, bytes).and_then(|()| fs::set_permissions(target, fs::Permissions::from_mode(0o755)));
        written.map_err(StoreError::io("write", target))
    }

    /// Where the bytes of a file lie, for a look at them that need not be exact: they are not verified, and may be in a pack.
    #[must_use]
    pub fn place(&self, artifact: Artifact) -> Option<std::path::PathBuf> {
        Some(self.object(artifact.digest())).filter(|place| place.is_file())
    }

    /// Makes sure of every object of an artifact.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn verify_all(&self, artifact: Artifact) -> Result<(), StoreError> {
        self.verify(artifact.digest(), artifact.size())?;
        let files = if matches!(artifact, Artifact::Tree { .. }) { self.tree(artifact)? } else { Vec::new() };
        files.iter().try_for_each(|file| self.verify(file.digest, file.size))
    }

    /// Whether the store has all that a file or folder holds, so that it can go and be had again.
    #[must_use]
    pub fn knows(&self, path: &Path) -> bool {
        // A folder by the whole of it: a file that somebody put there is theirs, even where it holds what the store has.
        if path.is_dir() && !path.is_symlink() {
            return self.tree_of(path, false).is_ok_and(|tree| self.has(tree)) || self.tree_of(path, true).is_ok_and(|tree| self.has(tree));
        }
        let file = |path: &Path| {
            let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
            size == 0 || hash_file(path).is_ok_and(|digest| self.has(Artifact::File { digest, size }))
        };
        let mut entries = walkdir::WalkDir::new(path).into_iter();
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_type().is_dir() || (entry.file_type().is_file() && file(entry.path()))))
    }

    /// Makes sure that an object is what its name says.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn verify(&self, digest: Digest, size: u64) -> Result<(), StoreError> {
        match hash_file(&self.object(digest)) {
            Ok(found) if found == digest => Ok(()),
            Ok(found) => Err(self.set_aside(digest, found)),
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied && seal(&self.object(digest)).is_ok() => {
                self.read(Artifact::File { digest, size }).map(drop)
            }
            // What is not there by itself may be in a pack.
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => self.read(Artifact::File { digest, size }).map(drop),
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
    fs::hard_link(object, target).and_then(|()| seal(object)).or_else(|_| fs::copy(object, target).map(drop))
}
