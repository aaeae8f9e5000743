use rayon::prelude::*;
use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, Shape, Sink};

pub const FORMAT: Format = Format { name: "jsonl", endings: &["jsonl", "ndjson"], read };

/// Lines that are read together, on all cores.
const TOGETHER: usize = 4096;

/// One object a line; blank lines mean nothing.
fn read(file: &str, bytes: &[u8], _shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    let mut lines = (1..).zip(bytes.split(|&byte| byte == b'\n')).filter(|(_, text)| !text.iter().all(u8::is_ascii_whitespace));
    loop {
        let some: Vec<(u64, &[u8])> = lines.by_ref().take(TOGETHER).collect();
        if some.is_empty() {
            return Ok(());
        }
        let read: Vec<Result<Row, Rejected>> = some.into_par_iter().map(|(line, text)| row(file, line, text)).collect();
        read.into_iter().try_for_each(&mut *rows)?;
    }
}

fn row(file: &str, line: u64, text: &[u8]) -> Result<Row, Rejected> {
    let fields = match std::str::from_utf8(text) {
        Err(_) => Err("the line is not UTF-8".to_owned()),
        Ok(text) => serde_json::from_str::<Map<String, Value>>(text).map_err(|error| format!("expected an object: {error}")),
    };
    match fields {
        Ok(fields) => Ok(Row { source: file.to_owned(), line, fields }),
        Err(reason) => Err(Rejected::new(file, line, "jsonl", reason, &String::from_utf8_lossy(text))),
    }
}
