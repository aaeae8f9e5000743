use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::graph::NodeId;
use crate::ledger::{Event, LockFile, LockedAction, LockedStage, RunId, RunLog, StageStatus};
use crate::stage::StageError;

use super::EngineError;
use super::notice::{Notice, Observer};
use super::plan::{Standing, plan, stage_fingerprint};
use super::recipe::Recipe;
use super::scheduler::{Progress, schedule};
use super::summary::{RunStatus, RunSummary, StageSummary};
use super::worker::{Done, Shared};
use super::workspace::{Workspace, lock_path};

/// What the command line asks of a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The stages that are wanted, with all that they need; empty for all.
    pub stages: Vec<String>,
    /// How many actions go on at once.
    pub jobs: usize,
    /// Whether what does not need a failed stage goes on.
    pub keep_going: bool,
    /// Stages that are done although their results are there.
    pub force: Vec<String>,
    /// Whether it is an error if anything would be made again.
    pub locked: bool,
    /// What `--set` changed, for the ledger.
    pub set: Vec<String>,
}

/// The run's summary, and the errors of the stages that failed.
#[derive(Debug)]
pub struct Finished {
    /// What became of everything.
    pub summary: RunSummary,
    /// The errors, by stage.
    pub errors: Vec<(String, StageError)>,
}

/// How often a run looks again after an object of the store turned out to be damaged.
const REPAIRS: usize = 3;

