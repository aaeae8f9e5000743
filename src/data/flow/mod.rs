//! Rows on their way through the operators of `prepare`, some at a time, so that memory does not grow with the data.

mod account;
mod batch;
mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::identities::HELD;
use super::near::Groups;
use super::numbers::Numbers;
use super::ordered::{Ordered, Word};
use super::{DataError, Example, Identities, Role, Row, Split};

pub use account::{Account, CLUSTERS, Step};
pub use batch::{Keep, batches};
pub use spool::Spool;

/// A row under way: its fields, and the example that was made of it once one was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Which of the stages in `from` it comes from, from 0.
    pub from: usize,
    /// The row as collected and changed since.
    pub row: Row,
    /// The example, after a template operator.
    pub example: Option<Example>,
    /// Where it belongs, after the split.
    pub split: Option<Split>,
}

impl Item {
    /// A row as collected.
    #[must_use]
    pub const fn new(from: usize, row: Row) -> Self {
        Self { from, row, example: None, split: None }
    }

    /// What an operator that looks at text looks at: the value of a field, else what is asked and answered in the example, else all
    /// text of the row.
    #[must_use]
    pub fn text(&self, field: Option<&str>) -> String {
        match (field, &self.example) {
            (Some(field), _) => self.row.text(field).unwrap_or_default(),
            (None, Some(example)) => {
                let said = example.messages.iter().filter(|message| message.role != Role::System);
                said.map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
            }
            (None, None) => self.row.all_text(),
        }
    }

    /// Changes every string in the row and in its example. Tells whether any was changed. JSON text that `may` not hold anything to
    /// change is not taken apart for it.
    pub fn rewrite(&mut self, may: impl Fn(&str) -> bool, change: &mut impl FnMut(&str) -> Option<String>) -> bool {
        // What is escaped cannot be seen in the JSON.
        let may = |json: &str| memchr::memmem::find(json.as_bytes(), b"\\u").is_some() || may(json);
        let mut changed = self.row.fields.as_written().is_none_or(may) && self.row.rewrite(change);
        if let Some(example) = &mut self.example {
            changed |= example.rewrite(may, change);
        }
        changed
    }

    /// Where it was, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.row.source, self.row.line)
    }
}

/// What an operator does with one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, changed.
    Changed,
    /// It goes, and that is as it should be (a duplicate).
    Drop(String),
    /// It goes, because something is wrong with it.
    Reject(String),
}

/// Rows in their order, some at a time.
pub type Stream<'a> = Box<dyn Iterator<Item = Result<Vec<Item>, DataError>> + 'a>;

/// Rows that go together through the operators.
pub const CHUNK: usize = 4096;

/// Files beside the rows that operators read, by the path or glob that names them: each with its path and content.
pub type Beside = BTreeMap<String, Vec<(String, Vec<u8>)>>;

/// What the operators of one preparation share: the account of what they do, and a folder for what does not fit into memory.
#[derive(Debug)]
pub struct Flow {
    account: Mutex<Account>,
    folder: PathBuf,
    /// How many places in the folder were given out.
    places: AtomicUsize,
    beside: Beside,
    /// How much of each kind an operator holds in memory, where it is not the usual.
    most: Option<usize>,
}

