use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Store, StoreError, end_orphans};

/// One process at work in a store: the owner of a folder for unfinished things.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    token: String,
    next: AtomicU32,
    /// Empty folders of attempts that are over.
    spare: Spare,
    // Locked as long as the process lives, by which others know that the folder is in use.
    _alive: File,
}

/// A file system is slow to give out what was just deleted, so that a folder is handed on rather than made anew.
type Spare = Arc<Mutex<Vec<PathBuf>>>;

const TEMPORARY: &str = "tmp";

impl Session {
    /// Begins a session, and clears away what dead ones have left.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin(store: &Store, token: &str) -> Result<Self, StoreError> {
        let tmp = store.root().join("tmp");
        clear_dead(&tmp);
        let folder = tmp.join(token);
        let temporary = folder.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(StoreError::io("create", &temporary))?;
        let path = folder.join("alive");
        let alive = File::create(&path).map_err(StoreError::io("create", &path))?;
        alive.lock().map_err(StoreError::io("lock", &path))?;
        Ok(Self { folder, token: token.to_owned(), next: AtomicU32::new(0), spare: Spare::default(), _alive: alive })
    }

    /// A new empty folder for one attempt at one action. No other attempt, of this process or another, ever uses it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attempt(&self) -> Result<Attempt, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(number.to_string());
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if !spare.is_some_and(|spare| fs::rename(spare, &folder).is_ok()) {
            fs::create_dir(&folder).map_err(StoreError::io("create", &folder))?;
        }
        Ok(Attempt { folder, token: format!("{}-{number}", self.token), spare: Arc::clone(&self.spare), whole: false })
    }

    /// The folder of all attempts.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where commands may put what they need for a moment.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.folder.join(TEMPORARY)
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
    token: String,
    spare: Spare,
    whole: bool,
}

impl Attempt {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What tells it from every other attempt of any process.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The attempt went well and left nothing behind that could still write, so that its folder may be handed on.
    pub fn went_well(&mut self) {
        self.whole = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.whole && empty(&self.folder).is_ok() {
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.folder));
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
    }
    Ok(())
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
            end_orphans(&path);
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
