use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use jiff::Timestamp;

use crate::graph::NodeId;
use crate::ledger::{Event, RunId, RunLog, StageStatus};
use crate::provider::{Network, Tape};
use crate::stage::{Guard, StageError};
use crate::store::{Lock, Session};

use super::super::EngineError;
use super::super::notice::{Notice, Observer};
use super::super::plan::planning::stage_fingerprint;
use super::super::plan::settle::{History, Stand, settle};
use super::super::recipe::Recipe;
use super::super::summary::{RunStatus, RunSummary, StageSummary};
use super::super::workspace::{LIVE, Workspace};
use super::interrupt::Interrupt;
use super::memory::{Now, Remembered, remember};
use super::pool::{Machine, Pool};
use super::purse::Purses;
use super::scheduler::{Progress, ranks, schedule};
use super::shared::{Done, Failure, Shared};

/// What the command line asks of a run.
#[derive(Debug, Default)]
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
    /// A name for the run, by which it can be found again.
    pub name: Option<String>,
    /// Tags for the run.
    pub tags: Vec<String>,
    /// A file that all events are appended to as they happen.
    pub events: Option<PathBuf>,
    /// Where exchanges with providers are recorded, or replayed from.
    pub tape: Option<Tape>,
    /// This program, where it can guard the commands of its runs.
    pub program: Option<PathBuf>,
    /// Whether the summary leaves out the stages whose results were there already.
    pub brief: bool,
}

/// The run's summary, and the errors of the stages that failed.
#[derive(Debug)]
pub struct Finished {
    /// What became of everything.
    pub summary: RunSummary,
    /// How many stages were asked for.
    pub asked: usize,
    /// The errors, by stage.
    pub errors: Vec<(String, StageError)>,
    /// What did not work besides: events that could not be told, exchanges that could not be recorded.
    pub troubles: Vec<String>,
}

/// How often a run looks again after an object of the store turned out to be damaged.
const REPAIRS: usize = 3;

/// A run about to begin: everything has been looked at, and nothing done.
#[derive(Debug)]
pub struct Start {
    recipe: Arc<Recipe>,
    workspace: Arc<Workspace>,
    options: RunOptions,
    history: History,
    wanted: BTreeSet<NodeId>,
    forced: Vec<usize>,
    /// What is there already.
    progress: Progress,
    began: Instant,
}

impl Start {
    /// Looks at all that is wanted.
    ///
    /// # Errors
    /// When a stage is named that is not there, the lock file cannot be read, or `--locked` finds something stale.
    pub fn new(recipe: Arc<Recipe>, workspace: Arc<Workspace>, options: RunOptions) -> Result<Self, EngineError> {
        let began = Instant::now();
        let named = options.force.iter().map(|name| recipe.all_named(name)).collect::<Result<Vec<_>, _>>()?;
        let mut forced: Vec<usize> = named.concat();
        let mut history = History::read(&recipe, &workspace)?;
        history.held = options.locked;
        let keeps = |id| !forced.contains(&recipe.actions.node(id).stage) && history.frozen(&recipe, &workspace, id).is_some();
        let wanted = recipe.selection(&options.stages, keeps)?;
        let asked = |stage: usize| recipe.actions_of(stage).any(|id| wanted.contains(&id));
        // Of the instances of a stage those that are needed.
        if let Some((name, _)) = options.force.iter().zip(&named).find(|(_, stages)| !stages.iter().any(|stage| asked(*stage))) {
            return Err(EngineError::NotAsked { stage: name.clone() });
        }
        forced.retain(|stage| asked(*stage));
        let mut start = Self { recipe, workspace, options, history, wanted, forced, progress: Progress::default(), began };
        let stands = settle(&start.recipe, &start.workspace, &start.history, Some(&start.wanted));
        if start.options.locked {
            start.hold_to_lock(&stands)?;
        }
        start.progress = start.there(stands);
        Ok(start)
    }

    /// What is there of all that is wanted. What must be done again, or put back in its place, is not.
    fn there(&self, mut stands: Vec<Stand<'_>>) -> Progress {
        let mut progress = Progress::default();
        for &id in &self.recipe.order {
            if let Stand::Found(found) = std::mem::replace(&mut stands[id.index()], Stand::Unasked)
                && found.placed
                && !self.forced.contains(&self.recipe.actions.node(id).stage)
                && self.recipe.actions.needs(id).all(|need| progress.get(need).is_some() || !self.wanted.contains(&need))
            {
                progress.end(id, Done::from(found));
            }
        }
        progress
    }

