//! One action from its inputs to its record.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::fingerprint::ActionKey;
use crate::graph::NodeId;
use crate::ledger::{Event, RunId, RunLog};
use crate::provider::Watch;
use crate::stage::{Context, Guard, StageError};
use crate::store::{Artifact, Lock, Record, RecordOutcome, Session, StoreError};

use super::explain::{Reasons, reasons};
use super::notice::{Notice, Observer};
use super::recipe::Recipe;
use super::resolve::{Ready, Seen, ready};
use super::settle::{Found, History, effect};
use super::workspace::Workspace;

/// What all actions of a run share.
pub struct Shared {
    pub recipe: Arc<Recipe>,
    pub workspace: Arc<Workspace>,
    pub history: History,
    pub observer: Arc<dyn Observer>,
    pub log: RunLog,
    pub run: RunId,
    pub stop: CancellationToken,
    pub jobs: Semaphore,
    pub forced: Vec<usize>,
    pub session: Mutex<Option<Arc<Session>>>,
    pub guard: Guard,
}

/// What came of an action.
#[derive(Debug)]
pub struct Done {
    pub key: ActionKey,
    pub outcome: Arc<RecordOutcome>,
    pub seconds: f64,
    /// Whether it was done just now, and not found.
    pub ran: bool,
    pub reasons: Vec<String>,
    pub notes: Vec<String>,
}

impl From<Found> for Done {
    fn from(found: Found) -> Self {
        let notes = found.note.into_iter().collect();
        Self { key: found.key, outcome: found.outcome, seconds: 0.0, ran: false, reasons: Vec::new(), notes }
    }
}

/// How the work of an action speaks to the run.
struct StageWatch<'a> {
    shared: &'a Shared,
    stage: String,
    notes: Mutex<Vec<String>>,
}

impl Watch for StageWatch<'_> {
    fn progress(&self, done: u64, total: u64, unit: &str, detail: &str) {
        let (unit, detail) = (unit.to_owned(), detail.to_owned());
        self.shared.observer.notice(Notice::Progress { stage: self.stage.clone(), done, total, unit, detail });
    }

    fn note(&self, message: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
        let event = Event::Note { stage: self.stage.clone(), message: message.to_owned() };
        // The note is shown in any case; a log that cannot be written fails the run elsewhere.
        let _ = self.shared.log.append(&event);
        self.shared.observer.notice(Notice::Note { stage: self.stage.clone(), message: message.to_owned() });
    }

    fn stopped(&self) -> bool {
        self.shared.stop.is_cancelled()
    }
}

impl Shared {
    /// Finds the result of an action, or makes it. `made` holds the artifacts of its inputs that stages make.
    pub async fn act(&self, id: NodeId, made: Vec<Artifact>) -> Result<Done, StageError> {
        let done = self.find_or_make(id, made).await;
        if let Err(error) = &done {
            let node = self.recipe.actions.node(id);
            let (stage, action) = (self.recipe.stage_name(node).to_string(), node.name.clone());
            // The error itself goes on to the user, log or no log.
            let _ = self.log.append(&Event::ActionFailed { stage, action, message: error.to_string() });
        }
        done
    }

    async fn find_or_make(&self, id: NodeId, made: Vec<Artifact>) -> Result<Done, StageError> {
        let node = self.recipe.actions.node(id);
        let stage = self.recipe.stage_name(node).to_string();
        let ready = tokio::task::block_in_place(|| ready(&self.recipe, &self.workspace, node, made, &mut Seen::new()))?;
        let watch = StageWatch { shared: self, stage: stage.clone(), notes: Mutex::default() };
        let forced = self.forced.contains(&node.stage);
        if !forced && let Some(found) = self.found(id, &ready, &watch)? {
            return Ok(found);
        }
        // The semaphore is never closed, so that there is always a permit in the end.
        let _permit = self.jobs.acquire().await;
        if self.stop.is_cancelled() {
            return Err(StageError::Stopped);
        }
        let _lock = self.key_lock(&stage, ready.key).await?;
        // Whoever had the lock before may have made it.
        if !forced && let Some(found) = self.found(id, &ready, &watch)? {
            return Ok(found);
        }
        let why = if forced { Reasons::words("--force") } else { reasons(&self.workspace.store, self.history.last(&self.recipe, id), &ready) };
        self.make(id, ready, why.lines(), &watch).await
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
        let Some(record) = self.workspace.store.find(ready.key) else {
            return Ok(None);
        };
        let mut done = Done::from(Found { key: ready.key, outcome: Arc::new(record.outcome), note: None, placed: true });
        if node.appears {
            done.notes = tokio::task::block_in_place(|| self.appear(&done.outcome, watch))?;
        }
        Ok(Some(done))
    }

