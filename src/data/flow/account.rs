use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::{DataError, Lines, Rejected};
use super::{Item, Verdict};

/// Examples of what an operator did that the report shows.
const SAMPLES: usize = 5;

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
    /// The first few that it changed, before and after.
    pub changes: Vec<Value>,
    /// What else it found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The account of a preparation.
#[derive(Debug)]
pub struct Account {
    /// What each operator did, in the order written.
    pub steps: Vec<Step>,
    /// Rows rejected as wrong.
    pub rejected: Lines,
    /// Rows let go as superfluous.
    pub dropped: Lines,
    /// The first row rejected as wrong.
    pub first_rejected: Option<Rejected>,
    /// What was redacted, by kind.
    pub redactions: BTreeMap<&'static str, usize>,
}

impl Account {
    pub(super) fn new(folder: &Path) -> Result<Self, DataError> {
        Ok(Self {
            steps: Vec::new(),
            rejected: Lines::new(folder.join("rejected"))?,
            dropped: Lines::new(folder.join("dropped"))?,
            first_rejected: None,
            redactions: BTreeMap::new(),
        })
    }

    /// The number of a new step.
    pub(super) fn begin(&mut self, operator: &str) -> usize {
        self.steps.push(Step { operator: operator.to_owned(), ..Step::default() });
        self.steps.len() - 1
    }

    pub(super) fn wants_changes(&self, step: usize) -> bool {
        self.steps[step].changes.len() < SAMPLES
    }

    /// Adds what a step found; the first few are kept.
    pub fn note(&mut self, step: usize, found: impl Iterator<Item = String>) {
        const MOST: usize = 50;
        if let Some(step) = self.steps.get_mut(step) {
            let room = MOST.saturating_sub(step.notes.len());
            step.notes.extend(found.take(room));
        }
    }

    /// Counts what was taken out of a row.
    pub fn redacted(&mut self, counts: impl Iterator<Item = (&'static str, usize)>) {
        for (kind, count) in counts {
            *self.redactions.entry(kind).or_default() += count;
        }
    }

    /// Rows that steps of an operator let go as superfluous.
    #[must_use]
    pub fn dropped_by(&self, operator: &str) -> usize {
        self.steps.iter().filter(|step| step.operator == operator).map(|step| step.dropped).sum()
    }

    /// Applies verdicts, one for each row in order; what stays comes back.
    pub(super) fn settle(&mut self, step: usize, items: Vec<Item>, verdicts: Vec<Verdict>, before: Option<&[Item]>) -> Result<Vec<Item>, DataError> {
        let Self { steps, rejected, dropped, first_rejected, .. } = self;
        let step = &mut steps[step];
        step.rows_in += items.len();
        let mut kept = Vec::with_capacity(items.len());
        for (at, (item, verdict)) in items.into_iter().zip(verdicts).enumerate() {
            let is_wrong = matches!(verdict, Verdict::Reject(_));
            let (reason, aside) = match verdict {
                Verdict::Keep => {
                    kept.push(item);
                    continue;
                }
                Verdict::Changed => {
                    step.changed += 1;
                    if let Some(before) = before.filter(|_| step.changes.len() < SAMPLES) {
                        step.changes.push(json!({ "at": item.place(), "before": shown(&before[at]), "after": shown(&item) }));
                    }
                    kept.push(item);
                    continue;
                }
                Verdict::Drop(reason) => {
                    step.dropped += 1;
                    (reason, &mut *dropped)
                }
                Verdict::Reject(reason) => {
                    step.rejected += 1;
                    (reason, &mut *rejected)
                }
            };
            if step.samples.len() < SAMPLES {
                step.samples.push(format!("{}: {reason}", item.place()));
            }
            let text = serde_json::to_string(&item.row.fields).unwrap_or_default();
            let row = Rejected::new(&item.row.source, item.row.line, &step.operator, reason, &text);
            aside.push(&row)?;
            if is_wrong {
                first_rejected.get_or_insert(row);
            }
        }
        step.rows_out += kept.len();
        Ok(kept)
    }
}

/// A row as the report shows it: its example where there is one, cut where it is long.
fn shown(item: &Item) -> String {
    let text = match &item.example {
        Some(example) => example.line(),
        None => serde_json::to_string(&item.row.fields).unwrap_or_default(),
    };
    if text.chars().count() > 500 { text.chars().take(500).chain(" ...".chars()).collect() } else { text }
}
