//! Who may ask. A key is 256 random bits, and only its hash is kept: of so much chance no hash need be slow.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::config::StageName;
use crate::store::{Lock, Store, write_atomically};

use super::ServeError;
use super::stamp::Stamp;

/// What every key begins with, so that scanners of leaked secrets can tell what it is.
const MARK: &str = "rt-";

/// The keys of a workspace, by name, as hashes.
#[derive(Debug)]
pub struct Keys {
    store: Store,
    known: Vec<(String, blake3::Hash)>,
}

impl Keys {
    fn path(store: &Store) -> PathBuf {
        store.root().join("serve").join("keys")
    }

    /// Reads them from the state of a workspace.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as it is written here.
    pub fn read(store: &Store) -> Result<Self, ServeError> {
        let path = Self::path(store);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ServeError::Io { doing: "read", path, source }),
        };
        let known = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let (hash, name) = line.split_once(' ').unwrap_or((line, ""));
            Ok((name.to_owned(), blake3::Hash::from_hex(hash).map_err(|_| ServeError::BadKeys { path: path.clone() })?))
        });
        Ok(Self { known: known.collect::<Result<_, ServeError>>()?, store: store.clone() })
    }

    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(name, _)| name.as_str())
    }

    /// Makes a key, which nobody can tell again afterwards.
    ///
    /// # Errors
    /// When it can be no name or there is one of it, chance cannot be had, or the file cannot be read or written.
    pub fn add(store: &Store, name: &str) -> Result<String, ServeError> {
        if StageName::new(name).is_none() {
            return Err(ServeError::BadName { name: name.to_owned() });
        }
        let _alone = Lock::wait(store, LOCK)?;
        let mut keys = Self::read(store)?;
        if keys.names().any(|known| known == name) {
            return Err(ServeError::KeyTaken { name: name.to_owned() });
        }
        let mut chance = [0; 32];
        let source = Path::new("/dev/urandom");
        let read = fs::File::open(source).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut chance));
        read.map_err(|error| ServeError::Io { doing: "read", path: source.to_owned(), source: error })?;
        let key = format!("{MARK}{}", blake3::Hash::from_bytes(chance).to_hex());
        keys.known.push((name.to_owned(), hash(&key)));
        keys.write()?;
        Ok(key)
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// When there is none of this name, or the file cannot be read or written.
    pub fn remove(store: &Store, name: &str) -> Result<(), ServeError> {
        let _alone = Lock::wait(store, LOCK)?;
        let mut keys = Self::read(store)?;
        let before = keys.known.len();
        keys.known.retain(|(known, _)| known != name);
        if keys.known.len() == before {
            return Err(ServeError::NoSuchKey { name: name.to_owned() });
        }
        keys.write()
    }

    fn write(&self) -> Result<(), ServeError> {
        let text: String = self.known.iter().map(|(name, hash)| format!("{} {name}\n", hash.to_hex())).collect();
        let path = Self::path(&self.store);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(|source| ServeError::Io { doing: "create", path: folder.to_owned(), source })?;
        Ok(write_atomically(&path, text.as_bytes())?)
    }

    /// The name of a key. Every known one is compared, each in the same time whatever it is.
    fn name_of(&self, key: &str) -> Option<&str> {
        let hash = hash(key);
        // `blake3::Hash` compares in constant time.
        self.known.iter().fold(None, |found, (name, known)| if *known == hash { Some(name.as_str()) } else { found })
    }
}

/// What is locked while keys change.
const LOCK: &str = "serve keys";

/// The keys that open a gateway, as the file has them now.
#[derive(Debug)]
pub struct Door {
    store: Store,
    /// Whether a key is wanted even where there is none any more.
    always: bool,
    keys: Mutex<(Option<Stamp>, Keys)>,
}

impl Door {
    /// Reads the keys. Where there are some, or `always`, a key is wanted from now on.
    ///
    /// # Errors
    /// As [`Keys::read`].
    pub fn new(store: &Store, always: bool) -> Result<Self, ServeError> {
        let (stamp, keys) = (Stamp::of(&Keys::path(store)), Keys::read(store)?);
        Ok(Self { store: store.clone(), always: always || !keys.known.is_empty(), keys: Mutex::new((stamp, keys)) })
    }

    /// Whether there are no keys.
    pub fn is_without(&self) -> bool {
        self.with(|keys| keys.known.is_empty())
    }

    /// Whether who asks needs a key.
    pub fn are_wanted(&self) -> bool {
        self.always || !self.is_without()
    }

    /// The name of a key.
    pub fn name_of(&self, key: &str) -> Option<String> {
        self.with(|keys| keys.name_of(key).map(str::to_owned))
    }

    fn with<T>(&self, look: impl FnOnce(&Keys) -> T) -> T {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&Keys::path(&self.store));
        if keys.0 != stamp {
            // A file that cannot be read opens nothing more than the one before.
            if let Ok(read) = Keys::read(&self.store) {
                *keys = (stamp, read);
            }
        }
        look(&keys.1)
    }
}

fn hash(key: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("retune serve key v1", key.as_bytes()))
}
