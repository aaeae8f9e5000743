//! The last results of stages, and how they stand.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::grade::Verdict;
use crate::ledger::LockFile;
use crate::stage::SPENT;
use crate::store::{Artifact, Known, Record, Store};

use super::super::plan::{PlannedAction, PlannedStage, Standing};

/// What is known of the last result of a stage.
#[derive(Clone, Debug)]
pub struct Account {
    /// The stage.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether the next run would make it again.
    pub standing: Standing,
    /// Whether its gates said no.
    pub gated: bool,
    /// Its actions by name, each with the record of its last result, where the store has it.
    pub actions: Vec<(String, Option<Record>)>,
}

impl Account {
    /// What is known of a stage of a plan. `lock` is the pipeline's.
    #[must_use]
    pub fn of(planned: &PlannedStage, lock: &LockFile, store: &Store) -> Self {
        let key = |action: &PlannedAction| {
            let current = if action.standing == Standing::Cached { action.key } else { None };
            current.or_else(|| lock.fingerprint(&planned.name, &action.name))
        };
        let record = |action: &PlannedAction| (action.name.clone(), key(action).and_then(|key| store.remembered(key)));
        let actions: Vec<_> = planned.actions.iter().map(record).collect();
        if planned.actions.iter().zip(&actions).any(|(action, (_, record))| action.standing == Standing::Cached && record.is_none()) {
            // The index says that it is there, and it is not: the next run looks for itself.
            Known::forget(store);
        }
        Self { name: planned.name.clone(), kind: planned.kind.clone(), standing: planned.standing(), gated: planned.gated(), actions }
    }

    /// The records that there are.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.actions.iter().filter_map(|(_, record)| record.as_ref())
    }

    /// Whether there is no result of it at all.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.records().next().is_none()
    }

    /// The figures of all its actions. What is spent adds up.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut together = BTreeMap::new();
        for (name, value) in self.records().flat_map(|record| &record.outcome.metrics) {
            let adds_up = SPENT.contains(&name.as_str());
            together.entry(name.clone()).and_modify(|before: &mut f64| *before = if adds_up { *before + value } else { *value }).or_insert(*value);
        }
        together
    }

    /// How long it took to make, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.records().map(|record| record.seconds).sum()
    }

    /// An output by its name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<Artifact> {
        self.records().find_map(|record| record.outcome.outputs.get(name).copied())
    }

    /// The content of an output that is JSON, where it is there and can be read.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self, store: &Store, name: &str) -> Option<T> {
        serde_json::from_slice(&store.read(self.output(name)?).ok()?).ok()
    }

    /// What its gates said.
    #[must_use]
    pub fn verdict(&self, store: &Store) -> Option<Verdict> {
        self.read(store, "verdict")
    }
}