/// Makes it so.
///
/// # Errors
/// When a stage is named that is not there, `--locked` finds something stale, or history cannot be written. A stage
/// that fails is no error here: the summary tells of it.
pub async fn run(
    recipe: Arc<Recipe>,
    workspace: Arc<Workspace>,
    options: RunOptions,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Finished, EngineError> {
    let began = Instant::now();
    let wanted = wanted(&recipe, &options.stages)?;
    let forced: Vec<usize> = options.force.iter().map(|name| recipe.named(name)).collect::<Result<_, _>>()?;
    let path = lock_path(&recipe.pipeline);
    let lock = LockFile::read(&path)?;
    if options.locked {
        hold_to_lock(&recipe, &workspace, &wanted, &lock)?;
    }
    let id = RunId::new(Timestamp::now(), nonce());
    let log = RunLog::begin(&workspace.store.root().join("runs"), &id)?;
    log.append(&Event::RunStarted {
        pipeline: recipe.pipeline.name.clone(),
        file: recipe.pipeline.file.name.clone(),
        profile: recipe.pipeline.profile.clone(),
        set: options.set.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: Timestamp::now(),
    })?;
    let shared = Arc::new(Shared {
        recipe: Arc::clone(&recipe),
        workspace: Arc::clone(&workspace),
        lock,
        observer,
        log,
        run: id.clone(),
        stop,
        jobs: Semaphore::new(options.jobs.max(1)),
        forced,
        session: Mutex::new(None),
    });
    let progress = go(&shared, &wanted, options.keep_going).await;
    workspace.files.save();
    let status = status(&shared, &progress);
    let stages: Vec<StageSummary> = stage_ids(&recipe, &wanted).into_iter().map(|stage| summarize(&shared, stage, &wanted, &progress, status)).collect();
    let seconds = began.elapsed().as_secs_f64();
    for stage in &stages {
        shared.log.append(&Event::StageDone {
            stage: stage.name.clone(),
            status: stage.status,
            fingerprint: stage.fingerprint.clone(),
            seconds: stage.seconds,
            metrics: stage.metrics.clone(),
        })?;
    }
    update_lock(&recipe, &progress, shared.lock.clone()).write(&path)?;
    shared.log.append(&Event::RunDone { status: status.word().to_owned(), seconds })?;
    let errors = progress.failed.into_iter().filter(|(_, error)| !matches!(error, StageError::Stopped));
    let errors = errors.map(|(id, error)| (recipe.stage_name(recipe.actions.node(id)).to_string(), error)).collect();
    Ok(Finished { summary: RunSummary { run: id.to_string(), status, seconds, stages }, errors })
}

/// The actions of the named stages and all that they need.
fn wanted(recipe: &Recipe, names: &[String]) -> Result<BTreeSet<NodeId>, EngineError> {
    if names.is_empty() {
        return Ok(recipe.order.iter().copied().collect());
    }
    let stages: Vec<usize> = names.iter().map(|name| recipe.named(name)).collect::<Result<_, _>>()?;
    Ok(recipe.actions.with_needs(stages.into_iter().flat_map(|stage| recipe.actions_of(stage))))
}

fn hold_to_lock(recipe: &Recipe, workspace: &Workspace, wanted: &BTreeSet<NodeId>, lock: &LockFile) -> Result<(), EngineError> {
    let plan = plan(recipe, workspace)?;
    let names: BTreeSet<&str> = wanted.iter().map(|&id| recipe.stage_name(recipe.actions.node(id)).as_str()).collect();
    let stale = plan.stages.iter().filter(|stage| names.contains(stage.name.as_str()));
    let stale = stale.filter(|stage| {
        let unlocked = |action: &super::plan::PlannedAction| action.key != lock.fingerprint(&stage.name, &action.name);
        stage.standing() != Standing::Cached || stage.actions.iter().any(unlocked)
    });
    let stages: Vec<String> = stale.map(|stage| stage.name.clone()).collect();
    if stages.is_empty() { Ok(()) } else { Err(EngineError::Stale { stages }) }
}

/// Schedules, and again where an object turned out to be damaged: it has been set aside by then, so that its maker runs.
async fn go(shared: &Arc<Shared>, wanted: &BTreeSet<NodeId>, keep_going: bool) -> Progress {
    let mut ran: BTreeMap<NodeId, Done> = BTreeMap::new();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    let mut repairs = 0;
    loop {
        let mut tell = |progress: &Progress, id: NodeId| {
            let stage = shared.recipe.actions.node(id).stage;
            let ids: Vec<NodeId> = shared.recipe.actions_of(stage).filter(|id| wanted.contains(id)).collect();
            let over = ids.iter().all(|id| progress.done.contains_key(id) || progress.failed.contains_key(id));
            if over && told.insert(stage) {
                shared.observer.notice(Notice::Finished(summarize(shared, stage, wanted, progress, RunStatus::Ok)));
            }
        };
        let mut progress = schedule(shared, wanted, keep_going, &mut tell).await;
        let damaged = progress.failed.values().any(StageError::is_damage);
        if damaged && repairs < REPAIRS && !shared.stop.is_cancelled() {
            repairs += 1;
            ran.extend(progress.done.into_iter().filter(|(_, done)| done.ran));
            continue;
        }
        for (id, before) in ran {
            if let Some(done) = progress.done.get_mut(&id)
                && !done.ran
            {
                *done = before;
            }
        }
        return progress;
    }
}

fn status(shared: &Shared, progress: &Progress) -> RunStatus {
    if shared.stop.is_cancelled() && progress.failed.values().any(StageError::is_stop) {
        RunStatus::Interrupted
    } else if !progress.failed.is_empty() {
        RunStatus::Failed
    } else if !progress.gated.is_empty() {
        RunStatus::Gated
    } else if shared.stop.is_cancelled() {
        RunStatus::Interrupted
    } else {
        RunStatus::Ok
    }
}

fn stage_ids(recipe: &Recipe, wanted: &BTreeSet<NodeId>) -> Vec<usize> {
    let ids: BTreeSet<usize> = wanted.iter().map(|&id| recipe.actions.node(id).stage).collect();
    ids.into_iter().collect()
}

fn summarize(shared: &Shared, stage: usize, wanted: &BTreeSet<NodeId>, progress: &Progress, run: RunStatus) -> StageSummary {
    let recipe = &shared.recipe;
    let ids: Vec<NodeId> = recipe.actions_of(stage).filter(|id| wanted.contains(id)).collect();
    let done: Vec<&Done> = ids.iter().filter_map(|id| progress.done.get(id)).collect();
    let errors: Vec<&StageError> = ids.iter().filter_map(|id| progress.failed.get(id)).collect();
    let status = if errors.iter().any(|error| !error.is_stop()) {
        StageStatus::Failed
    } else if ids.iter().any(|id| progress.gated.contains(id)) {
        StageStatus::Gated
    } else if done.len() < ids.len() {
        StageStatus::Skipped
    } else if done.iter().any(|done| done.ran) {
        StageStatus::Ran
    } else {
        StageStatus::Cached
    };
    let mut notes: Vec<String> = done.iter().flat_map(|done| done.notes.clone()).collect();
    notes.extend(errors.iter().map(ToString::to_string));
    if status == StageStatus::Gated && notes.is_empty() {
        notes.push("its gates said no before, and nothing changed since".into());
    }
    if status == StageStatus::Skipped && run == RunStatus::Ok {
        notes.push("not begun".into());
    }
    let declared = &recipe.pipeline.stages[stage];
    let outputs = done.iter().flat_map(|done| &done.outcome.outputs).map(|(name, artifact)| (name.clone(), artifact.digest().to_string()));
    StageSummary {
        name: declared.name.to_string(),
        kind: declared.kind.to_owned(),
        status,
        fingerprint: stage_fingerprint(ids.iter().map(|id| progress.done.get(id).map(|done| done.key))),
        seconds: done.iter().fold(0.0, |sum, done| sum + done.seconds),
        reasons: reasons(recipe, &ids, progress),
        metrics: done.iter().flat_map(|done| done.outcome.metrics.clone()).collect(),
        outputs: outputs.collect(),
        notes,
    }
}

fn reasons(recipe: &Recipe, ids: &[NodeId], progress: &Progress) -> Vec<String> {
    let several = ids.len() > 1;
    let all = ids.iter().filter_map(|id| progress.done.get(id).map(|done| (recipe.actions.node(*id).action.name, done)));
    let lines = all.flat_map(|(name, done)| done.reasons.iter().map(move |reason| if several { format!("{name}: {reason}") } else { reason.clone() }));
    lines.collect()
}

/// The lock file after a run: stages that are whole are as the run has them, others stay as they were, and those that the pipeline has no more go.
fn update_lock(recipe: &Recipe, progress: &Progress, mut lock: LockFile) -> LockFile {
    lock.stages.retain(|name, _| recipe.pipeline.stage(name).is_some());
    for (stage, declared) in recipe.pipeline.stages.iter().enumerate() {
        let ids: Vec<NodeId> = recipe.actions_of(stage).collect();
        let done: Option<Vec<(&str, &Done)>> = ids.iter().map(|id| Some((recipe.actions.node(*id).action.name, progress.done.get(id)?))).collect();
        let Some(done) = done else { continue };
        let locked = |(name, done): &(&str, &Done)| {
            let outputs = done.outcome.outputs.iter().map(|(name, artifact)| (name.clone(), artifact.digest())).collect();
            ((*name).to_owned(), LockedAction { fingerprint: done.key, outputs })
        };
        let model = if declared.kind == "train" { done.iter().find_map(|(_, done)| done.outcome.model.clone()) } else { None };
        let actions = done.iter().map(locked).collect();
        lock.stages.insert(declared.name.to_string(), LockedStage { kind: declared.kind.to_owned(), model, actions });
    }
    lock
}

/// Something that tells runs of one second apart.
fn nonce() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let [_, _, _, _, a, b, c, d] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
