//! What a run leaves behind for the next one: the lock file, and the index of results.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::graph::NodeId;
use crate::ledger::{LockFile, LockedAction, LockedStage, RunId, RunLog};
use crate::store::{FileState, Known, Lock, StoreIdentity};

use super::super::EngineError;
use super::super::plan::settle::History;
use super::super::recipe::Recipe;
use super::super::workspace::Workspace;
use super::scheduler::Progress;
use super::shared::Done;

/// The run that remembers.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    pub run: &'a RunId,
    pub log: &'a RunLog,
}

/// What there is to tell after the lock file was written.
#[derive(Debug)]
pub struct Remembered {
    /// The run whose folder holds a copy of the lock file.
    pub results: Option<String>,
    /// Files that a stage wrote once and none writes now, with the stage.
    pub orphans: Vec<(String, String)>,
}

/// Writes the lock file and the index, where either would change. Tells which run's folder holds a copy of the lock file.
pub fn remember(recipe: &Recipe, workspace: &Workspace, history: &History, now: Now<'_>, progress: &Progress) -> Result<Remembered, EngineError> {
    let known = &history.known;
    let same = |(id, done): (NodeId, &Done)| known.get(id.index(), done.key).is_some_and(|outcome| Arc::ptr_eq(outcome, &done.outcome));
    let new = !progress.done().all(same);
    if !new && history.lock_stands() {
        return Ok(Remembered { results: history.locked_by().map(str::to_owned), orphans: Vec::new() });
    }
    let path = recipe.lock_path();
    // Another run may have written it since this one began: what it did stays.
    let name = workspace.name_of(&path);
    let _lock = Lock::wait(&workspace.store, &name.to_string_lossy())?;
    // What stages wrote before and none writes any longer: from now on it counts as a file of the user's.
    let mut orphans = BTreeSet::new();
    let mut actions = known.actions.clone();
    actions.resize(recipe.order.len(), None);
    let mut took = known.took.clone();
    took.resize(recipe.order.len(), 0.0);
    let mut changed: BTreeSet<usize> = BTreeSet::new();
    for (id, done) in progress.done().filter(|done| !same(*done)) {
        actions[id.index()] = Some((done.key, Arc::clone(&done.outcome)));
        took[id.index()] = done.took;
        let node = recipe.actions.node(id);
        if let Some((_, before)) = known.actions.get(id.index()).and_then(Option::as_ref).filter(|_| node.appears) {
            let left = before.outputs.keys().filter(|path| orphaned(recipe, workspace, path));
            orphans.extend(left.map(|path| (path.clone(), recipe.stage_name(node).to_string())));
        }
        changed.insert(node.stage);
    }
    // The index stands for the lock file only where it says the same of every action.
    let same = match patched(recipe, history, progress, &path, &changed) {
        Some(text) => {
            LockFile::write_text(&path, &text)?;
            true
        }
        None => {
            let before = LockFile::read(&path)?;
            let stages = before.stages.iter().filter(|(_, stage)| stage.kind == "exec");
            let written = stages.flat_map(|(name, stage)| stage.actions.values().flat_map(move |action| action.outputs.keys().map(move |path| (path, name))));
            orphans.extend(written.filter(|(path, _)| orphaned(recipe, workspace, path)).map(|(path, name)| (path.clone(), name.clone())));
            let lock = locked(recipe, history, progress, before);
            LockFile::write_text(&path, &lock.render())?;
            recipe.order.iter().all(|&id| {
                let node = recipe.actions.node(id);
                lock.fingerprint(recipe.stage_name(node).as_str(), &node.name) == actions[id.index()].as_ref().map(|(key, _)| *key)
            })
        }
    };
    keep_copy(&path, &now.log.snapshot())?;
    let locked = FileState::of(&path).ok().filter(|_| same).map(|state| (now.run.to_string(), state));
    let known = Known { layout: Some(recipe.layout), actions, took, locked, store: StoreIdentity::of(&workspace.store) };
    known.save(&Known::place(workspace.store.root(), &name));
    Ok(Remembered { results: Some(now.run.to_string()), orphans: orphans.into_iter().collect() })
}

/// Whether a path that a stage wrote once still has something, though no stage writes it now.
fn orphaned(recipe: &Recipe, workspace: &Workspace, path: &str) -> bool {
    !recipe.outputs.covers(path) && workspace.root.join(path).symlink_metadata().is_ok()
}

/// The lock file's text with what changed put in its place: for a long file much less work than to write all of it anew. `None`
/// where the file is not as this workspace left it, or a stage came only half way.
fn patched(recipe: &Recipe, history: &History, progress: &Progress, path: &Path, changed: &BTreeSet<usize>) -> Option<String> {
    let (_, state) = history.known.locked.as_ref().filter(|_| history.lock_stands())?;
    if FileState::of(path).ok()? != *state {
        return None;
    }
    let stages = changed.iter().map(|&stage| Some((recipe.stages[stage].name.as_str(), locked_stage(recipe, progress, stage)?)));
    LockFile::patched(&std::fs::read_to_string(path).ok()?, &stages.collect::<Option<_>>()?)
}

/// Keeps the lock file as it is now: as a file of its own, since people edit theirs in place.
fn keep_copy(lock: &Path, copy: &Path) -> Result<(), EngineError> {
    let kept = std::fs::copy(lock, copy).map(drop);
    kept.map_err(|source| EngineError::Workspace { path: copy.to_owned(), reason: source.to_string() })
}

/// The lock file after a run: stages that are whole are as the run has them, others stay as they were, and those that the pipeline has no more go.
fn locked(recipe: &Recipe, history: &History, progress: &Progress, mut lock: LockFile) -> LockFile {
    let names: BTreeSet<&str> = recipe.stages.iter().map(|stage| stage.name.as_str()).collect();
    lock.stages.retain(|name, _| names.contains(name.as_str()));
    for (stage, declared) in recipe.stages.iter().enumerate() {
        // What another run wrote since this one looked stays, unless this one made something newer.
        let ran = recipe.actions_of(stage).any(|id| progress.get(id).is_some_and(|done| done.ran));
        let since = recipe.actions_of(stage).any(|id| {
            let written = lock.fingerprint(declared.name.as_str(), &recipe.actions.node(id).name);
            written.is_some() && written != history.last(recipe, id)
        });
        if since && !ran {
            continue;
        }
        lock.stages.extend(locked_stage(recipe, progress, stage).map(|locked| (declared.name.to_string(), locked)));
    }
    lock
}

/// What the lock file says of a stage that is whole.
fn locked_stage(recipe: &Recipe, progress: &Progress, stage: usize) -> Option<LockedStage> {
    let declared = &recipe.stages[stage];
    let done = recipe.actions_of(stage).map(|id| Some((recipe.actions.node(id).name.as_str(), progress.get(id)?)));
    let done = done.collect::<Option<Vec<(&str, &Done)>>>()?;
    let locked = |(name, done): &(&str, &Done)| {
        let outputs = done.outcome.outputs.iter().map(|(name, artifact)| (name.clone(), artifact.digest())).collect();
        let accepted = done.outcome.accepted.iter().map(|accepted| (accepted.from, accepted.reason.clone())).collect();
        ((*name).to_owned(), LockedAction { fingerprint: done.key, outputs, accepted })
    };
    let model = if matches!(declared.kind.as_str(), "train" | "select") { done.iter().find_map(|(_, done)| done.outcome.model.clone()) } else { None };
    Some(LockedStage { kind: declared.kind.clone(), model, actions: done.iter().map(locked).collect() })
}
