use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{DataError, Row};

/// JSON Lines on their way into a file.
#[derive(Debug)]
pub struct Lines {
    place: PathBuf,
    file: BufWriter<File>,
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
        Ok(Self { place, file: BufWriter::with_capacity(256 << 10, file), count: 0 })
    }

    /// Adds a value.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push(&mut self, value: &impl Serialize) -> Result<(), DataError> {
        self.count += 1;
        serde_json::to_writer(&mut self.file, value).map_err(|error| DataError::disk(&self.place)(error.into()))?;
        self.file.write_all(b"\n").map_err(DataError::disk(&self.place))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push_row(&mut self, row: &Row) -> Result<(), DataError> {
        self.count += 1;
        row.write(&mut self.file).map_err(DataError::disk(&self.place))
    }

    /// Adds some lines that are JSON already, each with its line feed.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push_written(&mut self, lines: &[u8], count: usize) -> Result<(), DataError> {
        self.count += count;
        self.file.write_all(lines).map_err(DataError::disk(&self.place))
    }

    /// The file, whole.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(mut self) -> Result<PathBuf, DataError> {
        self.file.flush().map_err(DataError::disk(&self.place))?;
        Ok(self.place)
    }
}
