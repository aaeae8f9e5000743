use std::collections::{BTreeMap, BTreeSet};

use crate::fingerprint::{ActionKey, Change, Digest, Preimage, explain};
use crate::stage::Rerun;
use crate::store::{Record, Store};

use super::super::recipe::{ActionNode, Recipe, preimage};
use super::resolve::Ready;

/// What is said of a stage that runs every time.
const ALWAYS: &str = "it runs every time";

/// What is said of an action that is done although its result is there.
pub fn again_since(recipe: &Recipe, node: &ActionNode) -> &'static str {
    if recipe.scheduling(node).rerun == Rerun::Always { ALWAYS } else { "it is time to look at its source again" }
}

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
        (Some(record), Ok(preimage)) => {
            let changes = explain(&record.preimage, &preimage).into_iter();
            Reasons { changes: changes.flat_map(|change| spread(store, &record, ready, change)).collect(), words: Vec::new() }
        }
        _ => Reasons::words("its fingerprint changed; the account of the last result is not in this store"),
    }
}

/// What changed of an action already, before all that goes into it is made: its settings and what stands around them.
pub fn already(recipe: &Recipe, store: &Store, last: Option<ActionKey>, node: &ActionNode) -> Vec<Change> {
    let Some((record, works)) = last.and_then(|last| store.remembered(last)).zip(recipe.works(node.stage).ok()) else {
        return Vec::new();
    };
    let before = Preimage { inputs: BTreeMap::new(), ..record.preimage };
    explain(&before, &preimage(&recipe.stages[node.stage].kind, &works[node.place]))
}

/// A change of a folder as the changes of its files, where the list of what it held is still here.
fn spread(store: &Store, record: &Record, ready: &Ready<'_>, change: Change) -> Vec<Change> {
    let Some(input) = change.field.strip_prefix("inputs.").map(str::to_owned) else {
        return vec![change];
    };
    match (listing(store, &record.preimage, &input), ready.inside(&input)) {
        (Some(before), Some(now)) => files(&before, &now.into_iter().map(|(path, digest)| (path.to_owned(), digest)).collect(), change),
        _ => vec![change],
    }
}

/// The same between two accounts that are both stored.
pub fn listed(store: &Store, old: &Preimage, new: &Preimage, change: Change) -> Vec<Change> {
    let Some(input) = change.field.strip_prefix("inputs.").map(str::to_owned) else {
        return vec![change];
    };
    match (listing(store, old, &input), listing(store, new, &input)) {
        (Some(before), Some(now)) => files(&before, &now, change),
        _ => vec![change],
    }
}

fn listing(store: &Store, preimage: &Preimage, input: &str) -> Option<BTreeMap<String, Digest>> {
    let listing = preimage.inputs.get(input)?.listing?;
    Some(store.listing(listing).ok()?.into_iter().collect())
}

fn files(before: &BTreeMap<String, Digest>, now: &BTreeMap<String, Digest>, change: Change) -> Vec<Change> {
    /// More are only counted.
    const SHOWN: usize = 20;
    let paths: BTreeSet<&String> = before.keys().chain(now.keys()).filter(|path| before.get(*path) != now.get(*path)).collect();
    let short = |files: &BTreeMap<String, Digest>, path: &String| files.get(path).map(Digest::short);
    let file = |path: &&String| Change { field: format!("inputs.{path}"), old: short(before, path), new: short(now, path), origin: change.origin.clone() };
    let mut changes: Vec<Change> = paths.iter().take(SHOWN).map(file).collect();
    if paths.len() > SHOWN {
        let rest = format!("{} more files", paths.len() - SHOWN);
        changes.push(Change { field: change.field, old: change.old, new: Some(rest), origin: change.origin });
    }
    changes
}
