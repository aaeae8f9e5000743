use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Shape, Sink, newlines, packed};

pub const COMMA: Format = Format { name: "csv", endings: &["csv"], read: How::InParts(|file, content, shape, rows| read(file, content, shape, b',', rows)) };
pub const TAB: Format = Format { name: "tsv", endings: &["tsv"], read: How::InParts(|file, content, shape, rows| read(file, content, shape, b'\t', rows)) };

/// Rows, the names of whose fields stand in the first, some of them at a time.
fn read(file: &str, content: &mut dyn Read, shape: &Shape, usual: u8, rows: Sink<'_>) -> Result<(), DataError> {
    let delimiter = shape.delimiter.unwrap_or(usual);
    let mut table = Table { file, delimiter, names: None, before: 0, restarts: 0 };
    let mut records = Records::of(content, delimiter);
    loop {
        let some = records.further().map_err(|error| packed::failed(file, &error))?.ok_or_else(|| {
            let problem = format!("a line of it is longer than {} MiB", LONGEST >> 20);
            DataError::MalformedFile { file: file.to_owned(), format: "CSV", problem }
        })?;
        if some.is_empty() {
            return Ok(());
        }
        let used = table.read(some, rows)?;
        table.before += newlines(&some[..used]);
        records.pass(used);
    }
}

/// What is wrong with quotes in a record.
const UNSOUND: &str = "a quote is left open, or text follows where it closes";

/// A table as far as it was read.
struct Table<'a> {
    file: &'a str,
    delimiter: u8,
    names: Option<Vec<String>>,
    /// Lines before what is read next.
    before: u64,
    /// How often a quote was left open.
    restarts: usize,
}

impl Table<'_> {
    /// Reads whole records, and tells how far it came: after a quote that was left open it begins anew on the next line.
    fn read(&mut self, bytes: &[u8], rows: Sink<'_>) -> Result<usize, DataError> {
        let (file, delimiter) = (self.file, self.delimiter);
        let malformed = |problem: String| DataError::MalformedFile { file: file.to_owned(), format: "CSV", problem };
        let mut reader = ReaderBuilder::new().flexible(true).has_headers(false).delimiter(delimiter).from_reader(bytes);
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| malformed(error.to_string()))? {
            let Some(names) = &self.names else {
                self.names = Some(header(&record).map_err(malformed)?);
                continue;
            };
            let (line, at) = record.position().map_or((0, 0), |position| (self.before + position.line(), position.byte()));
            let raw = slice(bytes, at, reader.position().byte());
            // Empty lines before a record are none of its own.
            let blank = raw.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let (line, at, raw) = (line + newlines(&raw[..blank]), at + blank as u64, &raw[blank..]);
            let is_sound = !raw.contains(&b'"') || well_quoted(raw, delimiter);
            if !is_sound && record.iter().flatten().any(|&byte| byte == b'\n') {
                self.restarts += 1;
                if self.restarts > RESTARTS {
                    return Err(malformed(format!("more than {RESTARTS} quotes are left open, the last in line {line}")));
                }
                let first = raw.iter().position(|&byte| byte == b'\n').map_or(raw.len(), |end| end + 1);
                rows(Err(Rejected::new(file, line, "csv", UNSOUND.to_owned(), &String::from_utf8_lossy(&raw[..first]))))?;
                return Ok(usize::try_from(at).unwrap_or(bytes.len()) + first);
            }
            let fields = if is_sound { row(&record, names) } else { Err(UNSOUND.to_owned()) };
            match fields {
                Ok(fields) => rows(Ok(Row { source: file.to_owned(), line, fields: fields.into() }))?,
                Err(reason) => {
                    rows(Err(Rejected::new(file, line, "csv", reason, &String::from_utf8_lossy(raw.trim_ascii_end()))))?;
                }
            }
        }
        Ok(bytes.len())
    }
}

/// The longest record, in bytes.
const LONGEST: usize = 64 << 20;

