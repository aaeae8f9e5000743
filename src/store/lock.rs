use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::fingerprint::{ActionKey, Digest};

use super::{Store, StoreError};

/// The right to make or change one thing of a workspace. The system takes it back when the process dies, however it dies.
///
/// All locks are bytes of one file, each at the place that the hash of its name says: nothing is left behind by them,
/// and two that meet by chance only wait for each other. They belong to the open file, so that they hold between the
/// threads of one process too.
#[derive(Debug)]
pub struct Lock {
    // Held for its lock alone, which ends with it.
    file: File,
}

impl Lock {
    /// Takes the right to make a key if nobody has it.
    ///
    /// # Errors
    /// When the file of the locks cannot be made.
    pub fn try_key(store: &Store, key: ActionKey) -> Result<Option<Self>, StoreError> {
        Self::attempt(store, key.0)
    }

    /// Waits for the right to change the file of this name: for the short time between reading and writing it.
    ///
    /// # Errors
    /// When the file of the locks cannot be made.
    pub fn wait(store: &Store, name: &str) -> Result<Self, StoreError> {
        Self::block(store, Hold::Alone, name)
    }

    /// Shares the right of this name with others, and waits while somebody has it alone.
    ///
    /// # Errors
    /// When the file of the locks cannot be made.
    pub fn share(store: &Store, name: &str) -> Result<Self, StoreError> {
        Self::block(store, Hold::Shared, name)
    }

    /// Takes the right of this name alone if nobody has it.
    ///
    /// # Errors
    /// When the file of the locks cannot be made.
    pub fn try_alone(store: &Store, name: &str) -> Result<Option<Self>, StoreError> {
        Self::attempt(store, Digest::of(name.as_bytes()))
    }

    fn attempt(store: &Store, name: Digest) -> Result<Option<Self>, StoreError> {
        let lock = Self::open(store)?;
        match fcntl(&lock.file, FcntlArg::F_OFD_SETLK(&range(name, Hold::Alone))) {
            Ok(_) => Ok(Some(lock)),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(StoreError::io("lock", &store.root().join(FILE))(error.into())),
        }
    }

    fn block(store: &Store, hold: Hold, name: &str) -> Result<Self, StoreError> {
        let lock = Self::open(store)?;
        loop {
            match fcntl(&lock.file, FcntlArg::F_OFD_SETLKW(&range(Digest::of(name.as_bytes()), hold))) {
                Ok(_) => return Ok(lock),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(StoreError::io("lock", &store.root().join(FILE))(error.into())),
            }
        }
    }

    fn open(store: &Store) -> Result<Self, StoreError> {
        let path = store.root().join(FILE);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(StoreError::io("create", &path))?;
        Ok(Self { file })
    }
}

const FILE: &str = "locks";

/// Whether others may have the same right meanwhile.
#[derive(Clone, Copy, Debug)]
enum Hold {
    Shared,
    Alone,
}

fn range(name: Digest, hold: Hold) -> libc::flock {
    let [a, b, c, d, e, f, g, h, ..] = *name.as_bytes();
    let place = i64::from_le_bytes([a, b, c, d, e, f, g, h]) & (i64::MAX >> 1);
    #[expect(clippy::cast_possible_truncation, reason = "the constants are small, and the structure wants them so")]
    let (kind, whence) = (if matches!(hold, Hold::Shared) { libc::F_RDLCK } else { libc::F_WRLCK } as libc::c_short, libc::SEEK_SET as libc::c_short);
    libc::flock { l_type: kind, l_whence: whence, l_start: place, l_len: 1, l_pid: 0 }
}
