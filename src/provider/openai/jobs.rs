use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::fingerprint::ActionKey;
use crate::ledger::{JobJournal, JobStep};

use super::super::watch::until_stopped;
use super::super::{ModelCard, ProviderError, Tune, TuningRequest, TuningResult, Watch};
use super::OpenAi;
use super::client::Repeat;
use super::shapes::{Job, JobEvent, Page};

/// The fewest examples that the API takes.
const FEWEST: usize = 10;

#[async_trait]
impl Tune for OpenAi {
    async fn tune(&self, request: TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let may_stop = || !self.creating.load(Ordering::Relaxed);
        let tuned = until_stopped(watch, may_stop, self.tune_through(&request, journal, watch)).await;
        tuned.unwrap_or_else(|| Err(ProviderError::Detached { job: None }))
    }
}

impl OpenAi {
    async fn tune_through(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let job = self.job(request, journal, watch).await?;
        let job = self.follow(&job, watch).await?;
        journal.note(JobStep::Ended { status: job.status.clone() })?;
        if job.status != "succeeded" {
            let message = job.error.and_then(|error| error.message).unwrap_or_else(|| "no reason was given".into());
            return Err(ProviderError::JobFailed { job: job.id, status: job.status, message });
        }
        self.fetch(request, job).await
    }

