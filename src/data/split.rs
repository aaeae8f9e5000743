use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::flow::{Flow, Item, Stream, Verdict};
use super::near::{joined, sizes};
use super::numbers::Numbers;
use super::point::point;
use super::{DataError, Example, Identifying, Identities, Identity};

/// The parts that examples are divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What tells when to stop.
    Validation,
    /// What the model is judged by.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name, which is also the name of the output that holds it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Divides examples by a hash of their key: another row never moves one that is there, and what has the same key always goes the
/// same way.
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    /// The share of each split, in the order of [`Split::ALL`]; they add up to 1.
    pub shares: [f64; 3],
    /// The field that decides; without it the prompt does.
    pub key: Option<String>,
    /// Another seed is another division.
    pub seed: i64,
    /// The field whose values get the same shares in each split. Where there are few rows of a value, one more may move another.
    pub stratify: Option<String>,
    /// The similarity from which on examples stay together.
    pub near: Option<f64>,
}

impl Splitter {
    fn key(&self, item: &Item) -> String {
        let own = self.key.as_ref().and_then(|name| item.row.text(name));
        own.unwrap_or_else(|| {
            let prompt = item.example.as_ref().map_or(&[][..], |example| example.prompt());
            let mut key = String::with_capacity(prompt.iter().map(|message| message.content.len() + 1).sum());
            for (number, message) in prompt.iter().enumerate() {
                if number > 0 {
                    key.push('\0');
                }
                key.push_str(&message.content);
            }
            key
        })
    }

    /// Says of each example where it belongs. One that stands in another split already, under another key, is let go: a model must
    /// not be judged by what it was trained on, and no row that came earlier may move for one that came later.
    ///
    /// # Errors
    /// When no row has a field that the split goes by.
    pub fn divide<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let rows = self.key.iter().chain(&self.stratify).fold(rows, |rows, field| flow.needs_field("split", field, rows));
        // The splits in which examples stand already.
        let mut standing = flow.identities();
        if self.stratify.is_none() && self.near.is_none() {
            return Ok(flow.chunks("split", rows, move |items| {
                let places: Vec<(Split, Option<Identity>)> = items.par_iter().map(|item| (self.place_key(&self.key(item)), identity(item))).collect();
                items.iter_mut().zip(places).map(|(item, (place, identity))| settled(&mut standing, item, place, identity)).collect()
            }));
        }
        let mut spool = flow.spool(rows)?;
        // Of each row no more than is needed: there may be many.
        let (mut keys, mut firsts, mut points) = (flow.identities(), flow.numbers(), flow.numbers());
        let mut strata = Strata { numbers: HashMap::new(), of: flow.numbers() };
        let mut near = self.near.map(|threshold| flow.groups(threshold)).transpose()?;
        spool.look(|items| {
            let found: Vec<(Identity, f64)> = items.par_iter().map(|item| normal(&self.key(item))).map(|key| (named(&key), self.point(&key))).collect();
            for (item, (key, chance)) in items.iter().zip(found) {
                let row = firsts.len() as u32;
                firsts.push(keys.meet(key, row.into(), |first| first)?.map_or(row, |first| first as u32))?;
                points.push_wide(chance.to_bits())?;
                if let Some(field) = &self.stratify {
                    strata.push(item.row.text(field).unwrap_or_default())?;
                }
            }
            near.as_mut().map_or(Ok(()), |near| near.add(&items.par_iter().map(|item| item.text(None)).collect::<Vec<_>>()))
        })?;
        drop(keys);
        if let Some(near) = near {
            firsts = joined(firsts, &near.firsts()?)?;
        }
        let places = self.stratify.is_some().then(|| self.stratified(&firsts, &points, &strata, flow)).transpose()?;
        let place = move |row: usize| {
            let first = firsts.get(row)? as usize;
            match &places {
                Some(places) => Ok::<_, DataError>(Split::ALL[places.get(first)? as usize]),
                None => Ok(self.place_point(f64::from_bits(points.wide(first)?))),
            }
        };
        let mut row = 0;
        Ok(flow.chunks("split", spool.into_rows(), move |items| {
            let identities: Vec<Option<Identity>> = items.par_iter().map(identity).collect();
            let rows = row..;
            row += items.len();
            items.iter_mut().zip(identities).zip(rows).map(|((item, identity), row)| settled(&mut standing, item, place(row)?, identity)).collect()
        }))
    }

    /// A place for the first of each group, so that every stratum has about the same shares.
    fn stratified(&self, firsts: &Numbers, points: &Numbers, strata: &Strata, flow: &Flow) -> Result<Numbers, DataError> {
        let sizes = sizes(firsts, flow.numbers())?;
        let size = |first: usize| Ok::<_, DataError>(f64::from(sizes.get(first)?));
        // Groups by stratum and point; of equal ones those that come first.
        let (mut groups, mut totals) = (flow.ordered::<u128>(), vec![0.0; strata.numbers.len()]);
        for row in (0..firsts.len()).map(|row| Ok::<_, DataError>((row, sizes.get(row)? > 0))) {
            if let (first, true) = row? {
                let stratum = strata.of.get(first)?;
                totals[stratum as usize] += size(first)?;
                groups.push(u128::from(stratum) << 96 | u128::from(points.wide(first)?) << 32 | first as u128)?;
            }
        }
        let mut places = flow.numbers().with(std::iter::repeat_n(Split::Train as u32, firsts.len()))?;
        let (mut last, mut before) = (None, 0.0);
        for group in groups.into_order()? {
            let group = group?;
            let (stratum, first) = ((group >> 96) as usize, group as u32 as usize);
            if last.replace(stratum) != Some(stratum) {
                before = 0.0;
            }
            // By the middle of the group, so that a stratum of few rows is rounded and not cut off.
            places.set(first, self.place_point((before + size(first)? / 2.0) / totals[stratum]) as u32)?;
            before += size(first)?;
        }
        Ok(places)
    }

    /// Where a key belongs. Case and white space do not count, so that what is nearly the same text stays together.
    #[must_use]
    pub fn place_key(&self, key: &str) -> Split {
        self.place_point(self.point(&normal(key)))
    }

    /// A number from 0 up to 1 for a key in its normal form.
    fn point(&self, key: &str) -> f64 {
        static CONTEXT: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("retune split v1"));
        point(CONTEXT.clone().update(&self.seed.to_le_bytes()).update(key.as_bytes()))
    }

    fn place_point(&self, point: f64) -> Split {
        let mut bound = 0.0;
        for (split, share) in Split::ALL.into_iter().zip(self.shares) {
            bound += share;
            if point < bound {
                return split;
            }
        }
        // Rounding of the shares may leave a sliver at the top: it belongs to the last split that has a share.
        Split::ALL.into_iter().zip(self.shares).rev().find(|(_, share)| *share > 0.0).map_or(Split::Train, |(split, _)| split)
    }
}

