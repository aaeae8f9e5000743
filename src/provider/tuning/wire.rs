//! What a protocol of remote jobs must be able to do, and what it speaks of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::civil::Date;

use crate::fingerprint::{ActionKey, Digest};
use crate::ledger::Stopping;

use super::super::transport::Client;
use super::super::watch::Watch;
use super::super::{ProviderError, TuningRequest};
use crate::data::rules;

/// A file to be uploaded, by its content.
#[derive(Clone, Debug)]
pub struct TrainingFile {
    pub path: PathBuf,
    pub digest: Digest,
    pub bytes: u64,
}

impl TrainingFile {
    pub fn of(path: &Path) -> Result<Self, ProviderError> {
        let unreadable = |error: std::io::Error| ProviderError::UnreadableFile { path: path.to_owned(), reason: error.to_string() };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        Ok(Self { path: path.to_owned(), digest: Digest::of_file(path).map_err(unreadable)?, bytes })
    }

    /// The name that it has at the provider: the same content has the same name.
    pub fn name(&self) -> String {
        format!("retune-{}.jsonl", self.digest)
    }
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It is under way, or about to be.
    Going,
    /// It waits for somebody to let it go on.
    Paused,
    /// It is over, and left a model.
    Succeeded,
    /// It is over, and left none.
    Failed,
    /// It was stopped.
    Cancelled,
}

/// A job as its provider tells of it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub state: JobState,
    /// The provider's own word for that.
    pub word: String,
    /// When it was made, in seconds; only to tell which is later.
    pub created: i64,
    /// The model that came of it.
    pub model: Option<String>,
    /// Files with its losses.
    pub results: Vec<String>,
    /// Tokens that it was billed for.
    pub trained_tokens: Option<u64>,
    /// What it cost, in US dollars, where the provider says so.
    pub usd: Option<f64>,
    /// Why it failed.
    pub problem: Option<String>,
}

impl Job {
    /// Whether somebody has asked that it be stopped.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.word.to_lowercase().as_str(), "cancelling" | "canceling" | "cancel_requested")
    }

    /// Whether the provider's word for how it stands is one of those that say that it goes on.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        const GOING: &[&str] = &[
            "validating_files",
            "queued",
            "running",
            "pending",
            "created",
            "creating",
            "in_progress",
            "pausing",
            "resuming",
            "cancelling",
            "cancel_requested",
            "uploading",
            "compressing",
            "validating",
            "re_validating",
            "rollout",
            "evaluation",
            "unspecified",
            "unknown",
        ];
        GOING.contains(&self.word.to_lowercase().as_str())
    }
}

/// The losses of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    pub step: u64,
    /// The steps of the whole training; 0 where that is not told.
    pub of: u64,
    pub train: Option<f64>,
    pub validation: Option<f64>,
}

/// Something that happened to a job.
#[derive(Clone, Debug)]
pub struct Happened {
    pub id: String,
    pub message: String,
    pub losses: Option<Losses>,
}

/// A model that a job left on its way.
#[derive(Clone, Debug)]
pub struct RemoteCheckpoint {
    pub model: String,
    pub step: u64,
    pub validation: Option<f64>,
}

impl RemoteCheckpoint {
    /// What is kept of a job that is stopped early at it, since at the step `until` it was enough.
    #[must_use]
    pub fn kept(self, until: u64) -> Stopping {
        Stopping { model: self.model, step: self.step, validation: self.validation, until }
    }
}

/// Something of ours at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote<'a> {
    /// A tuned model, by name.
    Model(&'a str),
    /// An uploaded file, by id.
    File(&'a str),
}

/// What a provider takes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Examples at least.
    pub fewest: usize,
    /// Bytes of a file at most.
    pub largest: u64,
    /// The last day for new jobs.
    pub ends: Option<&'static str>,
    /// Whether a large file may go in parts.
    pub parts: bool,
    /// What it asks of rows.
    pub rows: &'static rules::Rules,
}

