use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Stream, Verdict};
use super::{Operator, OperatorKind, chance, identity};

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
        let place = |item: &super::super::flow::Item| chance("sample", self.seed, &identity(item));
        match self.size {
            Size::Share(share) => Ok(flow.each("sample", rows, move |item| if place(item) < share { Verdict::Keep } else { Verdict::Drop(LEFT.into()) })),
            Size::Rows(wanted) => {
                let mut spool = flow.spool(rows)?;
                let mut places = Vec::with_capacity(spool.len());
                spool.look(|items| {
                    places.extend(items.iter().map(place));
                    Ok(())
                })?;
                let kept = lowest(&places, wanted);
                Ok(flow.decide("sample", spool, move |number, _| if kept[number] { Verdict::Keep } else { Verdict::Drop(LEFT.into()) }))
            }
        }
    }
}

/// Which of some numbers are the lowest so many; of equal ones those that come first.
pub fn lowest(places: &[f64], wanted: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]).then(a.cmp(&b)));
    let mut kept = vec![false; places.len()];
    order.into_iter().take(wanted).for_each(|number| kept[number] = true);
    kept
}
