//! The formats that rows come in. A format is one file here and one line in [`FORMATS`].

mod csv;
mod json;
mod jsonl;
mod packed;
mod parquet;
mod text;
mod trace;

use std::borrow::Cow;

use super::{DataError, Rejected, Row};

/// A format of rows.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name in messages.
    pub name: &'static str,
    /// The endings of files that have it.
    pub endings: &'static [&'static str],
    /// Reads a file of it.
    pub read: fn(&str, &[u8], &Shape, Sink<'_>) -> Result<(), DataError>,
}

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

/// Reads a file in the format that its name says.
///
/// # Errors
/// When the format is unknown, the file as a whole cannot be read in it, or `rows` says so.
pub fn read(file: &str, bytes: Cow<'_, [u8]>, shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    let (inner, bytes) = packed::unpacked(file, bytes)?;
    let bytes = packed::decoded(file, bytes, shape.encoding.as_deref())?;
    let ending = inner.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    let by_ending = || FORMATS.iter().find(|format| format.endings.contains(&ending.as_str()));
    let format = shape.format.as_ref().map_or_else(by_ending, |name| FORMATS.iter().find(|format| format.name == name));
    let known = || FORMATS.iter().flat_map(|format| format.endings).map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(", ");
    let format = format.ok_or_else(|| DataError::UnknownFormat { file: file.to_owned(), known: known() })?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if let Some(offset) = bytes.iter().take(1 << 16).position(|&byte| byte == 0).filter(|_| format.name != "parquet") {
        return Err(DataError::Binary { file: file.to_owned(), offset });
    }
    (format.read)(file, bytes, shape, rows)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        rows(Err(Rejected::new(file, 1, format.name, "the file is empty", "")))?;
    }
    Ok(())
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
