//! Many small objects in one file: a file system takes longer to make a file than to fill it.
//!
//! A pack holds the bytes of its objects one after the other, then its index (for each object its digest, where it begins and
//! how long it is, sorted by digest), then the number of objects. It is named by the hash of its index. What it holds is
//! verified object by object when it is used, like everything else in the store.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::fingerprint::Digest;

use super::StoreError;
use super::write::beside;

/// Bytes of an entry of the index.
const ENTRY: usize = 48;
/// What a pack ends with, after the number of its objects.
const MAGIC: &[u8; 8] = b"retunep1";
const ENDING: &str = "pack";

/// The packs of a store, looked for again whenever something is not found in those that are known.
#[derive(Debug)]
pub struct Packs {
    folder: PathBuf,
    known: RwLock<Vec<Arc<Pack>>>,
}

/// One pack, open for reading.
#[derive(Debug)]
pub struct Pack {
    path: PathBuf,
    file: File,
    index: Vec<u8>,
}

/// An object in a pack.
#[derive(Clone, Debug)]
pub struct Packed {
    pack: Arc<Pack>,
    start: u64,
    /// Its size in bytes.
    pub size: u64,
}

impl Packs {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: RwLock::default() }
    }

    /// Where an object is, if it is in a pack.
    pub fn find(&self, digest: Digest) -> Option<Packed> {
        if let Some(packed) = self.known(digest) {
            return Some(packed);
        }
        let paths = self.paths();
        if paths.is_empty() {
            return None;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let new = |path: &&PathBuf| !known.iter().any(|pack| pack.path == **path);
        let new: Vec<Arc<Pack>> = paths.iter().filter(new).filter_map(|path| Pack::open(path)).map(Arc::new).collect();
        known.extend(new);
        known.iter().find_map(|pack| pack.find(digest))
    }

    /// The same in those packs that were found before.
    pub fn known(&self, digest: Digest) -> Option<Packed> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).iter().find_map(|pack| pack.find(digest))
    }

    /// Moves the pack of an object out of the way, with all that is in it: where one object is wrong, no other can be relied on.
    pub fn set_aside(&self, packed: &Packed) -> Result<(), StoreError> {
        let path = &packed.pack.path;
        self.known.write().unwrap_or_else(PoisonError::into_inner).retain(|pack| pack.path != *path);
        match fs::rename(path, path.with_extension("corrupt")) {
            // Whoever found another wrong object in it was faster.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("set aside", path)(error)),
            _ => Ok(()),
        }
    }

    /// Every object that is in a pack.
    pub fn all(&self) -> Vec<(Digest, Packed)> {
        let packs = self.paths().into_iter().filter_map(|path| Pack::open(&path)).map(Arc::new);
        packs.flat_map(|pack| (0..pack.count()).map(|place| pack.entry(&pack, place)).collect::<Vec<_>>()).collect()
    }

    /// Lets go of the packs in which nothing is kept, and writes those anew of which the greater part is not. Tells how many
    /// objects and bytes went, or would.
    pub fn sweep(&self, kept: &BTreeSet<Digest>, dry: bool) -> Result<(u64, u64), StoreError> {
        let (mut count, mut bytes) = (0, 0);
        // What was set aside, and what a process that died was about to write.
        let unfinished = |path: &Path| path.extension().is_some_and(|ending| ending == "corrupt" || ending == "part");
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten().filter(|entry| unfinished(&entry.path())) {
            count += 1;
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            if !dry {
                fs::remove_file(entry.path()).map_err(StoreError::io("delete", &entry.path()))?;
            }
        }
        for pack in self.paths().iter().filter_map(|path| Pack::open(path)).map(Arc::new) {
            let entries: Vec<(Digest, Packed)> = (0..pack.count()).map(|place| pack.entry(&pack, place)).collect();
            let (stay, go): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(digest, _)| kept.contains(digest));
            if go.is_empty() || stay.len() > go.len() {
                continue;
            }
            count += go.len() as u64;
            bytes += go.iter().map(|(_, packed)| packed.size).sum::<u64>();
            if dry {
                continue;
            }
            let mut writer = PackWriter::new(&self.folder);
            for (digest, packed) in stay {
                writer.add(digest, &packed.read()?)?;
            }
            writer.finish()?;
            fs::remove_file(&pack.path).map_err(StoreError::io("delete", &pack.path))?;
        }
        Ok((count, bytes))
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ending| ending == ENDING)).collect();
        paths.sort();
        paths
    }
}

