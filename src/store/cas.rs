use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fingerprint::{ActionKey, Digest};

use super::StoreError;
use super::write::{beside, write_atomically};

/// The store of one workspace: `.retune/`.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Something that a stage made, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Artifact {
    /// A file.
    File {
        /// Digest of its bytes.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A folder.
    Tree {
        /// Digest of its manifest, which lists its files by name and digest.
        digest: Digest,
        /// Size of the manifest in bytes.
        size: u64,
    },
}

impl Artifact {
    /// The digest that names it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        match self {
            Self::File { digest, .. } | Self::Tree { digest, .. } => *digest,
        }
    }

    const fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Tree { size, .. } => *size,
        }
    }
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Its path inside the tree, with `/`.
    pub path: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    /// Always "retune tree v1": a file that happens to hold the same list is not taken for a tree.
    format: String,
    files: Vec<TreeEntry>,
}

const TREE_FORMAT: &str = "retune tree v1";

impl Store {
    /// Opens the store at `root` (the `.retune` folder), making it where it does not exist.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for folder in ["cas", "actions", "runs", "jobs", "locks", "tmp"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        }
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            write_atomically(&ignore, b"*\n")?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The store at `root` for looking only: nothing is made on disk.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The `.retune` folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn object(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("cas").join(&name[..2]).join(&name[2..])
    }

    pub(super) fn record(&self, key: ActionKey) -> PathBuf {
        self.root.join("actions").join(format!("{key}.json"))
    }

