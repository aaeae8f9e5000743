//! What a run leaves behind for the next one: the lock file, and the index of results.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::NodeId;
use crate::ledger::{LockFile, LockedAction, LockedStage};
use crate::store::{FileState, Known, Lock};

use super::EngineError;
use super::recipe::Recipe;
use super::scheduler::Progress;
use super::worker::{Done, Shared};

impl Shared {
    /// Writes the lock file and the index, where either would change.
    pub fn remember(&self, progress: &Progress) -> Result<(), EngineError> {
        let known = &self.history.known;
        let same = |(id, done): (NodeId, &Done)| known.get(id.index(), done.key).is_some_and(|outcome| Arc::ptr_eq(outcome, &done.outcome));
        let new = !progress.done().all(same);
        if !new && self.history.lock_stands() {
            return Ok(());
        }
        let path = self.recipe.lock_path();
        // Another run may have written it since this one began: what it did stays.
        let _lock = Lock::wait(&self.workspace.store, &path.to_string_lossy())?;
        let whole = progress.done().count() == self.recipe.order.len();
        let before = if whole { LockFile::default() } else { LockFile::read(&path)? };
        let lock = locked(&self.recipe, progress, before);
        lock.write(&path)?;
        let mut actions = known.actions.clone();
        actions.resize(self.recipe.order.len(), None);
        for (id, done) in progress.done() {
            actions[id.index()] = Some((done.key, Arc::clone(&done.outcome)));
        }
        // The index stands for the lock file only where it says the same of every action.
        let same = self.recipe.order.iter().all(|&id| {
            let node = self.recipe.actions.node(id);
            lock.fingerprint(self.recipe.stage_name(node).as_str(), &node.name) == actions[id.index()].as_ref().map(|(key, _)| *key)
        });
        let locked = FileState::of(&path).ok().filter(|_| same).map(|state| (self.run.to_string(), state));
        let known = Known { layout: Some(self.recipe.layout), actions, locked };
        known.save(&Known::place(self.workspace.store.root(), &path));
        Ok(())
    }
}

/// The lock file after a run: stages that are whole are as the run has them, others stay as they were, and those that the pipeline has no more go.
fn locked(recipe: &Recipe, progress: &Progress, mut lock: LockFile) -> LockFile {
    let names: std::collections::BTreeSet<&str> = recipe.stages.iter().map(|stage| stage.name.as_str()).collect();
    lock.stages.retain(|name, _| names.contains(name.as_str()));
    for (stage, declared) in recipe.stages.iter().enumerate() {
        let done = recipe.actions_of(stage).map(|id| Some((recipe.actions.node(id).name.as_str(), progress.get(id)?)));
        let Some(done) = done.collect::<Option<Vec<(&str, &Done)>>>() else {
            continue;
        };
        let locked = |(name, done): &(&str, &Done)| {
            let outputs = done.outcome.outputs.iter().map(|(name, artifact)| (name.clone(), artifact.digest())).collect();
            ((*name).to_owned(), LockedAction { fingerprint: done.key, outputs })
        };
        let model = if declared.kind == "train" { done.iter().find_map(|(_, done)| done.outcome.model.clone()) } else { None };
        let actions: BTreeMap<String, LockedAction> = done.iter().map(locked).collect();
        lock.stages.insert(declared.name.to_string(), LockedStage { kind: declared.kind.clone(), model, actions });
    }
    lock
}
