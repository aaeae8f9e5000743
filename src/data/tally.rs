//! What is in the data that came out: classes, slices and lengths, by split.

use std::collections::BTreeMap;

use serde::Serialize;

use super::flow::Item;
use super::{Counter, Split};

/// Different values that are listed; of a field with more, only their number is told.
const MOST: usize = 200;

/// Rows by value.
#[derive(Clone, Debug, Default)]
pub struct Values {
    counts: BTreeMap<String, usize>,
    over: bool,
}

impl Values {
    fn add(&mut self, value: &str) {
        if let Some(count) = self.counts.get_mut(value) {
            *count += 1;
        } else if self.counts.len() < MOST {
            self.counts.insert(value.to_owned(), 1);
        } else {
            self.over = true;
        }
    }

    /// All values with their rows, where there are few enough to be classes.
    #[must_use]
    pub const fn listed(&self) -> Option<&BTreeMap<String, usize>> {
        if self.over { None } else { Some(&self.counts) }
    }

    /// The value with the most rows, and its share.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
    pub fn largest(&self) -> Option<(&str, f64)> {
        let all: usize = self.listed()?.values().sum();
        let (value, count) = self.counts.iter().max_by_key(|(_, count)| **count)?;
        Some((value, *count as f64 / all as f64))
    }

    /// The value with the fewest rows.
    #[must_use]
    pub fn smallest(&self) -> Option<(&str, usize)> {
        self.listed()?.iter().min_by_key(|(_, count)| **count).map(|(value, count)| (value.as_str(), *count))
    }
}

/// How long examples are, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// The tokens of all.
    pub sum: usize,
    /// The tokens of the longest.
    pub most: usize,
}

/// One split.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its examples.
    pub rows: usize,
    /// Its answers, where they are classes.
    pub labels: Values,
    /// By field and value, the answers of those rows.
    pub slices: BTreeMap<String, BTreeMap<String, Values>>,
    /// The lengths of its examples.
    pub lengths: Lengths,
}

/// All that came out.
#[derive(Debug)]
pub struct Tally {
    /// The splits in the order of [`Split::ALL`].
    pub parts: [Part; 3],
    slices: Vec<String>,
    counter: Counter,
}

impl Tally {
    /// A tally that looks at these fields, and counts tokens in this way.
    #[must_use]
    pub fn new(slices: Vec<String>, counter: Counter) -> Self {
        Self { parts: Default::default(), slices, counter }
    }

    /// Adds some rows.
    pub fn add(&mut self, items: &[Item]) {
        use rayon::prelude::*;
        let counter = &self.counter;
        let lengths: Vec<usize> = items.par_iter().map(|item| item.example.as_ref().map_or(0, |example| counter.count(&example.messages))).collect();
        for (item, tokens) in items.iter().zip(lengths) {
            let part = &mut self.parts[item.split.unwrap_or(Split::Train) as usize];
            let label = item.example.as_ref().map_or("", |example| example.answer());
            part.rows += 1;
            part.labels.add(label);
            part.lengths = Lengths { sum: part.lengths.sum + tokens, most: part.lengths.most.max(tokens) };
            for field in &self.slices {
                let values = part.slices.entry(field.clone()).or_default();
                let value = item.row.text(field).unwrap_or_default();
                if values.len() < MOST || values.contains_key(&value) {
                    values.entry(value).or_default().add(label);
                }
            }
        }
    }

    /// The examples of all splits.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// The answers of all splits.
    #[must_use]
    pub fn labels(&self) -> Values {
        sum(self.parts.iter().map(|part| &part.labels))
    }

    /// By field and value, the answers of all splits.
    #[must_use]
    pub fn slices(&self) -> BTreeMap<String, BTreeMap<String, Values>> {
        let mut all: BTreeMap<String, BTreeMap<String, Values>> = BTreeMap::new();
        for (field, values) in self.parts.iter().flat_map(|part| &part.slices) {
            for (value, labels) in values {
                let slice = all.entry(field.clone()).or_default().entry(value.clone()).or_default();
                *slice = sum([&*slice, labels].into_iter());
            }
        }
        all
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Values>) -> Values {
    let mut sum = Values::default();
    for values in all {
        sum.over |= values.over;
        for (value, count) in &values.counts {
            *sum.counts.entry(value.clone()).or_default() += count;
        }
    }
    sum.over |= sum.counts.len() > MOST;
    sum
}
