//! Rows on their way through the operators of `prepare`.

use rayon::prelude::*;
use serde::Serialize;

use super::{DataError, Example, Rejected, Row};

/// A row under way: its fields, and the example that was made of it once one was.
#[derive(Clone, Debug)]
pub struct Item {
    /// The row as collected and changed since.
    pub row: Row,
    /// The example, after a template operator.
    pub example: Option<Example>,
}

/// What an operator does with one row.
#[derive(Debug)]
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

/// What one operator did, for the report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// The operator.
    pub operator: String,
    /// Rows in.
    pub rows_in: usize,
    /// Rows out.
    pub rows_out: usize,
    /// Rows that it changed.
    pub changed: usize,
    /// Rows that it let go as superfluous.
    pub dropped: usize,
    /// Rows that it rejected as wrong.
    pub rejected: usize,
    /// The first few that went, with reasons.
    pub samples: Vec<String>,
}

/// All rows under way, those that went, and the account of it.
#[derive(Debug, Default)]
pub struct Flow {
    /// Rows under way, in the order collected.
    pub items: Vec<Item>,
    /// Rows rejected as wrong.
    pub rejected: Vec<Rejected>,
    /// Rows let go as superfluous.
    pub dropped: Vec<Rejected>,
    /// What each operator did.
    pub steps: Vec<Step>,
}

impl Flow {
    /// Begins with rows as collected.
    #[must_use]
    pub fn new(rows: Vec<Row>) -> Self {
        let items = rows.into_iter().map(|row| Item { row, example: None }).collect();
        Self { items, ..Self::default() }
    }

    /// Makes sure that a field which settings name is there at all: a misspelt one would make all rows the same.
    ///
    /// # Errors
    /// When there are rows and none of them has it.
    pub fn needs_field(&self, by: &str, field: &str) -> Result<(), DataError> {
        let Some(first) = self.items.first() else {
            return Ok(());
        };
        if self.items.iter().any(|item| item.row.fields.contains_key(field)) {
            return Ok(());
        }
        let fields = first.row.fields.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Err(DataError::NoField { by: by.to_owned(), field: field.to_owned(), fields })
    }

    /// Lets an operator judge every row by itself, on all cores; the order stays.
    pub fn each(&mut self, operator: &str, judge: impl Fn(&mut Item) -> Verdict + Send + Sync) {
        let verdicts: Vec<Verdict> = self.items.par_iter_mut().map(judge).collect();
        self.settle(operator, verdicts);
    }

    /// Applies the verdicts of an operator, one for each row in order.
    pub fn settle(&mut self, operator: &str, verdicts: Vec<Verdict>) {
        let mut step = Step { operator: operator.to_owned(), rows_in: self.items.len(), ..Step::default() };
        let items = std::mem::take(&mut self.items);
        for (item, verdict) in items.into_iter().zip(verdicts) {
            let (reason, aside) = match verdict {
                Verdict::Keep => {
                    self.items.push(item);
                    continue;
                }
                Verdict::Changed => {
                    step.changed += 1;
                    self.items.push(item);
                    continue;
                }
                Verdict::Drop(reason) => {
                    step.dropped += 1;
                    (reason, &mut self.dropped)
                }
                Verdict::Reject(reason) => {
                    step.rejected += 1;
                    (reason, &mut self.rejected)
                }
            };
            if step.samples.len() < 5 {
                step.samples.push(format!("{}:{}: {reason}", item.row.source, item.row.line));
            }
            let text = serde_json::to_string(&item.row.fields).unwrap_or_default();
            aside.push(Rejected::new(&item.row.source, item.row.line, operator, reason, &text));
        }
        step.rows_out = self.items.len();
        self.steps.push(step);
    }
}
