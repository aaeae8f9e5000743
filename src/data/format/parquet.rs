use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Shape, Sink};

pub const FORMAT: Format = Format { name: "parquet", endings: &["parquet"], read: How::Whole(read) };

fn read(file: &str, bytes: &[u8], _shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    let malformed = |error: parquet::errors::ParquetError| DataError::MalformedFile { file: file.to_owned(), format: "Parquet", problem: error.to_string() };
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(malformed)?;
    for (row, number) in reader.get_row_iter(None).map_err(malformed)?.zip(1..) {
        let row = row.map_err(malformed)?;
        match row.to_json_value() {
            Value::Object(fields) => rows(Ok(Row { source: file.to_owned(), line: number, fields: fields.into() }))?,
            other => rows(Err(Rejected::new(file, number, "parquet", "expected a row of fields", &other.to_string())))?,
        }
    }
    Ok(())
}