impl Flow {
    /// A flow that may write in a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(folder: &Path, beside: Beside) -> Result<Self, DataError> {
        Ok(Self { account: Mutex::new(Account::new(folder)?), ..Self::held(folder, beside) })
    }

    /// A flow of few rows, whose account stays in memory.
    fn held(folder: &Path, beside: Beside) -> Self {
        Self { account: Mutex::new(Account::held()), folder: folder.to_owned(), places: AtomicUsize::new(0), beside, most: None }
    }

    /// The same with so much of each kind in memory, for tests of what goes to disk.
    #[cfg(test)]
    pub fn holding(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    /// A place in the folder that nobody else has: an operator may stand there more than once.
    fn place(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{what}-{}", self.places.fetch_add(1, Ordering::Relaxed)))
    }

    /// The account so far.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of everything.
    #[must_use]
    pub fn into_account(self) -> Account {
        self.account.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that a path or glob names.
    #[must_use]
    pub fn beside(&self, pattern: &str) -> &[(String, Vec<u8>)] {
        self.beside.get(pattern).map_or(&[], Vec::as_slice)
    }

    /// Lets an operator judge every row by itself, on all cores.
    pub fn each<'a>(&'a self, operator: &str, rows: Stream<'a>, judge: impl Fn(&mut Item) -> Verdict + Send + Sync + 'a) -> Stream<'a> {
        self.chunks(operator, rows, move |items| Ok(items.par_iter_mut().map(&judge).collect()))
    }

    /// The same for an operator that changes rows: the report shows the first few as they were before.
    pub fn change<'a>(&'a self, operator: &str, rows: Stream<'a>, judge: impl Fn(&mut Item) -> Verdict + Send + Sync + 'a) -> Stream<'a> {
        self.judged(operator, rows, true, move |items| Ok(items.par_iter_mut().map(&judge).collect()))
    }

    /// Lets an operator judge rows in their order, some at a time: a verdict for each.
    pub fn chunks<'a>(&'a self, operator: &str, rows: Stream<'a>, judge: impl FnMut(&mut [Item]) -> Result<Vec<Verdict>, DataError> + 'a) -> Stream<'a> {
        self.judged(operator, rows, false, judge)
    }

    fn judged<'a>(
        &'a self,
        operator: &str,
        mut rows: Stream<'a>,
        changes: bool,
        mut judge: impl FnMut(&mut [Item]) -> Result<Vec<Verdict>, DataError> + 'a,
    ) -> Stream<'a> {
        let step = self.account().begin(operator);
        Box::new(std::iter::from_fn(move || {
            let mut items = match rows.next()? {
                Ok(items) => items,
                Err(error) => return Some(Err(error)),
            };
            let before = (changes && self.account().wants_changes(step)).then(|| items.clone());
            let verdicts = match judge(&mut items) {
                Ok(verdicts) => verdicts,
                Err(error) => return Some(Err(error)),
            };
            Some(self.account().settle(step, items, verdicts, before.as_deref()))
        }))
    }

    /// Takes all rows in, for an operator that cannot say anything before it has seen the last: in memory, and on disk what is
    /// too much for that.
    ///
    /// # Errors
    /// When a row before went wrong, or the disk is full.
    pub fn spool(&self, rows: Stream<'_>) -> Result<Spool, DataError> {
        self.spool_seen(rows, |_| Ok(()))
    }

    /// The same, with a look at the rows as they come.
    ///
    /// # Errors
    /// As [`Flow::spool`].
    pub fn spool_seen(&self, rows: Stream<'_>, mut see: impl FnMut(&[Item]) -> Result<(), DataError>) -> Result<Spool, DataError> {
        let mut spool = Spool::new(self.place("spool"));
        for items in rows {
            let items = items?;
            see(&items)?;
            spool.push(items)?;
        }
        Ok(spool)
    }

    /// Identities that are met, which may go to disk where there are many.
    pub fn identities(&self) -> Identities {
        Identities::new(self.place("identities"), self.most.unwrap_or(HELD))
    }

    /// Numbers, which may go to disk where there are many.
    pub fn numbers(&self) -> Numbers {
        /// What is held in memory: 64 MiB.
        const HELD: usize = 16 << 20;
        Numbers::new(self.place("numbers"), self.most.unwrap_or(HELD))
    }

    /// Numbers that will be asked for in their order, which may go to disk where there are many.
    pub fn ordered<T: Word>(&self) -> Ordered<T> {
        /// What is held in memory: 64 MiB.
        const HELD: usize = 64 << 20;
        Ordered::new(self.place("ordered"), self.most.unwrap_or(HELD / T::BYTES))
    }

    /// Groups of texts that are nearly the same, which may go to disk beside the rows.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn groups(&self, threshold: f64) -> Result<Groups, DataError> {
        Groups::new(threshold, self.place("near"), self.most)
    }

    /// Lets the rows of a spool go on, with a verdict for each by its number, on all cores.
    pub fn decide<'a>(&'a self, operator: &str, spool: Spool, verdict: impl Fn(usize, &Item) -> Result<Verdict, DataError> + Send + Sync + 'a) -> Stream<'a> {
        let mut number = 0;
        self.chunks(operator, spool.into_rows(), move |items| {
            let verdicts = items.par_iter().enumerate().map(|(at, item)| verdict(number + at, item)).collect();
            number += items.len();
            verdicts
        })
    }

    /// Makes sure that a field which settings name is there at all: a misspelt one would make all rows the same. When there are
    /// rows and none has it, the stream ends in an error.
    pub fn needs_field<'a>(&'a self, by: &str, field: &str, mut rows: Stream<'a>) -> Stream<'a> {
        let (by, field) = (by.to_owned(), field.to_owned());
        let (mut seen, mut others) = (false, None);
        Box::new(std::iter::from_fn(move || {
            let Some(items) = rows.next() else {
                let fields = others.take().filter(|_| !seen)?;
                return Some(Err(DataError::NoField { by: by.clone(), field: field.clone(), fields }));
            };
            if let (Ok(items), false) = (&items, seen) {
                seen = items.iter().any(|item| item.row.fields.contains_key(&field));
                let names = |item: &Item| item.row.fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                others = others.take().or_else(|| items.first().map(names));
            }
            Some(items)
        }))
    }
}