    /// The id of the job: from the journal, else from the provider's list by our key, else of a new one.
    async fn job(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<String, ProviderError> {
        if let Some(job) = journal.job() {
            watch.note(&format!("following job {job}"));
            return Ok(job.to_owned());
        }
        let rows = request.train.iter().filter(|&&byte| byte == b'\n').count();
        if rows < FEWEST {
            let lack = format!("takes at least {FEWEST} training examples, and there are {rows}");
            return Err(ProviderError::Cannot { provider: self.client.provider().into(), lack });
        }
        let asked_before = journal.steps().contains(&JobStep::Creating);
        if journal.steps().is_empty() {
            journal.note(JobStep::Intent { provider: self.client.provider().into(), model: request.base.clone() })?;
        }
        // A request that was lost on the way back may show in the list only after a moment.
        let looks = if asked_before { 3 } else { 1 };
        if let Some(job) = self.look(request.key, looks).await? {
            watch.note(&format!("found job {} under our key", job.id));
            journal.note(JobStep::Exists { job: job.id.clone(), found: true })?;
            return Ok(job.id);
        }
        let train = self.upload("train", &request.train, journal).await?;
        let validation = if request.validation.is_empty() { None } else { Some(self.upload("validation", &request.validation, journal).await?) };
        if watch.let_go() {
            return Err(ProviderError::Stopped);
        }
        let body = creation(request, &train, validation.as_deref());
        journal.note(JobStep::Creating)?;
        self.creating.store(true, Ordering::Relaxed);
        let created = self.client.post::<Job>("/fine_tuning/jobs", &body, Repeat::Never).await;
        self.creating.store(false, Ordering::Relaxed);
        let (job, found) = match created {
            Ok(job) => (job, false),
            Err(error @ ProviderError::Refused { status: 400..=499, .. }) => return Err(error),
            // Nobody knows whether it arrived: look, and never send it again in this run.
            Err(error) => (self.look(request.key, 3).await?.ok_or(error)?, true),
        };
        journal.note(JobStep::Exists { job: job.id.clone(), found })?;
        watch.note(&format!("job {} begun", job.id));
        Ok(job.id)
    }

    async fn look(&self, key: ActionKey, times: u32) -> Result<Option<Job>, ProviderError> {
        for time in 0..times {
            if time > 0 {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            if let Some(job) = self.find(key).await? {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    /// The job under our key that is worth following: one that succeeded, else the latest that may still.
    async fn find(&self, key: ActionKey) -> Result<Option<Job>, ProviderError> {
        let key = key.to_string();
        let mut found: Vec<Job> = Vec::new();
        let mut after = String::new();
        loop {
            let mut query = vec![("metadata[retune_key]", key.as_str()), ("limit", "100")];
            if !after.is_empty() {
                query.push(("after", &after));
            }
            let page: Page<Value> = self.client.get("/fine_tuning/jobs", &query).await?;
            let last = page.data.last().and_then(|job| job["id"].as_str()).unwrap_or_default().to_owned();
            // Some servers that speak the protocol ignore the filter, so every job is looked at.
            let ours = page.data.into_iter().filter(|job| job["metadata"]["retune_key"] == key.as_str());
            found.extend(ours.filter_map(|job| serde_json::from_value(job).ok()));
            if !page.has_more || last.is_empty() || last == after {
                break;
            }
            after = last;
        }
        let worth = found.into_iter().filter(|job| !matches!(job.status.as_str(), "failed" | "cancelled"));
        Ok(worth.max_by_key(|job| (job.status == "succeeded", job.created_at)))
    }

    async fn follow(&self, id: &str, watch: &dyn Watch) -> Result<Job, ProviderError> {
        let mut pause = Duration::from_millis(100);
        let mut told = BTreeSet::new();
        loop {
            let job: Job = self.client.get(&format!("/fine_tuning/jobs/{id}"), &[]).await?;
            self.tell(id, &mut told, watch).await;
            watch.progress(0, 0, "", &format!("job {id} is {}", job.status));
            if job.over() {
                return Ok(job);
            }
            let mut waited = Duration::ZERO;
            while waited < pause {
                if watch.let_go() {
                    return Err(ProviderError::Detached { job: Some(id.to_owned()) });
                }
                let step = Duration::from_millis(50).min(pause - waited);
                tokio::time::sleep(step).await;
                waited += step;
            }
            pause = (pause * 3 / 2).min(Duration::from_secs(15));
        }
    }

    /// Passes on the events that were not told yet. They are a help, so that failing to get them is no error.
    async fn tell(&self, id: &str, told: &mut BTreeSet<String>, watch: &dyn Watch) {
        let page: Result<Page<JobEvent>, _> = self.client.get(&format!("/fine_tuning/jobs/{id}/events"), &[("limit", "50")]).await;
        let Ok(page) = page else { return };
        for event in page.data.into_iter().rev() {
            if told.insert(event.id) {
                watch.note(&event.message);
            }
        }
    }

    async fn fetch(&self, request: &TuningRequest, job: Job) -> Result<TuningResult, ProviderError> {
        let Some(name) = job.fine_tuned_model else {
            let url = self.client.url(&format!("/fine_tuning/jobs/{}", job.id));
            return Err(ProviderError::Unexpected { url, problem: "the job succeeded and names no model".into() });
        };
        let mut losses = Vec::new();
        if let Some(file) = job.result_files.first() {
            losses = plain(self.client.bytes(&format!("/files/{file}/content")).await?);
        }
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        let tokens = job.trained_tokens.map(|tokens| ("trained-tokens".to_owned(), tokens as f64));
        let mut metrics: BTreeMap<String, f64> = tokens.into_iter().collect();
        metrics.extend(last_losses(&losses));
        let model = ModelCard { provider: self.client.provider().into(), base: request.base.clone(), name };
        Ok(TuningResult { model, files: BTreeMap::new(), losses, metrics })
    }
}

fn creation(request: &TuningRequest, train: &str, validation: Option<&str>) -> Value {
    let sizes = &request.hyperparameters;
    let mut hyperparameters = json!({ "n_epochs": sizes.epochs });
    if let Some(size) = sizes.batch_size {
        hyperparameters["batch_size"] = json!(size);
    }
    let mut body = json!({
        "model": request.base,
        "training_file": train,
        "suffix": request.suffix,
        "seed": sizes.seed % 2_147_483_648,
        "method": { "type": "supervised", "supervised": { "hyperparameters": hyperparameters } },
        "metadata": { "retune_key": request.key.to_string() },
    });
    if let Some(validation) = validation {
        body["validation_file"] = json!(validation);
    }
    body
}

/// Result files come as CSV, or as base64 of it.
fn plain(bytes: Vec<u8>) -> Vec<u8> {
    let text = bytes.trim_ascii();
    if text.contains(&b',') || text.is_empty() {
        return bytes;
    }
    BASE64_STANDARD.decode(text).unwrap_or(bytes)
}

/// The last losses of a result file, found by its header.
fn last_losses(csv: &[u8]) -> Vec<(String, f64)> {
    let text = String::from_utf8_lossy(csv);
    let mut lines = text.lines();
    let Some(header) = lines.next() else {
        return Vec::new();
    };
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let column = |name: &str| header.split(',').position(|column| column.trim() == name);
    let last = |name: &str| {
        let column = column(name)?;
        rows.iter().rev().find_map(|row| row.get(column)?.trim().parse::<f64>().ok())
    };
    let named = [("train-loss", "train_loss"), ("validation-loss", "valid_loss")];
    named.into_iter().filter_map(|(metric, column)| Some((metric.to_owned(), last(column)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_files_are_read_plain_and_as_base64() {
        assert_eq!(plain(b"step,train_loss\n1,2.5\n".to_vec()), b"step,train_loss\n1,2.5\n");
        assert_eq!(plain(b"c3RlcCx0cmFpbl9sb3NzCjEsMi41Cg==\n".to_vec()), b"step,train_loss\n1,2.5\n");
        assert_eq!(
            last_losses(b"step,train_loss,valid_loss\n1,2.5,\n2,1.5,1.75\n3,1.25,\n"),
            [("train-loss".to_owned(), 1.25), ("validation-loss".to_owned(), 1.75)]
        );
    }
}
