//! The replies that are read, with only the fields that are used. Unknown fields never matter.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

#[derive(Debug, Deserialize)]
pub struct File {
    pub id: String,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub filename: String,
}

#[derive(Debug, Deserialize)]
pub struct Job {
    pub id: String,
    #[serde(default)]
    pub created_at: i64,
    pub status: String,
    pub fine_tuned_model: Option<String>,
    #[serde(default)]
    pub result_files: Vec<String>,
    pub trained_tokens: Option<u64>,
    pub error: Option<JobError>,
}

#[derive(Debug, Deserialize)]
pub struct JobError {
    #[serde(default)]
    pub message: Option<String>,
}

impl Job {
    /// Whether it is over, one way or another. A status that is not known counts as under way.
    pub fn over(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

#[derive(Debug, Deserialize)]
pub struct JobEvent {
    pub id: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Deserialize)]
pub struct Completion {
    pub choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
pub struct Choice {
    pub message: Said,
}

#[derive(Debug, Deserialize)]
pub struct Said {
    pub content: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Complaint {
    pub error: ComplaintBody,
}

#[derive(Debug, Deserialize)]
pub struct ComplaintBody {
    pub message: String,
    #[serde(default)]
    pub code: Option<serde_json::Value>,
}