    fn hold_to_lock(&self, stands: &[Stand<'_>]) -> Result<(), EngineError> {
        let (recipe, history) = (&self.recipe, &self.history);
        let stages = |wrong: &dyn Fn(usize, NodeId) -> bool| -> Vec<String> {
            let stage = |&stage: &usize| recipe.actions_of(stage).any(|id| self.wanted.contains(&id) && wrong(stage, id));
            (0..recipe.stages.len()).filter(stage).map(|stage| recipe.stages[stage].name.to_string()).collect()
        };
        let again = stages(&|stage, id| match &stands[id.index()] {
            Stand::Found(_) => self.forced.contains(&stage),
            // What a gate holds back would not be made.
            Stand::Barred(_) | Stand::Unasked => false,
            Stand::Stale(_) | Stand::Waits(_) | Stand::Broken(_) => true,
        });
        if !again.is_empty() {
            return Err(EngineError::Stale { stages: again });
        }
        let differs = stages(&|_, id| matches!(&stands[id.index()], Stand::Found(found) if !history.agrees(recipe, id, found)));
        let differs: Vec<String> = differs.into_iter().chain(history.strays(recipe)).collect();
        if differs.is_empty() { Ok(()) } else { Err(EngineError::NotLocked { stages: differs, lock: recipe.lock_path() }) }
    }

    /// Whether all that is wanted is there.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.wanted.iter().all(|id| self.progress.get(*id).is_some())
    }

    /// Ends a run that has nothing to do.
    ///
    /// # Errors
    /// When history cannot be written.
    pub fn finish(mut self, observer: Arc<dyn Observer>) -> Result<Finished, EngineError> {
        let progress = std::mem::take(&mut self.progress);
        self.shared(observer, Interrupt::default())?.finish(progress, &BTreeSet::new())
    }

    /// Makes it so. A stage that fails is no error here: the summary tells of it.
    ///
    /// # Errors
    /// When history cannot be written.
    pub async fn run(mut self, observer: Arc<dyn Observer>, interrupt: Interrupt) -> Result<Finished, EngineError> {
        let progress = std::mem::take(&mut self.progress);
        let mut running = self.shared(observer, interrupt)?;
        let (progress, told) = running.go(progress).await;
        running.finish(progress, &told)
    }

    fn shared(mut self, observer: Arc<dyn Observer>, interrupt: Interrupt) -> Result<Running, EngineError> {
        let live = Lock::share(&self.workspace.store, LIVE)?;
        Session::clear_dead(&self.workspace.store);
        let runs = self.workspace.store.root().join("runs");
        let id = RunId::next(&runs, Timestamp::now(), nonce());
        let log = RunLog::begin(&runs, &id, self.options.events.as_deref())?;
        log.append(&Event::RunStarted {
            pipeline: self.recipe.name.clone(),
            file: self.workspace.name_of(&self.recipe.file.path).display().to_string(),
            profile: self.recipe.overrides.profile.clone(),
            set: self.recipe.overrides.set.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.options.name.clone(),
            tags: self.options.tags.clone(),
            at: Timestamp::now(),
        })?;
        let network = Arc::new(Network::new(&self.workspace.store.root().join("providers"), self.options.tape.take()));
        let ranks = if self.is_done() { Vec::new() } else { ranks(&self.recipe, |id| self.history.known.took(id.index())) };
        let shared = Arc::new(Shared {
            recipe: Arc::clone(&self.recipe),
            workspace: Arc::clone(&self.workspace),
            history: self.history,
            observer,
            log,
            run: id,
            interrupt,
            pool: Pool::new(Machine::here(self.options.jobs)),
            ranks,
            forced: self.forced,
            origin: OnceLock::new(),
            session: Mutex::new(None),
            guard: Guard::new(self.options.program),
            network,
            purses: Purses::new(self.recipe.budget, self.recipe.stages.iter().map(|stage| (stage.name.as_str(), stage.scheduling.budget))),
            _live: live,
        });
        Ok(Running { shared, wanted: self.wanted, keep_going: self.options.keep_going, brief: self.options.brief, began: self.began })
    }
}

/// A run under way.
struct Running {
    shared: Arc<Shared>,
    wanted: BTreeSet<NodeId>,
    keep_going: bool,
    brief: bool,
    began: Instant,
}

