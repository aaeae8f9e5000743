//! The formats that rows come in. A format is one file here and one line in [`FORMATS`].

mod csv;
mod json;
mod jsonl;

use super::{DataError, Rejected, Row};

/// A format of rows.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name in messages.
    pub name: &'static str,
    /// The endings of files that have it.
    pub endings: &'static [&'static str],
    /// Reads a file of it.
    pub read: fn(&str, &[u8]) -> Result<Parsed, DataError>,
}

/// The rows of a file, and those that were none.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Rows in the order of the file.
    pub rows: Vec<Row>,
    /// What could not be read as a row.
    pub rejected: Vec<Rejected>,
}

/// All formats.
pub static FORMATS: &[Format] = &[csv::COMMA, csv::TAB, json::FORMAT, jsonl::FORMAT];

/// Reads a file in the format that its name says.
///
/// # Errors
/// When the format is unknown, or the file as a whole cannot be read in it.
pub fn read(file: &str, bytes: &[u8]) -> Result<Parsed, DataError> {
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    let format = FORMATS.iter().find(|format| format.endings.contains(&ending.as_str()));
    let known = || FORMATS.iter().flat_map(|format| format.endings).map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(", ");
    let format = format.ok_or_else(|| DataError::UnknownFormat { file: file.to_owned(), known: known() })?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(offset) = bytes.iter().take(1 << 16).position(|&byte| byte == 0) {
        return Err(DataError::Binary { file: file.to_owned(), offset });
    }
    let mut parsed = (format.read)(file, bytes)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        parsed.rejected.push(Rejected::new(file, 1, format.name, "the file is empty", ""));
    }
    Ok(parsed)
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
