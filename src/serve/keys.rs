//! Who may ask. A key is 256 random bits, and only its hash is kept: of so much chance no hash need be slow.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::StageName;
use crate::store::write_atomically;

use super::ServeError;

/// What every key begins with, so that scanners of leaked secrets can tell what it is.
const MARK: &str = "rt-";

/// The keys of a workspace, by name, as hashes.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    known: Vec<(String, blake3::Hash)>,
}

impl Keys {
    /// Reads them from the state folder of a workspace.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as it is written here.
    pub fn read(state: &Path) -> Result<Self, ServeError> {
        let path = state.join("serve").join("keys");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ServeError::Io { doing: "read", path, source }),
        };
        let known = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let (hash, name) = line.split_once(' ').unwrap_or((line, ""));
            Ok((name.to_owned(), blake3::Hash::from_hex(hash).map_err(|_| ServeError::BadKeys { path: path.clone() })?))
        });
        let known = known.collect::<Result<Vec<_>, ServeError>>()?;
        Ok(Self { path, known })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(name, _)| name.as_str())
    }

    /// Makes a key, which nobody can tell again afterwards.
    ///
    /// # Errors
    /// When it can be no name or there is one of it, chance cannot be had, or the file cannot be written.
    pub fn add(&mut self, name: &str) -> Result<String, ServeError> {
        if StageName::new(name).is_none() {
            return Err(ServeError::BadName { name: name.to_owned() });
        }
        if self.names().any(|known| known == name) {
            return Err(ServeError::KeyTaken { name: name.to_owned() });
        }
        let mut chance = [0; 32];
        let source = Path::new("/dev/urandom");
        let read = fs::File::open(source).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut chance));
        read.map_err(|error| ServeError::Io { doing: "read", path: source.to_owned(), source: error })?;
        let key = format!("{MARK}{}", blake3::Hash::from_bytes(chance).to_hex());
        self.known.push((name.to_owned(), hash(&key)));
        self.write()?;
        Ok(key)
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// When there is none of this name, or the file cannot be written.
    pub fn remove(&mut self, name: &str) -> Result<(), ServeError> {
        let before = self.known.len();
        self.known.retain(|(known, _)| known != name);
        if self.known.len() == before {
            return Err(ServeError::NoSuchKey { name: name.to_owned() });
        }
        self.write()
    }

    fn write(&self) -> Result<(), ServeError> {
        let text: String = self.known.iter().map(|(name, hash)| format!("{} {name}\n", hash.to_hex())).collect();
        let folder = self.path.parent().unwrap_or(&self.path);
        let made = fs::create_dir_all(folder);
        made.map_err(|source| ServeError::Io { doing: "create", path: folder.to_owned(), source })?;
        Ok(write_atomically(&self.path, text.as_bytes())?)
    }

    /// The name of a key. Every known one is compared, each in the same time whatever it is.
    #[must_use]
    pub fn name_of(&self, key: &str) -> Option<&str> {
        let hash = hash(key);
        // `blake3::Hash` compares in constant time.
        self.known.iter().fold(None, |found, (name, known)| if *known == hash { Some(name.as_str()) } else { found })
    }
}

fn hash(key: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("retune serve key v1", key.as_bytes()))
}
