use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::flow::{CLUSTERS, Flow, Item, Stream, Verdict};
use super::super::near::sizes;
use super::super::numbers::Numbers;
use super::super::{DataError, Identifying, Identity};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("deduplicate", "Keeps one of rows that are the same, or nearly.")
    .operator(5)
    .arguments(&[Slot::new(
        "how",
        Kind::Choice(&["exact", "near"]),
        "What counts as the same: `exact` is letter by letter, `near` shares most of its word 5-grams.",
    )])
    .properties(&[
        Slot::new("key", Kind::Text, "The field to compare; without it all fields, or the example where there is one already.").or(Fallback::Absent),
        Slot::new(
            "threshold",
            Kind::Number(0.1, 1.0),
            "Of `near`: the share of 5-grams that two have in common, of all that either has; 0.8 where it is not given.",
        )
        .or(Fallback::Absent),
        Slot::new("keep", Kind::Choice(&["first", "longest", "best"]), "Which of them stays.").or(Fallback::Text("first")),
        Slot::new("by", Kind::Text, "Of `keep=\"best\"`: the field with the number that is highest for the best.").or(Fallback::Absent),
    ]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Deduplicate::of(block)?)));

#[derive(Debug)]
struct Deduplicate {
    key: Option<String>,
    /// The similarity from which on rows are nearly the same.
    near: Option<f64>,
    keep: Keep,
}

#[derive(Debug)]
enum Keep {
    First,
    Longest,
    Best(String),
}

