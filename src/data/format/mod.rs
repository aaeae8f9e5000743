//! The formats that rows come in. A format is one file here and one line in [`FORMATS`].

mod csv;
mod json;
mod jsonl;
mod packed;
mod parquet;
mod text;
mod trace;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{DataError, Rejected, Row};

pub use packed::unpacked;

/// A format of rows.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name in messages.
    pub name: &'static str,
    /// The endings of files that have it.
    pub endings: &'static [&'static str],
    /// Reads a file of it.
    pub read: How,
}

/// How a format is read.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// A part at a time, whatever the size of the file.
    InParts(fn(&str, &mut dyn Read, &Shape, Sink<'_>) -> Result<(), DataError>),
    /// Here and there in the file, where it lies somewhere as it is.
    Placed(ReadPlaced),
    /// All of it at once.
    Whole(fn(&str, &[u8], &Shape, Sink<'_>) -> Result<(), DataError>),
}

/// Reads a file, where it lies if it lies somewhere.
pub type ReadPlaced = fn(&str, Option<File>, &mut dyn Read, Sink<'_>) -> Result<(), DataError>;

/// What is declared of a source, where its files do not say it themselves.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The format, whatever the ending of a file.
    pub format: Option<String>,
    /// What stands between the fields of a table.
    pub delimiter: Option<u8>,
    /// The encoding of a text that is not UTF-8.
    pub encoding: Option<String>,
}

impl Shape {
    /// Whether there is an encoding of this name.
    #[must_use]
    pub fn is_encoding(name: &str) -> bool {
        packed::is_encoding(name)
    }
}

/// The names of all formats.
pub const NAMES: &[&str] = &["csv", "tsv", "json", "jsonl", "parquet", "text", "langfuse", "langsmith", "helicone", "otel"];

/// What takes the rows of a file in their order, and what could not be read as a row.
pub type Sink<'a> = &'a mut dyn FnMut(Result<Row, Rejected>) -> Result<(), DataError>;

/// All formats.
pub static FORMATS: &[Format] =
    &[csv::COMMA, csv::TAB, json::FORMAT, jsonl::FORMAT, parquet::FORMAT, text::FORMAT, trace::LANGFUSE, trace::LANGSMITH, trace::HELICONE, trace::OTEL];

/// The format that the ending of a file says, under that of how it is packed.
#[must_use]
pub fn by_ending(file: &str) -> Option<&'static Format> {
    let ending = packed::inner(file).rsplit_once('.')?.1.to_ascii_lowercase();
    FORMATS.iter().find(|format| format.endings.contains(&ending.as_str()))
}

/// A file as it is read.
pub struct Content<'a> {
    /// What it holds.
    pub reader: &'a mut dyn Read,
    /// Its size in bytes.
    pub size: u64,
    /// Where it lies, where it lies somewhere.
    pub place: Option<&'a Path>,
}

/// Reads a file in the format that its name says.
///
/// # Errors
/// When the format is unknown, the file as a whole cannot be read in it, or `rows` says so.
pub fn read(file: &str, content: Content<'_>, shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    let (inner, size) = (packed::inner(file), content.size);
    let place = content.place.filter(|_| inner == file && shape.encoding.is_none());
    let format = shape.format.as_ref().map_or_else(|| by_ending(file), |name| FORMATS.iter().find(|format| format.name == name));
    let known = || FORMATS.iter().flat_map(|format| format.endings).map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(", ");
    let format = format.ok_or_else(|| DataError::UnknownFormat { file: file.to_owned(), known: known() })?;
    let mut content = unpacked(file, content.reader, size)?;
    if let Some(encoding) = &shape.encoding {
        content = Box::new(packed::Decoded::of(content, encoding));
    }
    let mut begins = Vec::with_capacity(LOOK);
    let failed = |error| packed::failed(file, &error);
    (&mut content).take(LOOK as u64).read_to_end(&mut begins).map_err(failed)?;
    if let Some(offset) = begins.iter().position(|&byte| byte == 0).filter(|_| format.name != "parquet") {
        return Err(DataError::Binary { file: file.to_owned(), offset });
    }
    if begins.starts_with(b"\xef\xbb\xbf") {
        begins.drain(..3);
    }
    let is_empty = begins.len() < LOOK - 3 && begins.iter().all(u8::is_ascii_whitespace);
    let mut content = begins.as_slice().chain(content);
    match format.read {
        How::InParts(read) => read(file, &mut content, shape, rows)?,
        How::Placed(read) => {
            let placed = place.map(File::open).transpose().map_err(failed)?;
            read(file, placed, &mut content, rows)?;
        }
        How::Whole(read) => {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            content.read_to_end(&mut bytes).map_err(failed)?;
            read(file, &bytes, shape, rows)?;
        }
    }
    if is_empty {
        rows(Err(Rejected::new(file, 1, format.name, "the file is empty", "")))?;
    }
    Ok(())
}

/// Of a file, what is looked at to see whether it is a text.
const LOOK: usize = 1 << 16;

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
