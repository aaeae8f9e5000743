//! Many questions at once, answered within a day at a lower price.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::data::Message;

use super::super::super::request::Batch;
use super::super::super::transport::Repeat;
use super::super::super::transport::{Client, FilePart, Request};
use super::super::super::watch::until_stopped;
use super::super::super::{Answers, ProviderError, Watch};
use super::question::{answered, question};
use super::shapes::{Completion, FileObject, Page};

#[derive(Debug, Deserialize)]
struct BatchObject {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    output_file_id: Option<String>,
    #[serde(default)]
    error_file_id: Option<String>,
    #[serde(default)]
    request_counts: Option<Counts>,
    #[serde(default)]
    errors: Option<Value>,
    #[serde(default)]
    metadata: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Counts {
    #[serde(default)]
    total: u64,
    #[serde(default)]
    completed: u64,
    #[serde(default)]
    failed: u64,
}

/// One line of the file with the answers.
#[derive(Debug, Deserialize)]
struct Line {
    custom_id: String,
    #[serde(default)]
    response: Option<Responded>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Responded {
    #[serde(default)]
    status_code: u16,
    body: Value,
}

/// Asks all questions in one batch, or follows the one that was begun under the same key.
pub async fn answer(
    client: &Client,
    limit: &str,
    model: &str,
    prompts: &[Vec<Message>],
    max_tokens: usize,
    batch: &Batch,
    watch: &dyn Watch,
) -> Result<Answers, ProviderError> {
    let work = async {
        let begun = match find(client, &batch.key, watch).await? {
            Some(found) => {
                watch.note(&format!("following batch {}", found.id));
                found
            }
            None => begin(client, limit, model, prompts, max_tokens, batch, watch).await?,
        };
        let ended = follow(client, begun, watch).await?;
        fetch(client, ended, prompts.len(), watch).await
    };
    // A batch goes on at the provider, and the next run finds it.
    until_stopped(watch, || true, work).await.unwrap_or(Err(ProviderError::Stopped))
}

async fn find(client: &Client, key: &str, watch: &dyn Watch) -> Result<Option<BatchObject>, ProviderError> {
    let mut after = String::new();
    loop {
        let mut request = Request::get("/batches").query("limit", "100");
        if !after.is_empty() {
            request = request.query("after", &after);
        }
        let page: Page<BatchObject> = client.json(request, watch).await?;
        let last = page.data.last().map(|batch| batch.id.clone()).unwrap_or_default();
        let ours = |batch: &BatchObject| batch.metadata.as_ref().and_then(|metadata| metadata.get("retune_key")).and_then(Value::as_str) == Some(key);
        let over = |batch: &BatchObject| matches!(batch.status.as_str(), "failed" | "expired" | "cancelled" | "cancelling");
        if let Some(found) = page.data.into_iter().find(|batch| ours(batch) && !over(batch)) {
            return Ok(Some(found));
        }
        if !page.has_more || last.is_empty() || last == after {
            return Ok(None);
        }
        after = last;
    }
}

async fn begin(
    client: &Client,
    limit: &str,
    model: &str,
    prompts: &[Vec<Message>],
    max_tokens: usize,
    batch: &Batch,
    watch: &dyn Watch,
) -> Result<BatchObject, ProviderError> {
    let path = batch.folder.join("batch.jsonl");
    let lines = prompts.iter().enumerate().map(|(place, messages)| {
        let line =
            json!({ "custom_id": place.to_string(), "method": "POST", "url": "/v1/chat/completions", "body": question(limit, model, messages, max_tokens) });
        format!("{line}\n")
    });
    let unwritable = |error: std::io::Error| ProviderError::UnreadableFile { path: path.clone(), reason: error.to_string() };
    std::fs::write(&path, lines.collect::<String>()).map_err(unwritable)?;
    let length = std::fs::metadata(&path).map_err(unwritable)?.len();
    let fields = vec![("purpose", "batch".to_owned())];
    let part = FilePart { path: path.clone(), name: format!("retune-{}.jsonl", batch.key), start: 0, length, field: "file", fields };
    let file: FileObject = client.json(Request::upload("/files", part), watch).await?;
    let body = json!({
        "input_file_id": file.id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": { "retune_key": batch.key },
    });
    match client.json(Request::post("/batches", body, Repeat::Never), watch).await {
        Ok(begun) => Ok(begun),
        Err(error @ ProviderError::Refused { status: 400..=499, .. }) => Err(error),
        // Nobody knows whether it arrived: look, and never send it again in this run.
        Err(error) => {
            tokio::time::sleep(Duration::from_millis(400)).await;
            find(client, &batch.key, watch).await?.ok_or(error)
        }
    }
}

async fn follow(client: &Client, mut batch: BatchObject, watch: &dyn Watch) -> Result<BatchObject, ProviderError> {
    let mut pause = Duration::from_millis(100);
    loop {
        let counts = batch.request_counts.take().unwrap_or_default();
        watch.progress(counts.completed + counts.failed, counts.total, "answers", &format!("batch {} is {}", batch.id, batch.status));
        match batch.status.as_str() {
            "completed" => return Ok(batch),
            "failed" | "expired" | "cancelled" => {
                let message = batch.errors.map_or_else(|| "no reason was given".into(), |errors| errors.to_string());
                return Err(ProviderError::JobFailed { job: batch.id, status: batch.status, message });
            }
            _ => {}
        }
        tokio::time::sleep(if client.network().replays() { Duration::ZERO } else { pause }).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(30));
        batch = client.json(Request::get(format!("/batches/{}", batch.id)), watch).await?;
    }
}

async fn fetch(client: &Client, batch: BatchObject, count: usize, watch: &dyn Watch) -> Result<Answers, ProviderError> {
    let unexpected = |problem: String| ProviderError::Unexpected { url: client.url(&format!("/batches/{}", batch.id)), problem };
    let mut found: BTreeMap<usize, Completion> = BTreeMap::new();
    let mut failed = None;
    for file in [&batch.output_file_id, &batch.error_file_id].into_iter().flatten() {
        let reply = client.send(&Request::get(format!("/files/{file}/content")), watch).await?;
        for line in reply.body.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|error| unexpected(error.to_string()))?;
            match (line.custom_id.parse(), line.response) {
                (Ok(place), Some(Responded { status_code: 0 | 200..=299, body })) => {
                    found.insert(place, serde_json::from_value(body).map_err(|error| unexpected(error.to_string()))?);
                }
                (_, responded) => {
                    let why = line.error.filter(|error| !error.is_null()).or(responded.map(|responded| responded.body)).unwrap_or_default();
                    failed.get_or_insert(format!("question {} failed: {why}", line.custom_id));
                }
            }
        }
    }
    if found.len() != count {
        let why = failed.unwrap_or_else(|| "some answers are missing".into());
        return Err(unexpected(format!("it answered {} of {count} questions; {why}", found.len())));
    }
    Ok(answered(found.into_values().map(Into::into)))
}
