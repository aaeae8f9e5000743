//! What becomes of one row: as it was collected, after each operator, as an example, and as tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::flow::{Flow, Item, Stream};
use crate::data::{DataError, Example, Rejected, Row};
use crate::store::Store;

use super::super::action::given;
use super::super::{Given, Look, RowAsked, StageError, collect};
use super::work::Prepare;

/// Follows a row.
pub fn inspect(work: &Prepare, asked: &RowAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Vec<Look>, StageError> {
    let rows = Rows { asked, inputs, sources: work.sources };
    let mut item = rows.one()?;
    let look = |step: String, text: String| Look { step, text };
    let mut looks = vec![look(format!("as collected from {}", item.place()), fields(&item))];
    for (number, (name, operator)) in work.operators.iter().enumerate() {
        let before = item.clone();
        let after = if operator.is_by_row() {
            let folder = Folder::new()?;
            let flow = Flow::new(&folder.0, work.beside(asked.workspace, asked.store, inputs)?)?;
            let after = passed(operator.attach(Box::new(std::iter::once(Ok(vec![item]))), &flow)?, |_| true)?;
            match after {
                Some(item) => Ok(item),
                None => Err(reasons(flow)?.into_iter().next()),
            }
        } else {
            // What it does with a row shows only among all of them.
            rows.through(work, number + 1)?
        };
        item = match after {
            Ok(item) => item,
            Err(reason) => {
                looks.push(look(format!("`{name}` takes it out"), reason.map(|row| row.reason).unwrap_or_default()));
                return Ok(looks);
            }
        };
        if item == before {
            looks.push(look(format!("`{name}` leaves it as it is"), String::new()));
        } else {
            let text = if item.example == before.example { fields(&item) } else { item.example.as_ref().map(said).unwrap_or_default() };
            looks.push(look(format!("after `{name}`"), text));
        }
    }
    if let Some(example) = &item.example {
        looks.push(look("as it is written".to_owned(), example.line()));
        let (name, counter) = asked.model;
        if let Some(pieces) = counter.pieces(&example.messages) {
            looks.push(look(format!("as tokens of `{name}`, those that are learnt in brackets"), tokens(&pieces)));
        }
    }
    Ok(looks)
}

/// The collected rows of all sources.
struct Rows<'a> {
    asked: &'a RowAsked<'a>,
    inputs: &'a BTreeMap<String, Given>,
    sources: usize,
}

impl Rows<'_> {
    fn of(&self, source: usize) -> Result<Vec<u8>, StageError> {
        let store: &Store = self.asked.store;
        Ok(store.read(given(self.inputs, &format!("{} {source}", collect::ROWS))?)?)
    }

    /// The row that is asked for.
    fn one(&self) -> Result<Item, StageError> {
        let mut before = 0;
        for source in 1..=self.sources {
            let bytes = self.of(source)?;
            if let Some(line) = self.asked.row.checked_sub(before + 1).and_then(|place| lines(&bytes).nth(place)) {
                return Ok(item(source, line)?);
            }
            before += lines(&bytes).count();
        }
        Err(StageError::NoRow { number: self.asked.row, rows: before })
    }

    /// What comes of that row among all others after the first so many operators, or why nothing does. It is known by its source, which
    /// says more than that of any other on the way.
    fn through(&self, work: &Prepare, operators: usize) -> Result<Result<Item, Option<Rejected>>, StageError> {
        const MARK: &str = "\u{0}this";
        let folder = Folder::new()?;
        let flow = Flow::new(&folder.0, work.beside(self.asked.workspace, self.asked.store, self.inputs)?)?;
        let mut number = 0;
        let rows = (1..=self.sources).map(|source| {
            let bytes = self.of(source).map_err(|error| DataError::unreadable("the collected rows", &error))?;
            let mut items = lines(&bytes).map(|line| item(source, line)).collect::<Result<Vec<Item>, _>>()?;
            if let Some(item) = self.asked.row.checked_sub(number + 1).and_then(|place| items.get_mut(place)) {
                item.row.source.push_str(MARK);
            }
            number += items.len();
            Ok(items)
        });
        let mut rows: Stream<'_> = Box::new(rows);
        for (_, operator) in &work.operators[..operators] {
            rows = operator.attach(rows, &flow)?;
        }
        let is_it = |source: &str| source.ends_with(MARK);
        match passed(rows, |item| is_it(&item.row.source))? {
            Some(mut item) => {
                item.row.source.truncate(item.row.source.len() - MARK.len());
                Ok(Ok(item))
            }
            None => Ok(Err(reasons(flow)?.into_iter().find(|row| is_it(&row.source)))),
        }
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

fn item(source: usize, line: &[u8]) -> Result<Item, DataError> {
    let row: Row = serde_json::from_slice(line).map_err(|error| DataError::unreadable("the collected rows", &error))?;
    Ok(Item::new(source - 1, row))
}

/// The first of what comes out that is wanted, after all of it came.
fn passed(rows: Stream<'_>, wanted: impl Fn(&Item) -> bool) -> Result<Option<Item>, DataError> {
    let mut found = None;
    for items in rows {
        let mut items = items?.into_iter();
        found = found.or_else(|| items.find(|item| wanted(item)));
    }
    Ok(found)
}

/// What was taken out, with the reasons.
fn reasons(flow: Flow) -> Result<Vec<Rejected>, StageError> {
    let account = flow.into_account();
    let mut all = Vec::new();
    for path in [account.rejected.finish()?, account.dropped.finish()?] {
        let text = std::fs::read_to_string(&path).map_err(|source| StageError::Io { doing: "read", path: path.clone(), source })?;
        all.extend(text.lines().filter_map(|line| serde_json::from_str::<Rejected>(line).ok()));
    }
    Ok(all)
}

fn fields(item: &Item) -> String {
    serde_json::to_string_pretty(&*item.row.fields).unwrap_or_default()
}

/// An example as people read it: its messages, and the worse answer of a pair.
fn said(example: &Example) -> String {
    let mut lines: Vec<String> = example.messages.iter().map(|message| format!("{}: {}", message.role.name(), message.content)).collect();
    let written: Value = example.written.as_deref().and_then(|written| serde_json::from_str(written).ok()).unwrap_or_default();
    for worse in written["non_preferred_output"].as_array().into_iter().flatten() {
        lines.push(format!("{}, worse: {}", worse["role"].as_str().unwrap_or("assistant"), worse["content"].as_str().unwrap_or_default()));
    }
    lines.join("\n")
}

fn tokens(pieces: &[(String, bool)]) -> String {
    let shown = pieces.iter().map(|(text, is_learned)| {
        let text = text.replace('\n', "\\n");
        if *is_learned { format!("[{text}]") } else { text }
    });
    let learned = pieces.iter().filter(|(_, is_learned)| *is_learned).count();
    format!("{} tokens, {learned} learnt: {}", pieces.len(), shown.collect::<Vec<_>>().join("|"))
}

/// A folder of its own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, StageError> {
        let path = std::env::temp_dir().join(format!("retune-inspect-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| StageError::Io { doing: "create", path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}
