use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, Parsed};

pub const FORMAT: Format = Format { name: "jsonl", endings: &["jsonl", "ndjson"], read };

/// One object a line; blank lines mean nothing.
#[expect(clippy::unnecessary_wraps, reason = "formats share one signature, and no line can spoil the others here")]
fn read(file: &str, bytes: &[u8]) -> Result<Parsed, DataError> {
    let mut parsed = Parsed::default();
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let fields = match std::str::from_utf8(text) {
            Err(_) => Err("the line is not UTF-8".to_owned()),
            Ok(text) => serde_json::from_str::<Map<String, Value>>(text).map_err(|error| format!("expected an object: {error}")),
        };
        match fields {
            Ok(fields) => parsed.rows.push(Row { source: file.to_owned(), line, fields }),
            Err(reason) => parsed.rejected.push(Rejected::new(file, line, "jsonl", reason, &String::from_utf8_lossy(text))),
        }
    }
    Ok(parsed)
}
