//! Keeping a result over a change of which somebody says that it cannot change it.

use jiff::Timestamp;

use crate::fingerprint::ActionKey;
use crate::ledger::{Event, RunId, RunLog};
use crate::stage::Rerun;
use crate::store::{Accepted, Lock, Record};

use super::super::EngineError;
use super::super::plan::settle::{History, Stand, settle};
use super::super::recipe::Recipe;
use super::super::workspace::{LIVE, Workspace};
use super::memory::{Now, Remembered, remember};
use super::running::nonce;
use super::scheduler::Progress;
use super::shared::Done;

/// An action whose result was kept.
#[derive(Clone, Debug)]
pub struct AcceptedAction {
    /// Its name in the stage.
    pub action: String,
    /// The key that the result was made under.
    pub from: ActionKey,
    /// The key that it holds for now.
    pub key: ActionKey,
    /// What changed.
    pub changes: Vec<String>,
}

/// Lets the last result of a stage hold for what the stage is now.
///
/// # Errors
/// When there is no last result, the stage waits for something else, or nothing changed.
pub fn accept(recipe: &Recipe, workspace: &Workspace, stage: usize, reason: &str) -> Result<Vec<AcceptedAction>, EngineError> {
    let _live = Lock::share(&workspace.store, LIVE)?;
    let name = recipe.stages[stage].name.to_string();
    let refused = |why: String| EngineError::NotAccepted { stage: name.clone(), why };
    let mut history = History::read(recipe, workspace)?;
    // What runs every time stands by its last result meanwhile.
    history.held = true;
    let always = recipe.actions_of(stage).any(|id| recipe.scheduling(recipe.actions.node(id)).rerun == Rerun::Always);
    if always {
        return Err(refused("it runs every time, so that nothing is kept over a change".into()));
    }
    let run = RunId::next(&workspace.store.root().join("runs"), Timestamp::now(), nonce());
    let mut log: Option<RunLog> = None;
    let mut accepted = Vec::new();
    let stands = loop {
        // An action of the stage is known only once those before it are accepted, so all is looked at again each time.
        let stands = settle(recipe, workspace, &history, None);
        let Some(id) = recipe.actions_of(stage).find(|id| !matches!(stands[id.index()], Stand::Found(_))) else {
            break stands;
        };
        let node = recipe.actions.node(id);
        let ready = match &stands[id.index()] {
            Stand::Stale(ready) if node.effect => {
                return Err(refused(format!("`{}` changes the world outside: there is no result to keep", ready.key.0.short())));
            }
            Stand::Stale(ready) => ready,
            Stand::Broken(error) => return Err(refused(error.to_string())),
            _ => return Err(refused("what it needs is stale itself: run or accept that first".into())),
        };
        let last = history.last(recipe, id).filter(|last| *last != ready.key);
        let record = last.and_then(|key| workspace.store.find(key)).ok_or_else(|| refused("there is no last result of it in this store".into()))?;
        if !node.outputs.iter().eq(record.outcome.outputs.keys()) && node.outputs.iter().any(|output| !record.outcome.outputs.contains_key(output)) {
            return Err(refused("its last result lacks outputs that it has now".into()));
        }
        let _lock = Lock::try_key(&workspace.store, ready.key)?.ok_or_else(|| refused("a run is making it at this moment".into()))?;
        let at = Timestamp::now();
        let mut preimage = ready.preimage()?;
        ready.keep_listings(&workspace.store, &mut preimage)?;
        let changes = super::super::plan::explain::reasons(&workspace.store, Some(record.key), ready).lines();
        let mut outcome = record.outcome.clone();
        outcome.outputs.retain(|name, _| node.outputs.contains(name));
        outcome.accepted.push(Accepted { from: record.key, reason: reason.to_owned(), at });
        workspace.store.publish(&Record { key: ready.key, preimage, outcome, ..record.clone() })?;
        let log = match &mut log {
            Some(log) => log,
            none => none.insert(begin(recipe, workspace, &run, at)?),
        };
        let (from, key) = (record.key, ready.key);
        log.append(&Event::Accepted {
            stage: name.clone(),
            action: node.name.clone(),
            from: from.to_string(),
            key: key.to_string(),
            reason: reason.to_owned(),
            at,
        })?;
        accepted.push(AcceptedAction { action: node.name.clone(), from, key, changes });
    };
    let Some(log) = log else {
        return Err(refused("it is up to date: there is nothing to accept".into()));
    };
    let mut progress = Progress::default();
    for (stand, &id) in recipe.order.iter().map(|id| (&stands[id.index()], id)) {
        if let Stand::Found(found) = stand {
            progress.end(id, Done::from(found.clone()));
        }
    }
    let Remembered { results, .. } = remember(recipe, workspace, &history, Now { run: &run, log: &log }, &progress)?;
    log.append(&Event::RunDone { status: "accepted".into(), seconds: 0.0, results })?;
    Ok(accepted)
}

fn begin(recipe: &Recipe, workspace: &Workspace, run: &RunId, at: Timestamp) -> Result<RunLog, EngineError> {
    let log = RunLog::begin(&workspace.store.root().join("runs"), run, None)?;
    log.append(&Event::RunStarted {
        pipeline: recipe.name.clone(),
        file: workspace.name_of(&recipe.file.path).display().to_string(),
        profile: recipe.overrides.profile.clone(),
        set: recipe.overrides.set.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: None,
        tags: Vec::new(),
        at,
    })?;
    Ok(log)
}
