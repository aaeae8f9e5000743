//! The replies that are read, with only the fields that are used. Unknown fields never matter.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::data::spoken;

use super::super::super::Answered;
use super::super::super::dialect::MARK;
use super::super::super::tuning::{Job, JobState};

#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>", expecting = "an object with a list in `data`")]
pub struct Page<T> {
    /// It must be there: whatever has none is no list, and must not be taken for an empty one.
    #[serde(deserialize_with = "or_nothing")]
    pub data: Vec<T>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub has_more: bool,
}

/// What some write as `null` where it is empty, or is not so.
fn or_nothing<'de, T: Default + Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub struct FileObject {
    pub id: String,
    #[serde(default, deserialize_with = "count")]
    pub bytes: u64,
    #[serde(default)]
    pub filename: Option<String>,
    #[serde(default)]
    pub status: Option<String>,
    /// Why it is no good, where it is not.
    #[serde(default)]
    pub status_details: Option<String>,
    #[serde(default)]
    pub expires_at: Option<i64>,
}

impl FileObject {
    /// Whether it can still be used.
    pub fn is_good(&self) -> bool {
        let late = self.expires_at.is_some_and(|at| at <= jiff::Timestamp::now().as_second());
        !late && !matches!(self.status.as_deref(), Some("error" | "deleted" | "failed"))
    }

    /// Whether the provider still looks at it, so that no job can be made of it yet.
    pub fn is_looked_at(&self) -> bool {
        matches!(self.status.as_deref(), Some("pending" | "running" | "importing" | "processing" | "notRunning"))
    }

    /// Whether it goes by this name.
    pub fn is_named(&self, name: &str) -> bool {
        self.filename.as_deref() == Some(name)
    }
}

#[derive(Debug, Deserialize)]
pub struct UploadObject {
    pub id: String,
    #[serde(default)]
    pub file: Option<FileObject>,
}

#[derive(Debug, Deserialize)]
pub struct PartObject {
    pub id: String,
}

/// A job. Only its id must be what it should be: whatever else a server writes in its own way is read as far as it goes.
#[derive(Debug)]
pub struct JobObject {
    pub id: String,
    created: i64,
    status: String,
    finished: bool,
    model: Option<String>,
    results: Vec<String>,
    trained_tokens: Option<u64>,
    problem: Option<String>,
    suffix: Option<String>,
    key: Option<String>,
}

fn word(value: Option<&Value>) -> Option<String> {
    value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A time in seconds, written as a number or as a date.
fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "seconds are far below 2^52")]
    let number = value.as_f64().map(|seconds| seconds as i64);
    number.or_else(|| Some(value.as_str()?.parse::<jiff::Timestamp>().ok()?.as_second()))
}

impl JobObject {
    /// Reads a job.
    pub fn read(job: &Value) -> Option<Self> {
        let error = job.get("error").filter(|error| !error.is_null());
        let files = job.get("result_files").and_then(Value::as_array);
        // Some list ids, some whole files.
        let results = files.into_iter().flatten().filter_map(|file| word(Some(file)).or_else(|| word(file.get("id"))));
        let tokens = job.get("trained_tokens");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "token counts are far below 2^52")]
        let trained_tokens = tokens.and_then(|tokens| tokens.as_u64().or_else(|| tokens.as_f64().map(|tokens| tokens as u64)));
        Some(Self {
            id: word(job.get("id"))?,
            created: job.get("created_at").and_then(seconds).unwrap_or_default(),
            status: word(job.get("status")).unwrap_or_else(|| "unknown".into()),
            // Some write a time that is not there as 0.
            finished: job.get("finished_at").and_then(seconds).is_some_and(|at| at > 0),
            model: word(job.get("fine_tuned_model")),
            results: results.collect(),
            trained_tokens,
            problem: error.and_then(|error| word(Some(error)).or_else(|| word(error.get("message")))),
            suffix: word(job.get("suffix")),
            key: word(job.get("metadata").and_then(|metadata| metadata.get("retune_key"))),
        })
    }

    /// Whether it shows a key of somebody, or another suffix than ours, which may have been cut.
    pub fn shows_key(&self, ours: &str) -> bool {
        let other = self.suffix.as_ref().is_some_and(|suffix| suffix.len() >= ours.len() || !ours.starts_with(suffix.as_str()));
        self.key.is_some() || other || self.model.as_deref().is_some_and(|name| marks(name).next().is_some())
    }

    /// Whether it carries our key, in its metadata or, shortened, in a name.
    pub fn is_ours(&self, key: &str, mark: &str) -> bool {
        let named = self.suffix.as_ref().or(self.model.as_ref()).is_some_and(|name| carries(name, mark));
        self.key.as_ref().map_or(named, |found| found == key)
    }
}

