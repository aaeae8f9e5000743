use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::data::Split;
use crate::data::flow::{Flow, Item};

/// The account of a preparation, from which report, metrics and expectations are drawn.
#[derive(Debug)]
pub struct Account<'a> {
    pub rows_in: usize,
    /// Rows that the collect stages had kept aside.
    pub rejected_before: usize,
    pub flow: &'a Flow,
    pub parts: &'a [Vec<&'a Item>; 3],
}

/// Labels are listed where there are at most so many different answers.
const MOST_LABELS: usize = 200;

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
impl Account<'_> {
    /// Examples that came out.
    pub fn rows(&self) -> f64 {
        self.flow.items.len() as f64
    }

    /// Of all rows that the sources held, the share that was rejected as wrong. Duplicates are not wrong.
    pub fn rejected_share(&self) -> f64 {
        let all = self.rows_in + self.rejected_before;
        (self.flow.rejected.len() + self.rejected_before) as f64 / all.max(1) as f64
    }

    /// Of the rows that came in, the share that was let go as duplicates.
    pub fn duplicate_share(&self) -> f64 {
        self.flow.dropped.len() as f64 / self.rows_in.max(1) as f64
    }

    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::from([
            ("rows".to_owned(), self.rows()),
            ("rejected".to_owned(), (self.flow.rejected.len() + self.rejected_before) as f64),
            ("duplicates".to_owned(), self.flow.dropped.len() as f64),
        ]);
        metrics.extend(Split::ALL.iter().zip(self.parts).map(|(split, items)| (split.name().to_owned(), items.len() as f64)));
        metrics
    }

    pub fn report(&self) -> Value {
        let splits: BTreeMap<&str, Value> = Split::ALL.iter().zip(self.parts).map(|(split, items)| (split.name(), part(items))).collect();
        json!({
            "rows-in": self.rows_in,
            "rejected-before": self.rejected_before,
            "rejected-share": self.rejected_share(),
            "duplicate-share": self.duplicate_share(),
            "operators": self.flow.steps,
            "splits": splits,
        })
    }
}

fn part(items: &[&Item]) -> Value {
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    for example in items.iter().filter_map(|item| item.example.as_ref()) {
        *labels.entry(example.answer()).or_default() += 1;
        if labels.len() > MOST_LABELS {
            return json!({ "rows": items.len() });
        }
    }
    json!({ "rows": items.len(), "labels": labels })
}
