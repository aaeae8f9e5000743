use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DataError, Row, parse_lines};

/// Where lines go.
#[derive(Debug)]
enum To {
    File(BufWriter<File>),
    Memory(Vec<u8>),
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Memory(held) => held.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}

/// JSON Lines on their way into a file.
#[derive(Debug)]
pub struct Lines {
    place: PathBuf,
    to: To,
    /// How many there are.
    pub count: usize,
}

impl Lines {
    /// A new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(place: PathBuf) -> Result<Self, DataError> {
        let file = File::create(&place).map_err(DataError::disk(&place))?;
        Ok(Self { place, to: To::File(BufWriter::with_capacity(256 << 10, file)), count: 0 })
    }

    /// Lines that stay in memory, for few of them.
    #[must_use]
    pub const fn held_back() -> Self {
        Self { place: PathBuf::new(), to: To::Memory(Vec::new()), count: 0 }
    }

    /// What stayed in memory, as it was pushed.
    #[must_use]
    pub fn held<T: DeserializeOwned + Send>(self) -> Vec<T> {
        match self.to {
            To::Memory(held) => parse_lines(&held).unwrap_or_default(),
            To::File(_) => Vec::new(),
        }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push(&mut self, value: &impl Serialize) -> Result<(), DataError> {
        self.count += 1;
        serde_json::to_writer(&mut self.to, value).map_err(|error| DataError::disk(&self.place)(error.into()))?;
        self.to.write_all(b"\n").map_err(DataError::disk(&self.place))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push_row(&mut self, row: &Row) -> Result<(), DataError> {
        self.count += 1;
        row.write(&mut self.to).map_err(DataError::disk(&self.place))
    }

    /// Adds some lines that are JSON already, each with its line feed.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push_written(&mut self, lines: &[u8], count: usize) -> Result<(), DataError> {
        self.count += count;
        self.to.write_all(lines).map_err(DataError::disk(&self.place))
    }

    /// The file, whole.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(mut self) -> Result<PathBuf, DataError> {
        self.to.flush().map_err(DataError::disk(&self.place))?;
        Ok(self.place)
    }
}
