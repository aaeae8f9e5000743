use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::fingerprint::ActionKey;

use super::{Store, StoreError};

/// The right to make one key. The system takes it back when the process dies, however it dies.
#[derive(Debug)]
pub struct KeyLock {
    path: PathBuf,
    // Held for its lock alone, which ends with it.
    _file: File,
}

impl KeyLock {
    /// Takes the lock of a key if nobody has it.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub fn try_take(store: &Store, key: ActionKey) -> Result<Option<Self>, StoreError> {
        let path = store.root().join("locks").join(key.to_string());
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(StoreError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
        // The file may have been removed by the one before between opening and locking: then this lock guards nothing.
        let ours = file.metadata().map_err(StoreError::io("read", &path))?.ino();
        let guards = fs::metadata(&path).is_ok_and(|there| there.ino() == ours);
        Ok(guards.then_some(Self { path, _file: file }))
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Removed while still locked, so that whoever opened it meanwhile finds that it guards nothing.
        let _ = fs::remove_file(&self.path);
    }
}
