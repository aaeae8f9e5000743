use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{DataError, Lines, Rejected};
use super::{Item, Verdict};

/// Examples of what an operator did that the report shows.
const SAMPLES: usize = 5;

/// The largest groups of rows that are the same which the report shows.
pub const CLUSTERS: usize = 10;

/// What one operator did, for the report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    pub samples: Vec<Sample>,
    /// The first few that it changed, before and after.
    pub changes: Vec<Change>,
    /// The largest groups of rows that are the same.
    pub clusters: Vec<Cluster>,
    /// The first few things that it found and let pass.
    pub notes: Vec<String>,
    /// How many it found and let pass.
    #[serde(default)]
    pub noted: usize,
}

/// Rows that are the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// What tells it from others.
    id: u64,
    /// Where the row is that stays.
    kept: String,
    /// How many there are.
    rows: usize,
}

/// A row that went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    source: String,
    line: u64,
    reason: String,
}

/// A row that was changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    source: String,
    line: u64,
    before: String,
    after: String,
}

impl Step {
    /// As the report tells it.
    #[must_use]
    pub fn told(&self) -> Value {
        let mut told = json!({
            "operator": self.operator,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "changed": self.changed,
            "dropped": self.dropped,
            "rejected": self.rejected,
            "samples": self.samples.iter().map(|row| format!("{}:{}: {}", row.source, row.line, row.reason)).collect::<Vec<_>>(),
            "changes": self.changes.iter().map(|row| json!({ "at": format!("{}:{}", row.source, row.line), "before": row.before, "after": row.after })).collect::<Vec<_>>(),
        });
        if !self.clusters.is_empty() {
            told["clusters"] = self.clusters.iter().map(|cluster| json!({ "kept": cluster.kept, "rows": cluster.rows })).collect();
        }
        if !self.notes.is_empty() {
            told["notes"] = json!(self.notes);
            told["noted"] = json!(self.noted);
        }
        told
    }

    /// Adds what the same operator did with rows that come after, with the lines that they really have.
    fn add(&mut self, other: Self, line: &impl Fn(u64) -> u64) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.changed += other.changed;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        let room = SAMPLES.saturating_sub(self.samples.len());
        self.samples.extend(other.samples.into_iter().take(room).map(|row| Sample { line: line(row.line), ..row }));
        let room = SAMPLES.saturating_sub(self.changes.len());
        self.changes.extend(other.changes.into_iter().take(room).map(|row| Change { line: line(row.line), ..row }));
    }
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
    pub redactions: BTreeMap<Cow<'static, str>, usize>,
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

    /// One that keeps everything in memory, for few rows.
    pub(super) fn held() -> Self {
        Self { steps: Vec::new(), rejected: Lines::held_back(), dropped: Lines::held_back(), first_rejected: None, redactions: BTreeMap::new() }
    }

    /// The number of the first of some new steps.
    pub(super) fn begin_all<'a>(&mut self, operators: impl Iterator<Item = &'a str>) -> usize {
        let first = self.steps.len();
        for operator in operators {
            self.begin(operator);
        }
        first
    }

    /// Adds what became of a batch of rows, from the step `first` on.
    pub(super) fn absorb(
        &mut self,
        first: usize,
        steps: Vec<Step>,
        rejected: Vec<Rejected>,
        dropped: Vec<Rejected>,
        redactions: BTreeMap<String, usize>,
        line: &impl Fn(u64) -> u64,
    ) -> Result<(), DataError> {
        self.steps[first..].iter_mut().zip(steps).for_each(|(own, step)| own.add(step, line));
        for row in rejected {
            let row = Rejected { line: line(row.line), ..row };
            self.rejected.push(&row)?;
            self.first_rejected.get_or_insert(row);
        }
        for row in dropped {
            self.dropped.push(&Rejected { line: line(row.line), ..row })?;
        }
        for (kind, count) in redactions {
            *self.redactions.entry(Cow::Owned(kind)).or_default() += count;
        }
        Ok(())
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
            for found in found {
                step.noted += 1;
                if step.notes.len() < MOST {
                    step.notes.push(found);
                }
            }
        }
    }

    /// Notes how large a group of rows that are the same has become. `id` tells it from others of the step.
    pub fn cluster(&mut self, step: usize, id: u64, kept: String, rows: usize) {
        let Some(Step { clusters, .. }) = self.steps.get_mut(step) else {
            return;
        };
        match clusters.iter().position(|cluster| cluster.id == id) {
            Some(known) => clusters[known].rows = rows,
            None if clusters.len() < CLUSTERS => clusters.push(Cluster { id, kept, rows }),
            None if clusters.last().is_some_and(|least| rows > least.rows) => {
                clusters.pop();
                clusters.push(Cluster { id, kept, rows });
            }
            None => return,
        }
        clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.rows));
    }

    /// Counts what was taken out of a row.
    pub fn redacted(&mut self, counts: impl Iterator<Item = (&'static str, usize)>) {
        for (kind, count) in counts {
            *self.redactions.entry(Cow::Borrowed(kind)).or_default() += count;
        }
    }

    /// Which operator took most of the rows, and what it said of the first.
    #[must_use]
    pub fn why_nothing_is_left(&self) -> String {
        let most = self.steps.iter().max_by_key(|step| step.dropped + step.rejected).filter(|step| step.dropped + step.rejected > 0);
        most.map_or_else(
            || "there are no rows to begin with".to_owned(),
            |step| {
                let first =
                    step.samples.first().map_or_else(String::new, |sample| format!(", the first ({}:{}) since {}", sample.source, sample.line, sample.reason));
                format!("`{}` took {} of them{first}", step.operator, step.dropped + step.rejected)
            },
        )
    }

    /// How much steps of an operator found and let pass, and the first of it.
    #[must_use]
    pub fn noted_by(&self, operator: &str) -> (usize, Option<&String>) {
        let steps = || self.steps.iter().filter(|step| step.operator == operator);
        (steps().map(|step| step.noted).sum(), steps().find_map(|step| step.notes.first()))
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
                        let (source, line) = (item.row.source.clone(), item.row.line);
                        step.changes.push(Change { source, line, before: shown(&before[at]), after: shown(&item) });
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
                step.samples.push(Sample { source: item.row.source.clone(), line: item.row.line, reason: reason.clone() });
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
