use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, test_kill_process};

use super::{Store, StoreError, end_orphans};

/// One process at work in a store: the owner of a folder for unfinished things.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    token: String,
    next: AtomicU32,
    // Locked as long as the process lives, by which others know that the folder is in use.
    _alive: File,
}

/// What stands before the name of a session that is being made.
const MAKING: &str = ".new-";

const TEMPORARY: &str = "tmp";

impl Session {
    /// Ends and clears away what sessions of dead processes have left. A run does so first, whatever it has to do.
    pub fn clear_dead(store: &Store) {
        clear_dead(&store.root().join("tmp"));
    }

    /// Begins a session.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin(store: &Store, token: &str) -> Result<Self, StoreError> {
        let tmp = store.root().join("tmp");
        let (making, folder) = (tmp.join(format!("{MAKING}{token}")), tmp.join(token));
        let temporary = making.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(StoreError::io("create", &temporary))?;
        let path = making.join("alive");
        let alive = File::create(&path).map_err(StoreError::io("create", &path))?;
        alive.lock().map_err(StoreError::io("lock", &path))?;
        // Under its own name it is locked from the first moment, so that nobody takes it for one that is dead.
        fs::rename(&making, &folder).map_err(StoreError::io("create", &folder))?;
        Ok(Self { folder, token: token.to_owned(), next: AtomicU32::new(0), _alive: alive })
    }

    /// A new empty folder for one attempt at one action. No other attempt, of this process or another, ever uses it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attempt(&self) -> Result<Attempt, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let (folder, temporary) = (self.folder.join(&number), self.folder.join(TEMPORARY).join(&number));
        for place in [&folder, &temporary] {
            fs::create_dir(place).map_err(StoreError::io("create", place))?;
        }
        Ok(Attempt { folder, temporary, token: format!("{}-{number}", self.token) })
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
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder).and(fs::remove_dir_all(&self.temporary));
    }
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
        Session::clear_dead(&store);
        let mut left: Vec<String> = fs::read_dir(&tmp).expect("it is there").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        left.sort();
        assert_eq!(left, [format!(".new-run-{}", std::process::id()), "other-1".into(), format!("run-{}", std::process::id())]);
        drop(living);
    }
}
