//! Fireworks' fine-tuning API: datasets and `supervisedFineTuningJobs` under an account. Ids are ours to choose, so that our key
//! is the id: a job that is made twice is refused there.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::data::rules;
use crate::fingerprint::ActionKey;

use super::super::transport::{Client, FilePart, Repeat, Request};
use super::super::tuning::{Happened, Job, JobState, Rules, TrainingFile, Wire};
use super::super::{ProviderError, TuningRequest, Watch};

/// What is sent of a suffix at most, in characters.
pub const SUFFIX: usize = 64;

/// Tunes at Fireworks.
#[derive(Debug)]
pub struct Fireworks {
    client: Client,
    account: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FineTune {
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    create_time: String,
    #[serde(default)]
    output_model: Option<String>,
    #[serde(default)]
    status: Option<Value>,
    #[serde(default)]
    job_progress: Option<Value>,
    #[serde(default)]
    estimated_cost: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Dataset {
    #[serde(default)]
    state: String,
}

impl From<FineTune> for Job {
    fn from(job: FineTune) -> Self {
        let state = match job.state.as_str() {
            // One that ended early because it learnt no more left its model.
            "JOB_STATE_COMPLETED" | "JOB_STATE_EARLY_STOPPED" => JobState::Succeeded,
            "JOB_STATE_FAILED" | "JOB_STATE_EXPIRED" | "JOB_STATE_DELETED" => JobState::Failed,
            "JOB_STATE_CANCELLED" => JobState::Cancelled,
            "JOB_STATE_PAUSED" => JobState::Paused,
            _ => JobState::Going,
        };
        let message = job.status.as_ref().and_then(|status| status.get("message")).and_then(Value::as_str).filter(|message| !message.is_empty());
        let tokens = job.job_progress.as_ref().and_then(|progress| progress.get("inputTokens"));
        let usd = job.estimated_cost.as_ref().and_then(money);
        Self {
            id: job.name.rsplit('/').next().unwrap_or_default().to_owned(),
            state,
            word: job.state.trim_start_matches("JOB_STATE_").to_lowercase(),
            created: job.create_time.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default(),
            model: job.output_model.filter(|model| !model.is_empty()),
            results: Vec::new(),
            trained_tokens: tokens.and_then(count).filter(|tokens| *tokens > 0),
            usd,
            problem: message.map(str::to_owned),
        }
    }
}

/// A count, which their JSON writes as a number or in quotes.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// An amount as `{ "units": "3", "nanos": 500000000 }`.
#[expect(clippy::cast_precision_loss, reason = "amounts are small")]
fn money(value: &Value) -> Option<f64> {
    let part = |name: &str| value.get(name).and_then(count);
    Some(part("units").unwrap_or_default() as f64 + part("nanos").unwrap_or_default() as f64 / 1e9).filter(|usd| *usd > 0.0)
}

/// The settings of supervised training that there is a field for.
#[must_use]
pub fn expresses(setting: &str) -> bool {
    matches!(setting, "epochs" | "batch-size" | "learning-rate" | "weight-decay" | "lora")
}

/// An id as they take it: lower case letters, digits and dashes, beginning with a letter, at most 63.
fn job_id(key: ActionKey) -> String {
    format!("retune-{}", &key.to_string()[..40])
}

fn dataset_id(file: &TrainingFile) -> String {
    format!("retune-{}", &file.digest.to_string()[..40])
}

/// What one request may upload.
const LARGEST: u64 = 150 << 20;

impl Fireworks {
    /// Tunes through this client, in an account.
    #[must_use]
    pub const fn new(client: Client, account: String) -> Self {
        Self { client, account }
    }

    fn place(&self, rest: &str) -> String {
        format!("/accounts/{}/{rest}", self.account)
    }

    async fn dataset(&self, id: &str, watch: &dyn Watch) -> Result<Option<Dataset>, ProviderError> {
        absent(self.client.json(Request::get(self.place(&format!("datasets/{id}"))), watch).await)
    }
}

/// What is not there is no error.
fn absent<T>(found: Result<T, ProviderError>) -> Result<Option<T>, ProviderError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(ProviderError::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Wire for Fireworks {
    fn client(&self) -> &Client {
        &self.client
    }

    fn rules(&self) -> Rules {
        Rules { fewest: 3, largest: LARGEST, ends: None, parts: false, rows: rules::of("fireworks") }
    }

    async fn is_there(&self, id: &str, file: &TrainingFile, watch: &dyn Watch) -> Result<bool, ProviderError> {
        Ok(id == dataset_id(file) && self.dataset(id, watch).await?.is_some_and(|dataset| dataset.state == "READY"))
    }

    async fn stored(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<Option<String>, ProviderError> {
        let id = dataset_id(file);
        Ok(self.dataset(&id, watch).await?.filter(|dataset| dataset.state == "READY").map(|_| id))
    }

    async fn upload(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<String, ProviderError> {
        let id = dataset_id(file);
        let body = json!({ "datasetId": id, "dataset": { "userUploaded": {} } });
        match self.client.send(&Request::post(self.place("datasets"), body, Repeat::Freely), watch).await {
            // An earlier attempt made it, and may not have come to upload.
            Ok(_) | Err(ProviderError::Refused { status: 409, .. }) => {}
            Err(error) => return Err(error),
        }
        let part = FilePart { path: file.path.clone(), name: file.name(), start: 0, length: file.bytes, field: "file", fields: Vec::new() };
        self.client.send(&Request::upload(self.place(&format!("datasets/{id}:upload")), part), watch).await?;
        for _ in 0..600 {
            match self.dataset(&id, watch).await? {
                Some(dataset) if dataset.state == "READY" => return Ok(id),
                Some(dataset) if dataset.state.contains("FAILED") => {
                    let url = self.client.url(&self.place(&format!("datasets/{id}")));
                    return Err(ProviderError::Unexpected { url, problem: format!("the dataset is {}", dataset.state) });
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(ProviderError::Unexpected { url: self.client.url(&self.place(&format!("datasets/{id}"))), problem: "the dataset does not become ready".into() })
    }

    async fn find(&self, key: ActionKey, watch: &dyn Watch) -> Result<Vec<Job>, ProviderError> {
        let place = self.place(&format!("supervisedFineTuningJobs/{}", job_id(key)));
        Ok(absent(self.client.json::<FineTune>(Request::get(place), watch).await)?.map(Job::from).into_iter().collect())
    }

    async fn create(&self, request: &TuningRequest, train: &str, validation: Option<&str>, watch: &dyn Watch) -> Result<Job, ProviderError> {
        let id = job_id(request.key);
        // A job that failed keeps its id, and ours is the only one that can be found again: it makes room.
        if let Some(old) = self.find(request.key, watch).await?.first().filter(|old| matches!(old.state, JobState::Failed | JobState::Cancelled)) {
            let place = self.place(&format!("supervisedFineTuningJobs/{}", old.id));
            absent(self.client.send(&Request::delete(place), watch).await)?;
        }
        let sizes = &request.hyperparameters;
        let dataset = |id: &str| json!(format!("accounts/{}/datasets/{id}", self.account));
        let mut body = json!({
            "displayName": request.suffix,
            "dataset": dataset(train),
            "outputModel": format!("accounts/{}/models/{id}", self.account),
        });
        // A job takes one of the two: the tuned model knows its base.
        body[if request.start.is_some() { "warmStartFrom" } else { "baseModel" }] = json!(request.begins_with());
        let given: [(&str, Option<Value>); 7] = [
            ("evaluationDataset", validation.map(dataset)),
            ("epochs", sizes.epochs.map(|epochs| json!(epochs))),
            ("batchSizeSamples", sizes.batch_size.map(|size| json!(size))),
            ("learningRate", sizes.learning_rate.map(|rate| json!(rate))),
            ("optimizerWeightDecay", sizes.weight_decay.map(|rate| json!(rate))),
            ("loraRank", sizes.lora.as_ref().map(|lora| json!(lora.rank))),
            ("wandbConfig", request.report.as_ref().map(|report| json!({ "enabled": true, "project": report.project, "entity": report.entity }))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        for (name, value) in &self.client.endpoint().fields {
            body[name.as_str()] = value.clone();
        }
        let create = Request::post(self.place("supervisedFineTuningJobs"), body, Repeat::Never).query("supervisedFineTuningJobId", id);
        Ok(self.client.json::<FineTune>(create, watch).await?.into())
    }

    async fn job(&self, id: &str, watch: &dyn Watch) -> Result<Job, ProviderError> {
        Ok(self.client.json::<FineTune>(Request::get(self.place(&format!("supervisedFineTuningJobs/{id}"))), watch).await?.into())
    }

    async fn events(&self, id: &str, _: &BTreeSet<String>, watch: &dyn Watch) -> Result<Vec<Happened>, ProviderError> {
        let job: FineTune = self.client.json(Request::get(self.place(&format!("supervisedFineTuningJobs/{id}"))), watch).await?;
        let percent = job.job_progress.as_ref().and_then(|progress| progress.get("percent")).and_then(count).unwrap_or_default();
        watch.progress(percent, 100, "percent", &job.state.trim_start_matches("JOB_STATE_").to_lowercase());
        Ok(Vec::new())
    }

    async fn losses(&self, _: &Job, _: &dyn Watch) -> Result<Vec<u8>, ProviderError> {
        Ok(Vec::new())
    }

    async fn cancel(&self, id: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        self.client.send(&Request::post(self.place(&format!("supervisedFineTuningJobs/{id}:cancel")), json!({}), Repeat::Freely), watch).await.map(drop)
    }
}