impl Running {
    /// Schedules, and again where an object turned out to be damaged: it has been set aside by then, so that its maker runs.
    async fn go(&mut self, found: Progress) -> (Progress, BTreeSet<usize>) {
        let shared = &self.shared;
        let mut ran: BTreeMap<NodeId, Done> = BTreeMap::new();
        let mut told: BTreeSet<usize> = BTreeSet::new();
        let mut repairs = 0;
        let mut found = Some(found);
        loop {
            let mut tell = |progress: &Progress, id: NodeId| {
                let stage = shared.recipe.actions.node(id).stage;
                let mut ids = shared.recipe.actions_of(stage).filter(|id| self.wanted.contains(id));
                let over = ids.all(|id| progress.get(id).is_some() || progress.failed.contains_key(&id));
                // What failed over a damaged object is done again in a moment.
                let again =
                    repairs < REPAIRS && shared.recipe.actions_of(stage).any(|id| progress.failed.get(&id).is_some_and(|failure| failure.error.is_damage()));
                if over && !again && told.insert(stage) {
                    let summary = summarize(shared, stage, &self.wanted, progress, RunStatus::Ok);
                    // A log that cannot be written fails the run at its end.
                    let _ = shared.log.append(&ended(&summary));
                    shared.observer.notice(Notice::Finished(summary));
                }
            };
            // A second time everything is looked at anew: what was found may be the very object that is damaged.
            let mut progress = schedule(shared, &self.wanted, found.take().unwrap_or_default(), self.keep_going, &mut tell).await;
            let damaged: Vec<(NodeId, &Failure)> =
                progress.failed.iter().filter(|(_, failure)| failure.error.is_damage()).map(|(id, failure)| (*id, failure)).collect();
            if !damaged.is_empty() && !shared.history.held && repairs < REPAIRS && !shared.interrupt.stopped() {
                repairs += 1;
                // What kept its result and has lost it needs again what it is made of.
                self.wanted.extend(shared.recipe.actions.with_needs(damaged.iter().map(|(id, _)| *id), |_| false));
                for (id, failure) in damaged {
                    let stage = shared.recipe.stage_name(shared.recipe.actions.node(id)).to_string();
                    let message = format!("{}; what made it runs again", failure.error);
                    // As with every note: a log that cannot be written fails the run elsewhere.
                    let _ = shared.log.append(&Event::Note { stage: stage.clone(), message: message.clone() });
                    shared.observer.notice(Notice::Note { stage, message });
                }
                ran.extend(progress.into_ran());
                continue;
            }
            for (id, before) in ran {
                if let Some(done) = progress.get_mut(id)
                    && !done.ran
                {
                    *done = before;
                }
            }
            return (progress, told);
        }
    }

    /// Writes down what came of it all.
    fn finish(self, progress: Progress, told: &BTreeSet<usize>) -> Result<Finished, EngineError> {
        let (shared, recipe) = (&self.shared, &self.shared.recipe);
        shared.workspace.files.save();
        let status = status(shared, &progress);
        let stages = stage_ids(recipe, &self.wanted);
        let asked = stages.len();
        let cached = |stage: &usize| recipe.actions_of(*stage).all(|id| progress.passed(id) && progress.get(id).is_some_and(|done| !done.ran));
        let stages = stages.into_iter().filter(|stage| !self.brief || !cached(stage));
        let stages: Vec<(usize, StageSummary)> = stages.map(|stage| (stage, summarize(shared, stage, &self.wanted, &progress, status))).collect();
        let seconds = self.began.elapsed().as_secs_f64();
        for (_, summary) in stages.iter().filter(|(stage, summary)| summary.status != StageStatus::Cached && !told.contains(stage)) {
            shared.log.append(&ended(summary))?;
        }
        let stages: Vec<StageSummary> = stages.into_iter().map(|(_, summary)| summary).collect();
        let now = Now { run: &shared.run, log: &shared.log };
        // What is held to the lock file does not change it.
        let Remembered { results, orphans } = if shared.history.held {
            Remembered { results: shared.history.locked_by().map(str::to_owned), orphans: Vec::new() }
        } else {
            remember(recipe, &shared.workspace, &shared.history, now, &progress)?
        };
        shared.log.append(&Event::RunDone { status: status.word().to_owned(), seconds, results })?;
        let errors = progress.failed.into_iter().map(|(id, failure)| (id, failure.error)).filter(|(_, error)| !matches!(error, StageError::Stopped));
        let errors = errors.map(|(id, error)| (recipe.stage_name(recipe.actions.node(id)).to_string(), error)).collect();
        let deaf = shared.log.deaf().map(|problem| format!("not all events could be told: {problem}"));
        let tape = shared.network.tape().and_then(Tape::failed).map(|problem| format!("not all exchanges could be recorded: {problem}"));
        let left = |(path, stage): (String, String)| {
            format!("{path} was written by `{stage}` once, and no stage writes it now: folders and globs leave it out; delete it if you need it no more")
        };
        let troubles = deaf.into_iter().chain(tape).chain(orphans.into_iter().map(left)).collect();
        Ok(Finished { summary: RunSummary { run: shared.run.to_string(), status, seconds, stages }, asked, errors, troubles })
    }
}

