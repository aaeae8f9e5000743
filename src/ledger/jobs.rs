use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fingerprint::{ActionKey, Digest};
use crate::store::write_atomically;

use super::LedgerError;

/// One step in the life of a remote job. Each is on disk before the next is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobStep {
    /// We are about to ask for a job under this key.
    Intent {
        /// The provider.
        provider: String,
        /// The model to start from.
        model: String,
        /// The stage.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// The provider as it was declared, without its key, so that the job can be asked for without the pipeline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        declared: Option<serde_json::Value>,
    },
    /// A file of ours is with the provider.
    Uploaded {
        /// What it is to the job (`train`, `validation`).
        role: String,
        /// The provider's id of it.
        file: String,
    },
    /// The jobs that learn from the same file, before ours is asked for, where ours may not show our key.
    Learners {
        /// The provider's ids of them.
        jobs: BTreeSet<String>,
    },
    /// The request that makes the job is about to be sent; from here on it may exist.
    Creating,
    /// The job exists.
    Exists {
        /// The provider's id of it.
        job: String,
        /// Whether it was found there rather than made by us just now.
        found: bool,
    },
    /// The job is about to be stopped early, and this checkpoint of it is kept.
    Stopping(Stopping),
    /// The job is over, one way or another.
    Ended {
        /// The provider's word for how it ended.
        status: String,
    },
}

/// What is kept of a job that is stopped early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stopping {
    /// The checkpoint's name as a model.
    pub model: String,
    /// The step that it was left at.
    pub step: u64,
    /// Its validation loss, where it is told.
    #[serde(default)]
    pub validation: Option<f64>,
    /// The step at which it was enough. What the job did after it is no part of the result.
    pub until: u64,
}

/// How a job is said to have ended that was stopped early, with a checkpoint kept.
pub const STOPPED_EARLY: &str = "stopped-early";

/// How a job is said to have ended of which all was deleted.
pub const DELETED: &str = "deleted";
/// How a job is said to have ended that is to be followed no more.
pub const FORGOTTEN: &str = "forgotten";

/// A job that is followed no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Its id.
    pub job: String,
    /// Whether not even its success would be worth anything.
    pub for_good: bool,
}

/// The journals of all remote jobs of a workspace, by the keys of their actions.
#[must_use]
pub fn journals(folder: &Path) -> Vec<(ActionKey, JobJournal)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let keys = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".jsonl")?.parse().ok().map(ActionKey));
    let mut journals: Vec<_> = keys.filter_map(|key| Some((key, JobJournal::open(folder, key).ok()?))).collect();
    journals.sort_by_key(|(_, journal)| std::cmp::Reverse(modified(&journal.path)));
    journals
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Which content is at which provider under which id. A help only: whoever uses it asks whether it is still there.
#[derive(Clone, Debug)]
pub struct Uploads {
    folder: PathBuf,
}

impl Uploads {
    fn place(&self, account: &str, content: Digest) -> PathBuf {
        let mut hasher = blake3::Hasher::new_derive_key("retune upload v1");
        hasher.update(account.as_bytes()).update(content.as_bytes());
        self.folder.join(hasher.finalize().to_hex().as_str())
    }

    /// The id of some content with an account.
    #[must_use]
    pub fn find(&self, account: &str, content: Digest) -> Option<String> {
        fs::read_to_string(self.place(account, content)).ok().filter(|id| !id.is_empty())
    }

    /// Notes the id of some content with an account.
    pub fn keep(&self, account: &str, content: Digest, id: &str) {
        let _ = fs::create_dir_all(&self.folder);
        let _ = write_atomically(&self.place(account, content), id.as_bytes());
    }
}

/// The journal of one remote job: what is known of it, written and synced before every step.
#[derive(Debug)]
pub struct JobJournal {
    path: PathBuf,
    steps: Vec<JobStep>,
    written: bool,
}

