use std::collections::HashMap;
use std::fmt;

use rayon::prelude::*;
use serde_json::Value;

use super::flow::{Flow, Item, Verdict};
use super::{DataError, Example};

/// The parts that examples are divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Divides examples by a hash of their key, each by itself: another row never moves one that is there,
/// and what has the same key always goes the same way.
#[derive(Clone, Debug)]
pub struct Splitter {
    /// The share of each split, in the order of [`Split::ALL`]; they add up to 1.
    pub shares: [f64; 3],
    /// The field that decides; without it the prompt does.
    pub key: Option<String>,
    /// Another seed is another division.
    pub seed: i64,
}

impl Splitter {
    /// Where an example belongs.
    #[must_use]
    pub fn place(&self, item: &Item) -> Split {
        let key = match self.key.as_ref().and_then(|name| item.row.fields.get(name)) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => {
                let prompt = item.example.as_ref().map_or(&[][..], |example| example.prompt());
                prompt.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\u{0}")
            }
        };
        self.place_key(&key)
    }

    /// Places all examples. One that stands in another split already, under another key, is let go: a model must not
    /// be judged by what it was trained on, and no row that came earlier may move for one that came later.
    ///
    /// # Errors
    /// When no row has the field of the key.
    pub fn divide(&self, flow: &mut Flow) -> Result<Vec<Split>, DataError> {
        if let Some(key) = &self.key {
            flow.needs_field("split", key)?;
        }
        let places: Vec<Split> = flow.items.par_iter().map(|item| self.place(item)).collect();
        let mut first: HashMap<&Example, Split> = HashMap::with_capacity(places.len());
        let mut verdicts = Vec::with_capacity(places.len());
        for (item, &place) in flow.items.iter().zip(&places) {
            let before = item.example.as_ref().map_or(place, |example| *first.entry(example).or_insert(place));
            verdicts.push(if before == place { Verdict::Keep } else { Verdict::Drop(format!("the same example is in {before} already, under another key")) });
        }
        let kept = places.into_iter().zip(&verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Keep)).map(|(place, _)| place).collect();
        if verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Keep)) {
            flow.settle("split", verdicts);
        }
        Ok(kept)
    }

    /// Where a key belongs. Case and white space do not count, so that what is nearly the same text stays together.
    #[must_use]
    pub fn place_key(&self, key: &str) -> Split {
        let normal = key.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ");
        let mut hasher = blake3::Hasher::new_derive_key("retune split v1");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(normal.as_bytes());
        let mut word = [0; 8];
        word.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        #[expect(clippy::cast_precision_loss, reason = "53 bits of the hash are plenty to place a row")]
        let point = (u64::from_le_bytes(word) >> 11) as f64 / (1_u64 << 53) as f64;
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