    /// Waits for the right to make a key. Another process that has it is most likely making the very result.
    async fn key_lock(&self, stage: &str, key: ActionKey) -> Result<Lock, StageError> {
        let mut told = false;
        loop {
            if let Some(lock) = Lock::try_key(&self.workspace.store, key)? {
                return Ok(lock);
            }
            if self.stop.is_cancelled() {
                return Err(StageError::Stopped);
            }
            if !std::mem::replace(&mut told, true) {
                self.observer.notice(Notice::Waiting { stage: stage.to_owned() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn make(&self, id: NodeId, ready: Ready<'_>, reasons: Vec<String>, watch: &StageWatch<'_>) -> Result<Done, StageError> {
        let node = self.recipe.actions.node(id);
        let (stage, action) = (watch.stage.clone(), node.name.clone());
        self.observer.notice(Notice::Started { stage: stage.clone(), action: action.clone(), reasons: reasons.clone() });
        self.log.append(&Event::ActionStarted {
            stage: stage.clone(),
            action: action.clone(),
            key: ready.key.to_string(),
            reasons: reasons.clone(),
            at: Timestamp::now(),
        })?;
        let works = self.recipe.works(node.stage)?;
        let preimage = ready.preimage()?;
        let given = ready.given();
        let attempt = self.session()?.attempt()?;
        let began = Instant::now();
        let log = self.log_path(&stage);
        let context = Context {
            key: ready.key,
            stage: self.recipe.stage_name(node),
            store: &self.workspace.store,
            workspace: &self.workspace.root,
            folder: attempt.path(),
            log: &log,
            inputs: &given,
            guard: &self.guard,
            watch,
        };
        let outcome = works[node.place].work.run(&context).await?;
        if let Some(path) = ready.touched(&self.workspace) {
            return Err(StageError::InputChanged { path: path.to_owned() });
        }
        let seconds = began.elapsed().as_secs_f64();
        let record = Record {
            format: Record::FORMAT,
            key: ready.key,
            preimage,
            outcome: outcome.clone(),
            seconds,
            run: self.run.to_string(),
            finished: Timestamp::now(),
        };
        self.workspace.store.publish(&record)?;
        self.log.append(&Event::ActionDone { stage, action, seconds })?;
        let mut notes = std::mem::take(&mut *watch.notes.lock().unwrap_or_else(PoisonError::into_inner));
        if node.appears {
            notes.extend(tokio::task::block_in_place(|| self.appear(&outcome, watch))?);
        }
        Ok(Done { key: ready.key, outcome: Arc::new(outcome), seconds, ran: true, reasons, notes })
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
            if self.workspace.stands(path, artifact) {
                continue;
            }
            if let Some(aside) = self.displace(path, &place)? {
                watch.note(&format!("{path} held something that no stage made; it is kept as {aside}"));
                notes.push(format!("{path} was replaced; what it held is kept as {aside}"));
            }
            self.workspace.store.export(artifact, &place)?;
        }
        Ok(notes)
    }

    /// Moves what the store does not know out of the way. What it knows can be had again and may go.
    fn displace(&self, path: &str, place: &std::path::Path) -> Result<Option<String>, StageError> {
        if !place.exists() || self.workspace.store.knows(place) {
            return Ok(None);
        }
        let name = format!("{}.{}", path.replace('/', "_"), self.run);
        let folder = self.workspace.store.root().join("displaced");
        let aside = folder.join(&name);
        let moved = std::fs::create_dir_all(&folder).and_then(|()| std::fs::rename(place, &aside));
        moved.map_err(|source| StageError::Io { doing: "move aside", path: place.to_owned(), source })?;
        Ok(Some(format!(".retune/displaced/{name}")))
    }
}
