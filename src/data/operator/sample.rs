use std::collections::HashMap;

use rayon::prelude::*;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::super::ordered::Ordered;
use super::{Operator, OperatorKind, chance};

static SETTING: Setting = Setting::new("sample", "Keeps some of the rows, chosen by a hash of what they say.").operator(1).properties(&[
    Slot::new("share", Kind::Share, "So many of them, from 0 to 1. More rows never change what becomes of one.").or(Fallback::Absent),
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
                let (mut lowest, mut row) = (Lowest::of(flow.ordered()), 0);
                let spool = flow.spool_seen(rows, |items| {
                    let chances: Vec<f64> = items.par_iter().map(chance).collect();
                    let rows = row..;
                    row += items.len();
                    rows.zip(chances).try_for_each(|(row, chance)| lowest.see(0, chance, row))
                })?;
                let chosen = lowest.chosen(|_| wanted)?;
                let verdict = move |row, item: &Item| if chosen.has(0, chance(item), row) { Verdict::Keep } else { Verdict::Drop(LEFT.into()) };
                Ok(flow.decide("sample", spool, move |row, item| Ok(verdict(row, item))))
            }
        }
    }
}

/// Rows of which those with the lowest numbers are to stay, so many of each class; of equal ones those that come first.
#[derive(Debug)]
pub struct Lowest(Ordered<u128>);

/// A row in the order of its class, its number, which is not negative, and its place.
fn placed(class: u32, number: f64, row: usize) -> u128 {
    // Of numbers that are not negative, the bits are in the order of the numbers.
    u128::from(class) << 96 | u128::from(number.to_bits()) << 32 | row as u32 as u128
}

impl Lowest {
    /// None of none yet.
    pub const fn of(none: Ordered<u128>) -> Self {
        Self(none)
    }

    /// Takes the number of a row.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn see(&mut self, class: u32, number: f64, row: usize) -> Result<(), DataError> {
        self.0.push(placed(class, number, row))
    }

    /// The lowest of each class, as many as are wanted of it.
    ///
    /// # Errors
    /// When what was written cannot be read again.
    pub fn chosen(self, wanted: impl Fn(u32) -> usize) -> Result<Chosen, DataError> {
        let mut highest: HashMap<u32, u128> = HashMap::new();
        let (mut last, mut count) = (None, 0);
        for row in self.0.into_order()? {
            let row = row?;
            let class = (row >> 96) as u32;
            count = if last.replace(class) == Some(class) { count + 1 } else { 1 };
            if count <= wanted(class) {
                highest.insert(class, row);
            }
        }
        Ok(Chosen { highest })
    }
}

/// The rows that stay.
#[derive(Debug)]
pub struct Chosen {
    /// The last of each class.
    highest: HashMap<u32, u128>,
}

impl Chosen {
    /// Whether a row that was seen is among them.
    pub fn has(&self, class: u32, number: f64, row: usize) -> bool {
        self.highest.get(&class).is_some_and(|highest| placed(class, number, row) <= *highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_lowest_of_each_class_are_those_that_come_first_in_order(
            rows in prop::collection::vec((0..3_u32, 0..9_u8), 0..40), wanted in 0..45_usize, most in 0..50_usize,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut lowest = Lowest::of(Ordered::new(folder.path().join("ordered"), most));
            for (row, (class, number)) in rows.iter().enumerate() {
                lowest.see(*class, f64::from(*number) / 9.0, row).expect("there is room");
            }
            let chosen = lowest.chosen(|_| wanted).expect("it can be read");
            for (row, &(class, number)) in rows.iter().enumerate() {
                let before = rows.iter().enumerate().filter(|(at, other)| other.0 == class && (other.1, *at) < (number, row)).count();
                prop_assert_eq!(chosen.has(class, f64::from(number) / 9.0, row), before < wanted);
            }
        }
    }
}
