use std::io::Write;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Cells;

const BEGIN: &str = "{\"source\":\"";
const LINE: &str = ",\"line\":";
const FIELDS: &str = ",\"fields\":";

/// A row as collected: its fields, and where they were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The file, relative to the workspace.
    pub source: String,
    /// The line in it, from 1 (for JSON the line on which the row begins).
    pub line: u64,
    /// The fields, in the order of the file.
    pub fields: Cells,
}

impl Row {
    /// A row as [`Row::write`] wrote it.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        Self::as_written(line).map_or_else(|| serde_json::from_slice(line), Ok)
    }

    /// The same where the source is plain text, as nearly always: then nothing is to be looked for in the fields.
    fn as_written(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim_end().strip_prefix(BEGIN)?;
        let (source, rest) = line.split_once('"').filter(|(source, _)| !source.contains('\\'))?;
        let (line, fields) = rest.strip_prefix(LINE)?.split_once(FIELDS)?;
        let fields = fields.strip_suffix('}').filter(|fields| fields.starts_with('{'))?;
        Some(Self { source: source.to_owned(), line: line.parse().ok()?, fields: Cells::sound(fields) })
    }

    /// Writes it as one line of JSON, with a line feed.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Some(fields) = self.fields.as_written() else {
            serde_json::to_writer(&mut *out, self)?;
            return out.write_all(b"\n");
        };
        out.write_all(&BEGIN.as_bytes()[..BEGIN.len() - 1])?;
        serde_json::to_writer(&mut *out, &self.source)?;
        writeln!(out, "{LINE}{}{FIELDS}{fields}}}", self.line)
    }

    /// A field as text: a string as it is, anything else as JSON. `None` where the row does not have it.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<String> {
        self.fields.get(field).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// All its text, in the order of its fields.
    #[must_use]
    pub fn all_text(&self) -> String {
        let mut texts = Vec::new();
        self.fields.values().for_each(|value| strings(value, &mut texts));
        texts.join("\n")
    }

    /// Changes every string in it, deep inside too. Tells whether any was changed.
    pub fn rewrite(&mut self, change: &mut impl FnMut(&str) -> Option<String>) -> bool {
        self.fields.change(|fields| fields.values_mut().fold(false, |changed, value| rewritten(value, change) | changed))
    }
}

fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(parts) => parts.iter().for_each(|part| strings(part, found)),
        Value::Object(parts) => parts.values().for_each(|part| strings(part, found)),
        _ => {}
    }
}

/// Changes every string in a value.
pub(super) fn rewritten(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) -> bool {
    match value {
        Value::String(text) => change(text).map(|changed| *text = changed).is_some(),
        Value::Array(parts) => parts.iter_mut().fold(false, |changed, part| rewritten(part, change) | changed),
        Value::Object(parts) => parts.values_mut().fold(false, |changed, part| rewritten(part, change) | changed),
        _ => false,
    }
}

/// A row that was kept aside, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The file, relative to the workspace.
    pub source: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What found it wanting: a format, or an operator.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// The row's text, cut after 500 characters.
    pub text: String,
}

impl Rejected {
    /// Keeps a row aside.
    #[must_use]
    pub fn new(source: &str, line: u64, by: &str, reason: impl Into<String>, text: &str) -> Self {
        let text = text.chars().take(500).collect();
        Self { source: source.to_owned(), line, by: by.to_owned(), reason: reason.into(), text }
    }
}

/// Values as JSON Lines.
#[must_use]
pub fn write_lines<T: Serialize>(values: &[T]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 128);
    for value in values {
        let start = out.len();
        if serde_json::to_writer(&mut out, value).is_err() {
            out.truncate(start);
            continue;
        }
        out.push(b'\n');
    }
    out
}

/// JSON Lines that retune wrote itself, back to values.
///
/// # Errors
/// When a line is not what it should be; the error says which.
pub fn parse_lines<T: DeserializeOwned + Send>(bytes: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    use rayon::prelude::*;
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    lines.par_iter().map(|line| serde_json::from_slice(line)).collect()
}
