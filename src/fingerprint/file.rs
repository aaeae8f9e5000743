//! The digest of a file: a large one is mapped into memory, and hashed in pieces on all cores.
//!
//! BLAKE3 is a tree, and a piece of a power of two in bytes is a whole branch of it, so that pieces are hashed by themselves and
//! their values joined afterwards (the BLAKE3 paper, section 2.1). A piece that could not be had by the map is read, and then the
//! system tells why: somebody cut the file short meanwhile, or its disk fails.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::Digest;
use super::map::Map;

/// What one core does by itself, in bytes: a power of two, so that it is a whole branch.
const PIECE: u64 = 1 << 20;
/// What is read at once: it is hashed while the innermost caches have it, which saves what reading costs beside a map.
const READ: usize = 64 << 10;
/// What is under way together, in bytes: all cores read near each other, as disks like it, and no more than this is mapped at a time.
const WINDOW: u64 = 256 * PIECE;
/// From what size on a file is mapped, in bytes: for less it does not pay.
const BIG: u64 = 16 << 20;
/// What `stat(2)` counts a file's place in, in bytes.
const BLOCK: u64 = 512;

impl Digest {
    /// The digest of a file's content.
    ///
    /// # Errors
    /// When it cannot be read, or a large one is cut short meanwhile ([`io::ErrorKind::UnexpectedEof`]).
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let size = metadata.len();
        if size <= PIECE {
            let mut hasher = blake3::Hasher::new();
            return hasher.update_reader(file).map(|hasher| hasher.finalize().into());
        }
        let value = |buffer: &mut Vec<u8>, map: Option<&Map>, start: u64| {
            let end = size.min(start + PIECE);
            let branch = |content: &[u8]| blake3::Hasher::new().set_input_offset(start).update(content).finalize_non_root();
            if let Some(value) = map.and_then(|map| map.with(start..end, branch)) {
                return Ok(value);
            }
            let values = (start..end).step_by(READ).map(|at| {
                buffer.resize(READ.min(usize::try_from(end - at).unwrap_or(READ)), 0);
                file.read_exact_at(buffer, at)?;
                Ok(blake3::Hasher::new().set_input_offset(at).update(buffer).finalize_non_root())
            });
            Ok(joined(&values.collect::<io::Result<Vec<ChainingValue>>>()?))
        };
        // To read a hole by a map fills it on a tmpfs, and takes its memory.
        let is_mapped = size >= BIG && metadata.blocks() * BLOCK >= size;
        // A hint to the system, which may be deaf to it.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        let mut values: Vec<ChainingValue> = Vec::new();
        let steps = |from: u64, to: u64, step: u64| (0..(to - from).div_ceil(step)).map(move |number| from + number * step);
        for start in steps(0, size, WINDOW) {
            let end = size.min(start + WINDOW);
            let map = if is_mapped { Map::of(&file, start..end) } else { None };
            let pieces: Vec<u64> = steps(start, end, PIECE).collect();
            let found = pieces.par_iter().with_min_len(2).map_init(Vec::new, |buffer, &start| value(buffer, map.as_ref(), start));
            values.extend(found.collect::<io::Result<Vec<ChainingValue>>>()?);
        }
        // A map shows nothing, and no fault, where the file ends within its last page.
        if file.metadata()?.len() < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (left, right) = branches(&values);
        Ok(merge_subtrees_root(&joined(left), &joined(right), Mode::Hash).into())
    }
}

fn joined(values: &[ChainingValue]) -> ChainingValue {
    if let [only] = values {
        return *only;
    }
    let (left, right) = branches(values);
    merge_subtrees_non_root(&joined(left), &joined(right), Mode::Hash)
}

/// At least two values, divided as the tree is: on the left the largest power of two that leaves something on the right.
fn branches(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_together_are_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 7, 4 * PIECE, 5 * PIECE + 1, 37 * PIECE + 12345, BIG, 257 * PIECE + 1] {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &content).expect("it is ours");
            assert_eq!(Digest::of_file(&path).expect("it can be read"), Digest::of(&content), "{size}");
        }
    }
}