impl Deduplicate {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let wrong = |problem: &str, slot: &str, label: &str, help: &str| {
            Err(ConfigError::Contradiction { problem: problem.into(), label: label.into(), at: block.span_of(slot).into(), help: help.into() })
        };
        let near = (block.text("how") == "near").then(|| block.find_number("threshold").unwrap_or(0.8));
        if near.is_none() && block.find_number("threshold").is_some() {
            return wrong("`exact` has no threshold", "threshold", "nothing reads it", "take it out, or write `deduplicate \"near\"`");
        }
        let keep = match (block.text("keep"), block.find_text("by")) {
            ("best", Some(by)) => Keep::Best(by.to_owned()),
            ("best", None) => return wrong("`keep=\"best\"` does not say by what", "keep", "the best by which field?", "write `by=\"score\"`"),
            (_, Some(_)) => return wrong("`by` goes with `keep=\"best\"`", "by", "nothing reads it", "take it out, or write `keep=\"best\"`"),
            ("longest", None) => Keep::Longest,
            _ => Keep::First,
        };
        Ok(Self { key: block.find_text("key").map(str::to_owned), near, keep })
    }

    /// What is compared, if the row has it.
    fn identity(&self, item: &Item) -> Option<Identity> {
        let mut identity = Identifying::default();
        match (&self.key, &item.example) {
            (Some(key), _) => identity.part(&item.row.fields.get(key)?.to_string()),
            (None, Some(example)) => return Some(example.identity()),
            (None, None) => {
                let mut fields: Vec<_> = item.row.fields.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                for (name, value) in fields {
                    identity.part(name);
                    identity.part(&value.to_string());
                }
            }
        }
        Some(identity.end())
    }

    /// How much a row is to be kept.
    fn worth(&self, item: &Item) -> f64 {
        match &self.keep {
            Keep::First => 0.0,
            #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
            Keep::Longest => item.text(self.key.as_deref()).chars().count() as f64,
            Keep::Best(by) => item.row.text(by).and_then(|text| text.trim().parse().ok()).filter(|worth: &f64| !worth.is_nan()).unwrap_or(f64::NEG_INFINITY),
        }
    }

    /// Row by row, where the first stays.
    fn first<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Stream<'a> {
        let (mut met, mut places, mut row) = (flow.identities(), Places::default(), 0);
        let step = flow.account().steps.len();
        flow.chunks("deduplicate", rows, move |items| {
            let identities: Vec<Option<Identity>> = items.par_iter().map(|item| self.identity(item)).collect();
            let verdicts = items.iter().zip(identities).map(|(item, identity)| {
                row += 1;
                let Some(identity) = identity else {
                    return Ok(Verdict::Keep);
                };
                let first = Alike { rows: 1, first: row, place: places.of(item) };
                let Some(first) = met.meet(identity, first.packed(), |met| Alike::of(met).and_one().packed())? else {
                    return Ok(Verdict::Keep);
                };
                let Alike { rows, first, place } = Alike::of(first).and_one();
                let place = places.told(place);
                let reason = format!("the same as {place}");
                flow.account().cluster(step, first, place, rows as usize);
                Ok(Verdict::Drop(reason))
            });
            verdicts.collect()
        })
    }

    /// After all have been seen, where the one that is worth most stays of those that are the same.
    fn best<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let (mut spool, mut met, mut places) = (flow.spool(rows)?, flow.identities(), PlacesByRow::of(flow));
        let mut row = 0;
        spool.look(|items| {
            let judged: Vec<(Option<Identity>, f64)> = items.par_iter().map(|item| (self.identity(item), self.worth(item))).collect();
            for (item, (identity, worth)) in items.iter().zip(judged) {
                places.push(item)?;
                if let Some(identity) = identity {
                    let own = Best { worth, row, rows: 1 };
                    met.meet(identity, own.packed(), |best| Best::of(best).or(own).packed())?;
                }
                row += 1;
            }
            Ok(())
        })?;
        let (step, mut row) = (flow.account().steps.len(), 0);
        Ok(flow.chunks("deduplicate", spool.into_rows(), move |items| {
            let identities: Vec<Option<Identity>> = items.par_iter().map(|item| self.identity(item)).collect();
            let verdicts = identities.into_iter().map(|identity| {
                let own = row;
                row += 1;
                let best = identity.map_or(Ok(None), |identity| met.meet(identity, 0, |best| best))?;
                let Some(best) = best.map(Best::of) else {
                    return Ok(Verdict::Keep);
                };
                if best.row != own {
                    return Ok(Verdict::Drop(format!("the same as {}", places.told(best.row)?)));
                }
                if best.rows > 1 {
                    flow.account().cluster(step, own, places.told(own)?, best.rows as usize);
                }
                Ok(Verdict::Keep)
            });
            verdicts.collect()
        }))
    }

    /// After all have been seen, where the first, or the one that is worth most, stays of those that are nearly the same.
    fn near<'a>(&'a self, threshold: f64, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let (mut spool, mut groups) = (flow.spool(rows)?, flow.groups(threshold)?);
        let (mut places, mut worth) = (PlacesByRow::of(flow), flow.numbers());
        spool.look(|items| {
            items.iter().try_for_each(|item| places.push(item))?;
            if !matches!(self.keep, Keep::First) {
                items.iter().try_for_each(|item| worth.push_wide(self.worth(item).to_bits()))?;
            }
            let texts: Vec<String> = items.par_iter().map(|item| compared(item.text(self.key.as_deref()))).collect();
            groups.add(&texts)
        })?;
        let firsts = groups.firsts()?;
        let mut best = None;
        if worth.len() > 0 {
            let worth = |row: usize| Ok::<_, DataError>(f64::from_bits(worth.wide(row)?));
            let best = best.insert(flow.numbers().with(0..firsts.len() as u32)?);
            firsts.each(|from, some| {
                (from..).zip(some).try_for_each(|(row, &first)| {
                    let is_better = worth(row)? > worth(best.get(first as usize)? as usize)?;
                    if is_better { best.set(first as usize, row as u32) } else { Ok(()) }
                })
            })?;
        }
        let largest = largest(&firsts, flow)?;
        let kept = move |row: usize| {
            let first = firsts.get(row)?;
            best.as_ref().map_or(Ok(first), |best| best.get(first as usize))
        };
        let told = move |row: u32| places.told(row.into());
        let step = flow.account().steps.len();
        let clusters = largest.into_iter().map(|(rows, first)| Ok((first, told(kept(first as usize)?)?, rows as usize)));
        let clusters: Vec<(u32, String, usize)> = clusters.collect::<Result<_, DataError>>()?;
        let rows = flow.decide("deduplicate", spool, move |row, _| match kept(row)? {
            kept if kept as usize == row => Ok(Verdict::Keep),
            kept => Ok(Verdict::Drop(format!("nearly the same as {}", told(kept)?))),
        });
        clusters.into_iter().for_each(|(first, place, rows)| flow.account().cluster(step, first.into(), place, rows));
        Ok(rows)
    }
}

