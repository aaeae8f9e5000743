use std::io::{self, Read};

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::super::{DataError, Rejected, Row};
use super::{Format, How, Shape, Sink, newlines, packed};

pub const FORMAT: Format = Format { name: "json", endings: &["json"], read: How::InParts(read) };

/// One array of objects, one of them at a time.
fn read(file: &str, content: &mut dyn Read, _shape: &Shape, rows: Sink<'_>) -> Result<(), DataError> {
    each(file, content, &mut |line, text| match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(fields) => rows(Ok(Row { source: file.to_owned(), line, fields: fields.into() })),
        Err(error) if !is_json(text) => Err(no_list(file, &format!("in the element that begins in line {line}: {error}"))),
        Err(error) => {
            let reason = if text.starts_with('{') { format!("expected an object: {error}") } else { "expected an object".to_owned() };
            rows(Err(Rejected::new(file, line, "json", reason, text)))
        }
    })
}

/// Visits the elements of a list as they are written, one at a time, each with the number of its line.
pub fn each(file: &str, content: &mut dyn Read, visit: &mut dyn FnMut(u64, &str) -> Result<(), DataError>) -> Result<(), DataError> {
    let mut elements = Elements::new(content);
    loop {
        let (line, text) = match elements.further() {
            Ok(None) => return Ok(()),
            Ok(Some((line, text))) => (line, std::str::from_utf8(text).map_err(|_| no_list(file, &format!("line {line} is not UTF-8")))?),
            Err(Broken::Unreadable(error)) => return Err(packed::failed(file, &error)),
            Err(Broken::NoList { line, found }) => return Err(no_list(file, &format!("{found} in line {line}"))),
        };
        visit(line, text)?;
    }
}

fn no_list(file: &str, problem: &str) -> DataError {
    DataError::MalformedFile { file: file.to_owned(), format: "JSON", problem: format!("expected a list of objects: {problem}") }
}

/// Whether a text is JSON of any kind, be it nested too deeply to be a row.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// What is wrong with a list as a whole.
enum Broken {
    Unreadable(io::Error),
    NoList { line: u64, found: &'static str },
}

/// The elements of a list as they are written, whatever the size of the list: where one ends is seen by brackets and quotes alone.
struct Elements<'a> {
    content: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// How far the buffer was gone through.
    at: usize,
    line: u64,
    place: Place,
}

/// What is read at once, in bytes.
const MORE: usize = 256 << 10;

/// Where in the list it is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Before,
    /// After the bracket that opens it.
    Opened,
    /// After an element.
    Within,
    After,
}

impl<'a> Elements<'a> {
    fn new(content: &'a mut dyn Read) -> Self {
        Self { content, buffer: Vec::new(), at: 0, line: 1, place: Place::Before }
    }

    /// The next element with the number of its line.
    fn further(&mut self) -> Result<Option<(u64, &[u8])>, Broken> {
        if self.at > MORE {
            self.buffer.drain(..std::mem::take(&mut self.at));
        }
        if self.place == Place::Before {
            match self.next_sign()? {
                None => return Ok(None),
                Some(b'[') => self.pass(Place::Opened),
                Some(_) => return Err(self.no_list("something else stands")),
            }
        }
        match (self.place, self.next_sign()?) {
            (Place::Opened | Place::Within, Some(b']')) => self.pass(Place::After),
            (Place::Within, Some(b',')) => self.pass(Place::Opened),
            (Place::Within, Some(_)) => return Err(self.no_list("there is no comma")),
            (Place::Opened | Place::Within, None) => return Err(self.no_list("it does not end")),
            _ => {}
        }
        if self.place == Place::After {
            return if self.next_sign()?.is_none() { Ok(None) } else { Err(self.no_list("something follows the list")) };
        }
        self.next_sign()?;
        let (begins, line) = (self.at, self.line);
        self.at = self.end_of_element()?;
        self.line += newlines(&self.buffer[begins..self.at]);
        self.place = Place::Within;
        Ok(Some((line, &self.buffer[begins..self.at])))
    }

    fn pass(&mut self, place: Place) {
        self.at += 1;
        self.place = place;
    }

    const fn no_list(&self, found: &'static str) -> Broken {
        Broken::NoList { line: self.line, found }
    }

    /// The byte that is no white space and comes next; it is not passed.
    fn next_sign(&mut self) -> Result<Option<u8>, Broken> {
        loop {
            let Some(&byte) = self.buffer.get(self.at) else {
                if self.read_on()? {
                    continue;
                }
                return Ok(None);
            };
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            self.at += 1;
        }
    }

    /// Where the element ends that begins here.
    fn end_of_element(&mut self) -> Result<usize, Broken> {
        let (mut at, mut depth, mut in_text) = (self.at, 0_usize, false);
        loop {
            let Some(&byte) = self.buffer.get(at) else {
                if self.read_on()? {
                    continue;
                }
                return Err(self.no_list("the element does not end that begins"));
            };
            match byte {
                b'\\' if in_text => at += 1,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'[' | b'{' => depth += 1,
                b']' | b'}' if depth == 0 => return Ok(at),
                b']' | b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(at + 1);
                    }
                }
                b',' if depth == 0 => return Ok(at),
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads on. False at the end.
    fn read_on(&mut self) -> Result<bool, Broken> {
        let read = (&mut *self.content).take(MORE as u64).read_to_end(&mut self.buffer);
        read.map(|read| read > 0).map_err(Broken::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements of a list, or what is wrong with it.
    fn elements(text: &str) -> Result<Vec<(u64, String)>, &'static str> {
        let mut bytes = text.as_bytes();
        let (mut elements, mut all) = (Elements::new(&mut bytes), Vec::new());
        loop {
            match elements.further() {
                Ok(Some((line, text))) => all.push((line, String::from_utf8_lossy(text).trim().to_owned())),
                Ok(None) => return Ok(all),
                Err(Broken::NoList { found, .. }) => return Err(found),
                Err(Broken::Unreadable(_)) => return Err("unreadable"),
            }
        }
    }

    #[test]
    fn elements_are_told_by_brackets_and_quotes() {
        let found = elements("[\n{\"a\": \"]},\\\"\"},\n\n [1, [2]], \"x\" ,3\n]\n");
        let wanted = [(2, "{\"a\": \"]},\\\"\"}"), (4, "[1, [2]]"), (4, "\"x\""), (4, "3")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(found, Ok(wanted.to_vec()));
        assert_eq!(elements("[]"), Ok(Vec::new()));
        assert_eq!(elements("  \n"), Ok(Vec::new()));
        assert_eq!(elements("{}"), Err("something else stands"));
        assert_eq!(elements("[1] 2"), Err("something follows the list"));
        assert_eq!(elements("[1"), Err("the element does not end that begins"));
        assert_eq!(elements("[{} {}]"), Err("there is no comma"));
        assert_eq!(elements("[{}"), Err("it does not end"));
    }
}
