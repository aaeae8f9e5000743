//! The digest of a file: a large one is read in pieces on all cores.
//!
//! BLAKE3 is a tree, and a piece of a power of two in bytes is a whole branch of it, so that pieces are hashed by themselves and
//! their values joined afterwards (the BLAKE3 paper, section 2.1). They are read, not mapped: of a file that somebody cuts short
//! meanwhile a read tells so, where a map ends the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::Digest;

/// What is read and hashed at once, in bytes: a power of two, so that it is a whole branch.
const PIECE: u64 = 512 << 10;

impl Digest {
    /// The digest of a file's content.
    ///
    /// # Errors
    /// When it cannot be read, or is cut short meanwhile ([`io::ErrorKind::UnexpectedEof`]).
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        if size <= PIECE {
            let mut hasher = blake3::Hasher::new();
            return hasher.update_reader(file).map(|hasher| hasher.finalize().into());
        }
        let value = |buffer: &mut Vec<u8>, piece: u64| {
            let at = piece * PIECE;
            // A piece is no longer than PIECE, which is a usize everywhere.
            buffer.resize(PIECE.min(size - at) as usize, 0);
            file.read_exact_at(buffer, at)?;
            Ok(blake3::Hasher::new().set_input_offset(at).update(buffer).finalize_non_root())
        };
        let pieces = (0..usize::try_from(size.div_ceil(PIECE)).map_err(io::Error::other)?).into_par_iter().with_min_len(8);
        let values = pieces.map_init(Vec::new, |buffer, piece| value(buffer, piece as u64)).collect::<io::Result<Vec<ChainingValue>>>()?;
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
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 7, 4 * PIECE, 5 * PIECE + 1, 37 * PIECE + 12345] {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &content).expect("it is ours");
            assert_eq!(Digest::of_file(&path).expect("it can be read"), Digest::of(&content), "{size}");
        }
    }
}