fn ended(stage: &StageSummary) -> Event {
    Event::StageDone {
        stage: stage.name.clone(),
        status: stage.status,
        fingerprint: stage.fingerprint.clone(),
        seconds: stage.seconds,
        metrics: stage.metrics.clone(),
    }
}

fn status(shared: &Shared, progress: &Progress) -> RunStatus {
    if shared.interrupt.stopped() && progress.failed.values().any(|failure| failure.error.is_stop()) {
        RunStatus::Interrupted
    } else if !progress.failed.is_empty() {
        RunStatus::Failed
    } else if !progress.gated.is_empty() {
        RunStatus::Gated
    } else if shared.interrupt.stopped() {
        RunStatus::Interrupted
    } else {
        RunStatus::Ok
    }
}

fn stage_ids(recipe: &Recipe, wanted: &BTreeSet<NodeId>) -> Vec<usize> {
    (0..recipe.stages.len()).filter(|&stage| recipe.actions_of(stage).any(|id| wanted.contains(&id))).collect()
}

fn summarize(shared: &Shared, stage: usize, wanted: &BTreeSet<NodeId>, progress: &Progress, run: RunStatus) -> StageSummary {
    let recipe = &shared.recipe;
    let ids: Vec<NodeId> = recipe.actions_of(stage).filter(|id| wanted.contains(id)).collect();
    let done: Vec<&Done> = ids.iter().filter_map(|id| progress.get(*id)).collect();
    let failures: Vec<&Failure> = ids.iter().filter_map(|id| progress.failed.get(id)).collect();
    let status = if failures.iter().any(|failure| !failure.error.is_stop()) {
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
    notes.extend(failures.iter().map(|failure| failure.error.to_string()));
    if status == StageStatus::Gated && notes.is_empty() {
        notes.push("its gates said no before, and nothing changed since".into());
    }
    if status == StageStatus::Skipped {
        notes.extend(because(recipe, &ids, progress, run));
    }
    let declared = &recipe.stages[stage];
    let outputs = done.iter().flat_map(|done| &done.outcome.outputs).map(|(name, artifact)| (name.clone(), artifact.digest().to_string()));
    StageSummary {
        name: declared.name.to_string(),
        kind: declared.kind.clone(),
        status,
        fingerprint: stage_fingerprint(ids.iter().map(|id| progress.get(*id).map(|done| done.key))),
        seconds: done.iter().map(|done| done.seconds).chain(failures.iter().map(|failure| failure.seconds)).fold(0.0, |sum, seconds| sum + seconds),
        reasons: reasons(recipe, &ids, progress),
        metrics: done.iter().flat_map(|done| done.outcome.metrics.clone()).collect(),
        outputs: outputs.collect(),
        notes,
    }
}

/// What kept a stage from being begun.
fn because(recipe: &Recipe, ids: &[NodeId], progress: &Progress, run: RunStatus) -> Option<String> {
    if ids.iter().any(|id| progress.failed.get(id).is_some_and(|failure| failure.error.is_stop() && failure.attempts > 0)) {
        return Some("it was stopped while it ran".to_owned());
    }
    let before: BTreeSet<NodeId> = recipe.actions.with_needs(ids.iter().copied(), |_| false);
    let named = |found: Option<&NodeId>, word: &str| found.map(|id| format!("`{}` {word}", recipe.stage_name(recipe.actions.node(*id))));
    let failed = before.iter().find(|id| progress.failed.get(id).is_some_and(|failure| !failure.error.is_stop()));
    named(failed, "failed")
        .or_else(|| named(before.iter().find(|id| progress.gated.contains(id)), "said no"))
        .or_else(|| (run == RunStatus::Interrupted).then(|| "the run was stopped before".to_owned()))
        .or_else(|| (run == RunStatus::Failed).then(|| "another stage failed before; `--keep-going` would go on".to_owned()))
}

fn reasons(recipe: &Recipe, ids: &[NodeId], progress: &Progress) -> Vec<String> {
    let several = ids.len() > 1;
    let all = ids.iter().filter_map(|id| progress.get(*id).map(|done| (recipe.actions.node(*id).name.as_str(), done)));
    let lines = all.flat_map(|(name, done)| done.reasons.iter().map(move |reason| if several { format!("{name}: {reason}") } else { reason.clone() }));
    lines.collect()
}

/// Something that tells apart runs that begin at once.
pub(super) fn nonce() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let [_, _, _, _, a, b, c, d] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
