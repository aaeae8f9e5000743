use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Shape, Sink, newlines};

pub const FORMAT: Format = Format { name: "json", endings: &["json"], read: How::Whole(read) };

/// One array of objects.
fn read(file: &str, bytes: &[u8], _shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let malformed = |problem: String| DataError::MalformedFile { file: file.to_owned(), format: "JSON", problem };
    let items: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|error| malformed(format!("expected a list of objects: {error}")))?;
    let (mut at, mut line) = (0, 1);
    for item in items {
        let begins = item.get().as_ptr().addr() - bytes.as_ptr().addr();
        line += newlines(&bytes[at..begins]);
        at = begins;
        match serde_json::from_str::<Map<String, Value>>(item.get()) {
            Ok(fields) => rows(Ok(Row { source: file.to_owned(), line, fields: fields.into() }))?,
            Err(_) => rows(Err(Rejected::new(file, line, "json", "expected an object", item.get())))?,
        }
    }
    Ok(())
}