/// Whether a name carries our mark. One made of a model of ours carries that one's too, before its own.
pub fn carries(name: &str, mark: &str) -> bool {
    marks(name).next_back() == Some(mark)
}

/// What may be a mark in a name.
fn marks(name: &str) -> impl DoubleEndedIterator<Item = &str> {
    let is_mark = |part: &&str| part.len() == MARK && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_mark)
}

impl From<JobObject> for Job {
    fn from(job: JobObject) -> Self {
        let state = match job.status.to_lowercase().as_str() {
            "validating_files" | "queued" | "running" | "pending" | "in_progress" | "pausing" | "resuming" | "cancelling" => JobState::Going,
            "succeeded" | "completed" => JobState::Succeeded,
            "failed" | "error" | "user_error" => JobState::Failed,
            "cancelled" | "canceled" => JobState::Cancelled,
            "paused" => JobState::Paused,
            // A status that is not known counts as under way, unless something says that it is over.
            _ if job.problem.is_some() => JobState::Failed,
            _ if job.model.is_some() => JobState::Succeeded,
            _ if job.finished => JobState::Failed,
            _ => JobState::Going,
        };
        Self {
            id: job.id,
            state,
            word: job.status,
            created: job.created,
            model: job.model,
            results: job.results,
            trained_tokens: job.trained_tokens,
            usd: None,
            problem: job.problem,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct EventObject {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    pub created_at: Value,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub data: Option<Value>,
}

impl EventObject {
    /// What tells it from others: some servers give it no name.
    pub fn id(&self) -> String {
        let unnamed = || format!("{} {} {}", self.created_at, self.message.as_deref().unwrap_or_default(), self.data.clone().unwrap_or_default());
        self.id.clone().unwrap_or_else(unnamed)
    }
}

#[derive(Debug, Deserialize)]
pub struct CheckpointObject {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub fine_tuned_model_checkpoint: Option<String>,
    #[serde(default, deserialize_with = "count")]
    pub step_number: u64,
    #[serde(default)]
    pub metrics: Value,
}

#[derive(Debug, Deserialize)]
pub struct Moderated {
    #[serde(default)]
    pub results: Vec<ModerationResult>,
}

#[derive(Debug, Deserialize)]
pub struct ModerationResult {
    #[serde(default)]
    flagged: bool,
    #[serde(default, deserialize_with = "or_nothing")]
    categories: Map<String, Value>,
}

impl ModerationResult {
    /// The categories for which it is flagged.
    pub fn why(self) -> Vec<String> {
        if !self.flagged {
            return Vec::new();
        }
        let why: Vec<String> = self.categories.into_iter().filter(|(_, is)| is == true).map(|(name, _)| name).collect();
        if why.is_empty() { vec!["flagged".to_owned()] } else { why }
    }
}

impl From<Completion> for Answered {
    fn from(completion: Completion) -> Self {
        let usage = completion.usage.unwrap_or_default();
        let first = completion.choices.into_iter().next();
        let cut = first.as_ref().is_some_and(|choice| choice.finish_reason.as_deref() == Some("length"));
        // A refusal has no content; it is an answer all the same, and a wrong one.
        let text = first.map(|choice| spoken(&Value::Object(choice.message))).unwrap_or_default();
        Self { text, tokens_in: usage.prompt_tokens, tokens_out: usage.completion_tokens, cut, milliseconds: None }
    }
}

#[derive(Debug, Deserialize)]
pub struct Completion {
    pub choices: Vec<Choice>,
    #[serde(default)]
    pub usage: Option<Usage>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Usage {
    #[serde(default, deserialize_with = "count")]
    pub prompt_tokens: u64,
    #[serde(default, deserialize_with = "count")]
    pub completion_tokens: u64,
}

/// A count, however it is written; nothing where it is none.
fn count<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "token counts are far below 2^52")]
    let rounded = value.as_f64().map(|count| count as u64);
    Ok(value.as_u64().or(rounded).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub struct Choice {
    pub message: Map<String, Value>,
    #[serde(default)]
    pub finish_reason: Option<String>,
}
