use rayon::prelude::*;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::flow::{CLUSTERS, Flow, Item, Stream, Verdict};
use super::super::{DataError, Identifying, Identity};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("deduplicate", "Keeps one of rows that are the same, or nearly.")
    .operator(3)
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
            Keep::Best(by) => item.row.text(by).and_then(|text| text.trim().parse().ok()).unwrap_or(f64::NEG_INFINITY),
        }
    }

    /// Row by row, where the first stays.
    fn first<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Stream<'a> {
        let (mut met, mut places) = (flow.identities(), Places::default());
        let step = flow.account().steps.len();
        flow.chunks("deduplicate", rows, move |items| {
            let identities: Vec<Option<Identity>> = items.par_iter().map(|item| self.identity(item)).collect();
            let verdicts = items.iter().zip(identities).map(|(item, identity)| {
                let Some(identity) = identity else {
                    return Ok(Verdict::Keep);
                };
                let first = Alike { rows: 1, place: places.of(item) };
                let Some(first) = met.meet(identity, first.packed(), |met| Alike::of(met).and_one().packed())? else {
                    return Ok(Verdict::Keep);
                };
                let Alike { rows, place } = Alike::of(first).and_one();
                let place = places.told(place);
                let reason = format!("the same as {place}");
                flow.account().cluster(step, place, rows as usize);
                Ok(Verdict::Drop(reason))
            });
            verdicts.collect()
        })
    }

    /// After all have been seen, where the one that is worth most stays of those that are the same.
    fn best<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let (mut spool, mut best, mut sizes) = (flow.spool(rows)?, flow.identities(), flow.identities());
        let mut places = Places::default();
        let step = flow.account().steps.len();
        spool.look(|items| {
            let judged: Vec<(Option<Identity>, f64)> = items.par_iter().map(|item| (self.identity(item), self.worth(item))).collect();
            for (item, (identity, worth)) in items.iter().zip(judged) {
                let (Some(identity), place) = (identity, places.of(item)) else {
                    continue;
                };
                let own = u128::from(worth.to_bits()) << 64 | u128::from(place);
                best.meet(identity, own, |best| if worth > f64::from_bits((best >> 64) as u64) { own } else { best })?;
                sizes.meet(identity, 1, |size| size + 1)?;
            }
            Ok(())
        })?;
        let mut seen = Places::default();
        Ok(flow.chunks("deduplicate", spool.into_rows(), move |items| {
            let identities: Vec<Option<Identity>> = items.par_iter().map(|item| self.identity(item)).collect();
            let verdicts = items.iter().zip(identities).map(|(item, identity)| {
                let (Some(identity), own) = (identity, seen.of(item)) else {
                    return Ok(Verdict::Keep);
                };
                let kept = best.meet(identity, 0, |best| best)?.map_or(own, |best| best as u64);
                if kept == own {
                    let size = sizes.meet(identity, 1, |size| size)?.unwrap_or(1);
                    if size > 1 {
                        flow.account().cluster(step, places.told(own), usize::try_from(size).unwrap_or(usize::MAX));
                    }
                    return Ok(Verdict::Keep);
                }
                Ok(Verdict::Drop(format!("the same as {}", places.told(kept))))
            });
            verdicts.collect()
        }))
    }

    /// After all have been seen, where the first, or the one that is worth most, stays of those that are nearly the same.
    fn near<'a>(&'a self, threshold: f64, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let (mut spool, mut groups) = (flow.spool(rows)?, flow.groups(threshold)?);
        let (mut places, mut place_of, mut worth) = (Places::default(), flow.numbers(), Vec::new());
        spool.look(|items| {
            for item in items {
                let place = places.of(item);
                place_of.push_wide(place)?;
            }
            if !matches!(self.keep, Keep::First) {
                worth.extend(items.iter().map(|item| self.worth(item)));
            }
            groups.add(&items.par_iter().map(|item| item.text(self.key.as_deref())).collect::<Vec<_>>())
        })?;
        let firsts = groups.firsts()?;
        let mut best: Vec<u32> = Vec::new();
        if !worth.is_empty() {
            best.extend(0..firsts.len() as u32);
            for (row, &first) in (0..).zip(&firsts) {
                let best = &mut best[first as usize];
                if worth[row as usize] > worth[*best as usize] {
                    *best = row;
                }
            }
        }
        let mut sizes = vec![0_u32; firsts.len()];
        firsts.iter().for_each(|&first| sizes[first as usize] += 1);
        let kept = move |row: u32| best.get(firsts[row as usize] as usize).copied().unwrap_or(firsts[row as usize]);
        let told = move |row: u32| Ok::<_, DataError>(places.told(place_of.wide(row as usize)?));
        let step = flow.account().steps.len();
        let mut largest: Vec<u32> = (0..sizes.len() as u32).filter(|&first| sizes[first as usize] > 1).collect();
        largest.sort_by_key(|&first| (std::cmp::Reverse(sizes[first as usize]), first));
        let clusters = largest.into_iter().take(CLUSTERS).map(|first| Ok((told(kept(first))?, sizes[first as usize] as usize)));
        let clusters: Vec<(String, usize)> = clusters.collect::<Result<_, DataError>>()?;
        let mut row = 0;
        let rows = flow.chunks("deduplicate", spool.into_rows(), move |items| {
            let verdicts = (row..).take(items.len()).map(|row| match kept(row) {
                kept if kept == row => Ok(Verdict::Keep),
                kept => Ok(Verdict::Drop(format!("nearly the same as {}", told(kept)?))),
            });
            row += items.len() as u32;
            verdicts.collect()
        });
        clusters.into_iter().for_each(|(place, rows)| flow.account().cluster(step, place, rows));
        Ok(rows)
    }
}

/// Where rows were: a number each, of the file and the line in it.
#[derive(Default)]
struct Places {
    sources: Vec<String>,
}

impl Places {
    /// Lines in a file at most.
    const LINES: u32 = 40;

    /// The place of a row. Rows come file by file.
    fn of(&mut self, item: &Item) -> u64 {
        if self.sources.last() != Some(&item.row.source) {
            self.sources.push(item.row.source.clone());
        }
        ((self.sources.len() - 1) as u64) << Self::LINES | item.row.line
    }

    fn told(&self, place: u64) -> String {
        let source = self.sources.get((place >> Self::LINES) as usize).map_or("", String::as_str);
        format!("{source}:{}", place & ((1 << Self::LINES) - 1))
    }
}

/// Rows that are the same: how many there are, and where the first is.
#[derive(Clone, Copy)]
struct Alike {
    rows: u64,
    place: u64,
}

impl Alike {
    const fn of(packed: u128) -> Self {
        Self { rows: (packed >> 64) as u64, place: packed as u64 }
    }

    const fn packed(self) -> u128 {
        (self.rows as u128) << 64 | self.place as u128
    }

    const fn and_one(self) -> Self {
        Self { rows: self.rows + 1, ..self }
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
