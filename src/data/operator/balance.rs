use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::sample::Lowest;
use super::{Operator, OperatorKind, chance};

static SETTING: Setting = Setting::new("balance", "Takes away from classes that have more rows than others.").operator(3).properties(&[
    Slot::new("by", Kind::Text, "The field that says the class."),
    Slot::new("ratio", Kind::Number(1.0, 1e9), "How many times the smallest class the largest may be.").or(Fallback::Number(1.0)),
    Slot::new("most", Kind::Integer(1, i64::MAX), "How many rows a class may have in any case.").or(Fallback::Absent),
    Slot::new("seed", Kind::Integer(0, i64::MAX), "Another seed is another choice.").or(Fallback::Integer(0)),
]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Balance::from(block))));

#[derive(Debug)]
struct Balance {
    by: String,
    ratio: f64,
    most: Option<usize>,
    seed: i64,
}

impl From<&Block> for Balance {
    fn from(block: &Block) -> Self {
        let most = block.find_integer("most").map(|_| block.count("most"));
        Self { by: block.text("by").to_owned(), ratio: block.number("ratio"), most, seed: block.integer("seed") }
    }
}

impl Operator for Balance {
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let class = |item: &Item| {
            let is_null = item.row.fields.get(&self.by).is_some_and(serde_json::Value::is_null);
            item.row.text(&self.by).filter(|class| !is_null && !class.trim().is_empty())
        };
        let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
        let mut spool = flow.spool_seen(flow.needs_field("balance", &self.by, rows), |items| {
            items.iter().filter_map(class).for_each(|class| *sizes.entry(class).or_default() += 1);
            Ok(())
        })?;
        let smallest = sizes.values().min().copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of rows are far below 2^52")]
        let limit = ((smallest as f64 * self.ratio) as usize).min(self.most.unwrap_or(usize::MAX));
        let chance = |item: &Item| chance("balance", self.seed, item);
        let classes: BTreeMap<String, u32> = sizes.into_keys().zip(0..).collect();
        let (mut lowest, mut row) = (Lowest::of(flow.ordered()), 0);
        spool.look(|items| {
            let chances: Vec<f64> = items.par_iter().map(chance).collect();
            for (item, chance) in items.iter().zip(chances) {
                if let Some(class) = class(item).and_then(|class| classes.get(&class)) {
                    lowest.see(*class, chance, row)?;
                }
                row += 1;
            }
            Ok(())
        })?;
        let chosen = lowest.chosen(|_| limit)?;
        Ok(flow.decide("balance", spool, move |row, item| {
            let Some(class) = class(item) else {
                return Ok(Verdict::Reject(format!("there is nothing in its `{}`, by which classes are told apart", self.by)));
            };
            let stays = classes.get(&class).is_some_and(|class| chosen.has(*class, chance(item), row));
            Ok(if stays { Verdict::Keep } else { Verdict::Drop(format!("`{class}` has more than {limit} rows")) })
        }))
    }
}
