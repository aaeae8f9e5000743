use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Shape, Sink};

pub const FORMAT: Format = Format { name: "text", endings: &["txt", "md", "markdown"], read: How::Whole(read) };

/// A text or Markdown file is one row: its text, and the name of the file without folder and ending.
fn read(file: &str, bytes: &[u8], _shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.rsplit_once('.').map_or(name, |(name, _)| name);
    let text = |value: &str| Value::String(value.to_owned());
    match std::str::from_utf8(bytes) {
        // An empty file is said to be one by whoever reads all formats.
        Ok(content) if content.trim().is_empty() => Ok(()),
        Ok(content) => {
            let fields = Map::from_iter([("text".to_owned(), text(content)), ("name".to_owned(), text(name))]);
            rows(Ok(Row { source: file.to_owned(), line: 1, fields: fields.into() }))
        }
        Err(_) => rows(Err(Rejected::new(file, 1, "text", "the file is not UTF-8", &String::from_utf8_lossy(bytes)))),
    }
}
