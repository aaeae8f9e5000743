use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LedgerError, RunId};

/// What became of a stage in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageStatus {
    /// At least one of its actions was done.
    Ran,
    /// All of its results were there already.
    Cached,
    /// One of its actions failed.
    Failed,
    /// Not begun, because a stage before it failed or the run was stopped.
    Skipped,
    /// Its gates said no.
    Gated,
}

impl fmt::Display for StageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Gated => "gated",
        })
    }
}

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The pipeline's name.
        pipeline: String,
        /// The pipeline's file, by its name inside of the workspace.
        file: String,
        /// The profile in force.
        profile: Option<String>,
        /// What `--set` changed.
        set: Vec<String>,
        /// The version of the program.
        version: String,
        /// The name that the user gave the run.
        #[serde(default)]
        name: Option<String>,
        /// The tags that the user gave it.
        #[serde(default)]
        tags: Vec<String>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// An action began.
    ActionStarted {
        /// Its stage.
        stage: String,
        /// Its name in the stage.
        action: String,
        /// Its key.
        key: String,
        /// Why it is done.
        reasons: Vec<String>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// An action's result is in the store.
    ActionDone {
        /// Its stage.
        stage: String,
        /// Its name in the stage.
        action: String,
        /// How long it took.
        seconds: f64,
        /// How many attempts it took.
        #[serde(default)]
        attempts: u32,
    },
    /// How far a stage is. Told to whoever listens to a run, and not kept.
    Progress {
        /// The stage.
        stage: String,
        /// So much is done.
        done: u64,
        /// Of so much; 0 where that is not known.
        total: u64,
        /// What is counted.
        unit: String,
        /// What else there is to say.
        detail: String,
    },
    /// The losses of a step of a training.
    Metrics {
        /// The stage.
        stage: String,
        /// The step.
        step: u64,
        /// The losses, by name.
        figures: BTreeMap<String, f64>,
    },
    /// A request was sent to a provider.
    Request {
        /// The stage.
        stage: String,
        /// The provider.
        provider: String,
        /// `GET`, `POST`, ...
        method: String,
        /// The address below that of the provider.
        path: String,
        /// Which attempt it was, from 1.
        attempt: u32,
        /// The status of the reply; none where there was no reply.
        status: Option<u16>,
        /// The provider's own name for the request.
        request_id: Option<String>,
        /// How long it took.
        seconds: f64,
        /// What went wrong, where no reply came or it broke off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A result was kept over a change.
    Accepted {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// The key that it was made under.
        from: String,
        /// The key that it holds for now.
        key: String,
        /// Why.
        reason: String,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// An action failed.
    ActionFailed {
        /// Its stage.
        stage: String,
        /// Its name in the stage.
        action: String,
        /// What was said.
        message: String,
        /// After how many attempts.
        #[serde(default)]
        attempts: u32,
        /// How long they took together.
        #[serde(default)]
        seconds: f64,
    },
    /// Something worth telling about a stage.
    Note {
        /// The stage.
        stage: String,
        /// What there is to tell.
        message: String,
    },
    /// A stage is over.
    StageDone {
        /// The stage.
        stage: String,
        /// How it ended.
        status: StageStatus,
        /// Its fingerprint, where it got as far as having one.
        fingerprint: Option<String>,
        /// How long its actions took.
        seconds: f64,
        /// Its figures.
        metrics: BTreeMap<String, f64>,
    },
    /// The run is over.
    RunDone {
        /// `ok`, `failed`, `gated` or `interrupted`.
        status: String,
        /// How long it took.
        seconds: f64,
        /// The run whose folder holds the lock file as it is now.
        #[serde(default)]
        results: Option<String>,
    },
}

/// The log of a run under way: one event a line, in `runs/ID/events.jsonl`.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: Mutex<File>,
    /// Where everything is told as well, as it happens.
    listener: Option<Mutex<File>>,
    /// What kept the listener from hearing all of it.
    deaf: OnceLock<String>,
}

impl RunLog {
    /// Begins the log of a run. Its events are appended to `listener` too.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn begin(runs: &Path, run: &RunId, listener: Option<&Path>) -> Result<Self, LedgerError> {
        let folder = runs.join(run.to_string());
        fs::create_dir_all(runs).and_then(|()| fs::create_dir(&folder)).map_err(LedgerError::io("create", &folder))?;
        let path = folder.join("events.jsonl");
        let file = File::options().create(true).append(true).open(&path).map_err(LedgerError::io("create", &path))?;
        let listen = |path: &Path| {
            if !may_listen(path) {
                return Err(LedgerError::NoEvents { path: path.to_owned() });
            }
            // With the right to read it a pipe that nobody listens at yet does not hold the run up.
            let pipe = fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
            File::options().create(true).read(pipe).append(true).open(path).map(Mutex::new).map_err(LedgerError::io("open", path))
        };
        Ok(Self { path, file: Mutex::new(file), listener: listener.map(listen).transpose()?, deaf: OnceLock::new() })
    }

    /// Appends an event in one write, so that events of many threads never mix.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&self, event: &Event) -> Result<(), LedgerError> {
        let mut line = serde_json::to_vec(event).map_err(|error| LedgerError::io("write", &self.path)(error.into()))?;
        line.push(b'\n');
        if let Some(listener) = &self.listener {
            self.speak(listener, &line);
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(LedgerError::io("write", &self.path))
    }

    /// Tells an event to who listens, without keeping it.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(listener) = &self.listener
            && let Ok(mut line) = serde_json::to_vec(&event())
        {
            line.push(b'\n');
            self.speak(listener, &line);
        }
    }

    /// Who listens may go away, and the run goes on; a disk that is full is remembered.
    fn speak(&self, listener: &Mutex<File>, line: &[u8]) {
        if let Err(error) = listener.lock().unwrap_or_else(PoisonError::into_inner).write_all(line)
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            let _ = self.deaf.set(error.to_string());
        }
    }

    /// What kept the listener from hearing all of it, if anything did.
    #[must_use]
    pub fn deaf(&self) -> Option<&str> {
        self.deaf.get().map(String::as_str)
    }

    /// Where the run keeps a copy of the lock file that it left.
    #[must_use]
    pub fn snapshot(&self) -> PathBuf {
        self.path.with_file_name(SNAPSHOT)
    }
}

