use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::DataError;
use super::{CHUNK, Item, Stream};

/// Text in memory from which on rows go to disk, in bytes.
const MOST: usize = 128 << 20;

/// Rows that are kept until all have been seen.
#[derive(Debug)]
pub struct Spool {
    place: PathBuf,
    held: Vec<Item>,
    weight: usize,
    rows: usize,
    /// Written once there is too much; the rows in it come before those that are held.
    file: Option<BufWriter<File>>,
}

impl Spool {
    pub(super) const fn new(place: PathBuf) -> Self {
        Self { place, held: Vec::new(), weight: 0, rows: 0, file: None }
    }

    pub(super) fn push(&mut self, items: Vec<Item>) -> Result<(), DataError> {
        self.rows += items.len();
        if u32::try_from(self.rows).is_err() {
            return Err(DataError::TooMany { most: u32::MAX });
        }
        self.weight += items.iter().map(weight).sum::<usize>();
        self.held.extend(items);
        if self.weight <= MOST {
            return Ok(());
        }
        let full = DataError::disk(&self.place);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::with_capacity(1 << 20, File::create(&self.place).map_err(&full)?)),
        };
        let lines: Vec<Vec<u8>> = self.held.par_iter().map(|item| serde_json::to_vec(item).unwrap_or_default()).collect();
        for line in lines {
            file.write_all(&line).and_then(|()| file.write_all(b"\n")).map_err(&full)?;
        }
        self.held.clear();
        self.weight = 0;
        Ok(())
    }

    /// How many rows there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Looks at all rows in their order, some at a time.
    ///
    /// # Errors
    /// When what was written cannot be read again, or `visit` says so.
    pub fn look(&mut self, mut visit: impl FnMut(&[Item]) -> Result<(), DataError>) -> Result<(), DataError> {
        if let Some(file) = &mut self.file {
            file.flush().map_err(DataError::disk(&self.place))?;
            for items in written(&self.place) {
                visit(&items?)?;
            }
        }
        self.held.chunks(CHUNK).try_for_each(visit)
    }

    /// The rows in their order.
    #[must_use]
    pub fn into_rows<'a>(self) -> Stream<'a> {
        let Self { place, held, file, .. } = self;
        let mut held = held.into_iter();
        let held = std::iter::from_fn(move || Some(held.by_ref().take(CHUNK).collect::<Vec<_>>()).filter(|items| !items.is_empty()).map(Ok));
        match file.map(|mut file| file.flush()) {
            None => Box::new(held),
            Some(Ok(())) => Box::new(written(&place).chain(held)),
            Some(Err(error)) => Box::new(std::iter::once(Err(DataError::disk(&place)(error)))),
        }
    }
}

fn written(place: &Path) -> impl Iterator<Item = Result<Vec<Item>, DataError>> + use<> {
    let place = place.to_owned();
    let mut reader = None;
    std::iter::from_fn(move || {
        let failed = DataError::disk(&place);
        let reader = match &mut reader {
            Some(reader) => reader,
            None => match File::open(&place) {
                Ok(file) => reader.insert(BufReader::with_capacity(1 << 20, file)),
                Err(error) => return Some(Err(failed(error))),
            },
        };
        let mut lines = Vec::new();
        while lines.len() < CHUNK {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => lines.push(line),
                Err(error) => return Some(Err(failed(error))),
            }
        }
        if lines.is_empty() {
            return None;
        }
        Some(lines.par_iter().map(|line| serde_json::from_slice(line).map_err(|error| failed(error.into()))).collect())
    })
}

/// About how much memory a row takes.
fn weight(item: &Item) -> usize {
    let example = item.example.as_ref().map_or(0, |example| example.messages.iter().map(|message| message.content.len() + 64).sum());
    200 + example + item.row.fields.weight()
}
