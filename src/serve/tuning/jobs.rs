//! The jobs, each in a folder of its own: what was asked, how it stands, what happened, and the model that came of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fingerprint::Digest;
use crate::provider::{ModelCard, ModelHandle};
use crate::serve::chat::now;
use crate::serve::name::fresh;
use crate::store::{Lock, Store, write_atomically};

use super::files::Files;
use super::request::{Sizes, Wanted};

/// How a job stands, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl Status {
    /// Whether nothing more comes of it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A job as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    pub created_at: u64,
    pub finished_at: Option<u64>,
    pub status: Status,
    pub model: String,
    pub training_file: String,
    pub validation_file: Option<String>,
    pub suffix: Option<String>,
    pub seed: i64,
    pub sizes: Sizes,
    pub metadata: Option<BTreeMap<String, String>>,
    pub problem: Option<Problem>,
    pub made: Option<Made>,
}

/// What came of a wish to cancel a job.
#[derive(Debug)]
pub enum Cancelled {
    /// It is cancelled.
    Now(Box<Job>),
    /// It was over already.
    Over,
    /// There is none.
    None,
}

/// Why a job failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    pub code: String,
    pub message: String,
    pub param: Option<String>,
}

/// What came of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// What the model is called.
    pub name: String,
    pub card: ModelCard,
    /// The digest of its files.
    pub digest: Digest,
    pub tokens: u64,
    pub results: String,
    /// The step that was kept, and the figures of it.
    pub step: u64,
    pub figures: BTreeMap<String, f64>,
}

/// All jobs of a workspace.
#[derive(Debug)]
pub struct Jobs {
    pub store: Store,
    folder: PathBuf,
    pub files: Files,
    /// Those that run now, and whether they are to end.
    running: Mutex<BTreeMap<String, Arc<AtomicBool>>>,
    queue: mpsc::UnboundedSender<String>,
}

const JOB: &str = "job.json";
const EVENTS: &str = "events.jsonl";
const MODEL: &str = "model";

impl Jobs {
    /// Whether it is written down that a job is over, by whoever ended it.
    pub fn is_over(&self, id: &str) -> bool {
        self.find(id).is_some_and(|job| job.status.is_over())
    }

    /// The jobs of a workspace, and the ids of those that are to be done.
    pub fn open(store: Store) -> (Arc<Self>, mpsc::UnboundedReceiver<String>) {
        let (queue, queued) = mpsc::unbounded_channel();
        let place = store.root().join("serve");
        let jobs = Self { store, folder: place.join("jobs"), files: Files::new(place.join("files")), running: Mutex::default(), queue };
        jobs.files.sweep();
        // What an earlier gateway left is done by this one.
        jobs.open_ones().into_iter().for_each(|id| drop(jobs.queue.send(id)));
        (Arc::new(jobs), queued)
    }

    /// Makes a job, to be done in its turn.
    pub fn make(&self, wanted: Wanted, sizes: Sizes) -> io::Result<Job> {
        let job = Job {
            id: format!("ftjob-{}", fresh()),
            created_at: now(),
            finished_at: None,
            status: Status::Queued,
            model: wanted.model,
            training_file: wanted.training_file,
            validation_file: wanted.validation_file,
            suffix: wanted.suffix,
            seed: wanted.seed.unwrap_or(42),
            sizes,
            metadata: wanted.metadata,
            problem: None,
            made: None,
        };
        fs::create_dir_all(self.folder.join(&job.id))?;
        self.save(&job)?;
        self.event(&job.id, "info", &format!("Created fine-tuning job: {}", job.id), None);
        let _ = self.queue.send(job.id.clone());
        Ok(job)
    }

