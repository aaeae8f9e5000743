use std::io::Read;

use rayon::prelude::*;

use super::super::{Blocks, Cells, DataError, Rejected, Row};
use super::{Format, How, Shape, Sink, packed};

pub const FORMAT: Format = Format { name: "jsonl", endings: &["jsonl", "ndjson"], read: How::InParts(read) };

/// One object a line; blank lines mean nothing.
fn read(file: &str, content: &mut dyn Read, _shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    let mut blocks = Blocks::new(content);
    while let Some(lines) = blocks.further().map_err(|error| packed::failed(file, &error))? {
        let read: Vec<Option<Result<Row, Rejected>>> = lines.into_par_iter().with_min_len(64).map(|(line, text)| row(file, line, text)).collect();
        read.into_iter().flatten().try_for_each(&mut *rows)?;
    }
    Ok(())
}

fn row(file: &str, line: u64, text: &[u8]) -> Option<Result<Row, Rejected>> {
    if text.trim_ascii().is_empty() {
        return None;
    }
    let fields = match std::str::from_utf8(text) {
        Err(_) => Err("the line is not UTF-8".to_owned()),
        Ok(text) => Cells::written(text).map_err(|error| format!("expected an object: {error}")),
    };
    Some(match fields {
        Ok(fields) => Ok(Row { source: file.to_owned(), line, fields }),
        Err(reason) => Err(Rejected::new(file, line, "jsonl", reason, &String::from_utf8_lossy(text))),
    })
}
