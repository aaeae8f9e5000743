use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::data::rules;
use crate::fingerprint::ActionKey;

use super::super::super::transport::Repeat;
use super::super::super::transport::{Client, Network, Request};
use super::super::super::tuning::{Happened, Job, Losses, Remote, RemoteCheckpoint, Rules, TrainingFile, Wire};
use super::super::super::{Declared, Endpoint, ProviderError, TuningRequest, Watch};
use super::OpenAi;
use super::body::{creation, mark};
use super::likeness::{is_like, learns_from};
use super::pages::Pages;
use super::shapes::{CheckpointObject, EventObject, JobObject, Moderated, ModerationResult, Page};

/// All that a provider tells of a job, as it tells it.
///
/// # Errors
/// When there is no such job, or the provider cannot be asked.
pub async fn told_of_job(declared: &Declared, endpoint: &Endpoint, network: &Arc<Network>, id: &str, watch: &dyn Watch) -> Result<Value, ProviderError> {
    Client::new(declared, endpoint, network).json(Request::get(format!("/fine_tuning/jobs/{id}")), watch).await
}

#[async_trait]
impl Wire for OpenAi {
    fn client(&self) -> &Client {
        &self.client
    }

    fn rules(&self) -> Rules {
        // What goes in parts may be as large as an upload, 8 GB.
        let largest = if self.dialect.parts { 8 << 30 } else { self.dialect.largest_file };
        // The end of OpenAI's own service says nothing of others at another address.
        let ends = self.dialect.ends.filter(|_| Some(self.client.endpoint().base_url.as_str()) == self.dialect.base_url);
        Rules { fewest: self.dialect.fewest, largest, ends, parts: self.dialect.parts, rows: rules::of(self.dialect.name) }
    }

    async fn is_there(&self, id: &str, file: &TrainingFile, watch: &dyn Watch) -> Result<bool, ProviderError> {
        self.file_is_there(id, file, watch).await
    }

