use rayon::prelude::*;

use crate::config::{Block, Fallback, Kind, Setting, Slot, Value};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::sample::Lowest;
use super::{Operator, OperatorKind, chance};

static SETTING: Setting = Setting::new("mix", "Takes rows of several `from` stages in given proportions, as many as there are for that.")
    .operator(1)
    .arguments(&[Slot::new("weight", Kind::Number(0.0, 1e9), "The weight of the first `from`.")])
    .rest(&Slot::new("weights", Kind::Number(0.0, 1e9), "The weights of the others, in their order; instances of one stage come in the order of its values."))
    .properties(&[Slot::new("seed", Kind::Integer(0, i64::MAX), "Another seed is another choice.").or(Fallback::Integer(0))]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Mix::from(block))));

#[derive(Debug)]
struct Mix {
    weights: Vec<f64>,
    seed: i64,
}

impl From<&Block> for Mix {
    fn from(block: &Block) -> Self {
        let further = block.rest.iter().filter_map(|weight| match weight.value {
            Value::Number(weight) => Some(weight),
            _ => None,
        });
        Self { weights: std::iter::once(block.number("weight")).chain(further).collect(), seed: block.integer("seed") }
    }
}

impl Operator for Mix {
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let mut sizes = vec![0_usize; self.weights.len()];
        let mut spool = flow.spool_seen(rows, |items| {
            items.iter().for_each(|item| sizes.get_mut(item.from).into_iter().for_each(|size| *size += 1));
            Ok(())
        })?;
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
        let scale = sizes.iter().zip(&self.weights).filter(|(_, weight)| **weight > 0.0).map(|(size, weight)| *size as f64 / weight);
        let scale = scale.min_by(f64::total_cmp).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the number of rows")]
        let wanted = |weight: &f64| weight.mul_add(scale, 1e-9) as usize;
        let chance = |item: &Item| chance("mix", self.seed, item);
        let (mut lowest, mut row) = (Lowest::of(flow.ordered()), 0);
        spool.look(|items| {
            let chances: Vec<f64> = items.par_iter().map(chance).collect();
            for (item, chance) in items.iter().zip(chances) {
                lowest.see(item.from as u32, chance, row)?;
                row += 1;
            }
            Ok(())
        })?;
        let chosen = lowest.chosen(|from| self.weights.get(from as usize).map_or(0, wanted))?;
        Ok(flow.decide("mix", spool, move |row, item| {
            let stays = chosen.has(item.from as u32, chance(item), row);
            Ok(if stays { Verdict::Keep } else { Verdict::Drop("more than its part of the mix".into()) })
        }))
    }
}