impl JobJournal {
    /// Opens the journal of a key; the steps taken before are in it. A last line that a crash cut off is no step.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(folder: &Path, key: ActionKey) -> Result<Self, LedgerError> {
        let path = folder.join(format!("{key}.jsonl"));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(LedgerError::io("read", &path)(error)),
        };
        let steps = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let steps = steps.filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Self { path, steps, written: true })
    }

    /// A journal that nothing is written to: for what happened long ago and is only replayed.
    #[must_use]
    pub fn unwritten(folder: &Path, key: ActionKey) -> Self {
        Self { path: folder.join(format!("{key}.jsonl")), steps: Vec::new(), written: false }
    }

    /// The steps taken so far.
    #[must_use]
    pub fn steps(&self) -> &[JobStep] {
        &self.steps
    }

    /// The id of the job, if it is known to exist and to be worth following.
    #[must_use]
    pub fn job(&self) -> Option<&str> {
        let mut job = None;
        for step in &self.steps {
            match step {
                JobStep::Exists { job: id, .. } => job = Some(id.as_str()),
                JobStep::Ended { status } if status != "succeeded" && status != STOPPED_EARLY => job = None,
                _ => {}
            }
        }
        job
    }

    /// The jobs that are not followed any more: they failed, were cancelled, forgotten or deleted.
    pub fn ended(&self) -> impl Iterator<Item = GivenUp> {
        let mut job = None;
        self.steps.iter().filter_map(move |step| match step {
            JobStep::Exists { job: id, .. } => {
                job = Some(id.as_str());
                None
            }
            JobStep::Ended { status } if status != "succeeded" && status != STOPPED_EARLY => {
                let for_good = status == DELETED || status == FORGOTTEN;
                job.map(|job| GivenUp { job: job.to_owned(), for_good })
            }
            _ => None,
        })
    }

    /// Whether a job was asked for, and nothing is known of what came of that.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        let told = |step: &&JobStep| matches!(step, JobStep::Creating | JobStep::Exists { .. } | JobStep::Ended { .. });
        self.steps.iter().rev().find(told) == Some(&JobStep::Creating)
    }

    /// Whether a job was found where the reply to our own request was lost: ours may be another one, that shows later.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        let told = |step: &&JobStep| matches!(step, JobStep::Creating | JobStep::Exists { .. } | JobStep::Ended { .. });
        let mut told = self.steps.iter().rev().filter(told);
        matches!((told.next(), told.next()), (Some(JobStep::Exists { found: true, .. }), Some(JobStep::Creating)))
    }

    /// The jobs that learnt from our file before the first request of which nothing is known.
    #[must_use]
    pub fn learners(&self) -> BTreeSet<&str> {
        let since = self.steps.iter().rposition(|step| matches!(step, JobStep::Exists { .. } | JobStep::Ended { .. }));
        let first = self.steps[since.unwrap_or_default()..].iter().find_map(|step| match step {
            JobStep::Learners { jobs } => Some(jobs),
            _ => None,
        });
        first.into_iter().flatten().map(String::as_str).collect()
    }

    /// What is kept of the job, where it was stopped early.
    #[must_use]
    pub fn kept(&self) -> Option<&Stopping> {
        let job = self.job()?;
        let of = |step: &JobStep| matches!(step, JobStep::Exists { job: id, .. } if id == job);
        let since = self.steps.iter().rposition(of)?;
        self.steps[since..].iter().rev().find_map(|step| match step {
            JobStep::Stopping(kept) => Some(kept),
            _ => None,
        })
    }

    /// The server that is asked, as it was declared.
    fn server(&self) -> Option<&serde_json::Value> {
        self.steps.iter().find_map(|step| match step {
            JobStep::Intent { declared: Some(declared), .. } => declared.pointer("/api/hosted/base_url"),
            _ => None,
        })
    }

    /// The jobs that the other journals beside this one know of, at the same server.
    #[must_use]
    pub fn jobs_elsewhere(&self) -> BTreeSet<String> {
        let others = self.path.parent().map(journals).unwrap_or_default().into_iter().map(|(_, other)| other);
        let others = others.filter(|other| other.path != self.path && other.server() == self.server());
        let jobs = others.flat_map(|other| other.steps).filter_map(|step| match step {
            JobStep::Exists { job, .. } => Some(job),
            _ => None,
        });
        jobs.collect()
    }

    /// What is known of uploads of all jobs.
    #[must_use]
    pub fn uploads(&self) -> Uploads {
        Uploads { folder: self.path.with_file_name("uploads") }
    }

    /// The file that was uploaded in a role.
    #[must_use]
    pub fn file(&self, role: &str) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            JobStep::Uploaded { role: of, file } if of == role => Some(file.as_str()),
            _ => None,
        })
    }

    /// Writes a step down, to the disk itself, before it returns.
    ///
    /// # Errors
    /// When it cannot be written; the step must not be taken then.
    pub fn note(&mut self, step: JobStep) -> Result<(), LedgerError> {
        if !self.written {
            self.steps.push(step);
            return Ok(());
        }
        let fresh = !self.path.exists();
        let mut line = serde_json::to_vec(&step).map_err(|error| LedgerError::io("write", &self.path)(error.into()))?;
        line.push(b'\n');
        let cut_off = fs::read(&self.path).is_ok_and(|bytes| bytes.last().is_some_and(|&byte| byte != b'\n'));
        if cut_off {
            line.insert(0, b'\n');
        }
        let written = File::options().create(true).append(true).open(&self.path).and_then(|mut file| {
            file.write_all(&line)?;
            file.sync_all()
        });
        written.map_err(LedgerError::io("write", &self.path))?;
        if fresh && let Some(folder) = self.path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(LedgerError::io("write", folder))?;
        }
        self.steps.push(step);
        Ok(())
    }
}
