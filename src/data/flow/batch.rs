//! Rows that go through some operators together. Where each operator judges a row by itself, what comes of a batch depends on its rows
//! alone, and can be kept.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::operator::Operator;
use super::super::{Cells, DataError, Example, Identifying, Message, Rejected, Role, Row};
use super::account::Step;
use super::{Beside, Flow, Item, Stream};

/// What came of a batch. Its rows are numbered from 1 in the place of their lines.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    items: Vec<Packed>,
    pub(super) steps: Vec<Step>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) dropped: Vec<Rejected>,
    pub(super) redactions: BTreeMap<String, usize>,
}

/// A row in a form that takes little to read.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    from: usize,
    source: String,
    number: u64,
    fields: String,
    example: Option<PackedExample>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedExample {
    /// Who says what.
    said: Vec<(Role, String)>,
    written: Option<String>,
}

impl From<Item> for Packed {
    fn from(item: Item) -> Self {
        let fields = item.row.fields.as_written().map_or_else(|| serde_json::to_string(&*item.row.fields).unwrap_or_default(), str::to_owned);
        let said = |messages: Vec<Message>| messages.into_iter().map(|message| (message.role, message.content)).collect();
        let example = item.example.map(|example| PackedExample { said: said(example.messages), written: example.written.map(String::from) });
        Self { from: item.from, source: item.row.source, number: item.row.line, fields, example }
    }
}

/// Where outcomes are kept from one run to the next.
pub trait Keep: Sync {
    /// The outcome of a batch with this identity.
    fn find(&self, batch: &str) -> Option<Vec<u8>>;

    /// It was taken as it is, and stays.
    fn stays(&self, batch: &str);

    /// Keeps it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep(&self, batch: &str, outcome: &[u8]) -> Result<(), DataError>;
}

/// Batches end at rows of which this many bits of the hash are 0: about every 2,048th, wherever rows come in or go.
const BITS: u64 = (1 << 11) - 1;
/// Rows of a batch at least, and at most.
const LEAST: usize = 256;
const MOST: usize = 8192;
/// Rows that are at work at once.
const AT_ONCE: usize = 1 << 14;

/// Lets rows through operators that judge each row by itself, a batch at a time. What is kept of a batch that was seen before is taken
/// as it is.
pub fn batches<'a>(
    flow: &'a Flow,
    operators: &'a [(&'static str, Box<dyn Operator>)],
    beside: &'a Beside,
    keep: &'a dyn Keep,
    mut rows: Stream<'a>,
) -> Stream<'a> {
    let first = flow.account().begin_all(operators.iter().map(|(name, _)| *name));
    let (mut open, mut is_over): (Vec<Item>, bool) = (Vec::new(), false);
    Box::new(std::iter::from_fn(move || {
        while open.len() < AT_ONCE && !is_over {
            match rows.next() {
                Some(Ok(items)) => open.extend(items),
                Some(Err(error)) => return Some(Err(error)),
                None => is_over = true,
            }
        }
        if open.is_empty() {
            return None;
        }
        let batches = divided(&mut open, is_over);
        let done: Vec<Result<(Outcome, Vec<u64>), DataError>> =
            batches.into_par_iter().map(|batch| outcome(flow.folder(), operators, beside, keep, batch)).collect();
        let mut passed = Vec::new();
        for outcome in done {
            let absorbed = outcome.and_then(|(outcome, lines)| {
                let Outcome { items, steps, rejected, dropped, redactions } = outcome;
                let line = |number: u64| lines.get(usize::try_from(number - 1).unwrap_or(usize::MAX)).copied().unwrap_or_default();
                flow.account().absorb(first, steps, rejected, dropped, redactions, &line)?;
                passed.extend(items.into_iter().map(|packed| unpacked(packed, &line)));
                Ok(())
            });
            if let Err(error) = absorbed {
                return Some(Err(error));
            }
        }
        Some(Ok(passed))
    }))
}

fn unpacked(packed: Packed, line: &impl Fn(u64) -> u64) -> Item {
    let Packed { from, source, number, fields, example } = packed;
    let messages = |said: Vec<(Role, String)>| said.into_iter().map(|(role, content)| Message::new(role, content)).collect();
    let example = example.map(|PackedExample { said, written }| Example { messages: messages(said), written: written.map(String::into_boxed_str) });
    Item { example, ..Item::new(from, Row { source, line: line(number), fields: Cells::sound(&fields) }) }
}

/// Takes whole batches off the rows: what is left may go on with rows that are still to come.
fn divided(rows: &mut Vec<Item>, is_over: bool) -> Vec<Vec<(Item, String)>> {
    let texts: Vec<(String, u64)> = rows
        .par_iter()
        .map(|item| {
            let text = item.row.fields.as_written().map_or_else(|| serde_json::to_string(&*item.row.fields).unwrap_or_default(), str::to_owned);
            let place = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
            (text, place)
        })
        .collect();
    let (mut ends, mut begin) = (Vec::new(), 0);
    for (at, (_, place)) in texts.iter().enumerate() {
        let length = at + 1 - begin;
        if length >= MOST || length >= LEAST && place & BITS == 0 {
            ends.push(at + 1);
            begin = at + 1;
        }
    }
    if (is_over || ends.is_empty()) && begin < rows.len() {
        ends.push(rows.len());
    }
    let rest = rows.split_off(ends.last().copied().unwrap_or_default());
    let mut both = std::mem::replace(rows, rest).into_iter().zip(texts.into_iter().map(|(text, _)| text));
    let mut begin = 0;
    ends.into_iter()
        .map(|end| {
            let batch = both.by_ref().take(end - begin).collect();
            begin = end;
            batch
        })
        .collect()
}

/// What comes of a batch, and the lines of its rows.
fn outcome(
    folder: &Path,
    operators: &[(&'static str, Box<dyn Operator>)],
    beside: &Beside,
    keep: &dyn Keep,
    batch: Vec<(Item, String)>,
) -> Result<(Outcome, Vec<u64>), DataError> {
    let lines: Vec<u64> = batch.iter().map(|(item, _)| item.row.line).collect();
    let mut identity = Identifying::default();
    for (item, text) in &batch {
        identity.part(&item.from.to_string());
        identity.part(&item.row.source);
        identity.part(text);
    }
    let name = identity.end().to_string();
    if let Some(outcome) = keep.find(&name).and_then(|kept| postcard::from_bytes(&kept).ok()) {
        keep.stays(&name);
        return Ok((outcome, lines));
    }
    let items: Vec<Item> = (1..).zip(batch).map(|(number, (item, _))| Item { row: Row { line: number, ..item.row }, ..item }).collect();
    let flow = Flow::held(folder, beside.clone());
    let mut rows: Stream<'_> = Box::new(std::iter::once(Ok(items)));
    for (_, operator) in operators {
        rows = operator.attach(rows, &flow)?;
    }
    let mut passed = Vec::new();
    for items in rows {
        passed.extend(items?.into_iter().map(Packed::from));
    }
    let account = flow.into_account();
    let outcome = Outcome {
        items: passed,
        steps: account.steps,
        rejected: account.rejected.held(),
        dropped: account.dropped.held(),
        redactions: account.redactions.into_iter().map(|(kind, count)| (kind.into_owned(), count)).collect(),
    };
    let bytes = postcard::to_allocvec(&outcome).map_err(|error| DataError::unreadable("a batch of rows", &error))?;
    keep.keep(&name, &bytes)?;
    Ok((outcome, lines))
}
