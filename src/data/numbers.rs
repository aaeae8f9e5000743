use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::DataError;

/// A long list of numbers: in memory while it is short, and on disk from then on. Any of them can be looked at, and changed.
#[derive(Debug)]
pub struct Numbers {
    place: PathBuf,
    /// How many are held in memory at most.
    most: usize,
    held: Vec<u32>,
    /// What was written, in the order of the list; those that are held come after.
    file: Option<File>,
    written: usize,
}

impl Numbers {
    /// A list that goes to a file of its own at this place once it is longer than `most`.
    #[must_use]
    pub const fn new(place: PathBuf, most: usize) -> Self {
        Self { place, most, held: Vec::new(), file: None, written: 0 }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.written + self.held.len()
    }

    /// Adds some, which stay together.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn extend(&mut self, numbers: &[u32]) -> io::Result<()> {
        self.held.extend_from_slice(numbers);
        if self.held.len() < self.most {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::options().read(true).write(true).create_new(true).open(&self.place)?),
        };
        let mut out = BufWriter::with_capacity(64 << 10, file);
        self.held.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))?;
        out.flush()?;
        self.written += self.held.len();
        self.held.clear();
        Ok(())
    }

    /// The same list with some more at its end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn with(mut self, numbers: impl Iterator<Item = u32>) -> Result<Self, DataError> {
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            let some: Vec<u32> = numbers.by_ref().take(SOME).collect();
            self.extend(&some).map_err(DataError::disk(&self.place))?;
        }
        Ok(self)
    }

    /// Adds one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, number: u32) -> Result<(), DataError> {
        self.extend(&[number]).map_err(DataError::disk(&self.place))
    }

    /// One of them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, at: usize) -> Result<u32, DataError> {
        match (&self.file, at.checked_sub(self.written)) {
            (Some(file), None) => {
                let mut bytes = [0; size_of::<u32>()];
                file.read_exact_at(&mut bytes, (at * size_of::<u32>()) as u64).map_err(DataError::disk(&self.place))?;
                Ok(u32::from_le_bytes(bytes))
            }
            (_, held) => Ok(self.held[held.unwrap_or(at)]),
        }
    }

    /// Makes one of them another.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&mut self, at: usize, number: u32) -> Result<(), DataError> {
        match (&self.file, at.checked_sub(self.written)) {
            (Some(file), None) => {
                let bytes = number.to_le_bytes();
                file.write_all_at(&bytes, (at * size_of::<u32>()) as u64).map_err(DataError::disk(&self.place))
            }
            (_, held) => {
                self.held[held.unwrap_or(at)] = number;
                Ok(())
            }
        }
    }

    /// Adds one of twice the width.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push_wide(&mut self, number: u64) -> Result<(), DataError> {
        self.extend(&[number as u32, (number >> 32) as u32]).map_err(DataError::disk(&self.place))
    }

    /// One of those of twice the width, by its number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn wide(&self, number: usize) -> Result<u64, DataError> {
        let mut buffer = Buffer::default();
        let halves = self.some(2 * number, 2 * number + 2, &mut buffer).map_err(DataError::disk(&self.place))?;
        Ok(halves.iter().rev().fold(0, |number, half| number << 32 | u64::from(*half)))
    }

    /// Those from a place on, as many as were added together there; `buffer` is where they come to from the disk.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn some<'a>(&'a self, from: usize, to: usize, buffer: &'a mut Buffer) -> io::Result<&'a [u32]> {
        match &self.file {
            Some(file) if from < self.written => {
                let Buffer { bytes, numbers } = buffer;
                bytes.resize((to - from) * size_of::<u32>(), 0);
                file.read_exact_at(bytes, (from * size_of::<u32>()) as u64)?;
                numbers.clear();
                numbers.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
                Ok(numbers)
            }
            _ => Ok(&self.held[from - self.written..to - self.written]),
        }
    }

    /// All of them in their order, some at a time from a place on.
    ///
    /// # Errors
    /// When the file cannot be read, or `visit` says so.
    pub fn each(&self, mut visit: impl FnMut(usize, &[u32]) -> Result<(), DataError>) -> Result<(), DataError> {
        let mut buffer = Buffer::default();
        for from in (0..self.written).step_by(SOME) {
            visit(from, self.some(from, self.written.min(from + SOME), &mut buffer).map_err(DataError::disk(&self.place))?)?;
        }
        visit(self.written, &self.held)
    }
}

/// Where numbers come to from the disk; it serves again and again.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    numbers: Vec<u32>,
}

/// Numbers that are written or read at once where all are wanted.
const SOME: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_disk_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = |n: u32| (n..n + n % 7).collect::<Vec<u32>>();
        for most in [0, 10, 1000] {
            let mut numbers = Numbers::new(folder.path().join(format!("n{most}")), most);
            let mut ends = vec![0];
            for n in 0..50 {
                numbers.extend(&part(n)).expect("it can be written");
                ends.push(numbers.len());
            }
            let mut buffer = Buffer::default();
            for (n, ends) in (0..50).zip(ends.windows(2)) {
                assert_eq!(numbers.some(ends[0], ends[1], &mut buffer).expect("it can be read"), part(n), "{most} {n}");
            }
            let mut wanted: Vec<u32> = (0..50).flat_map(part).collect();
            let all = |numbers: &Numbers| {
                let mut all = Vec::new();
                numbers
                    .each(|from, some| {
                        assert_eq!(from, all.len());
                        all.extend_from_slice(some);
                        Ok(())
                    })
                    .expect("it can be read");
                all
            };
            assert_eq!(all(&numbers), wanted, "{most}");
            for at in (0..wanted.len()).step_by(3) {
                wanted[at] += 1;
                numbers.set(at, wanted[at]).expect("it can be written");
            }
            assert!((0..wanted.len()).all(|at| numbers.get(at).expect("it can be read") == wanted[at]), "{most}");
            assert_eq!(all(&numbers), wanted, "{most}");
        }
    }
}
