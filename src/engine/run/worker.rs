//! One action from its inputs to its record.

use crate::graph::folders_above;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::fingerprint::{ActionKey, Preimage};
use crate::graph::NodeId;
use crate::ledger::Event;
use crate::provider::Watch;
use crate::stage::{Context, StageError};
use crate::store::{Artifact, Lock, Record, RecordOutcome, Session, StoreError, displaced, move_to};

use super::super::notice::Notice;
use super::super::plan::explain::{Reasons, again_since, reasons};
use super::super::plan::resolve::{Ready, Seen, ready};
use super::super::plan::settle::{Found, effect};
use super::super::recipe::NodeInput;
use super::origin::Origin;
use super::pool::Grant;
use super::shared::{Done, Failure, Shared};
use super::stage_watch::StageWatch;

impl Shared {
    /// Finds the result of an action, or makes it. `made` holds the artifacts of its inputs that stages make; an action that keeps
    /// what it has can do without them.
    pub async fn act(&self, id: NodeId, made: Result<Vec<Artifact>, StageError>, halt: CancellationToken) -> Result<Done, Failure> {
        let done = self.find_or_make(id, made, halt).await;
        if let Err(Failure { error, attempts, seconds }) = &done
            && !matches!(error, StageError::Stopped)
        {
            let node = self.recipe.actions.node(id);
            let (stage, action) = (self.recipe.stage_name(node).to_string(), node.name.clone());
            // The error itself goes on to the user, log or no log.
            let _ = self.log.append(&Event::ActionFailed { stage, action, message: error.to_string(), attempts: *attempts, seconds: *seconds });
        }
        done
    }