    /// Keeps bytes.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Artifact, StoreError> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let place = self.object(digest);
        if !is_file_of(&place, size) {
            self.make_shard(&place)?;
            write_atomically(&place, bytes)?;
        }
        Ok(Artifact::File { digest, size })
    }

    /// Keeps a copy of a file: hashed while it is copied, so that what is named is what was stored.
    ///
    /// # Errors
    /// When the file cannot be read or the store cannot be written.
    pub fn put_file(&self, path: &Path) -> Result<Artifact, StoreError> {
        let mut source = fs::File::open(path).map_err(StoreError::io("open", path))?;
        let temporary = beside(&self.root.join("tmp").join("object"));
        let kept = self.copy_hashing(&mut source, path, &temporary);
        if kept.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        kept
    }

    fn copy_hashing(&self, source: &mut fs::File, path: &Path, temporary: &Path) -> Result<Artifact, StoreError> {
        let mut target = fs::File::create(temporary).map_err(StoreError::io("create", temporary))?;
        let mut hasher = blake3::Hasher::new();
        let (mut buffer, mut size) = (vec![0; 1 << 18], 0);
        loop {
            let count = source.read(&mut buffer).map_err(StoreError::io("read", path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            target.write_all(&buffer[..count]).map_err(StoreError::io("write", temporary))?;
            size += count as u64;
        }
        let digest = Digest::from(hasher.finalize());
        let place = self.object(digest);
        if is_file_of(&place, size) {
            fs::remove_file(temporary).map_err(StoreError::io("remove", temporary))?;
        } else {
            self.make_shard(&place)?;
            fs::rename(temporary, &place).map_err(StoreError::io("write", &place))?;
        }
        Ok(Artifact::File { digest, size })
    }

    fn make_shard(&self, place: &Path) -> Result<(), StoreError> {
        let shard = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(shard).map_err(StoreError::io("create", shard))
    }

    /// Keeps a file, or a folder with all that is in it.
    ///
    /// # Errors
    /// When something cannot be read, is neither file nor folder, or the store cannot be written.
    pub fn put_path(&self, path: &Path) -> Result<Artifact, StoreError> {
        let kind = fs::metadata(path).map_err(StoreError::io("read", path))?;
        if kind.is_file() {
            return self.put_file(path);
        }
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|error| StoreError::Io { doing: "list", path: path.to_owned(), source: error.into() })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let metadata = fs::metadata(entry.path()).map_err(StoreError::io("read", entry.path()))?;
            if !metadata.is_file() {
                return Err(StoreError::OddFile { path: entry.path().to_owned() });
            }
            let name = entry.path().strip_prefix(path).unwrap_or(entry.path()).to_string_lossy().into_owned();
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let Artifact::File { digest, size } = self.put_file(entry.path())? else {
                continue;
            };
            files.push(TreeEntry { path: name, digest, size, executable });
        }
        self.put_tree(files)
    }

    /// Keeps the manifest of a tree whose files are kept already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_tree(&self, mut files: Vec<TreeEntry>) -> Result<Artifact, StoreError> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Manifest { format: TREE_FORMAT.into(), files };
        let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
        let kept = self.put_bytes(&bytes)?;
        Ok(Artifact::Tree { digest: kept.digest(), size: kept.size() })
    }

    /// Reads an object whole, and makes sure that it is what its name says.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or is corrupt; a corrupt one is set aside.
    pub fn read(&self, artifact: Artifact) -> Result<Vec<u8>, StoreError> {
        let digest = artifact.digest();
        let place = self.object(digest);
        let bytes = match fs::read(&place) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { digest });
            }
            Err(error) => return Err(StoreError::io("read", &place)(error)),
        };
        let found = Digest::of(&bytes);
        if found != digest {
            let aside = place.with_extension("corrupt");
            fs::rename(&place, &aside).map_err(StoreError::io("set aside", &place))?;
            return Err(StoreError::Corrupt { digest, found });
        }
        Ok(bytes)
    }

    /// The files of a tree.
    ///
    /// # Errors
    /// As [`Store::read`]; an object that is no tree counts as corrupt.
    pub fn tree(&self, artifact: Artifact) -> Result<Vec<TreeEntry>, StoreError> {
        let bytes = self.read(artifact)?;
        match serde_json::from_slice::<Manifest>(&bytes) {
            Ok(manifest) if manifest.format == TREE_FORMAT => Ok(manifest.files),
            _ => Err(StoreError::Corrupt { digest: artifact.digest(), found: Digest::of(&bytes) }),
        }
    }

    /// Reads one file of a tree.
    ///
    /// # Errors
    /// As [`Store::read`]; a file that the tree does not have counts as missing.
    pub fn read_in_tree(&self, tree: Artifact, path: &str) -> Result<Vec<u8>, StoreError> {
        let entry = self.tree(tree)?.into_iter().find(|entry| entry.path == path);
        let entry = entry.ok_or(StoreError::Missing { digest: tree.digest() })?;
        self.read(Artifact::File { digest: entry.digest, size: entry.size })
    }

    /// Whether all of an artifact is here, by size; its bytes are verified when they are used.
    #[must_use]
    pub fn has(&self, artifact: Artifact) -> bool {
        let present = is_file_of(&self.object(artifact.digest()), artifact.size());
        match artifact {
            Artifact::File { .. } => present,
            Artifact::Tree { .. } => {
                let files = if present { self.tree(artifact).ok() } else { None };
                files.is_some_and(|files| files.iter().all(|file| is_file_of(&self.object(file.digest), file.size)))
            }
        }
    }

    /// Writes a verified copy of an artifact to `target`, which is replaced whole.
    ///
    /// # Errors
    /// As [`Store::read`], and when `target` cannot be written.
    pub fn export(&self, artifact: Artifact, target: &Path) -> Result<(), StoreError> {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        match artifact {
            Artifact::File { .. } => {
                if target.is_dir() {
                    fs::remove_dir_all(target).map_err(StoreError::io("replace", target))?;
                }
                write_atomically(target, &self.read(artifact)?)
            }
            Artifact::Tree { .. } => self.export_tree(artifact, target),
        }
    }

    fn export_tree(&self, artifact: Artifact, target: &Path) -> Result<(), StoreError> {
        let temporary = beside(target);
        fs::create_dir_all(&temporary).map_err(StoreError::io("create", &temporary))?;
        for entry in self.tree(artifact)? {
            let place = temporary.join(&entry.path);
            let bytes = self.read(Artifact::File { digest: entry.digest, size: entry.size })?;
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
            }
            fs::write(&place, bytes).map_err(StoreError::io("write", &place))?;
            if entry.executable {
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).map_err(StoreError::io("write", &place))?;
            }
        }
        if target.is_dir() {
            fs::remove_dir_all(target).map_err(StoreError::io("replace", target))?;
        } else if target.exists() {
            fs::remove_file(target).map_err(StoreError::io("replace", target))?;
        }
        fs::rename(&temporary, target).map_err(StoreError::io("write", target))
    }
}

fn is_file_of(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}