/// Whether an ASCII text has no white space but single spaces. Nearly all have, and it is quickly seen: there is no way out of the loop.
fn is_tidy(text: &[u8]) -> bool {
    let other = text.iter().fold(false, |any, byte| any | matches!(byte, b'\t'..=b'\r'));
    !other & !text.iter().zip(text.iter().skip(1)).fold(false, |any, (one, next)| any | ((*one == b' ') & (*next == b' ')))
}

/// A key without case and with single spaces.
fn normal(key: &str) -> String {
    if key.is_ascii() && is_tidy(key.trim_ascii().as_bytes()) {
        return key.trim_ascii().to_ascii_lowercase();
    }
    let mut normal = String::with_capacity(key.len());
    for word in key.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(&word.to_lowercase());
    }
    normal
}

/// The strata of rows, each by a number.
struct Strata {
    numbers: HashMap<String, u32>,
    of: Numbers,
}

impl Strata {
    fn push(&mut self, name: String) -> Result<(), DataError> {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.of.push(*self.numbers.entry(name).or_insert(next))
    }
}

fn named(key: &str) -> Identity {
    let mut identity = Identifying::default();
    identity.part(key);
    identity.end()
}

fn identity(item: &Item) -> Option<Identity> {
    item.example.as_ref().map(Example::identity)
}

/// Gives an example its place, where it does not stand in another already.
fn settled(standing: &mut Identities, item: &mut Item, place: Split, identity: Option<Identity>) -> Result<Verdict, DataError> {
    item.split = Some(place);
    let before = match identity {
        Some(identity) => standing.meet(identity, place as u128, |split| split)?,
        None => None,
    };
    Ok(match before.and_then(|split| Split::ALL.get(split as usize)) {
        Some(before) if *before != place => Verdict::Drop(format!("the same example is in {before} already, under another key")),
        _ => Verdict::Keep,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::super::Row;
    use super::*;

    #[test]
    fn rows_go_where_they_do_in_memory_and_on_disk() {
        // Some stand alone, some are nearly the same as others, and all are of some customer.
        let words = |of: u64| (0..12).map(|at| format!("w{}", (of * 100 + at).wrapping_mul(2_654_435_761) % 9973)).collect::<Vec<_>>().join(" ");
        let text = |n: u64| if n % 10 == 9 { format!("{} more", words(n - 3)) } else { words(n) };
        let fields = |n: u64| Map::from_iter([("text".to_owned(), json!(text(n))), ("of".to_owned(), json!(n / 2)), ("class".to_owned(), json!(n % 7))]);
        let items = || (0..600).map(|n| Item::new(0, Row { source: "all.json".into(), line: n, fields: fields(n).into() }));
        let places = |near: Option<f64>, stratify: Option<&str>, most: usize| {
            let folder = tempfile::tempdir().expect("a folder");
            let flow = Flow::new(folder.path(), BTreeMap::new()).expect("a flow").holding(most);
            let splitter = Splitter { shares: [0.6, 0.2, 0.2], key: Some("of".into()), seed: 1, stratify: stratify.map(str::to_owned), near };
            let parts: Vec<Vec<Item>> = items().collect::<Vec<_>>().chunks(64).map(<[Item]>::to_vec).collect();
            let rows = splitter.divide(Box::new(parts.into_iter().map(Ok)), &flow).expect("it divides");
            rows.flat_map(|items| items.expect("there is room")).map(|item| item.split.expect("a place")).collect::<Vec<Split>>()
        };
        for (near, stratify) in [(Some(0.8), None), (None, Some("class")), (Some(0.8), Some("class"))] {
            let wanted = places(near, stratify, 1 << 20);
            assert!(Split::ALL.iter().all(|split| wanted.contains(split)), "each has some");
            for most in [0, 1, 50] {
                assert_eq!(places(near, stratify, most), wanted, "{near:?} {stratify:?} {most}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_key_is_the_same_in_any_case_and_spacing(key in "[ \\t\\x0b\\x0c\\x00a-cA-CÄß\u{a0}]{0,12}") {
            let words: Vec<String> = key.split_whitespace().map(str::to_lowercase).collect();
            prop_assert_eq!(normal(&key), words.join(" "));
        }
    }
}