/// A table in pieces of whole records.
struct Records<'a> {
    content: &'a mut dyn Read,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Whether lines end in a carriage return alone, as old Macs wrote them; known once something was read.
    returns: Option<bool>,
}

impl<'a> Records<'a> {
    const fn of(content: &'a mut dyn Read, delimiter: u8) -> Self {
        Self { content, delimiter, buffer: Vec::new(), returns: None }
    }

    /// What comes next, up to the end of a record; nothing at the end. A record that is longer than any should be is handed out in
    /// part: a quote in it was left open, most likely. `None` where so much is one line.
    fn further(&mut self) -> io::Result<Option<&[u8]>> {
        /// What is read at once, in bytes.
        const SOME: usize = 1 << 20;
        let mut wanted = SOME.max(self.buffer.len());
        loop {
            let before = self.buffer.len();
            self.content.take(wanted.saturating_sub(before) as u64).read_to_end(&mut self.buffer)?;
            // One with a line feed behind it is one end of a line with it.
            while self.buffer.len() > before && self.buffer.last() == Some(&b'\r') && self.content.take(1).read_to_end(&mut self.buffer)? > 0 {}
            let read = &mut self.buffer[before..];
            if *self.returns.get_or_insert_with(|| read.contains(&b'\r') && !read.contains(&b'\n')) {
                for at in 0..read.len() {
                    if read[at] == b'\r' && read.get(at + 1) != Some(&b'\n') {
                        read[at] = b'\n';
                    }
                }
            }
            if self.buffer.len() < wanted {
                return Ok(Some(&self.buffer));
            }
            if let Some(end) = last_end(&self.buffer, self.delimiter) {
                return Ok(Some(&self.buffer[..end]));
            }
            if self.buffer.len() >= LONGEST {
                return Ok(self.buffer.contains(&b'\n').then_some(&*self.buffer));
            }
            wanted = self.buffer.len() * 2;
        }
    }

    fn pass(&mut self, used: usize) {
        self.buffer.drain(..used);
    }
}

/// Where the last record ends that is whole: behind a line break that stands in no quotes. A quote opens at the beginning of a field.
fn last_end(bytes: &[u8], delimiter: u8) -> Option<usize> {
    let (mut at, mut end) = (0, None);
    while at < bytes.len() {
        if bytes[at] == b'"' {
            // Two quotes within quotes are one that closes and one that opens: it comes to the same.
            let Some(close) = memchr::memchr(b'"', &bytes[at + 1..]) else {
                return end;
            };
            at += close + 2;
            if bytes.get(at) == Some(&b'"') {
                continue;
            }
        }
        let next = memchr::memchr2(delimiter, b'\n', &bytes[at..]);
        let Some(next) = next else {
            return end;
        };
        at += next + 1;
        if bytes[at - 1] == b'\n' {
            end = Some(at);
        }
    }
    end
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_quoted_fields_is_handed_out_in_small_pieces() {
        let text = "\"a\",\"b, and\nb\",\"\"\"c\"\"\"\n".repeat(200_000);
        let pieces = pieces(&text);
        assert!(pieces.iter().all(|piece| piece.len() <= 2 << 20 && piece.ends_with(b"\"\n")));
        assert!(pieces.concat() == text.as_bytes());
    }

    #[test]
    fn an_end_of_a_line_is_one_wherever_a_piece_ends() {
        let header = "h".repeat((1 << 20) - 1);
        let table = |end: &str| [&header, "1", "2", ""].join(end);
        assert!(pieces(&table("\r\n")).concat() == table("\r\n").as_bytes());
        assert!(pieces(&table("\r")).concat() == table("\n").as_bytes());
    }

    fn pieces(text: &str) -> Vec<Vec<u8>> {
        let (mut content, mut pieces) = (text.as_bytes(), Vec::new());
        let mut records = Records::of(&mut content, b',');
        loop {
            let piece = records.further().expect("it is in memory").expect("it has lines").to_vec();
            if piece.is_empty() {
                return pieces;
            }
            records.pass(piece.len());
            pieces.push(piece);
        }
    }
}
