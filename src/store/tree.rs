use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Digest;

use super::cas::Taking;
use super::files::hash_file;
use super::pack::PackWriter;
use super::{Artifact, Store, StoreError};

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
    /// Folders with nothing in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folders: Vec<String>,
}

/// A folder of so many files keeps its small ones in a pack.
const PACKED: usize = 256;
/// Files up to this size are small.
const SMALL: u64 = 64 << 10;

const TREE_FORMAT: &str = "retune tree v1";

/// A file by its name in a folder.
type Named = (String, PathBuf);

/// All that lies below a folder, by name.
struct Inside {
    files: Vec<Named>,
    links: Vec<Named>,
    /// Folders with nothing in them.
    folders: Vec<String>,
}

impl Inside {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let mut inside = Self { files: Vec::new(), links: Vec::new(), folders: Vec::new() };
        // A folder behind a link is walked too; what is in it belongs elsewhere, and is never moved from there.
        let mut linked: Vec<PathBuf> = Vec::new();
        for entry in walkdir::WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| match error.path() {
                Some(at) if error.loop_ancestor().is_some() => StoreError::Circle { path: at.to_owned() },
                Some(at) if fs::symlink_metadata(at).is_ok_and(|link| link.is_symlink()) => StoreError::Dangling { path: at.to_owned() },
                _ => StoreError::Io { doing: "list", path: path.to_owned(), source: error.into() },
            })?;
            let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
            let name = name.to_str().ok_or_else(|| StoreError::OddName { path: entry.path().to_owned() })?.to_owned();
            if entry.file_type().is_dir() {
                let empty = fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
                if entry.path_is_symlink() && entry.depth() > 0 {
                    linked.push(entry.path().to_owned());
                }
                inside.folders.extend((empty && !name.is_empty()).then_some(name));
            } else {
                let kind =
                    if entry.path_is_symlink() || linked.iter().any(|linked| entry.path().starts_with(linked)) { &mut inside.links } else { &mut inside.files };
                kind.push((name, entry.into_path()));
            }
        }
        Ok(inside)
    }
}

/// A file of a folder as an entry, with the digest and size that `content` finds; it is told the size that the file has.
fn entry((name, place): Named, content: impl Fn(&Path, u64) -> Result<(Digest, u64), StoreError>) -> Result<TreeEntry, StoreError> {
    let metadata = fs::metadata(&place).map_err(|error| {
        if fs::symlink_metadata(&place).is_ok_and(|link| link.is_symlink()) {
            StoreError::Dangling { path: place.clone() }
        } else {
            StoreError::io("read", &place)(error)
        }
    })?;
    if !metadata.is_file() {
        return Err(StoreError::OddFile { path: place });
    }
    let (digest, size) = content(&place, metadata.len())?;
    Ok(TreeEntry { path: name, digest, size, executable: metadata.permissions().mode() & 0o111 != 0 })
}

/// Whether a file in a folder is nobody's result: hidden, or bytecode that Python leaves behind.
#[must_use]
pub fn is_passed_over(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') || part == "__pycache__")
}

fn is_program(place: &Path) -> bool {
    fs::metadata(place).is_ok_and(|file| file.permissions().mode() & 0o111 != 0)
}

fn manifest_bytes(mut files: Vec<TreeEntry>, folders: Vec<String>) -> Vec<u8> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    serde_json::to_vec(&Manifest { format: TREE_FORMAT.into(), files, folders }).unwrap_or_default()
}

impl TreeEntry {
    /// The file as an artifact of its own.
    #[must_use]
    pub const fn artifact(&self) -> Artifact {
        let (digest, size) = (self.digest, self.size);
        if self.executable { Artifact::Program { digest, size } } else { Artifact::File { digest, size } }
    }
}

impl Store {
    /// Takes a file into the store, or a folder with all that is in it, out of the place where it was made.
    ///
    /// # Errors
    /// When something cannot be read, is neither file nor folder, or the store cannot be written.
    pub fn take_path(&self, path: &Path) -> Result<Artifact, StoreError> {
        self.keep_path(path, Taking::Move)
    }

    /// Takes a copy of a file or folder into the store.
    ///
    /// # Errors
    /// As [`Store::take_path`].
    pub fn copy_path(&self, path: &Path) -> Result<Artifact, StoreError> {
        self.keep_path(path, Taking::Copy)
    }

    fn keep_path(&self, path: &Path, taking: Taking) -> Result<Artifact, StoreError> {
        let kind = fs::metadata(path).map_err(StoreError::io("read", path))?;
        if kind.is_file() {
            let executable = kind.permissions().mode() & 0o111 != 0;
            let kept = self.take_file(path, taking)?;
            let (digest, size) = (kept.digest(), kept.size());
            return Ok(if executable { Artifact::Program { digest, size } } else { kept });
        }
        let Inside { files: mut names, links, folders } = Inside::of(path)?;
        let take = |taking| move |found: Named| entry(found, |place, _| self.take_file(place, taking).map(|kept| (kept.digest(), kept.size())));
        // What links lead to is copied before it may be moved away.
        let mut files = links.into_iter().map(take(Taking::Copy)).collect::<Result<Vec<_>, _>>()?;
        if names.len() >= PACKED {
            let small = |(_, place): &(String, PathBuf)| fs::metadata(place).is_ok_and(|file| file.is_file() && file.len() <= SMALL);
            let (small, large): (Vec<_>, Vec<_>) = names.into_par_iter().partition(small);
            names = large;
            files.extend(self.pack(&small)?);
        }
        files.extend(names.into_par_iter().with_min_len(16).map(take(taking)).collect::<Result<Vec<_>, _>>()?);
        self.put_manifest(files, folders)
    }