/// The largest groups of more than one row: how many rows, and the first of them.
fn largest(firsts: &Numbers, flow: &Flow) -> Result<Vec<(u32, u32)>, DataError> {
    let sizes = sizes(firsts, flow.numbers())?;
    // The least of those that are kept comes out first.
    let mut largest = BinaryHeap::new();
    sizes.each(|from, some| {
        for (first, &rows) in (from as u32..).zip(some).filter(|(_, rows)| **rows > 1) {
            largest.push((Reverse(rows), first));
            if largest.len() > CLUSTERS {
                largest.pop();
            }
        }
        Ok(())
    })?;
    Ok(largest.into_sorted_vec().into_iter().map(|(Reverse(rows), first)| (rows, first)).collect())
}

/// What is compared of a row. One without a word is one word of its own, so that it is like none but its equals.
fn compared(text: String) -> String {
    if text.contains(char::is_alphanumeric) { text } else { blake3::hash(text.as_bytes()).to_hex().to_string() }
}

/// Where rows were, in a number each: of the file and the line in it. It is for people, and does not tell rows apart: many may stand
/// on one line.
#[derive(Debug, Default)]
struct Places {
    sources: Vec<String>,
}

impl Places {
    /// The bits for the line; those above them are for the file.
    const LINE: u32 = 40;

    /// The place of a row. Rows come file by file.
    fn of(&mut self, item: &Item) -> u64 {
        const MOST: u64 = (1 << (u64::BITS - Places::LINE)) - 1;
        if self.sources.last() != Some(&item.row.source) {
            self.sources.push(item.row.source.clone());
        }
        ((self.sources.len() - 1) as u64).min(MOST) << Self::LINE | item.row.line
    }

    fn told(&self, place: u64) -> String {
        let source = self.sources.get((place >> Self::LINE) as usize).map_or("", String::as_str);
        format!("{source}:{}", place & ((1 << Self::LINE) - 1))
    }
}

/// Where each row was, by its number.
struct PlacesByRow {
    places: Places,
    of: Numbers,
}

impl PlacesByRow {
    fn of(flow: &Flow) -> Self {
        Self { places: Places::default(), of: flow.numbers() }
    }

    fn push(&mut self, item: &Item) -> Result<(), DataError> {
        let place = self.places.of(item);
        self.of.push_wide(place)
    }

    fn told(&self, row: u64) -> Result<String, DataError> {
        Ok(self.places.told(self.of.wide(row as usize)?))
    }
}

/// Rows that are the same: how many there are, which is the first, and where it is.
#[derive(Clone, Copy)]
struct Alike {
    rows: u32,
    first: u64,
    place: u64,
}

impl Alike {
    const fn of(packed: u128) -> Self {
        Self { rows: (packed >> 96) as u32, first: (packed >> 64) as u32 as u64, place: packed as u64 }
    }

    /// The number of the first tells groups apart in the report alone: 32 bits of it do.
    const fn packed(self) -> u128 {
        (self.rows as u128) << 96 | (self.first as u32 as u128) << 64 | self.place as u128
    }

    const fn and_one(self) -> Self {
        Self { rows: self.rows.saturating_add(1), ..self }
    }
}

/// Rows that are the same: what the best is worth, its number, and how many there are.
#[derive(Clone, Copy)]
struct Best {
    worth: f64,
    row: u64,
    rows: u64,
}

impl Best {
    /// The bits for the number of rows, which is for the report alone; those above them are for the number of the best.
    const ROWS: u32 = 24;

    const fn of(packed: u128) -> Self {
        let low = packed as u64;
        Self { worth: f64::from_bits((packed >> 64) as u64), row: low >> Self::ROWS, rows: low & ((1 << Self::ROWS) - 1) }
    }

    const fn packed(self) -> u128 {
        (self.worth.to_bits() as u128) << 64 | (self.row << Self::ROWS | self.rows) as u128
    }