/// Whether events may be appended to a file: to anything that is no regular file, is new or empty, or holds events.
fn may_listen(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else {
        return true;
    };
    if !metadata.is_file() || metadata.len() == 0 {
        return true;
    }
    let first = File::open(path).ok().and_then(|file| BufReader::new(file.take(1 << 20)).lines().next()?.ok());
    first.is_some_and(|line| serde_json::from_str::<Event>(&line).is_ok())
}

/// The copy of the lock file in the folder of a run.
pub const SNAPSHOT: &str = "lock.kdl";

/// A run as its events tell it.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Its name.
    pub id: RunId,
    /// All of its events that could be read.
    pub events: Vec<Event>,
}

impl RunSummary {
    /// The name that the user gave it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.events.first() {
            Some(Event::RunStarted { name, .. }) => name.as_deref(),
            _ => None,
        }
    }

    /// The run whose folder holds a copy of the lock file that this one left.
    #[must_use]
    pub fn results(&self) -> Option<&str> {
        self.events.iter().rev().find_map(|event| match event {
            Event::RunDone { results, .. } => results.as_deref(),
            _ => None,
        })
    }

    /// How it ended; nothing if it was killed or is still running.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.events.iter().rev().find_map(|event| match event {
            Event::RunDone { status, .. } => Some(status.as_str()),
            _ => None,
        })
    }
}

/// The runs of a workspace, latest first. Lines that a kill cut off are passed over.
#[must_use]
pub fn runs(folder: &Path) -> Vec<RunSummary> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by(|a, b| b.cmp(a));
    names.into_iter().map(|name| run(folder, name)).collect()
}

/// One run of a workspace by its id. One that is not there has no events.
#[must_use]
pub fn run(folder: &Path, id: String) -> RunSummary {
    let text = fs::read(folder.join(&id).join("events.jsonl")).unwrap_or_default();
    let events = text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    RunSummary { id: RunId(id), events }
}
