use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Store, StoreError};

/// One process at work in a store: the owner of a folder for unfinished things.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    next: AtomicU32,
    // Locked as long as the process lives, by which others know that the folder is in use.
    _alive: File,
}

impl Session {
    /// Begins a session, and clears away what dead ones have left.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin(store: &Store, token: &str) -> Result<Self, StoreError> {
        let tmp = store.root().join("tmp");
        clear_dead(&tmp);
        let folder = tmp.join(token);
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        let path = folder.join("alive");
        let alive = File::create(&path).map_err(StoreError::io("create", &path))?;
        alive.lock().map_err(StoreError::io("lock", &path))?;
        Ok(Self { folder, next: AtomicU32::new(0), _alive: alive })
    }

    /// A new empty folder for one attempt at one action. No other attempt, of this process or another, ever uses it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attempt(&self) -> Result<Attempt, StoreError> {
        let folder = self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&folder).map_err(StoreError::io("create", &folder))?;
        Ok(Attempt { folder })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of one attempt, removed with all that is in it when the attempt is over.
#[derive(Debug)]
pub struct Attempt {
    folder: PathBuf,
}

impl Attempt {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn clear_dead(tmp: &Path) {
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let path = entry.path();
        // A session without the file is being made this moment; a loose file is a blob being written or left by a kill.
        let Ok(alive) = File::open(path.join("alive")) else {
            remove_if_old(&path);
            continue;
        };
        if alive.try_lock().is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn remove_if_old(path: &Path) {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let old = modified.ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age.as_secs() > 24 * 3600);
    if old {
        let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    }
}
