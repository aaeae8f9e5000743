use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use serde_json::Value;

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Sink, packed};

pub const FORMAT: Format = Format { name: "parquet", endings: &["parquet"], read: How::Placed(read) };

/// A file that lies somewhere is read where it lies, a page at a time; another goes through memory.
fn read(file: &str, placed: Option<File>, content: &mut dyn Read, rows: Sink<'_>) -> Result<(), DataError> {
    if let Some(placed) = placed {
        return rows_of(file, placed, rows);
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|error| packed::failed(file, &error))?;
    rows_of(file, Bytes::from(bytes), rows)
}

fn rows_of<R: ChunkReader + 'static>(file: &str, content: R, rows: Sink<'_>) -> Result<(), DataError> {
    let malformed = |error: parquet::errors::ParquetError| DataError::MalformedFile { file: file.to_owned(), format: "Parquet", problem: error.to_string() };
    let reader = SerializedFileReader::new(content).map_err(malformed)?;
    for (row, number) in reader.get_row_iter(None).map_err(malformed)?.zip(1..) {
        let row = row.map_err(malformed)?;
        match row.to_json_value() {
            Value::Object(fields) => rows(Ok(Row { source: file.to_owned(), line: number, fields: fields.into() }))?,
            other => rows(Err(Rejected::new(file, number, "parquet", "expected a row of fields", &other.to_string())))?,
        }
    }
    Ok(())
}
