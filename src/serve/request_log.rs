use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::ServeError;

/// A line for each request, as JSON: who asked which model, and how it went. What was said only where that is wanted.
#[derive(Debug)]
pub struct RequestLog(Mutex<File>);

/// How the answer to a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All of it was sent.
    Whole,
    /// It broke off here, or at the provider.
    Broken,
    /// The client went before.
    Gone,
}

/// One line.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub time: Timestamp,
    pub id: &'a str,
    pub key: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub model: &'a str,
    /// The version that is tried, where that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    pub status: u16,
    /// Until the answer, or a stream of it, began.
    pub seconds: f64,
    pub end: End,
    /// The whole request, and the text of its first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<&'a str>,
}

impl RequestLog {
    /// One that holds contents is for its owner alone.
    pub fn open(path: &Path, contents: bool) -> Result<Self, ServeError> {
        let mode = if contents { 0o600 } else { 0o644 };
        let file = File::options().create(true).append(true).mode(mode).open(path);
        // One that was there keeps its mode otherwise.
        let file = file.and_then(|file| if contents { file.set_permissions(Permissions::from_mode(mode)).map(|()| file) } else { Ok(file) });
        file.map(|file| Self(Mutex::new(file))).map_err(|source| ServeError::Io { doing: "open", path: path.to_owned(), source })
    }

    /// Writes a line. A log that cannot be written is no reason to answer nobody.
    pub fn write(&self, line: &Line<'_>) {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text);
    }
}