    /// The job of an id.
    pub fn find(&self, id: &str) -> Option<Job> {
        let is_id = id.strip_prefix("ftjob-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        serde_json::from_slice(&is_id.then(|| fs::read(self.folder.join(id).join(JOB)).ok())??).ok()
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Job> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<Job> = entries.filter_map(|entry| self.find(entry.file_name().to_str()?)).collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    /// Writes down how a job stands.
    pub fn save(&self, job: &Job) -> io::Result<()> {
        write_atomically(&self.folder.join(&job.id).join(JOB), &serde_json::to_vec(job)?).map_err(io::Error::other)
    }

    /// Changes how a job stands that is not over, while no gateway does, and tells it before: who sees how it stands finds its events
    /// whole. Nothing where it is over, or there is none.
    fn change(&self, id: &str, told: &[(&str, String)], change: impl FnOnce(&mut Job)) -> io::Result<Option<Job>> {
        let _alone = Lock::wait(&self.store, &format!("serve/job/{id}")).map_err(io::Error::other)?;
        let Some(mut job) = self.find(id).filter(|job| !job.status.is_over()) else {
            return Ok(None);
        };
        change(&mut job);
        told.iter().for_each(|(level, message)| self.event(id, level, message, None));
        self.save(&job)?;
        Ok(Some(job))
    }

    /// Ends a job before its time.
    pub fn cancel(&self, id: &str) -> io::Result<Cancelled> {
        if self.find(id).is_none() {
            return Ok(Cancelled::None);
        }
        let told = [("info", "The job was cancelled".to_owned())];
        let Some(job) = self.change(id, &told, |job| (job.status, job.finished_at) = (Status::Cancelled, Some(now())))? else {
            return Ok(Cancelled::Over);
        };
        if let Some(stop) = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            stop.store(true, Ordering::Relaxed);
        }
        Ok(Cancelled::Now(Box::new(job)))
    }

    /// Those that are to be done, the oldest first.
    pub fn open_ones(&self) -> Vec<String> {
        let mut open: Vec<Job> = self.all().into_iter().filter(|job| !job.status.is_over()).collect();
        open.reverse();
        open.into_iter().map(|job| job.id).collect()
    }

    /// Notes that a job is being done, and gives what tells it to end; nothing where it is over already.
    pub fn begins(&self, id: &str) -> Option<(Job, Arc<AtomicBool>)> {
        let stop = Arc::new(AtomicBool::new(false));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Arc::clone(&stop));
        // One whose state cannot be written is tried again later.
        let job = self.change(id, &[], |job| job.status = Status::Running).ok().flatten();
        if job.is_none() {
            self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
        Some((job?, stop))
    }

    /// Notes that nobody is at it any more.
    pub fn lets_go(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Ends it and tells so, unless it was cancelled meanwhile: then what came of it goes.
    pub fn ends(&self, ended: &Job, told: &[(&str, String)]) -> io::Result<()> {
        if self.change(&ended.id, told, |job| job.clone_from(ended))?.is_none() {
            let _ = fs::remove_dir_all(self.folder.join(&ended.id).join(MODEL));
            if let Some(made) = &ended.made {
                self.files.remove(&made.results);
            }
        }
        Ok(())
    }

    /// Tells those that run to end, to be gone on with another time.
    pub fn stop(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }

    /// Adds what happened to the events of a job. A line that cannot be written is no reason to stop it.
    pub fn event(&self, id: &str, level: &str, message: &str, figures: Option<Value>) {
        let kind = if figures.is_some() { "metrics" } else { "message" };
        let event = json!({
            "object": "fine_tuning.job.event", "id": format!("ftevent-{}", fresh()), "created_at": now(),
            "level": level, "message": message, "type": kind, "data": figures.unwrap_or_else(|| json!({})),
        });
        let file = fs::File::options().create(true).append(true).open(self.folder.join(id).join(EVENTS));
        let _ = file.and_then(|mut file| file.write_all(format!("{event}\n").as_bytes()));
    }

    /// What happened to a job, the latest first.
    pub fn events(&self, id: &str) -> Vec<Value> {
        let bytes = fs::read(self.folder.join(id).join(EVENTS)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().rev().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The folder in which a job keeps how far its training is.
    pub fn checkpoints(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("checkpoints")
    }

    /// Keeps the files of the model that came of a job.
    pub fn keep(&self, id: &str, files: &BTreeMap<String, Vec<u8>>) -> io::Result<Digest> {
        let folder = self.folder.join(id).join(MODEL);
        fs::create_dir_all(&folder)?;
        let mut hasher = blake3::Hasher::new_derive_key("retune served model v1");
        for (name, bytes) in files {
            hasher.update(blake3::hash(name.as_bytes()).as_bytes());
            hasher.update(blake3::hash(bytes).as_bytes());
            write_atomically(&folder.join(name), bytes).map_err(io::Error::other)?;
        }
        Ok(hasher.finalize().into())
    }

    /// The models that came of jobs, the newest first, by name with the time of their job.
    pub fn models(&self) -> Vec<(String, u64)> {
        let made = |job: Job| Some((job.made?.name, job.created_at));
        self.all().into_iter().filter_map(made).filter(|(name, _)| self.of_model(name).is_some()).collect()
    }

    /// The job that a model came of, while its files are there.
    pub fn of_model(&self, name: &str) -> Option<Job> {
        let job = self.find(&format!("ftjob-{}", name.strip_prefix("ft:")?.rsplit_once(':')?.1))?;
        let is_it = job.made.as_ref().is_some_and(|made| made.name == name) && self.folder.join(&job.id).join(MODEL).is_dir();
        is_it.then_some(job)
    }

    /// The files of a model.
    pub fn model(&self, job: &Job, card: &ModelCard) -> io::Result<ModelHandle> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.folder.join(&job.id).join(MODEL))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, fs::read(&path)?);
        }
        Ok(ModelHandle { card: card.clone(), files })
    }

    /// Takes a model away. Whether it was there.
    pub fn forget(&self, name: &str) -> bool {
        self.of_model(name).is_some_and(|job| fs::remove_dir_all(self.folder.join(job.id).join(MODEL)).is_ok())
    }
}

impl Job {
    /// It as OpenAI's API describes it.
    pub fn described(&self) -> Value {
        let made = self.made.as_ref();
        let error = self.problem.as_ref().map_or_else(|| json!(null), |problem| json!(problem));
        json!({
            "object": "fine_tuning.job", "id": self.id, "model": self.model, "created_at": self.created_at, "finished_at": self.finished_at,
            "fine_tuned_model": made.map(|made| &made.name), "organization_id": "retune", "status": self.status,
            "result_files": made.map(|made| &made.results).into_iter().collect::<Vec<_>>(), "training_file": self.training_file,
            "validation_file": self.validation_file, "trained_tokens": made.map(|made| made.tokens), "seed": self.seed, "error": error,
            "hyperparameters": self.sizes, "estimated_finish": null, "integrations": [], "metadata": self.metadata, "user_provided_suffix": self.suffix,
            "method": { "type": "supervised", "supervised": { "hyperparameters": self.sizes } },
        })
    }

    /// The one checkpoint that it keeps, as OpenAI's API describes it.
    pub fn checkpoint(&self) -> Option<Value> {
        let made = self.made.as_ref()?;
        Some(json!({
            "object": "fine_tuning.job.checkpoint", "id": format!("ftckpt-{}", self.id.trim_start_matches("ftjob-")), "created_at": self.finished_at,
            "fine_tuned_model_checkpoint": made.name, "fine_tuning_job_id": self.id, "step_number": made.step, "metrics": made.figures,
        }))
    }
}