    async fn find_or_make(&self, id: NodeId, made: Result<Vec<Artifact>, StageError>, halt: CancellationToken) -> Result<Done, Failure> {
        let node = self.recipe.actions.node(id);
        let stage = self.recipe.stage_name(node).to_string();
        if !self.forced(id)
            && let Some(found) = self.history.frozen(&self.recipe, &self.workspace, id)
        {
            let watch = StageWatch { shared: self, stage, notes: Mutex::default(), clock: Mutex::default(), spoken_for: Mutex::default(), halt };
            let mut done = Done::from(found);
            if node.appears {
                let _ = blocking(is_large(&done.outcome), || self.workspace.restock(&done.outcome));
                done.notes.extend(blocking(is_large(&done.outcome), || self.appear(&done.outcome, &watch))?);
            }
            return Ok(done);
        }
        let made = made?;
        // Files of the workspace may be large; what stages made is known by its digest.
        let reads = node.inputs.iter().any(|input| matches!(input, NodeInput::Files(_)));
        let ready = blocking(reads, || ready(&self.recipe, &self.workspace, node, &made, &mut Seen::default()))?;
        let watch = StageWatch { shared: self, stage: stage.clone(), notes: Mutex::default(), clock: Mutex::default(), spoken_for: Mutex::default(), halt };
        let always = self.history.runs_always(&self.recipe, &self.workspace, node, ready.key);
        let again = self.forced(id) || always;
        if !again && let Some(found) = self.found(id, &ready, &watch)? {
            return Ok(found);
        }
        let (grant, lock, waited) = self.turn(id, &watch, ready.key).await?;
        // Whoever had the lock before may have made it.
        if !again && let Some(found) = self.found(id, &ready, &watch)? {
            drop((grant, lock));
            if waited {
                // Who made it is about to go on with what comes after it, and is let go first.
                tokio::time::sleep(COURTESY).await;
            }
            return Ok(found);
        }
        let mut why = match (self.forced(id), always) {
            (true, _) => Reasons::words("--force"),
            (false, true) => Reasons::words(again_since(&self.recipe, node)),
            (false, false) => reasons(&self.workspace.store, self.history.last(&self.recipe, id), &ready),
        };
        why.words.extend(self.history.cannot_keep(&self.recipe, id).map(str::to_owned));
        if self.history.held {
            return Err(StageError::Held.into());
        }
        ready.leads_nowhere_else(&self.workspace)?;
        let wants = self.recipe.scheduling(node).resources.cpus;
        let there = || std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZero::get);
        if let Some(there) = (wants > 1).then(there).filter(|there| wants > *there) {
            watch.note(&format!("it asks for {wants} cores and this machine has {there}: it gets all of them"));
        }
        self.make(id, ready, why.lines(), &watch, grant).await
    }

    fn forced(&self, id: NodeId) -> bool {
        self.forced.contains(&self.recipe.actions.node(id).stage)
    }

    fn found(&self, id: NodeId, ready: &Ready<'_>, watch: &StageWatch<'_>) -> Result<Option<Done>, StageError> {
        let node = self.recipe.actions.node(id);
        if node.effect {
            let found = effect(&self.recipe, &self.workspace, node, ready)?;
            if found.as_ref().is_some_and(|found| !found.placed)
                && let Some(record) = self.workspace.store.find(ready.key)
            {
                let works = self.recipe.works(node.stage)?;
                works[node.place].work.restore(&self.workspace.root, &self.workspace.store, &record, &ready.given())?;
                watch.note("brought back as the store remembers it");
            }
            return Ok(found.map(Done::from));
        }
        let Some((record, whole)) = self.workspace.find(ready.key, node.appears) else {
            return Ok(None);
        };
        if !whole {
            if !blocking(is_large(&record.outcome), || self.workspace.restock(&record.outcome)) {
                return Ok(None);
            }
            watch.note("the store had lost a part of the result; it was put back from the workspace");
        }
        let note = record.outcome.kept();
        let mut done = Done::from(Found { key: ready.key, outcome: Arc::new(record.outcome), note, placed: true, took: record.seconds as f32 });
        if node.appears {
            done.notes.extend(blocking(is_large(&done.outcome), || self.appear(&done.outcome, watch))?);
        }
        Ok(Some(done))
    }

    /// Waits for a share of the machine and the right to make a key. Another process that has the right is most likely making
    /// the very result; the share goes to others meanwhile. Tells whether somebody else had the right before.
    async fn turn(&self, id: NodeId, watch: &StageWatch<'_>, key: ActionKey) -> Result<(Grant, Lock, bool), StageError> {
        let mut told = false;
        loop {
            let grant = self.share(id, watch).await?;
            if let Some(lock) = Lock::try_key(&self.workspace.store, key)? {
                return Ok((grant, lock, told));
            }
            drop(grant);
            if !std::mem::replace(&mut told, true) {
                self.observer.notice(Notice::Waiting { stage: watch.stage.clone() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a share of the machine.
    async fn share(&self, id: NodeId, watch: &StageWatch<'_>) -> Result<Grant, StageError> {
        let wants = self.recipe.scheduling(self.recipe.actions.node(id)).resources;
        let rank = self.ranks.get(id.index()).copied().unwrap_or_default();
        let grant = tokio::select! {
            biased;
            () = self.interrupt.until_stopped() => return Err(StageError::Stopped),
            () = watch.halt.cancelled() => return Err(StageError::Stopped),
            grant = self.pool.acquire(rank, wants) => grant?,
        };
        Ok(grant)
    }

    async fn make(&self, id: NodeId, ready: Ready<'_>, reasons: Vec<String>, watch: &StageWatch<'_>, grant: Grant) -> Result<Done, Failure> {
        let node = self.recipe.actions.node(id);
        let (stage, action) = (watch.stage.clone(), node.name.clone());
        let took = Some(f64::from(self.history.took(&self.recipe, &self.workspace, id))).filter(|took| *took > 0.0);
        self.observer.notice(Notice::Started { stage: stage.clone(), action: action.clone(), reasons: reasons.clone(), took });
        self.log.append(&Event::ActionStarted {
            stage: stage.clone(),
            action: action.clone(),
            key: ready.key.to_string(),
            reasons: reasons.clone(),
            at: Timestamp::now(),
        })?;
        let mut preimage = ready.preimage()?;
        if let Some(note) = ready.left_out() {
            watch.note(&note);
        }
        if self.forced(id) {
            // What is done by force is done from nothing.
            self.workspace.store.clear_checkpoints(ready.key);
        }
        let (mut outcome, attempts, seconds) = self.attempts(id, &ready, &preimage, watch, grant).await?;
        // What is no number could not be read again.
        outcome.metrics.retain(|_, figure| figure.is_finite());
        ready.keep_listings(&self.workspace.store, &mut preimage)?;
        let record = Record {
            format: Record::FORMAT,
            key: ready.key,
            preimage,
            outcome: outcome.clone(),
            seconds,
            run: self.run.to_string(),
            finished: Timestamp::now(),
            attempts,
            maker: self.origin.get_or_init(|| Origin::of(&self.workspace.root)).maker(&ready.given(), self.network.replays()),
        };
        self.workspace.store.publish(&record)?;
        self.workspace.store.clear_checkpoints(ready.key);
        self.log.append(&Event::ActionDone { stage, action, seconds, attempts })?;
        let mut notes = std::mem::take(&mut *watch.notes.lock().unwrap_or_else(PoisonError::into_inner));
        if node.appears {
            notes.extend(blocking(is_large(&outcome), || self.appear(&outcome, watch))?);
        }
        let is_folder = |(path, artifact): (&String, &Artifact)| matches!(artifact, Artifact::Tree { .. }).then_some(path.clone());
        for folder in outcome.outputs.iter().filter_map(is_folder).filter(|_| node.appears) {
            if let Some(pattern) = self.recipe.outputs.reached_by(&folder) {
                return Err(StageError::ReachesInto { pattern: pattern.to_owned(), folder }.into());
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "an estimate for the next run")]
        let took = seconds as f32;
        Ok(Done { key: ready.key, outcome: Arc::new(outcome), seconds, took, ran: true, reasons, notes })
    }

    /// Does the work, and again as often as the stage allows where it fails for a reason that may pass. Tells what came of it,
    /// after how many attempts, and how long they took together.
    async fn attempts(
        &self,
        id: NodeId,
        ready: &Ready<'_>,
        preimage: &Preimage,
        watch: &StageWatch<'_>,
        grant: Grant,
    ) -> Result<(RecordOutcome, u32, f64), Failure> {
        let scheduling = self.recipe.scheduling(self.recipe.actions.node(id));
        let (mut grant, mut attempts, mut seconds) = (grant, 1, 0.0);
        loop {
            watch.allow(scheduling.timeout);
            let result = self.attempt(id, ready, preimage, watch, &grant, attempts == 1).await;
            let late = watch.is_late();
            seconds += watch.took().as_secs_f64();
            watch.allow(None);
            let error = match result {
                Ok(outcome) => return Ok((outcome, attempts, seconds)),
                Err(error) if error.is_stop() && late && !self.interrupt.stopped() => StageError::TimedOut { limit: scheduling.timeout.unwrap_or_default() },
                Err(error) => error,
            };
            if attempts > scheduling.retries || !error.may_pass() || self.interrupt.stopped() {
                return Err(Failure { error, attempts, seconds });
            }
            let wait = backoff(scheduling.delay, attempts, ready.key);
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            let shown = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            watch.note(&format!("attempt {attempts} of {}: {first}; again in {shown:?}", scheduling.retries + 1));
            drop(grant);
            tokio::select! {
                // It would have been tried again: what stops it is the user.
                () = self.interrupt.until_stopped() => return Err(Failure { error: StageError::Stopped, attempts, seconds }),
                () = watch.halt.cancelled() => return Err(Failure { error, attempts, seconds }),
                () = tokio::time::sleep(wait) => {}
            }
            grant = self.share(id, watch).await?;
            attempts += 1;
        }
    }

    async fn attempt(
        &self,
        id: NodeId,
        ready: &Ready<'_>,
        preimage: &Preimage,
        watch: &StageWatch<'_>,
        grant: &Grant,
        is_first: bool,
    ) -> Result<RecordOutcome, StageError> {
        let node = self.recipe.actions.node(id);
        let works = self.recipe.works(node.stage)?;
        let given = ready.given();
        let session = self.session()?;
        let attempt = session.attempt()?;
        let log = self.log_path(&watch.stage);
        let (temporary, gpus) = (attempt.temporary().to_owned(), grant.gpus());
        // What is done by force is done from nothing.
        let builds_on_last = works[node.place].builds_on_last && !self.forced(id);
        let last = builds_on_last.then(|| self.history.last(&self.recipe, id)).flatten();
        let last = last.and_then(|key| self.workspace.store.remembered(key));
        let work = &works[node.place].work;
        let in_place = work.works_in_place();
        let moved = || {
            let moved = ready.touched(&self.workspace, in_place).map(str::to_owned);
            moved.or_else(|| in_place.then(|| ready.grew(&self.workspace)).flatten())
        };
        let context = Context {
            moved: &moved,
            key: ready.key,
            stage: self.recipe.stage_name(node),
            store: &self.workspace.store,
            workspace: &self.workspace.root,
            folder: attempt.path(),
            session: session.path(),
            temporary: &temporary,
            token: attempt.token(),
            gpus: gpus.as_deref(),
            preimage,
            last: last.as_ref(),
            // What the first attempt came to know the next ones may use.
            anew: is_first && (self.forced(id) || self.history.runs_always(&self.recipe, &self.workspace, node, ready.key)),
            log: &log,
            inputs: &given,
            guard: &self.guard,
            network: &self.network,
            watch,
        };
        let result = work.run(&context).await;
        if let Some(path) = moved() {
            // What it kept on its way may come from either content.
            self.workspace.store.clear_checkpoints(ready.key);
            result?;
            return Err(StageError::InputChanged { path });
        }
        if let Err(StageError::InputChanged { .. } | StageError::InputWritten { .. }) = &result {
            self.workspace.store.clear_checkpoints(ready.key);
        }
        result
    }

    fn log_path(&self, stage: &str) -> PathBuf {
        self.workspace.store.root().join("runs").join(self.run.to_string()).join("logs").join(format!("{stage}.log"))
    }

    fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        let begun = Arc::new(Session::begin(&self.workspace.store, &format!("{}-{}", self.run, std::process::id()))?);
        *session = Some(Arc::clone(&begun));
        Ok(begun)
    }

    /// Lets outputs appear at their paths in the workspace. What lies there and is nowhere else is moved aside first.
    fn appear(&self, outcome: &RecordOutcome, watch: &StageWatch<'_>) -> Result<Vec<String>, StageError> {
        let mut notes = Vec::new();
        for (path, &artifact) in &outcome.outputs {
            let place = self.workspace.root.join(path);
            self.workspace.placed.note(path, artifact).map_err(|source| StageError::Io { doing: "remember", path: place.clone(), source })?;
            if self.workspace.stands(path, artifact) {
                continue;
            }
            if !self.workspace.store.has(artifact) {
                return Err(StoreError::Missing { digest: artifact.digest() }.into());
            }
            // Other processes may be at the same place: one after the other, and who comes later finds it done.
            let _lock = self.alone_at(path, watch)?;
            if self.workspace.stands(path, artifact) {
                continue;
            }
            let above = folders_above(path).map(|above| (above, self.workspace.root.join(above)));
            for (above, place) in above.filter(|(_, place)| place.symlink_metadata().is_ok() && !place.is_dir()) {
                if let Some(aside) = self.displace(above, &place)? {
                    watch.note(&format!("{above} had to be a folder; the file that was there is kept as {aside}"));
                    notes.push(format!("{above} was replaced; what it held is kept as {aside}"));
                } else {
                    std::fs::remove_file(&place).map_err(|source| StageError::Io { doing: "replace", path: place.clone(), source })?;
                }
            }
            if let Some(real) = self.workspace.linked(path) {
                return Err(StageError::LinkedOutput { path: path.clone(), real });
            }
            if let Some(aside) = self.displace(path, &place)? {
                watch.note(&format!("{path} held something that the store does not have; it is kept as {aside}"));
                notes.push(format!("{path} was replaced; what it held is kept as {aside}"));
            }
            self.workspace.store.export(artifact, &place)?;
        }
        Ok(notes)
    }

    /// Waits for the right to write an output in the workspace: a command that works there itself may have it for long.
    fn alone_at(&self, path: &str, watch: &StageWatch<'_>) -> Result<Lock, StageError> {
        let name = format!("output {path}");
        if let Some(lock) = Lock::try_alone(&self.workspace.store, &name)? {
            return Ok(lock);
        }
        self.observer.notice(Notice::Waiting { stage: watch.stage.clone() });
        tokio::task::block_in_place(|| {
            loop {
                if let Some(lock) = Lock::try_alone(&self.workspace.store, &name)? {
                    return Ok(lock);
                }
                if watch.let_go() {
                    return Err(StageError::Stopped);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    }

    /// Moves what the store does not know out of the way. What it knows can be had again and may go.
    fn displace(&self, path: &str, place: &std::path::Path) -> Result<Option<String>, StageError> {
        if std::fs::symlink_metadata(place).is_err() || self.workspace.store.knows(place) {
            return Ok(None);
        }
        let (aside, kept_as) = displaced(&self.workspace.store, path, &self.run.to_string());
        move_to(place, &aside).map_err(|source| StageError::Io { doing: "move aside", path: place.to_owned(), source })?;
        Ok(Some(kept_as))
    }
}

/// How long a process that waited for another's result lets the other go on before it.
const COURTESY: Duration = Duration::from_millis(30);

/// Does some work that may keep its thread for long, where it does: to say so beforehand costs more than what is short.
fn blocking<T>(long: bool, work: impl FnOnce() -> T) -> T {
    if long { tokio::task::block_in_place(work) } else { work() }
}

/// Whether outputs take a while to read or write.
fn is_large(outcome: &RecordOutcome) -> bool {
    outcome.outputs.values().any(|artifact| matches!(artifact, Artifact::Tree { .. }) || artifact.size() > 1 << 20)
}

/// The wait before another attempt: twice as long each time, and a part of it by the key, so that many that failed together do
/// not come back together.
fn backoff(delay: Duration, attempt: u32, key: ActionKey) -> Duration {
    const LONGEST: Duration = Duration::from_secs(600);
    let doubled = delay.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(LONGEST);
    let part = key.0.as_bytes()[attempt as usize % 32];
    doubled.mul_f64(1.0 + f64::from(part) / 255.0 / 4.0)
}
