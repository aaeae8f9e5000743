use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::data::Split;
use crate::data::flow::{Account, Step};
use crate::data::tally::{Part, Tally, Values};

/// The account of a preparation, from which report, metrics and expectations are drawn.
#[derive(Debug)]
pub struct Whole<'a> {
    pub rows_in: usize,
    /// Rows that the collect stages had kept aside.
    pub rejected_before: usize,
    pub account: &'a Account,
    pub tally: &'a Tally,
}

/// A slice with fewer rows is thin: what is measured on it says little.
const THIN: usize = 20;
/// So many thin slices are named one by one.
const NAMED: usize = 5;
/// Labels of a slice are lopsided where one label has so much more of it than of all rows.
const LOPSIDED: f64 = 0.3;

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
impl Whole<'_> {
    /// Of all rows that the sources held, the share that was rejected as wrong. Duplicates are not wrong.
    pub fn rejected_share(&self) -> f64 {
        let all = self.rows_in + self.rejected_before;
        (self.account.rejected.count + self.rejected_before) as f64 / all.max(1) as f64
    }

    /// Of the rows that came in, the share that was let go as duplicates.
    pub fn duplicate_share(&self) -> f64 {
        self.duplicates() as f64 / self.rows_in.max(1) as f64
    }

    /// Rows that are the same as others, wherever that was found.
    fn duplicates(&self) -> usize {
        self.account.dropped_by("deduplicate") + self.account.dropped_by("split")
    }

    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::from([
            ("rows".to_owned(), self.tally.rows() as f64),
            ("rejected".to_owned(), (self.account.rejected.count + self.rejected_before) as f64),
            ("duplicates".to_owned(), self.duplicates() as f64),
        ]);
        let others = self.account.dropped.count - self.duplicates();
        metrics.extend((others > 0).then(|| ("dropped".to_owned(), others as f64)));
        let redacted: usize = self.account.redactions.values().sum();
        metrics.extend((redacted > 0).then(|| ("redactions".to_owned(), redacted as f64)));
        metrics.extend(Split::ALL.iter().zip(&self.tally.parts).map(|(split, part)| (split.name().to_owned(), part.rows as f64)));
        metrics
    }

    /// What is worth a warning: leaks that are let pass, and slices that are thin, and those whose labels are not like those of all.
    pub fn warnings(&self) -> Vec<String> {
        let labels = self.tally.labels();
        let share = |label: &str| {
            let counts = labels.listed()?;
            Some(*counts.get(label)? as f64 / counts.values().sum::<usize>() as f64)
        };
        let mut warnings = Vec::new();
        if let (leaked, Some(first)) = self.account.noted_by("decontaminate") {
            warnings.push(format!("{leaked} examples stand in the data that `decontaminate` compares with, the first: {first}"));
        }
        for (field, values) in self.tally.slices() {
            if values.keys().all(String::is_empty) {
                warnings.push(format!("`slice` goes by the field `{field}`, and no row has it"));
                continue;
            }
            let rows = |answers: &Values| answers.listed().map_or(usize::MAX, |counts| counts.values().sum::<usize>());
            let thin: Vec<&String> = values.iter().filter(|(_, answers)| rows(answers) < THIN).map(|(value, _)| value).collect();
            if thin.len() > NAMED {
                let all = values.len();
                warnings.push(format!("of {all} slices by `{field}`, {} have fewer than {THIN} rows: what is measured on one of them says little", thin.len()));
            } else {
                warnings.extend(thin.iter().map(|&value| format!("the slice {field}={value:?} has only {} rows", rows(&values[value]))));
            }
            for (value, answers) in values.iter().filter(|(_, answers)| rows(answers) >= THIN) {
                if let Some((label, here)) = answers.largest()
                    && let Some(everywhere) = share(label).filter(|everywhere| here - everywhere > LOPSIDED)
                {
                    warnings.push(format!("in the slice {field}={value:?} {label:?} makes up {:.0} %, and {:.0} % of all", here * 100.0, everywhere * 100.0));
                }
            }
        }
        warnings
    }

    pub fn report(&self, warnings: &[String]) -> Value {
        let splits: BTreeMap<&str, Value> = Split::ALL.iter().zip(&self.tally.parts).map(|(split, items)| (split.name(), part(items))).collect();
        json!({
            "rows-in": self.rows_in,
            "rejected-before": self.rejected_before,
            "rejected-share": self.rejected_share(),
            "duplicate-share": self.duplicate_share(),
            "operators": self.account.steps.iter().map(Step::told).collect::<Vec<_>>(),
            "redactions": self.account.redactions,
            "splits": splits,
            "warnings": warnings,
        })
    }
}

fn part(part: &Part) -> Value {
    let mut told = json!({ "rows": part.rows });
    if let Some(labels) = part.labels.listed() {
        told["labels"] = json!(labels);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
    let mean = part.lengths.sum as f64 / part.lengths.counted.max(1) as f64;
    let spread: Vec<Value> = (4..).zip(&part.lengths.spread).map(|(power, rows)| json!({ "up-to": 1_u64 << power, "rows": rows })).collect();
    told["tokens"] = json!({ "counted": part.lengths.counted, "mean": mean, "most": part.lengths.most, "spread": spread });
    if !part.slices.is_empty() {
        let slices: BTreeMap<&String, BTreeMap<&String, Value>> =
            part.slices.iter().map(|(field, values)| (field, values.iter().map(|(value, labels)| (value, slice(labels))).collect())).collect();
        told["slices"] = json!(slices);
    }
    told
}

fn slice(labels: &Values) -> Value {
    match labels.listed() {
        Some(counts) => json!({ "rows": counts.values().sum::<usize>(), "labels": counts }),
        None => json!({ "labels": "more than 200" }),
    }
}
