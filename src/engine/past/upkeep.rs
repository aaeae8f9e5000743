//! Letting go of what no lock file, alias or recent run needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::fingerprint::{ActionKey, Digest};
use crate::ledger::{self, Alias, Event, LockFile, RunSummary, SNAPSHOT};
use crate::stage::{ANSWERS, answers_of};
use crate::store::{Lock, Store, StoreError, Swept};

use super::super::EngineError;
use super::super::workspace::{LIVE, Workspace};

/// Everything that must stay.
#[derive(Debug, Default)]
struct Needed {
    keys: BTreeSet<ActionKey>,
    artifacts: BTreeSet<Digest>,
}

impl Needed {
    fn lock(&mut self, lock: &LockFile) {
        for action in lock.stages.values().flat_map(|stage| stage.actions.values()) {
            self.keys.insert(action.fingerprint);
            self.artifacts.extend(action.outputs.values());
            self.keys.extend(action.accepted.iter().map(|(from, _)| *from));
        }
    }
}

/// Lets go of all results but those that lock files, aliases and the latest runs need. With `dry` it is only counted.
///
/// # Errors
/// When a run is live, a lock file cannot be read, or something cannot be deleted.
pub fn collect_garbage(workspace: &Workspace, keep_runs: usize, dry: bool) -> Result<Swept, EngineError> {
    let store = &workspace.store;
    let Some(_alone) = Lock::try_alone(store, LIVE)? else {
        return Err(EngineError::Busy);
    };
    let mut needed = Needed::default();
    for path in lock_files(&workspace.root) {
        needed.lock(&LockFile::read(&path)?);
    }
    for version in Alias::all(&workspace.root)?.iter().flat_map(|alias| &alias.versions) {
        needed.keys.insert(version.fingerprint);
        needed.artifacts.insert(version.artifact);
        needed.artifacts.extend(version.verdicts.values());
    }
    let runs = ledger::runs(&store.root().join("runs"));
    // A run that did nothing needs nothing, and pushes out nobody.
    let (busy, idle): (Vec<&RunSummary>, Vec<&RunSummary>) = runs.iter().partition(|run| run.events.iter().any(did_something));
    let (recent, old) = busy.split_at(keep_runs.min(busy.len()));
    let mut snapshots: BTreeSet<&str> = BTreeSet::new();
    for run in recent {
        snapshots.extend(run.results());
        needed.keys.extend(started(run).map(|(_, key)| key));
    }
    for run in &snapshots {
        needed.lock(&LockFile::read(&store.root().join("runs").join(run).join(SNAPSHOT))?);
    }
    let mut swept = store.sweep(&needed.keys, &needed.artifacts, dry)?;
    // Work that was never finished may have cost hours, however many runs ago that was.
    let mut begun: BTreeMap<(String, String), ActionKey> = BTreeMap::new();
    runs.iter().rev().for_each(|run| begun.extend(started(run)));
    needed.keys.extend(begun.into_values());
    let checkpoints = store.sweep_checkpoints(&needed.keys, dry)?;
    swept.rest.files += checkpoints.files;
    swept.rest.bytes += checkpoints.bytes;
    clear_answers(store, &needed.keys, dry, &mut swept)?;
    for run in old.iter().chain(&idle).filter(|run| !snapshots.contains(run.id.to_string().as_str())) {
        clear_run(&store.root().join("runs").join(run.id.to_string()), dry, &mut swept);
    }
    Ok(swept)
}

fn did_something(event: &Event) -> bool {
    matches!(event, Event::ActionStarted { .. } | Event::Accepted { .. })
}

/// The actions that a run began, by stage and name, with their keys.
fn started(run: &RunSummary) -> impl Iterator<Item = ((String, String), ActionKey)> {
    run.events.iter().filter_map(|event| match event {
        Event::ActionStarted { stage, action, key, .. } => Some(((stage.clone(), action.clone()), ActionKey(key.parse().ok()?))),
        _ => None,
    })
}

/// Of an old run the events stay; what its commands printed and its copy of the lock file go.
fn clear_run(folder: &Path, dry: bool, swept: &mut Swept) {
    let entries = WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file() && entry.file_name() != "events.jsonl");
    for entry in entries {
        swept.rest.files += 1;
        swept.rest.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        if !dry {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Lets go of the answers of models that no action needs which stays, or was begun last.
fn clear_answers(store: &Store, keys: &BTreeSet<ActionKey>, dry: bool, swept: &mut Swept) -> Result<(), EngineError> {
    let needed = answers_of(store, keys);
    let entries = WalkDir::new(store.root().join(ANSWERS)).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    for entry in entries.filter(|entry| !needed.contains(entry.path())) {
        swept.rest.files += 1;
        swept.rest.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        if !dry {
            std::fs::remove_file(entry.path()).map_err(StoreError::io("delete", entry.path()))?;
        }
    }
    Ok(())
}

/// The lock files of a workspace.
fn lock_files(root: &Path) -> Vec<PathBuf> {
    let hidden = |name: &std::ffi::OsStr| matches!(name.to_str(), Some(".git" | ".retune"));
    let entries = WalkDir::new(root).into_iter().filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name())).flatten();
    let locks = entries.filter(|entry| entry.file_type().is_file() && entry.file_name().to_string_lossy().ends_with(".lock.kdl"));
    locks.map(|entry| entry.path().to_owned()).collect()
}