impl Pack {
    /// Opens a pack. One whose index is not what its name says is none.
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut end = [0; 16];
        file.read_exact_at(&mut end, length.checked_sub(16)?).ok()?;
        let (count, magic) = end.split_at(8);
        let count = u64::from_le_bytes(count.try_into().ok()?);
        let size = count.checked_mul(ENTRY as u64)?;
        let mut index = vec![0; usize::try_from(size).ok().filter(|_| magic == MAGIC && size <= length)?];
        file.read_exact_at(&mut index, length.checked_sub(16 + size)?).ok()?;
        let named = path.file_stem()?.to_str()? == Digest::of(&index).to_string();
        named.then(|| Self { path: path.to_owned(), file, index })
    }

    fn count(&self) -> usize {
        self.index.len() / ENTRY
    }

    fn digest(&self, place: usize) -> &[u8] {
        &self.index[place * ENTRY..][..32]
    }

    fn entry(&self, shared: &Arc<Self>, place: usize) -> (Digest, Packed) {
        let entry = &self.index[place * ENTRY..][..ENTRY];
        let number = |at: usize| entry[at..at + 8].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let mut digest = [0; 32];
        digest.copy_from_slice(&entry[..32]);
        (Digest::from(blake3::Hash::from_bytes(digest)), Packed { pack: Arc::clone(shared), start: number(32), size: number(40) })
    }

    fn find(self: &Arc<Self>, digest: Digest) -> Option<Packed> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            match self.digest(middle).cmp(digest.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.entry(self, middle).1),
            }
        }
        None
    }
}

impl Packed {
    /// Its bytes, not verified.
    pub fn read(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(0)];
        self.pack.file.read_exact_at(&mut bytes, self.start).map_err(StoreError::io("read", &self.pack.path))?;
        Ok(bytes)
    }
}

/// A pack being written.
#[derive(Debug)]
pub struct PackWriter {
    folder: PathBuf,
    open: Option<(PathBuf, BufWriter<File>)>,
    entries: Vec<(Digest, u64, u64)>,
    at: u64,
}

impl PackWriter {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: None, entries: Vec::new(), at: 0 }
    }

    /// Adds an object.
    pub fn add(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if self.open.is_none() {
            fs::create_dir_all(&self.folder).map_err(StoreError::io("create", &self.folder))?;
            let path = beside(&self.folder.join("new"));
            let file = File::create_new(&path).map_err(StoreError::io("create", &path))?;
            self.open = Some((path, BufWriter::with_capacity(1 << 20, file)));
        }
        if let Some((path, file)) = &mut self.open {
            file.write_all(bytes).map_err(StoreError::io("write", path))?;
        }
        self.entries.push((digest, self.at, bytes.len() as u64));
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Lets the pack appear under its name. One without objects is none.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let Some((path, mut file)) = self.open.take() else {
            return Ok(());
        };
        self.entries.sort_unstable();
        self.entries.dedup_by_key(|(digest, ..)| *digest);
        let mut index = Vec::with_capacity(self.entries.len() * ENTRY);
        for (digest, start, size) in &self.entries {
            index.extend(digest.as_bytes());
            index.extend(start.to_le_bytes());
            index.extend(size.to_le_bytes());
        }
        let target = self.folder.join(Digest::of(&index).to_string()).with_extension(ENDING);
        let written = file
            .write_all(&index)
            .and_then(|()| file.write_all(&(self.entries.len() as u64).to_le_bytes()))
            .and_then(|()| file.write_all(MAGIC))
            .and_then(|()| file.flush())
            .and_then(|()| fs::rename(&path, &target));
        written.map_err(|source| {
            let _ = fs::remove_file(&path);
            StoreError::Io { doing: "write", path: target, source }
        })
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        if let Some((path, _)) = self.open.take() {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_pack_comes_out_of_it_and_what_is_not_kept_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects: Vec<Vec<u8>> = (0..100_u32).map(|number| number.to_string().repeat(number as usize).into_bytes()).collect();
        let packs = Packs::new(folder.path().join("packs"));
        assert!(packs.find(Digest::of(b"x")).is_none());
        let mut writer = PackWriter::new(&folder.path().join("packs"));
        objects.iter().for_each(|object| writer.add(Digest::of(object), object).expect("it can be written"));
        writer.finish().expect("it can be written");
        let read = |object: &Vec<u8>| packs.find(Digest::of(object)).map(|packed| packed.read().expect("it can be read"));
        assert!(objects.iter().all(|object| read(object).as_ref() == Some(object)));
        assert!(packs.find(Digest::of(b"x")).is_none());
        let kept: BTreeSet<Digest> = objects.iter().skip(90).map(|object| Digest::of(object)).collect();
        assert_eq!(packs.sweep(&kept, true).expect("it can be read").0, 90);
        packs.sweep(&kept, false).expect("it can be written");
        let after = Packs::new(folder.path().join("packs"));
        assert_eq!(after.all().len(), 10);
        assert!(kept.iter().all(|digest| after.find(*digest).is_some()));
        let path = after.paths().remove(0);
        fs::write(&path, &fs::read(&path).expect("it is there")[..100]).expect("it is ours");
        assert!(Packs::new(folder.path().join("packs")).all().is_empty(), "what is cut off is no pack");
    }
}
