use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, test_kill_process};

use super::{Store, StoreError, end_orphans};

/// One process at work in a store: the owner of a folder for unfinished things.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    token: String,
    next: AtomicU32,
    /// Empty folders of attempts that are over.
    spare: Spare,
    /// The same of their temporary folders.
    spare_temporary: Spare,
    // Locked as long as the process lives, by which others know that the folder is in use.
    _alive: File,
}

/// A file system is slow to give out what was just deleted, so that a folder is handed on rather than made anew.
type Spare = Arc<Mutex<Vec<PathBuf>>>;

/// What stands before the name of a session that is being made.
const MAKING: &str = ".new-";

const TEMPORARY: &str = "tmp";

impl Session {
    /// Begins a session, and clears away what dead ones have left.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin(store: &Store, token: &str) -> Result<Self, StoreError> {
        let tmp = store.root().join("tmp");
        clear_dead(&tmp);
        let (making, folder) = (tmp.join(format!("{MAKING}{token}")), tmp.join(token));
        let temporary = making.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(StoreError::io("create", &temporary))?;
        let path = making.join("alive");
        let alive = File::create(&path).map_err(StoreError::io("create", &path))?;
        alive.lock().map_err(StoreError::io("lock", &path))?;
        // Under its own name it is locked from the first moment, so that nobody takes it for one that is dead.
        fs::rename(&making, &folder).map_err(StoreError::io("create", &folder))?;
        Ok(Self { folder, token: token.to_owned(), next: AtomicU32::new(0), spare: Spare::default(), spare_temporary: Spare::default(), _alive: alive })
    }

    /// A new empty folder for one attempt at one action. No other attempt, of this process or another, ever uses it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attempt(&self) -> Result<Attempt, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(number.to_string());
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if spare.is_none_or(|spare| fs::rename(spare, &folder).is_err()) {
            fs::create_dir(&folder).map_err(StoreError::io("create", &folder))?;
        }
        let spare = self.spare_temporary.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let temporary = match spare {
            Some(spare) => spare,
            None => {
                let temporary = self.folder.join(TEMPORARY).join(number.to_string());
                fs::create_dir(&temporary).map_err(StoreError::io("create", &temporary))?;
                temporary
            }
        };
        Ok(Attempt {
            folder,
            temporary,
            token: format!("{}-{number}", self.token),
            spare: Arc::clone(&self.spare),
            spare_temporary: Arc::clone(&self.spare_temporary),
            whole: false,
        })
    }

    /// The folder of all attempts.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
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
    temporary: PathBuf,
    token: String,
    spare: Spare,
    spare_temporary: Spare,
    whole: bool,
}

impl Attempt {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where its commands may put what they need for a moment.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
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
        // Mostly there is nothing in it. What the attempt left running has ended, so that the name may be used again.
        let empty_still = fs::read_dir(&self.temporary).is_ok_and(|mut entries| entries.next().is_none());
        if self.whole && empty_still {
            self.spare_temporary.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.temporary));
        } else {
            let _ = fs::remove_dir_all(&self.temporary);
        }
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

/// Ends and clears away what processes that are dead have left.
pub(super) fn clear_dead(tmp: &Path) {
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let path = entry.path();
        let dead = match File::open(path.join("alive")) {
            Ok(alive) if !entry.file_name().to_string_lossy().starts_with(MAKING) => alive.try_lock().is_ok(),
            // A session that is being made this moment, or a blob that is being written: its name says by whom.
            _ => maker(&entry.file_name().to_string_lossy()).is_none_or(|process| test_kill_process(process).is_err()),
        };
        if dead {
            end_orphans(&path);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// The process in the name of an unfinished thing: the number at its end (`RUN-PROCESS`), or in a part of a file (`.NAME.PROCESS-3.part`).
fn maker(name: &str) -> Option<Pid> {
    let number = match name.strip_suffix(".part") {
        Some(part) => part.rsplit('.').next()?.split('-').next()?,
        None => name.rsplit('-').next()?,
    };
    Pid::from_raw(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_things_say_whose_they_are() {
        let process = |name: &str| maker(name).map(Pid::as_raw_nonzero).map(std::num::NonZero::get);
        assert_eq!(process(".new-20261124-093741.394-25d539-27182"), Some(27182));
        assert_eq!(process(".object.4711-3.part"), Some(4711));
        assert_eq!(process("something"), None);
    }

    #[test]
    fn what_dead_processes_left_goes_and_what_lives_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let tmp = folder.path().join("tmp");
        let living = Session::begin(&store, &format!("run-{}", std::process::id())).expect("it begins");
        for dead in [".new-run-999999999", "run-999999998/alive"] {
            fs::create_dir_all(tmp.join(dead).parent().expect("a folder")).expect("it is ours");
            fs::write(tmp.join(dead), "").expect("it is ours");
        }
        fs::write(tmp.join(".object.999999997-0.part"), "").expect("it is ours");
        fs::create_dir(tmp.join(format!(".new-run-{}", std::process::id()))).expect("it is ours");
        let _other = Session::begin(&store, "other-1").expect("it begins");
        let mut left: Vec<String> = fs::read_dir(&tmp).expect("it is there").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        left.sort();
        assert_eq!(left, [format!(".new-run-{}", std::process::id()), "other-1".into(), format!("run-{}", std::process::id())]);
        drop(living);
    }
}
