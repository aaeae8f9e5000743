use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::{Operator, OperatorKind, chance};

static SETTING: Setting = Setting::new("sample", "Keeps some of the rows, chosen by a hash of what they say.").operator(1).properties(&[
    Slot::new("share", Kind::Number(0.0, 1.0), "So many of them, from 0 to 1. More rows never change what becomes of one.").or(Fallback::Absent),
    Slot::new("rows", Kind::Integer(1, i64::MAX), "So many, or all where there are fewer.").or(Fallback::Absent),
    Slot::new("seed", Kind::Integer(0, i64::MAX), "Another seed is another choice.").or(Fallback::Integer(0)),
]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Sample::of(block)?)));

#[derive(Debug)]
enum Size {
    Share(f64),
    Rows(usize),
}

#[derive(Debug)]
struct Sample {
    size: Size,
    seed: i64,
}

impl Sample {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let size = match (block.find_number("share"), block.find_integer("rows")) {
            (Some(share), None) => Size::Share(share),
            (None, Some(_)) => Size::Rows(block.count("rows")),
            _ => {
                return Err(ConfigError::Contradiction {
                    problem: "`sample` needs `share=` or `rows=`, one of them".into(),
                    label: "how many?".into(),
                    at: block.name_span.into(),
                    help: "for example `sample rows=1000`".into(),
                });
            }
        };
        Ok(Self { size, seed: block.integer("seed") })
    }
}

const LEFT: &str = "not in the sample";

impl Operator for Sample {
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let chance = |item: &Item| chance("sample", self.seed, item);
        match self.size {
            Size::Share(share) => Ok(flow.each("sample", rows, move |item| if chance(item) < share { Verdict::Keep } else { Verdict::Drop(LEFT.into()) })),
            Size::Rows(wanted) => {
                let (mut lowest, mut row) = (Lowest::of(wanted), 0);
                let spool = flow.spool_seen(rows, |items| {
                    let chances: Vec<f64> = items.par_iter().map(chance).collect();
                    (row..).zip(&chances).for_each(|(row, chance)| lowest.see(*chance, row));
                    row += items.len();
                })?;
                let verdict = move |row, item: &Item| if lowest.has(chance(item), row) { Verdict::Keep } else { Verdict::Drop(LEFT.into()) };
                Ok(flow.decide("sample", spool, move |row, item| Ok(verdict(row, item))))
            }
        }
    }
}

/// The lowest so many of the numbers of rows; of equal ones those that come first. No more are held than are wanted.
#[derive(Debug)]
pub struct Lowest {
    wanted: usize,
    held: BinaryHeap<(u64, usize)>,
}

impl Lowest {
    /// The lowest `wanted`.
    pub const fn of(wanted: usize) -> Self {
        Self { wanted, held: BinaryHeap::new() }
    }

    /// Takes the number of a row, which is not negative.
    pub fn see(&mut self, number: f64, row: usize) {
        // Of numbers that are not negative, the bits are in the order of the numbers.
        let own = (number.to_bits(), row);
        if self.held.len() < self.wanted {
            self.held.push(own);
        } else if let Some(mut highest) = self.held.peek_mut().filter(|highest| **highest > own) {
            *highest = own;
        }
    }

    /// Whether a row that was seen is among them.
    pub fn has(&self, number: f64, row: usize) -> bool {
        self.held.peek().is_some_and(|highest| (number.to_bits(), row) <= *highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_lowest_are_those_that_come_first_in_order(numbers in prop::collection::vec(0..9_u8, 0..40), wanted in 0..45_usize) {
            let mut order: Vec<(u8, usize)> = numbers.iter().copied().zip(0..).collect();
            order.sort_unstable();
            order.truncate(wanted);
            let mut lowest = Lowest::of(wanted);
            (0..).zip(&numbers).for_each(|(row, number)| lowest.see(f64::from(*number) / 9.0, row));
            for (row, number) in (0..).zip(&numbers) {
                prop_assert_eq!(lowest.has(f64::from(*number) / 9.0, row), order.contains(&(*number, row)));
            }
        }
    }
}