    /// Whether a file or folder is an artifact: the same content, the same rights to execute, and nothing besides but hidden files
    /// and the bytecode that Python leaves behind.
    #[must_use]
    pub fn is_at(&self, artifact: Artifact, place: &Path) -> bool {
        let file = |wanted: Artifact, place: &Path| {
            let size = fs::metadata(place).map_or(0, |file| file.len());
            let program = is_program(place);
            size == wanted.size() && program == matches!(wanted, Artifact::Program { .. }) && hash_file(place).is_ok_and(|digest| digest == wanted.digest())
        };
        if !matches!(artifact, Artifact::Tree { .. }) {
            return place.is_file() && file(artifact, place);
        }
        let (Ok(manifest), Ok(inside)) = (self.manifest(artifact), Inside::of(place)) else {
            return false;
        };
        let known: HashSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        let extra = inside.files.iter().chain(&inside.links).any(|(name, _)| !known.contains(name.as_str()) && !is_passed_over(name));
        !extra
            && manifest.folders.iter().all(|folder| place.join(folder).is_dir())
            && manifest.files.par_iter().all(|entry| file(entry.artifact(), &place.join(&entry.path)))
    }

    /// What a folder is as a tree, without keeping anything of it; `plain` leaves out what is nobody's result.
    ///
    /// # Errors
    /// As [`Store::take_path`].
    pub fn tree_of(&self, path: &Path, plain: bool) -> Result<Artifact, StoreError> {
        let Inside { files, links, folders } = Inside::of(path)?;
        let look = |found: Named| entry(found, |place, size| Ok((hash_file(place)?, size)));
        let all: Vec<Named> = files.into_iter().chain(links).filter(|(name, _)| !plain || !is_passed_over(name)).collect();
        let bytes = manifest_bytes(all.into_par_iter().with_min_len(16).map(look).collect::<Result<_, _>>()?, folders);
        Ok(Artifact::Tree { digest: Digest::of(&bytes), size: bytes.len() as u64 })
    }

    /// Keeps the manifest of a tree whose files are kept already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_tree(&self, files: Vec<TreeEntry>) -> Result<Artifact, StoreError> {
        self.put_manifest(files, Vec::new())
    }

    /// Keeps many small files in packs.
    fn pack(&self, files: &[(String, PathBuf)]) -> Result<Vec<TreeEntry>, StoreError> {
        /// Files in memory at once.
        const AT_ONCE: usize = 4096;
        let read = |(name, place): &(String, PathBuf)| {
            let mut file = fs::File::open(place).map_err(StoreError::io("read", place))?;
            let executable = file.metadata().map_err(StoreError::io("read", place))?.permissions().mode() & 0o111 != 0;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(StoreError::io("read", place))?;
            Ok((TreeEntry { path: name.clone(), digest: Digest::of(&bytes), size: bytes.len() as u64, executable }, bytes))
        };
        let (mut entries, mut written) = (Vec::with_capacity(files.len()), HashSet::new());
        let mut pack = PackWriter::new(&self.root().join("packs"));
        for some in files.chunks(AT_ONCE) {
            for (entry, bytes) in some.par_iter().with_min_len(16).map(read).collect::<Result<Vec<_>, _>>()? {
                if written.insert(entry.digest) && !self.is_known(entry.digest, entry.size) {
                    pack.add(entry.digest, &bytes)?;
                }
                entries.push(entry);
            }
        }
        pack.finish()?;
        Ok(entries)
    }

    fn put_manifest(&self, files: Vec<TreeEntry>, folders: Vec<String>) -> Result<Artifact, StoreError> {
        let kept = self.put_bytes(&manifest_bytes(files, folders))?;
        Ok(Artifact::Tree { digest: kept.digest(), size: kept.size() })
    }

    /// The files of a tree.
    ///
    /// # Errors
    /// As [`Store::read`]; an object that is no tree counts as corrupt.
    pub fn tree(&self, artifact: Artifact) -> Result<Vec<TreeEntry>, StoreError> {
        Ok(self.manifest(artifact)?.files)
    }

    /// The folders of a tree that have nothing in them.
    ///
    /// # Errors
    /// As [`Store::tree`].
    pub fn empty_folders(&self, artifact: Artifact) -> Result<Vec<String>, StoreError> {
        Ok(self.manifest(artifact)?.folders)
    }

    fn manifest(&self, artifact: Artifact) -> Result<Manifest, StoreError> {
        let bytes = self.read(artifact)?;
        match serde_json::from_slice::<Manifest>(&bytes) {
            Ok(manifest) if manifest.format == TREE_FORMAT => Ok(manifest),
            _ => Err(StoreError::Corrupt { digest: artifact.digest(), found: Digest::of(&bytes) }),
        }
    }

    /// The tree of this digest, if that is what the object is.
    #[must_use]
    pub fn find_tree(&self, digest: Digest) -> Option<Artifact> {
        let size = fs::metadata(self.object(digest)).ok()?.len();
        let tree = Artifact::Tree { digest, size };
        self.manifest(tree).is_ok().then_some(tree)
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
}
