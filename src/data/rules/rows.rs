use std::io::Read;

use rayon::prelude::*;
use serde::Serialize;

use super::super::{Blocks, Counter, Example, Form, Message, Role};
use super::{Finding, Rules};

/// A finding with the line of its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Found {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong there.
    #[serde(rename = "finding")]
    pub what: Finding,
}

/// What a look at a file of rows found.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Checked {
    /// Rows.
    pub rows: usize,
    /// Rows in which something is wrong.
    pub wrong: usize,
    /// All findings.
    pub findings: usize,
    /// The first of them.
    pub first: Vec<Found>,
    /// What is wrong with the file as a whole.
    pub whole: Vec<String>,
    /// Tokens of all rows, where they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Bytes.
    pub bytes: u64,
}

impl Rules {
    /// Looks at the rows of a file one after the other, whatever its size. At most `shown` findings are kept. With a model's way to
    /// count tokens, rows that are longer than it takes are found too.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn check(&self, form: Form, file: impl Read, counter: Option<(&Counter, &str)>, shown: usize) -> std::io::Result<Checked> {
        let mut checked = Checked { tokens: counter.map(|_| 0), ..Checked::default() };
        let most = counter.and_then(|(_, model)| (self.tokens)(model));
        let mut blocks = Blocks::new(Counted { file, bytes: 0 });
        while let Some(lines) = blocks.further()? {
            let look = |(line, row): (u64, &[u8])| {
                let row = if line == 1 { row.strip_prefix(b"\xef\xbb\xbf").unwrap_or(row) } else { row };
                if row.trim_ascii().is_empty() {
                    return None;
                }
                let mut found = self.look(form, row);
                let tokens = counter.map_or(0, |(counter, _)| tokens(counter, row));
                if let Some(most) = most.filter(|most| tokens > *most) {
                    found.push(Finding::new("", format!("it has {tokens} tokens, and what comes after {most} is not learned")));
                }
                Some((line, tokens, found))
            };
            let looked: Vec<Option<(u64, usize, Vec<Finding>)>> = lines.into_par_iter().with_min_len(64).map(look).collect();
            for (line, tokens, found) in looked.into_iter().flatten() {
                checked.rows += 1;
                checked.wrong += usize::from(!found.is_empty());
                checked.findings += found.len();
                checked.tokens = checked.tokens.map(|sum| sum + tokens);
                let room = shown.saturating_sub(checked.first.len());
                checked.first.extend(found.into_iter().take(room).map(|what| Found { line, what }));
            }
        }
        checked.bytes = blocks.reader().bytes;
        checked.whole = self.whole(&checked);
        Ok(checked)
    }

    fn whole(&self, checked: &Checked) -> Vec<String> {
        let mut wrong = Vec::new();
        if checked.rows < self.fewest {
            wrong.push(format!("{} takes at least {} rows, and there are {}", self.name, self.fewest, checked.rows));
        }
        if checked.rows > self.most {
            wrong.push(format!("{} takes at most {} rows, and there are {}", self.name, self.most, checked.rows));
        }
        if checked.bytes > self.largest {
            wrong.push(format!("{} takes files of at most {} bytes, and this has {}", self.name, self.largest, checked.bytes));
        }
        wrong
    }
}

/// The tokens of a row: of its messages, or of all that it says.
fn tokens(counter: &Counter, row: &[u8]) -> usize {
    match serde_json::from_slice::<Example>(row) {
        Ok(example) => counter.count(&example.messages),
        Err(_) => counter.count(&[Message::new(Role::User, String::from_utf8_lossy(row).into_owned())]),
    }
}

/// Counts what is read.
struct Counted<R> {
    file: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
