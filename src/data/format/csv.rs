use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, Parsed};

pub const COMMA: Format = Format { name: "csv", endings: &["csv"], read: |file, bytes| read(file, bytes, b',') };
pub const TAB: Format = Format { name: "tsv", endings: &["tsv"], read: |file, bytes| read(file, bytes, b'\t') };

fn read(file: &str, bytes: &[u8], delimiter: u8) -> Result<Parsed, DataError> {
    let mut reader = ReaderBuilder::new().flexible(true).has_headers(false).delimiter(delimiter).from_reader(bytes);
    let mut parsed = Parsed::default();
    let mut record = ByteRecord::new();
    let malformed = |problem: String| DataError::MalformedFile { file: file.to_owned(), format: "CSV", problem };
    if !reader.read_byte_record(&mut record).map_err(|error| malformed(error.to_string()))? {
        return Ok(parsed);
    }
    let names = header(&record).map_err(malformed)?;
    while reader.read_byte_record(&mut record).map_err(|error| malformed(error.to_string()))? {
        let line = record.position().map_or(0, csv::Position::line);
        match row(&record, &names) {
            Ok(fields) => parsed.rows.push(Row { source: file.to_owned(), line, fields }),
            Err(reason) => {
                let text = record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
                parsed.rejected.push(Rejected::new(file, line, "csv", reason, &text));
            }
        }
    }
    Ok(parsed)
}

fn header(record: &ByteRecord) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::with_capacity(record.len());
    for (column, name) in record.iter().enumerate() {
        let name = std::str::from_utf8(name).map_err(|_| "the header is not UTF-8".to_owned())?.trim().to_owned();
        if name.is_empty() {
            return Err(format!("column {} has no name in the header", column + 1));
        }
        if names.contains(&name) {
            return Err(format!("two columns are called `{name}`"));
        }
        names.push(name);
    }
    Ok(names)
}

fn row(record: &ByteRecord, names: &[String]) -> Result<Map<String, Value>, String> {
    if record.len() != names.len() {
        let lines = record.iter().flatten().filter(|&&byte| byte == b'\n').count();
        let hint = if lines > 20 { format!(" over {lines} lines: is a quote left open?") } else { String::new() };
        return Err(format!("expected {} fields, found {}{hint}", names.len(), record.len()));
    }
    let mut fields = Map::with_capacity(names.len());
    for (name, value) in names.iter().zip(record) {
        let value = std::str::from_utf8(value).map_err(|_| format!("the field `{name}` is not UTF-8"))?;
        fields.insert(name.clone(), Value::String(value.to_owned()));
    }
    Ok(fields)
}
