use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::data::DataError;
use crate::data::flow::Keep;
use crate::fingerprint::Preimage;
use crate::store::{Artifact, Store, TreeEntry};

use super::super::{Context, StageError, collect};

/// The output that holds what came of batches of rows, for the next time. It is nothing that people look at.
pub const KEPT: &str = ".kept";

/// Fewer bytes than this are prepared anew at once.
pub const WORTHWHILE: u64 = 4 << 20;

/// What came of batches of rows the last time, and this time.
pub struct Kept<'a> {
    store: &'a Store,
    /// What the operators depend on besides rows.
    settings: String,
    before: BTreeMap<String, TreeEntry>,
    now: Mutex<BTreeMap<String, TreeEntry>>,
    taken: AtomicUsize,
    made: AtomicUsize,
}

impl<'a> Kept<'a> {
    /// What the last success kept, where there was one.
    pub fn of(context: &Context<'a>) -> Self {
        let last = context.last.and_then(|record| record.outcome.outputs.get(KEPT));
        // What is gone is done again.
        let before = last.and_then(|kept| context.store.tree(*kept).ok()).unwrap_or_default();
        let is_rows = |name: &str| name.starts_with(collect::ROWS) || name.starts_with(collect::REJECTED);
        let inputs = context.preimage.inputs.iter().filter(|(name, _)| !is_rows(name)).map(|(name, content)| (name.clone(), content.clone())).collect();
        let settings = Preimage { kind: "batches of rows".into(), inputs, ..context.preimage.clone() }.key().to_string();
        Self {
            store: context.store,
            settings,
            before: before.into_iter().map(|entry| (entry.path.clone(), entry)).collect(),
            now: Mutex::default(),
            taken: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        }
    }

    /// Everything that came of batches this time, as one artifact.
    pub fn artifact(self) -> Result<Artifact, StageError> {
        let now = self.now.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(self.store.put_tree(now.into_values().collect())?)
    }

    /// Batches that were taken as they were kept, and that were made.
    pub fn counts(&self) -> (usize, usize) {
        (self.taken.load(Ordering::Relaxed), self.made.load(Ordering::Relaxed))
    }

    fn name(&self, batch: &str) -> String {
        format!("{}-{batch}", &self.settings[..16])
    }
}

impl Keep for Kept<'_> {
    fn find(&self, batch: &str) -> Option<Vec<u8>> {
        let entry = self.before.get(&self.name(batch))?;
        self.store.read(entry.artifact()).ok()
    }

    fn stays(&self, batch: &str) {
        let entry = self.before.get(&self.name(batch)).cloned();
        self.now.lock().unwrap_or_else(PoisonError::into_inner).extend(entry.map(|entry| (entry.path.clone(), entry)));
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn keep(&self, batch: &str, outcome: &[u8]) -> Result<(), DataError> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.name(batch);
        let kept = self.store.put_bytes(outcome).map_err(|error| DataError::unreadable("a batch of rows", &error))?;
        let entry = TreeEntry { path: path.clone(), digest: kept.digest(), size: kept.size(), executable: false };
        self.now.lock().unwrap_or_else(PoisonError::into_inner).insert(path, entry);
        Ok(())
    }
}
