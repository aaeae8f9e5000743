use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fingerprint::{ActionKey, Preimage};

use super::{Artifact, Store, StoreError, write_atomically};

/// What an action made: its outputs by name, and figures about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecordOutcome {
    /// What it made, by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Figures for people and gates. They are derived from the outputs and no part of any key.
    pub metrics: BTreeMap<String, f64>,
    /// The model that it made, in words.
    pub model: Option<String>,
    /// Whether gates let the result pass, where it has any.
    pub passed: Option<bool>,
    /// What an earlier attempt had left that it began from, in words.
    #[serde(default)]
    pub resumed: Option<String>,
    /// Over which changes it was kept since it was made, the first one first.
    #[serde(default)]
    pub accepted: Vec<Accepted>,
}

/// The stored account of an action that was done.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Record {
    /// The version of this format.
    pub format: u32,
    /// The action's key, which must be the hash of the preimage.
    pub key: ActionKey,
    /// All that the key covers.
    pub preimage: Preimage,
    /// What came of it.
    pub outcome: RecordOutcome,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The run that did it.
    pub run: String,
    /// When it was done.
    #[schemars(with = "String")]
    pub finished: Timestamp,
    /// How many attempts it took.
    #[serde(default = "once")]
    pub attempts: u32,
    /// Who made it, and from which state of the pipeline's repository.
    #[serde(default)]
    pub maker: Maker,
}

/// The program and machine behind a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Maker {
    /// The version of the program.
    pub version: String,
    /// Operating system and processor: `linux x86_64`.
    pub machine: String,
    /// The commit that the workspace was at, where it is in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether it held changes that were not committed.
    #[serde(default)]
    pub dirty: bool,
    /// Whether the replies of providers came from a recording.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// That a result was kept over a change which somebody said could not change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Accepted {
    /// The key that the result held for before.
    pub from: ActionKey,
    /// Why it still holds.
    pub reason: String,
    /// When that was said.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

const fn once() -> u32 {
    1
}

impl RecordOutcome {
    /// What there is to say about a result that was kept over changes.
    #[must_use]
    pub fn kept(&self) -> Option<String> {
        let reasons: Vec<&str> = self.accepted.iter().map(|accepted| accepted.reason.as_str()).collect();
        (!reasons.is_empty()).then(|| format!("accepted: {}", reasons.join("; then: ")))
    }
}

impl Record {
    /// The version of the format that this program writes.
    pub const FORMAT: u32 = 1;

    /// The key that it was made under: its own, unless it was kept over a change since.
    #[must_use]
    pub fn made_under(&self) -> ActionKey {
        self.outcome.accepted.first().map_or(self.key, |accepted| accepted.from)
    }
}

impl Store {
    /// The record of a key, if there is one and all that it names is here. Anything doubtful is a miss.
    #[must_use]
    pub fn find(&self, key: ActionKey) -> Option<Record> {
        let record = self.remembered(key)?;
        let whole = record.outcome.outputs.values().all(|&artifact| self.has(artifact));
        whole.then_some(record)
    }

    /// Takes a record away: what it tells of is no more.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn forget(&self, key: ActionKey) -> Result<(), StoreError> {
        let place = self.record(key);
        match std::fs::remove_file(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::io("delete", &place)(error)),
            _ => {}
        }
        // An index would still tell of it; it is made anew.
        let known = self.root().join("known");
        for index in std::fs::read_dir(&known).into_iter().flatten().flatten() {
            std::fs::remove_file(index.path()).map_err(StoreError::io("delete", &known))?;
        }
        Ok(())
    }

    /// The record of a key, whether its outputs are still here or not, for explanations.
    #[must_use]
    pub fn remembered(&self, key: ActionKey) -> Option<Record> {
        let bytes = std::fs::read(self.record(key)).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.format == Record::FORMAT && record.key == key && record.preimage.key() == key).then_some(record)
    }

    /// Publishes a record. Its outputs must be in the store already: the record is always the last thing written.
    ///
    /// # Errors
    /// When an output is not here after all, or the store cannot be written.
    pub fn publish(&self, record: &Record) -> Result<(), StoreError> {
        if let Some(absent) = record.outcome.outputs.values().find(|&&artifact| !self.has(artifact)) {
            return Err(StoreError::Missing { digest: absent.digest() });
        }
        let bytes = serde_json::to_vec(record).map_err(|error| StoreError::Io { doing: "write", path: self.record(record.key), source: error.into() })?;
        write_atomically(&self.record(record.key), &bytes)
    }
}