    /// The better of two, of equal ones the first, with one row more.
    fn or(self, other: Self) -> Self {
        let best = if other.worth > self.worth { other } else { self };
        Self { rows: (self.rows + 1).min((1 << Self::ROWS) - 1), ..best }
    }
}

impl Operator for Deduplicate {
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let named = self.key.iter().chain(match &self.keep {
            Keep::Best(by) => Some(by),
            _ => None,
        });
        let rows = named.fold(rows, |rows, field| flow.needs_field("deduplicate", field, rows));
        match (self.near, &self.keep) {
            (Some(threshold), _) => self.near(threshold, rows, flow),
            (None, Keep::First) => Ok(self.first(rows, flow)),
            (None, _) => self.best(rows, flow),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::super::Row;
    use super::*;

    /// A few texts again and again, all on one line of one file, so that their places tell nothing.
    fn rows() -> Vec<Item> {
        let fields = |n: u64| Map::from_iter([("text".to_owned(), json!(format!("t{}", n * n % 10))), ("score".to_owned(), json!(n * 7 % 41))]);
        (0..40).map(|n| Item::new(0, Row { source: "all.json".into(), line: 1, fields: fields(n).into() })).collect()
    }

    fn kept(keep: Keep, near: Option<f64>, most: usize) -> (Vec<u64>, Vec<u64>) {
        let folder = tempfile::tempdir().expect("a folder");
        let flow = Flow::new(folder.path(), std::collections::BTreeMap::new()).expect("a flow").holding(most);
        let operator = Deduplicate { key: Some("text".into()), near, keep };
        let parts: Vec<Vec<Item>> = rows().chunks(7).map(<[Item]>::to_vec).collect();
        let stream: Stream<'_> = Box::new(parts.into_iter().map(Ok));
        let left: Vec<Item> = operator.attach(stream, &flow).expect("it attaches").flat_map(|items| items.expect("there is room")).collect();
        let told = flow.account().steps[0].told();
        let sizes = told["clusters"].as_array().expect("clusters").iter().map(|cluster| cluster["rows"].as_u64().expect("a size")).collect();
        (left.iter().map(|item| item.row.fields["score"].as_u64().expect("a score")).collect(), sizes)
    }

    #[test]
    fn one_of_each_stays_in_memory_and_on_disk_though_all_stand_on_one_line() {
        let wanted = |better: fn(u64, u64) -> bool| {
            let all: Vec<(String, u64)> = rows().iter().map(|item| (item.text(Some("text")), item.row.fields["score"].as_u64().expect("a score"))).collect();
            let stays =
                |at: usize| !all.iter().enumerate().any(|(other, row)| row.0 == all[at].0 && (better(row.1, all[at].1) || row.1 == all[at].1 && other < at));
            (0..all.len()).filter(|at| stays(*at)).map(|at| all[at].1).collect::<Vec<u64>>()
        };
        let mut sizes: Vec<u64> = rows()
            .iter()
            .map(|item| item.text(Some("text")))
            .collect::<std::collections::BTreeSet<_>>()
            .iter()
            .map(|text| rows().iter().filter(|item| item.text(Some("text")) == *text).count() as u64)
            .collect();
        sizes.sort_unstable_by_key(|size| Reverse(*size));
        // Of texts this short, nearly the same is the same.
        for (most, near) in [1, 3, 1 << 20].into_iter().flat_map(|most| [(most, None), (most, Some(0.8))]) {
            let (best, clusters) = kept(Keep::Best("score".into()), near, most);
            assert_eq!((best, &clusters), (wanted(|a, b| a > b), &sizes), "{most}");
            let (first, clusters) = kept(Keep::First, near, most);
            let mut met = std::collections::BTreeSet::new();
            let firsts: Vec<u64> =
                rows().iter().filter(|item| met.insert(item.text(Some("text")))).map(|item| item.row.fields["score"].as_u64().expect("a score")).collect();
            assert_eq!((first, &clusters), (firsts, &sizes), "{most}");
            let (longest, clusters) = kept(Keep::Longest, near, most);
            assert_eq!((longest.len(), &clusters), (sizes.len(), &sizes), "{most}");
        }
    }
}