    async fn stored(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<Option<String>, ProviderError> {
        self.stored_file(file, watch).await
    }

    async fn upload(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<String, ProviderError> {
        self.send_file(file, watch).await
    }

    async fn find(&self, key: ActionKey, watch: &dyn Watch) -> Result<Vec<Job>, ProviderError> {
        let (key, mark) = (key.to_string(), mark(key));
        let all = || Pages::of("/fine_tuning/jobs", 100);
        let mut found = Vec::new();
        if self.dialect.metadata {
            found = self.marked(all().filtered("metadata[retune_key]", &key), &key, &mark, watch).await?;
        }
        // One that filters by metadata and does not keep it may keep the suffix.
        if found.is_empty() && (!self.dialect.metadata || self.is_marked()) {
            found = self.marked(all(), &key, &mark, watch).await?;
        }
        Ok(found)
    }

    async fn alike(&self, request: &TuningRequest, train: &str, validation: Option<&str>, watch: &dyn Watch) -> Result<Vec<Job>, ProviderError> {
        let body = creation(self.dialect, self.is_marked(), request, train, validation, &self.client.endpoint().fields);
        let suffix = body["suffix"].as_str().unwrap_or_default();
        let alike = self.learning_from(train, watch).await?.into_iter().filter(|job| is_like(job, &body));
        Ok(alike.filter_map(|job| JobObject::read(&job)).filter(|job| !job.shows_key(suffix)).map(Job::from).collect())
    }

    async fn learners(&self, train: &str, watch: &dyn Watch) -> Result<BTreeSet<String>, ProviderError> {
        Ok(self.learning_from(train, watch).await?.iter().map(id_of).collect())
    }

    async fn create(&self, request: &TuningRequest, train: &str, validation: Option<&str>, watch: &dyn Watch) -> Result<Job, ProviderError> {
        let body = creation(self.dialect, self.is_marked(), request, train, validation, &self.client.endpoint().fields);
        let reply: Value = self.client.json(Request::post("/fine_tuning/jobs", body, Repeat::Never), watch).await?;
        let job = JobObject::read(&reply).ok_or_else(|| self.unreadable(&reply))?;
        if !job.is_ours(&request.key.to_string(), &mark(request.key)) {
            watch.note(
                "warning: this server keeps neither the metadata nor the whole suffix of a job: should the reply that it was made be lost, or this \
                 workspace its state, the job cannot be found again",
            );
        }
        Ok(job.into())
    }

    async fn job(&self, id: &str, watch: &dyn Watch) -> Result<Job, ProviderError> {
        let reply: Value = self.client.json(Request::get(format!("/fine_tuning/jobs/{id}")), watch).await?;
        let job = JobObject::read(&reply).ok_or_else(|| self.unreadable(&reply))?;
        if job.id != id {
            let problem = format!("it was asked for job {id}, and tells of {}", job.id);
            return Err(ProviderError::Unexpected { url: self.client.url("/fine_tuning/jobs"), problem });
        }
        Ok(job.into())
    }

    async fn events(&self, id: &str, told: &BTreeSet<String>, watch: &dyn Watch) -> Result<Vec<Happened>, ProviderError> {
        let (mut all, mut pages) = (Vec::new(), Pages::of(format!("/fine_tuning/jobs/{id}/events"), 100));
        while let Some(page) = pages.further(&self.client, EventObject::id, watch).await? {
            // Where the latest comes first, what comes after an event that was told already was told too.
            let oldest_first = page.first().zip(page.last()).is_some_and(|(first, last)| first.place() < last.place());
            let known = !oldest_first && page.iter().any(|event| told.contains(&event.id()));
            all.extend(page);
            if known {
                break;
            }
        }
        let happened = |event: EventObject| {
            let losses = event.data.as_ref().and_then(losses);
            Happened { id: event.id(), message: event.message.unwrap_or_default(), losses }
        };
        // The latest comes first.
        Ok(all.into_iter().rev().filter(|event| !told.contains(&event.id())).map(happened).collect())
    }

    async fn checkpoints(&self, id: &str, watch: &dyn Watch) -> Result<Vec<RemoteCheckpoint>, ProviderError> {
        let pages = Pages::of(format!("/fine_tuning/jobs/{id}/checkpoints"), 100);
        let all = pages.all(&self.client, |found: &CheckpointObject| found.id.clone(), watch).await?;
        let checkpoint = |found: CheckpointObject| {
            let measured = |name: &str| found.metrics.get(name).and_then(Value::as_f64);
            let validation = measured("full_valid_loss").or_else(|| measured("valid_loss"));
            RemoteCheckpoint { step: found.step_number, validation, model: found.fine_tuned_model_checkpoint.unwrap_or_default() }
        };
        Ok(all.into_iter().map(checkpoint).filter(|found| !found.model.is_empty()).collect())
    }

    async fn losses(&self, job: &Job, watch: &dyn Watch) -> Result<Vec<u8>, ProviderError> {
        let Some(file) = job.results.first() else {
            return Ok(Vec::new());
        };
        let reply = self.client.send(&Request::get(format!("/files/{file}/content")), watch).await?;
        Ok(plain(reply.body))
    }

    async fn cancel(&self, id: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        self.change(id, "cancel", watch).await
    }

    async fn pause(&self, id: &str, pause: bool, watch: &dyn Watch) -> Result<(), ProviderError> {
        self.change(id, if pause { "pause" } else { "resume" }, watch).await
    }

    async fn moderate(&self, model: Option<&str>, texts: &[String], watch: &dyn Watch) -> Result<Vec<Vec<String>>, ProviderError> {
        let body = json!({ "model": model.unwrap_or("omni-moderation-latest"), "input": texts });
        let reply: Moderated = self.client.json(Request::post("/moderations", body, Repeat::Freely), watch).await?;
        if reply.results.len() != texts.len() {
            let problem = format!("{} verdicts on {} texts", reply.results.len(), texts.len());
            return Err(ProviderError::Unexpected { url: self.client.url("/moderations"), problem });
        }
        Ok(reply.results.into_iter().map(ModerationResult::why).collect())
    }

    async fn delete(&self, what: Remote<'_>, watch: &dyn Watch) -> Result<(), ProviderError> {
        let path = match what {
            Remote::Model(name) => format!("/models/{name}"),
            Remote::File(id) => format!("/files/{id}"),
        };
        match self.client.send(&Request::delete(path), watch).await {
            // What is gone already need not be deleted.
            Ok(_) | Err(ProviderError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn models(&self, watch: &dyn Watch) -> Result<BTreeMap<String, Option<Date>>, ProviderError> {
        let page: Page<Value> = self.client.json(Request::get("/models"), watch).await?;
        let model = |model: &Value| Some((model.get("id")?.as_str()?.to_owned(), shutdown(model)));
        Ok(page.data.iter().filter_map(model).collect())
    }
}

impl EventObject {
    /// Where it stands among others: when it happened, and at which step.
    fn place(&self) -> (i64, u64) {
        let step = self.data.as_ref().and_then(|data| data.get("step")).and_then(Value::as_u64);
        (self.created_at.as_i64().unwrap_or_default(), step.unwrap_or_default())
    }
}

impl OpenAi {
    /// Whether our key stands in the suffix too.
    fn is_marked(&self) -> bool {
        self.dialect.marks(&self.client.endpoint().base_url)
    }

    /// The jobs that learn from a file, at a server that may not keep our key: OpenAI's own does.
    async fn learning_from(&self, file: &str, watch: &dyn Watch) -> Result<Vec<Value>, ProviderError> {
        if !self.is_marked() {
            return Ok(Vec::new());
        }
        let mut all = Pages::of("/fine_tuning/jobs", 100).all(&self.client, id_of, watch).await?;
        all.retain(|job| learns_from(job, file));
        Ok(all)
    }

    /// The jobs of a list that carry our key.
    async fn marked(&self, mut pages: Pages, key: &str, mark: &str, watch: &dyn Watch) -> Result<Vec<Job>, ProviderError> {
        let mut found = Vec::new();
        while let Some(page) = pages.further(&self.client, id_of, watch).await? {
            // Some servers that speak the protocol ignore the filter, so every job is looked at.
            for job in &page {
                match JobObject::read(job) {
                    Some(job) if job.is_ours(key, mark) => found.push(job.into()),
                    Some(_) => {}
                    // It may be ours, and cannot be followed: to make another one would be to pay twice.
                    None if job.to_string().contains(key) || job.to_string().contains(mark) => return Err(self.unreadable(job)),
                    None => {}
                }
            }
        }
        if found.is_empty() {
            // What was found is worth following, whatever is not read; that there is none could not be said.
            pages.ended(&self.client)?;
        }
        Ok(found)
    }

    fn unreadable(&self, job: &Value) -> ProviderError {
        let shown: String = job.to_string().chars().take(200).collect();
        ProviderError::Unexpected { url: self.client.url("/fine_tuning/jobs"), problem: format!("a job without an id: {shown}") }
    }

    async fn change(&self, id: &str, how: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        self.client.send(&Request::post(format!("/fine_tuning/jobs/{id}/{how}"), json!({}), Repeat::Freely), watch).await.map(drop)
    }
}

fn id_of(job: &Value) -> String {
    job["id"].as_str().unwrap_or_default().to_owned()
}

/// The day on which a model is shut down: as OpenAI says it, or in seconds as Azure does.
fn shutdown(model: &Value) -> Option<Date> {
    let told = model.get("shutdown_date").and_then(Value::as_str).and_then(|date| date.parse().ok());
    told.or_else(|| {
        let seconds = model.get("deprecation")?.get("inference")?.as_i64()?;
        Some(jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(seconds).ok()?).date())
    })
}

/// The losses in the data of an event, if that is what it holds.
fn losses(data: &Value) -> Option<Losses> {
    // JSON has no word for a loss that is no number; it comes as a string, if it comes.
    let number = |name: &str| data.get(name).and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let count = |name: &str| data.get(name).and_then(Value::as_u64);
    let step = count("step")?;
    let losses = Losses {
        step,
        of: count("total_steps").unwrap_or_default(),
        train: number("train_loss"),
        validation: number("full_valid_loss").or_else(|| number("valid_loss")),
    };
    (losses.train.is_some() || losses.validation.is_some()).then_some(losses)
}

/// Result files come as CSV, or as base64 of it.
fn plain(bytes: Vec<u8>) -> Vec<u8> {
    let text = bytes.trim_ascii();
    if text.contains(&b',') || text.is_empty() {
        return bytes;
    }
    BASE64_STANDARD.decode(text).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_files_are_read_plain_and_as_base64() {
        assert_eq!(plain(b"step,train_loss\n1,2.5\n".to_vec()), b"step,train_loss\n1,2.5\n");
        assert_eq!(plain(b"c3RlcCx0cmFpbl9sb3NzCjEsMi41Cg==\n".to_vec()), b"step,train_loss\n1,2.5\n");
    }

    #[test]
    fn losses_are_those_of_metrics_events_alone() {
        assert_eq!(losses(&json!({ "step": 3, "total_steps": 9, "train_loss": 1.5 })), Some(Losses { step: 3, of: 9, train: Some(1.5), validation: None }));
        assert_eq!(losses(&json!({ "step": 3 })), None);
        assert_eq!(losses(&json!({})), None);
    }
}
