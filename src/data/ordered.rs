//! Numbers in their order, however many: sorted in memory while they fit, and merged from sorted runs on disk from then on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rayon::prelude::*;

use super::DataError;

/// A number that can be put in order on disk.
pub trait Word: Copy + Ord + Send + Sync {
    /// How many bytes it takes there.
    const BYTES: usize;

    /// Adds its bytes.
    fn write(self, out: &mut Vec<u8>);

    /// The number in so many bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! word {
    ($word:ty) => {
        impl Word for $word {
            const BYTES: usize = size_of::<$word>();

            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                bytes.iter().rev().fold(0, |number, byte| number << 8 | <$word>::from(*byte))
            }
        }
    };
}

word!(u64);
word!(u128);

/// Numbers that are read from a run at once, at most.
const PIECE: usize = 8192;
/// The same of all runs together.
const PIECES: usize = 4 << 20;

/// Numbers that will be asked for in their order.
#[derive(Debug)]
pub struct Ordered<T> {
    place: PathBuf,
    /// How many are held in memory at most.
    most: usize,
    held: Vec<T>,
    file: Option<File>,
    /// Where each sorted run in the file ends.
    runs: Vec<usize>,
}

impl<T: Word> Ordered<T> {
    /// None yet. Those beyond `most` go to a file of their own at this place.
    #[must_use]
    pub const fn new(place: PathBuf, most: usize) -> Self {
        Self { place, most, held: Vec::new(), file: None, runs: Vec::new() }
    }

    /// Adds one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, number: T) -> Result<(), DataError> {
        self.held.push(number);
        if self.held.len() < self.most { Ok(()) } else { self.spill().map_err(DataError::disk(&self.place)) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.par_sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::options().read(true).write(true).create_new(true).open(&self.place)?),
        };
        let (mut out, mut bytes) = (BufWriter::with_capacity(1 << 20, file), Vec::with_capacity(T::BYTES));
        for number in &self.held {
            bytes.clear();
            number.write(&mut bytes);
            out.write_all(&bytes)?;
        }
        out.flush()?;
        self.runs.push(self.runs.last().copied().unwrap_or_default() + self.held.len());
        self.held.clear();
        Ok(())
    }

    /// All of them, the least first.
    ///
    /// # Errors
    /// When what was written cannot be read again.
    pub fn into_order(mut self) -> Result<impl Iterator<Item = Result<T, DataError>>, DataError> {
        self.held.par_sort_unstable();
        let begins = std::iter::once(0).chain(self.runs.iter().copied());
        let piece = (PIECES / self.runs.len().max(1)).clamp(1, PIECE);
        let mut runs: Vec<Run<T>> = begins.zip(&self.runs).map(|(next, &end)| Run { next, end, piece, read: Vec::new() }).collect();
        // What is held is a run that was read already.
        self.held.reverse();
        runs.push(Run { next: 0, end: 0, piece, read: self.held });
        let (place, file, mut first) = (self.place, self.file, BinaryHeap::new());
        for (number, run) in runs.iter_mut().enumerate() {
            let least = run.take(file.as_ref()).map_err(DataError::disk(&place))?;
            first.extend(least.map(|least| Reverse((least, number))));
        }
        Ok(std::iter::from_fn(move || {
            let Reverse((least, number)) = first.pop()?;
            match runs[number].take(file.as_ref()) {
                Ok(next) => first.extend(next.map(|next| Reverse((next, number)))),
                Err(error) => return Some(Err(DataError::disk(&place)(error))),
            }
            Some(Ok(least))
        }))
    }
}

/// What is left of a sorted run.
struct Run<T> {
    /// Where in the file that is which was not read yet, and where it ends.
    next: usize,
    end: usize,
    /// How many are read at once.
    piece: usize,
    /// What was read, the least last.
    read: Vec<T>,
}

impl<T: Word> Run<T> {
    fn take(&mut self, file: Option<&File>) -> io::Result<Option<T>> {
        let some = self.piece.min(self.end - self.next);
        if let (true, 1.., Some(file)) = (self.read.is_empty(), some, file) {
            let mut bytes = vec![0; some * T::BYTES];
            file.read_exact_at(&mut bytes, (self.next * T::BYTES) as u64)?;
            self.read.extend(bytes.chunks_exact(T::BYTES).rev().map(T::read));
            self.next += some;
        }
        Ok(self.read.pop())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_in_memory_and_on_disk_comes_in_one_order(numbers in prop::collection::vec(any::<u128>(), 0..60), most in 0..70_usize) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut ordered = Ordered::new(folder.path().join("ordered"), most);
            numbers.iter().for_each(|number| ordered.push(*number).expect("there is room"));
            let found: Vec<u128> = ordered.into_order().expect("it can be read").map(|number| number.expect("it can be read")).collect();
            let mut wanted = numbers;
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_run_is_read_piece_by_piece() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ordered = Ordered::new(folder.path().join("ordered"), 3 * PIECE);
        let numbers = (0..7 * PIECE as u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        numbers.clone().for_each(|number| ordered.push(number).expect("there is room"));
        let found: Vec<u64> = ordered.into_order().expect("it can be read").map(|number| number.expect("it can be read")).collect();
        let mut wanted: Vec<u64> = numbers.collect();
        wanted.sort_unstable();
        assert!(found == wanted);
    }
}
