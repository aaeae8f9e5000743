use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rayon::prelude::*;

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Item, Verdict};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("deduplicate", "Keeps the first of rows that are the same.")
    .operator(2)
    .arguments(&[Slot::new("how", Kind::Choice(&["exact"]), "What counts as the same: `exact` is letter by letter.")])
    .properties(&[Slot::new("key", Kind::Text, "The field to compare; without it rows must agree in all fields.").or(Fallback::Absent)]);

pub const KIND: OperatorKind =
    OperatorKind { setting: &SETTING, prepare: |block| Ok(Box::new(Deduplicate::from(block))), makes_examples: false, needs_examples: false };

#[derive(Debug)]
struct Deduplicate {
    key: Option<String>,
}

impl From<&Block> for Deduplicate {
    fn from(block: &Block) -> Self {
        Self { key: block.find_text("key").map(str::to_owned) }
    }
}

impl Deduplicate {
    /// A hash of what is compared, if the row has it. 256 bits make a chance collision impossible in practice.
    fn identity(&self, item: &Item) -> Option<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        match &self.key {
            Some(key) => part(&item.row.fields.get(key)?.to_string()),
            None => {
                let mut fields: Vec<_> = item.row.fields.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                for (name, value) in fields {
                    part(name);
                    part(&value.to_string());
                }
            }
        }
        Some(hasher.finalize())
    }
}

impl Operator for Deduplicate {
    fn apply(&self, flow: &mut Flow) -> Result<(), DataError> {
        if let Some(key) = &self.key {
            flow.needs_field("deduplicate", key)?;
        }
        let identities: Vec<Option<blake3::Hash>> = flow.items.par_iter().map(|item| self.identity(item)).collect();
        let mut first: HashMap<[u8; 32], usize> = HashMap::with_capacity(identities.len());
        let verdicts = identities.iter().enumerate().map(|(index, identity)| match identity.map(|identity| first.entry(*identity.as_bytes())) {
            None => Verdict::Keep,
            Some(Entry::Vacant(entry)) => {
                entry.insert(index);
                Verdict::Keep
            }
            Some(Entry::Occupied(entry)) => {
                let row = &flow.items[*entry.get()].row;
                Verdict::Drop(format!("the same as {}:{}", row.source, row.line))
            }
        });
        let verdicts = verdicts.collect();
        flow.settle("deduplicate", verdicts);
        Ok(())
    }
}
