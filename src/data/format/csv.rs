use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Sink};

pub const COMMA: Format =
    Format { name: "csv", endings: &["csv"], read: How::Whole(|file, bytes, shape, rows| read(file, bytes, shape.delimiter.unwrap_or(b','), rows)) };
pub const TAB: Format =
    Format { name: "tsv", endings: &["tsv"], read: How::Whole(|file, bytes, shape, rows| read(file, bytes, shape.delimiter.unwrap_or(b'\t'), rows)) };

fn read(file: &str, bytes: &[u8], delimiter: u8, rows: Sink<'_>) -> Result<(), DataError> {
    let malformed = |problem: String| DataError::MalformedFile { file: file.to_owned(), format: "CSV", problem };
    let mut names: Option<Vec<String>> = None;
    // Where reading begins, by byte and by line: after a quote that was left open it begins anew on the next line.
    let (mut start, mut before, mut restarts) = (0, 0, 0);
    'file: loop {
        let rest = &bytes[start..];
        let mut reader = ReaderBuilder::new().flexible(true).has_headers(false).delimiter(delimiter).from_reader(rest);
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| malformed(error.to_string()))? {
            let Some(names) = &names else {
                names = Some(header(&record).map_err(malformed)?);
                continue;
            };
            let (line, at) = record.position().map_or((0, 0), |position| (before + position.line(), position.byte()));
            let raw = slice(rest, at, reader.position().byte());
            if record.iter().flatten().any(|&byte| byte == b'\n') && !well_quoted(raw, delimiter) {
                restarts += 1;
                if restarts > RESTARTS {
                    return Err(malformed(format!("more than {RESTARTS} quotes are left open, the last in line {line}")));
                }
                let first = raw.iter().position(|&byte| byte == b'\n').map_or(raw.len(), |end| end + 1);
                let reason = "a quote is left open, or text follows where it closes";
                rows(Err(Rejected::new(file, line, "csv", reason, &String::from_utf8_lossy(&raw[..first]))))?;
                start += usize::try_from(at).unwrap_or(rest.len()) + first;
                before = line;
                continue 'file;
            }
            match row(&record, names) {
                Ok(fields) => rows(Ok(Row { source: file.to_owned(), line, fields: fields.into() }))?,
                Err(reason) => {
                    let text = record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
                    rows(Err(Rejected::new(file, line, "csv", reason, &text)))?;
                }
            }
        }
        return Ok(());
    }
}

/// A file with more open quotes than this is no CSV.
const RESTARTS: usize = 100;

fn slice(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[place(from)..place(to).max(place(from))]
}

/// Whether every quote of a record closes, with a delimiter or the end of the record after it (RFC 4180).
fn well_quoted(record: &[u8], delimiter: u8) -> bool {
    let mut at = 0;
    while at < record.len() {
        if record[at] != b'"' {
            at += record[at..].iter().position(|&byte| byte == delimiter || byte == b'\n').map_or(record.len() - at, |end| end + 1);
            continue;
        }
        at += 1;
        loop {
            let Some(quote) = record[at..].iter().position(|&byte| byte == b'"') else {
                return false;
            };
            at += quote + 1;
            match record.get(at) {
                Some(b'"') => at += 1,
                Some(byte) if *byte == delimiter || matches!(byte, b'\r' | b'\n') => break,
                Some(_) => return false,
                None => return true,
            }
        }
        at += 1;
    }
    true
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
        return Err(format!("expected {} fields, found {}", names.len(), record.len()));
    }
    let mut fields = Map::with_capacity(names.len());
    for (name, value) in names.iter().zip(record) {
        let value = std::str::from_utf8(value).map_err(|_| format!("the field `{name}` is not UTF-8"))?;
        fields.insert(name.clone(), Value::String(value.to_owned()));
    }
    Ok(fields)
}
