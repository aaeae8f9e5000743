//! The replies that are read, with only the fields that are used. Unknown fields never matter.

use serde::Deserialize;
use serde_json::Value;

use super::super::super::tuning::{Job, JobState};

#[derive(Debug, Deserialize)]
pub struct Page<T> {
    #[serde(default = "Vec::new")]
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

#[derive(Debug, Deserialize)]
pub struct FileObject {
    pub id: String,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub filename: String,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub expires_at: Option<i64>,
}

impl FileObject {
    /// Whether it can still be used.
    pub fn is_good(&self) -> bool {
        let late = self.expires_at.is_some_and(|at| at <= jiff::Timestamp::now().as_second());
        !late && !matches!(self.status.as_deref(), Some("error" | "deleted" | "failed"))
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

#[derive(Debug, Deserialize)]
pub struct JobObject {
    pub id: String,
    #[serde(default)]
    pub created_at: Option<f64>,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub fine_tuned_model: Option<String>,
    #[serde(default)]
    pub result_files: Option<Vec<Value>>,
    #[serde(default)]
    pub trained_tokens: Option<f64>,
    #[serde(default)]
    pub error: Option<Value>,
    #[serde(default)]
    pub suffix: Option<String>,
    #[serde(default)]
    pub metadata: Option<Value>,
}

impl JobObject {
    /// Whether it carries our key, in its metadata or, shortened, in a name.
    pub fn is_ours(&self, key: &str, mark: &str) -> bool {
        let metadata = self.metadata.as_ref().and_then(|metadata| metadata.get("retune_key")).and_then(Value::as_str);
        let named = [&self.suffix, &self.fine_tuned_model].into_iter().flatten().any(|name| name.contains(mark));
        metadata.map_or(named, |found| found == key)
    }
}

impl From<JobObject> for Job {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds and tokens are far below 2^52")]
    fn from(job: JobObject) -> Self {
        let state = match job.status.as_str() {
            "succeeded" | "completed" => JobState::Succeeded,
            "failed" | "error" | "user_error" => JobState::Failed,
            "cancelled" | "canceled" => JobState::Cancelled,
            "paused" => JobState::Paused,
            // A status that is not known counts as under way.
            _ => JobState::Going,
        };
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let problem = job.error.as_ref().and_then(|error| word(error).or_else(|| error.get("message").and_then(word))).filter(|message| !message.is_empty());
        // Some list ids, some whole files.
        let results = job.result_files.unwrap_or_default();
        let results = results.iter().filter_map(|file| word(file).or_else(|| file.get("id").and_then(word))).collect();
        Self {
            id: job.id,
            state,
            word: job.status,
            created: job.created_at.unwrap_or_default() as i64,
            model: job.fine_tuned_model.filter(|model| !model.is_empty()),
            results,
            trained_tokens: job.trained_tokens.map(|tokens| tokens as u64),
            usd: None,
            problem,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct EventObject {
    pub id: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub data: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub struct CheckpointObject {
    #[serde(default)]
    pub fine_tuned_model_checkpoint: String,
    #[serde(default)]
    pub step_number: u64,
    #[serde(default)]
    pub metrics: Value,
}

#[derive(Debug, Deserialize)]
pub struct ModelObject {
    pub id: String,
    #[serde(default)]
    pub shutdown_date: Option<String>,
    /// Azure's way to say it.
    #[serde(default)]
    pub deprecation: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub struct Moderated {
    #[serde(default)]
    pub results: Vec<ModerationResult>,
}

#[derive(Debug, Deserialize)]
pub struct ModerationResult {
    #[serde(default)]
    pub flagged: bool,
}

#[derive(Debug, Deserialize)]
pub struct Completion {
    pub choices: Vec<Choice>,
    #[serde(default)]
    pub usage: Option<Usage>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Usage {
    #[serde(default)]
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
}

#[derive(Debug, Deserialize)]
pub struct Choice {
    pub message: Said,
}

#[derive(Debug, Deserialize)]
pub struct Said {
    pub content: Option<String>,
}
