use std::collections::hash_map::Entry;

use rayon::prelude::*;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::flow::{CLUSTERS, Flow, Item, Stream, Verdict};
use super::super::near::{Groups, firsts_by_key};
use super::super::{ByIdentity, DataError, Identifying, Identity};
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
    fn exact<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Stream<'a> {
        let mut first: ByIdentity<(u32, u32, u64)> = ByIdentity::default();
        let step = flow.account().steps.len();
        let mut sources: Vec<String> = Vec::new();
        flow.chunks("deduplicate", rows, move |items| {
            let identities: Vec<Option<Identity>> = items.par_iter().map(|item| self.identity(item)).collect();
            let verdicts = items.iter().zip(identities).map(|(item, identity)| {
                let Some(identity) = identity else {
                    return Verdict::Keep;
                };
                match first.entry(identity) {
                    Entry::Vacant(entry) => {
                        if sources.last() != Some(&item.row.source) {
                            sources.push(item.row.source.clone());
                        }
                        entry.insert((u32::try_from(sources.len() - 1).unwrap_or(u32::MAX), 1, item.row.line));
                        Verdict::Keep
                    }
                    Entry::Occupied(mut entry) => {
                        let (source, rows, line) = entry.get_mut();
                        *rows = rows.saturating_add(1);
                        let place = format!("{}:{line}", sources.get(*source as usize).map_or("", String::as_str));
                        let reason = format!("the same as {place}");
                        flow.account().cluster(step, place, *rows as usize);
                        Verdict::Drop(reason)
                    }
                }
            });
            Ok(verdicts.collect())
        })
    }

    /// After all have been seen.
    fn grouped<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let mut spool = flow.spool(rows)?;
        let mut worth = Vec::with_capacity(spool.len());
        let mut places: Vec<(u32, u64)> = Vec::with_capacity(spool.len());
        let mut sources: Vec<String> = Vec::new();
        let mut identities = Vec::new();
        let mut groups = self.near.map(|threshold| flow.groups(threshold)).transpose()?;
        spool.look(|items| {
            worth.extend(items.iter().map(|item| self.worth(item)));
            for item in items {
                if sources.last() != Some(&item.row.source) {
                    sources.push(item.row.source.clone());
                }
                places.push((u32::try_from(sources.len() - 1).unwrap_or(u32::MAX), item.row.line));
            }
            match &mut groups {
                Some(groups) => groups.add(&items.par_iter().map(|item| item.text(self.key.as_deref())).collect::<Vec<_>>())?,
                None => identities.extend(items.par_iter().map(|item| self.identity(item)).collect::<Vec<_>>()),
            }
            Ok(())
        })?;
        let firsts = groups.map_or_else(|| Ok(firsts_by_key(identities)), Groups::firsts)?;
        let mut best: Vec<usize> = (0..firsts.len()).collect();
        for (row, &first) in firsts.iter().enumerate() {
            if worth[row] > worth[best[first]] {
                best[first] = row;
            }
        }
        let place = move |row: usize| {
            let (source, line) = places[row];
            format!("{}:{line}", sources.get(source as usize).map_or("", String::as_str))
        };
        let mut sizes = vec![0_usize; firsts.len()];
        firsts.iter().for_each(|&first| sizes[first] += 1);
        let step = flow.account().steps.len();
        let mut largest: Vec<usize> = (0..sizes.len()).filter(|&first| sizes[first] > 1).collect();
        largest.sort_by_key(|&first| (std::cmp::Reverse(sizes[first]), first));
        let clusters: Vec<(String, usize)> = largest.into_iter().take(CLUSTERS).map(|first| (place(best[first]), sizes[first])).collect();
        let word = if self.near.is_some() { "nearly the same" } else { "the same" };
        let rows = flow.decide("deduplicate", spool, move |row, _| {
            let kept = best[firsts[row]];
            if kept == row { Verdict::Keep } else { Verdict::Drop(format!("{word} as {}", place(kept))) }
        });
        clusters.into_iter().for_each(|(place, rows)| flow.account().cluster(step, place, rows));
        Ok(rows)
    }
}

impl Operator for Deduplicate {
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let named = self.key.iter().chain(match &self.keep {
            Keep::Best(by) => Some(by),
            _ => None,
        });
        let rows = named.fold(rows, |rows, field| flow.needs_field("deduplicate", field, rows));
        match (&self.near, &self.keep) {
            (None, Keep::First) => Ok(self.exact(rows, flow)),
            _ => self.grouped(rows, flow),
        }
    }
}
