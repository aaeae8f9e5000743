//! What a run leaves behind for the next one: the lock file, and the index of results.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::NodeId;
use crate::ledger::{LockFile, LockedAction, LockedStage, RunId, RunLog};
use crate::store::{FileState, Known, Lock};

use super::EngineError;
use super::recipe::Recipe;
use super::scheduler::Progress;
use super::settle::History;
use super::worker::Done;
use super::workspace::Workspace;

/// The run that remembers.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    pub run: &'a RunId,
    pub log: &'a RunLog,
}

/// Writes the lock file and the index, where either would change. Tells which run's folder holds a copy of the lock file.
pub fn remember(recipe: &Recipe, workspace: &Workspace, history: &History, now: Now<'_>, progress: &Progress) -> Result<Option<String>, EngineError> {
    let known = &history.known;
    let same = |(id, done): (NodeId, &Done)| known.get(id.index(), done.key).is_some_and(|outcome| Arc::ptr_eq(outcome, &done.outcome));
    let new = !progress.done().all(same);
    if !new && history.lock_stands() {
        return Ok(history.locked_by().map(str::to_owned));
    }
    let path = recipe.lock_path();
    // Another run may have written it since this one began: what it did stays.
    let _lock = Lock::wait(&workspace.store, &path.to_string_lossy())?;
    let whole = progress.done().count() == recipe.order.len();
    let before = if whole { LockFile::default() } else { LockFile::read(&path)? };
    let lock = locked(recipe, progress, before);
    lock.write(&path)?;
    lock.write(&now.log.snapshot())?;
    let mut actions = known.actions.clone();
    actions.resize(recipe.order.len(), None);
    let mut took = known.took.clone();
    took.resize(recipe.order.len(), 0.0);
    for (id, done) in progress.done() {
        actions[id.index()] = Some((done.key, Arc::clone(&done.outcome)));
        took[id.index()] = done.took;
    }
    // The index stands for the lock file only where it says the same of every action.
    let same = recipe.order.iter().all(|&id| {
        let node = recipe.actions.node(id);
        lock.fingerprint(recipe.stage_name(node).as_str(), &node.name) == actions[id.index()].as_ref().map(|(key, _)| *key)
    });
    let locked = FileState::of(&path).ok().filter(|_| same).map(|state| (now.run.to_string(), state));
    let known = Known { layout: Some(recipe.layout), actions, took, locked };
    known.save(&Known::place(workspace.store.root(), &path));
    Ok(Some(now.run.to_string()))
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
            let accepted = done.outcome.accepted.as_ref().map(|accepted| (accepted.from, accepted.reason.clone()));
            ((*name).to_owned(), LockedAction { fingerprint: done.key, outputs, accepted })
        };
        let model = if declared.kind == "train" { done.iter().find_map(|(_, done)| done.outcome.model.clone()) } else { None };
        let actions: BTreeMap<String, LockedAction> = done.iter().map(locked).collect();
        lock.stages.insert(declared.name.to_string(), LockedStage { kind: declared.kind.clone(), model, actions });
    }
    lock
}
