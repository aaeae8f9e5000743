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
        if self.over {
            return;
        }
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// How many were counted.
    pub counted: usize,
    /// The tokens of all that were counted.
    pub sum: usize,
    /// The tokens of the longest of them.
    pub most: usize,
    /// How many have at most 16, 32, 64, ... tokens, and more than half as many.
    pub spread: Vec<usize>,
}

impl Lengths {
    fn add(&mut self, tokens: usize) {
        self.counted += 1;
        self.sum += tokens;
        self.most = self.most.max(tokens);
        let place = tokens.div_ceil(16).next_power_of_two().trailing_zeros() as usize;
        self.spread.resize(self.spread.len().max(place + 1), 0);
        self.spread[place] += 1;
    }
}

/// Whose tokens are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Those of every example.
    All,
    /// Those of the first 4,096 examples and of every 32nd after them: enough to see how long they are, at a fraction of the work.
    Some,
}

impl Count {
    const fn counts(self, number: usize) -> bool {
        matches!(self, Self::All) || number < 4096 || number.is_multiple_of(32)
    }
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
    count: Count,
    /// Examples so far.
    examples: usize,
}

impl Tally {
    /// A tally that looks at these fields, and counts tokens in this way.
    #[must_use]
    pub fn new(slices: Vec<String>, counter: Counter, count: Count) -> Self {
        Self { parts: Default::default(), slices, counter, count, examples: 0 }
    }

    /// Adds some rows.
    pub fn add(&mut self, items: &[Item]) {
        use rayon::prelude::*;
        let (counter, count, before) = (&self.counter, self.count, self.examples);
        let tokens = |(at, item): (usize, &Item)| {
            let example = item.example.as_ref().filter(|_| count.counts(before + at))?;
            Some(counter.count(&example.messages))
        };
        let lengths: Vec<Option<usize>> = items.par_iter().enumerate().map(tokens).collect();
        self.examples += items.len();
        for (item, tokens) in items.iter().zip(lengths) {
            let part = &mut self.parts[item.split.unwrap_or(Split::Train) as usize];
            let label = item.example.as_ref().map_or("", |example| example.answer());
            part.rows += 1;
            part.labels.add(label);
            tokens.into_iter().for_each(|tokens| part.lengths.add(tokens));
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