/// A protocol, one request at a time.
#[async_trait]
pub trait Wire: Send + Sync {
    /// The client that it speaks through.
    fn client(&self) -> &Client;

    /// What the provider takes.
    fn rules(&self) -> Rules;

    /// Whether a file is still there under this id.
    async fn is_there(&self, id: &str, file: &TrainingFile, watch: &dyn Watch) -> Result<bool, ProviderError>;

    /// The id of a file that is there already under its name.
    async fn stored(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<Option<String>, ProviderError>;

    /// Uploads a file.
    async fn upload(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<String, ProviderError>;

    /// The jobs that carry our key.
    async fn find(&self, key: ActionKey, watch: &dyn Watch) -> Result<Vec<Job>, ProviderError>;

    /// The ids of the jobs that learn from a file, where the server may not keep our key.
    async fn learners(&self, _train: &str, _watch: &dyn Watch) -> Result<BTreeSet<String>, ProviderError> {
        Ok(BTreeSet::new())
    }

    /// The jobs that carry no key of anybody, and learn from these files with these settings.
    async fn alike(&self, _request: &TuningRequest, _train: &str, _validation: Option<&str>, _watch: &dyn Watch) -> Result<Vec<Job>, ProviderError> {
        Ok(Vec::new())
    }

    /// Makes a job. Sent once: what came of a request that was lost is found by [`Wire::find`].
    async fn create(&self, request: &TuningRequest, train: &str, validation: Option<&str>, watch: &dyn Watch) -> Result<Job, ProviderError>;

    /// What a job will cost by the provider's own word, in US dollars, where its endpoint quotes.
    async fn quote(&self, _request: &TuningRequest, _train: &str, _validation: Option<&str>, _watch: &dyn Watch) -> Result<Option<f64>, ProviderError> {
        Ok(None)
    }

    /// A job.
    async fn job(&self, id: &str, watch: &dyn Watch) -> Result<Job, ProviderError>;

    /// What happened to a job and was not told yet, the earliest first.
    async fn events(&self, id: &str, told: &BTreeSet<String>, watch: &dyn Watch) -> Result<Vec<Happened>, ProviderError>;

    /// What a job left on its way.
    async fn checkpoints(&self, _id: &str, _watch: &dyn Watch) -> Result<Vec<RemoteCheckpoint>, ProviderError> {
        Ok(Vec::new())
    }

    /// The losses of a job that is over, as CSV.
    async fn losses(&self, job: &Job, watch: &dyn Watch) -> Result<Vec<u8>, ProviderError>;

    /// Stops a job for good.
    async fn cancel(&self, id: &str, watch: &dyn Watch) -> Result<(), ProviderError>;

    /// Lets a job rest, or go on.
    async fn pause(&self, _id: &str, _pause: bool, _watch: &dyn Watch) -> Result<(), ProviderError> {
        Err(ProviderError::Cannot { provider: self.client().provider().to_owned(), lack: "has no way to pause a job".into() })
    }

    /// Why the provider's moderation flags each of some texts, by category; nothing where it does not. A model of it may be named.
    async fn moderate(&self, _model: Option<&str>, _texts: &[String], _watch: &dyn Watch) -> Result<Vec<Vec<String>>, ProviderError> {
        Err(ProviderError::Cannot { provider: self.client().provider().to_owned(), lack: "has no moderation".into() })
    }

    /// Deletes a tuned model, or a file.
    async fn delete(&self, _what: Remote<'_>, _watch: &dyn Watch) -> Result<(), ProviderError> {
        Err(ProviderError::Cannot { provider: self.client().provider().to_owned(), lack: "has no way to delete that".into() })
    }

    /// The models that are there, with the day on which each is shut down.
    async fn models(&self, _watch: &dyn Watch) -> Result<BTreeMap<String, Option<Date>>, ProviderError> {
        Ok(BTreeMap::new())
    }
}
