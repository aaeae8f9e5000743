use crate::fingerprint::{ActionKey, Change, explain};
use crate::store::Store;

use super::resolve::Ready;

/// Why an action is done: the differences to the account of its last result, or in words why there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasons {
    /// What changed, by field.
    pub changes: Vec<Change>,
    /// Anything else.
    pub words: Vec<String>,
}

impl Reasons {
    /// A reason in words alone.
    pub fn words(text: impl Into<String>) -> Self {
        Self { changes: Vec::new(), words: vec![text.into()] }
    }

    /// Each reason as a line.
    pub fn lines(&self) -> Vec<String> {
        self.changes.iter().map(line).chain(self.words.iter().cloned()).collect()
    }
}

/// A change as a line: `settings.method.epochs: 4 -> 8 (pipelines/p.kdl:31)`.
pub fn line(change: &Change) -> String {
    let origin = change.origin.as_ref().map_or(String::new(), |origin| format!(" ({origin})"));
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!("{}: {old} -> {new}{origin}", change.field),
        (None, Some(new)) => format!("{}: new, {new}{origin}", change.field),
        (Some(old), None) => format!("{}: gone, was {old}", change.field),
        (None, None) => change.field.clone(),
    }
}

/// Why an action whose result is not in the store has to be done. `last` is the key that it was last done under.
pub fn reasons(store: &Store, last: Option<ActionKey>, ready: &Ready<'_>) -> Reasons {
    let Some(last) = last else {
        return Reasons::words("it was never done here");
    };
    if last == ready.key {
        return Reasons::words("its result is not in this store");
    }
    match (store.remembered(last), ready.preimage()) {
        (Some(record), Ok(preimage)) => Reasons { changes: explain(&record.preimage, &preimage), words: Vec::new() },
        _ => Reasons::words("its fingerprint changed; the account of the last result is not in this store"),
    }
}
