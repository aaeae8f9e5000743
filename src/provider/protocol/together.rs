//! Together's fine-tuning API: `/fine-tunes`, with prices that it tells beforehand. It knows no metadata: our key stands in the
//! suffix, and so in the name of the model.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::data::rules;
use crate::fingerprint::ActionKey;

use super::super::transport::{Client, FilePart, Repeat, Request};
use super::super::tuning::{Happened, Job, JobState, Losses, RemoteCheckpoint, Rules, TrainingFile, Wire, csv};
use super::super::{Method, ProviderError, Taught, TuningRequest, Watch, dollars};
use super::openai::{Page, carries, mark};

/// The longest suffix beside our key, in characters.
pub const SUFFIX: usize = 23;

/// Tunes at Together.
#[derive(Debug)]
pub struct Together {
    client: Client,
}

#[derive(Debug, Deserialize)]
struct FileObject {
    id: String,
    #[serde(default)]
    filename: String,
    #[serde(default)]
    bytes: u64,
}

/// A job. Only its id must be what it should be.
#[derive(Debug)]
struct FineTune {
    id: String,
    status: String,
    created_at: String,
    suffix: Option<String>,
    model: Option<String>,
    token_count: Option<f64>,
    /// In billionths of a dollar.
    total_price: Option<f64>,
    problem: Option<String>,
}

impl FineTune {
    fn read(job: &Value) -> Option<Self> {
        let word = |name: &str| job.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let number = |name: &str| job.get(name).and_then(Value::as_f64).filter(|number| *number > 0.0);
        let model = word("model_output_name").or_else(|| word("output_name"));
        let events = job.get("events").and_then(Value::as_array);
        let last = events.into_iter().flatten().rev().find_map(|event| event.get("message").and_then(Value::as_str));
        Some(Self {
            id: word("id")?,
            status: word("status").unwrap_or_default(),
            created_at: word("created_at").unwrap_or_default(),
            suffix: word("suffix"),
            model,
            token_count: number("token_count"),
            total_price: number("total_price"),
            problem: last.map(str::to_owned),
        })
    }
}

/// What a job will cost, in US dollars.
#[derive(Debug, Deserialize)]
struct Quote {
    #[serde(default)]
    estimated_total_price: Option<f64>,
    #[serde(default)]
    allowed_to_proceed: Option<bool>,
}

impl From<FineTune> for Job {
    fn from(job: FineTune) -> Self {
        let state = match job.status.as_str() {
            "completed" => JobState::Succeeded,
            "error" | "user_error" => JobState::Failed,
            "cancelled" => JobState::Cancelled,
            _ => JobState::Going,
        };
        Self {
            id: job.id,
            state,
            word: job.status,
            created: job.created_at.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default(),
            model: job.model,
            results: Vec::new(),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "token counts are far below 2^52")]
            trained_tokens: job.token_count.map(|tokens| tokens as u64),
            usd: job.total_price.map(|price| price / 1e9),
            problem: job.problem.filter(|_| state == JobState::Failed),
        }
    }
}

impl Together {
    /// Tunes through this client.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }
}

/// The settings of a method that there is a field for.
#[must_use]
pub fn expresses(method: &str, setting: &str) -> bool {
    matches!(setting, "epochs" | "batch-size" | "learning-rate" | "warmup" | "weight-decay" | "lora" | "train-on-inputs")
        || (method == "dpo" && setting == "beta")
}

#[async_trait]
impl Wire for Together {
    fn client(&self) -> &Client {
        &self.client
    }

    fn rules(&self) -> Rules {
        Rules { fewest: 1, largest: 25 << 30, ends: None, parts: false, rows: rules::of("together") }
    }

    async fn is_there(&self, id: &str, file: &TrainingFile, watch: &dyn Watch) -> Result<bool, ProviderError> {
        match self.client.json::<FileObject>(Request::get(format!("/files/{id}")), watch).await {
            Ok(found) => Ok(found.filename == file.name()),
            Err(ProviderError::Refused { status: 400 | 403 | 404 | 410, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn stored(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<Option<String>, ProviderError> {
        let all: Page<FileObject> = self.client.json(Request::get("/files"), watch).await?;
        Ok(all.data.into_iter().find(|found| found.filename == file.name() && found.bytes == file.bytes).map(|found| found.id))
    }

    async fn upload(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<String, ProviderError> {
        let fields = vec![("purpose", "fine-tune".to_owned()), ("file_name", file.name()), ("file_type", "jsonl".to_owned())];
        let part = FilePart { path: file.path.clone(), name: file.name(), start: 0, length: file.bytes, field: "file", fields };
        let sent: FileObject = self.client.json(Request::upload("/files/upload", part), watch).await?;
        Ok(sent.id)
    }

    async fn find(&self, key: ActionKey, watch: &dyn Watch) -> Result<Vec<Job>, ProviderError> {
        let all: Page<Value> = self.client.json(Request::get("/fine-tunes"), watch).await?;
        let mark = mark(key);
        let mut found = Vec::new();
        for job in &all.data {
            match FineTune::read(job) {
                Some(job) if job.suffix.as_ref().or(job.model.as_ref()).is_some_and(|name| carries(name, &mark)) => found.push(job.into()),
                Some(_) => {}
                // It may be ours, and cannot be followed: to make another one would be to pay twice.
                None if job.to_string().contains(&mark) => return Err(self.unreadable(job)),
                None => {}
            }
        }
        Ok(found)
    }

    async fn quote(&self, request: &TuningRequest, train: &str, validation: Option<&str>, watch: &dyn Watch) -> Result<Option<f64>, ProviderError> {
        let whole = self.creation(request, train, validation);
        // The price depends on these alone.
        let asked = ["training_file", "validation_file", "model", "from_checkpoint", "n_epochs", "n_evals", "training_type", "training_method"];
        let body: Value = asked.into_iter().filter_map(|name| Some((name.to_owned(), whole.get(name)?.clone()))).collect::<serde_json::Map<_, _>>().into();
        let quote: Quote = match self.client.json(Request::post("/fine-tunes/estimate-price", body, Repeat::Freely), watch).await {
            Ok(quote) => quote,
            Err(ProviderError::Refused { status: 404 | 405, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if quote.allowed_to_proceed == Some(false) {
            let price = quote.estimated_total_price.map_or_else(String::new, |usd| format!(" of {}", dollars(usd)));
            return Err(ProviderError::Cannot {
                provider: self.client.provider().to_owned(),
                lack: format!("says that the account does not cover a job{price}"),
            });
        }
        Ok(quote.estimated_total_price)
    }

    async fn create(&self, request: &TuningRequest, train: &str, validation: Option<&str>, watch: &dyn Watch) -> Result<Job, ProviderError> {
        let reply: Value = self.client.json(Request::post("/fine-tunes", self.creation(request, train, validation), Repeat::Never), watch).await?;
        FineTune::read(&reply).map(Job::from).ok_or_else(|| self.unreadable(&reply))
    }

    async fn job(&self, id: &str, watch: &dyn Watch) -> Result<Job, ProviderError> {
        let reply: Value = self.client.json(Request::get(format!("/fine-tunes/{id}")), watch).await?;
        FineTune::read(&reply).map(Job::from).ok_or_else(|| self.unreadable(&reply))
    }

    async fn events(&self, id: &str, told: &BTreeSet<String>, watch: &dyn Watch) -> Result<Vec<Happened>, ProviderError> {
        let all: Page<Value> = self.client.json(Request::get(format!("/fine-tunes/{id}/events")), watch).await?;
        let happened = |event: Value| {
            let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = |name: &str| event.get(name).and_then(Value::as_f64);
            let id = match text("hash") {
                hash if hash.is_empty() => format!("{} {}", text("created_at"), text("message")),
                hash => hash,
            };
            let step = event.get("step").and_then(Value::as_u64).filter(|step| *step > 0);
            let of = event.get("total_steps").and_then(Value::as_u64).unwrap_or_default();
            let losses = step.map(|step| Losses { step, of, train: number("train_loss"), validation: number("eval_loss") });
            Happened { id, message: text("message"), losses: losses.filter(|losses| losses.train.is_some() || losses.validation.is_some()) }
        };
        Ok(all.data.into_iter().map(happened).filter(|event| !told.contains(&event.id)).collect())
    }

    async fn checkpoints(&self, id: &str, watch: &dyn Watch) -> Result<Vec<RemoteCheckpoint>, ProviderError> {
        let all: Page<Value> = self.client.json(Request::get(format!("/fine-tunes/{id}/checkpoints")), watch).await?;
        let checkpoint = |found: Value| {
            let step = found.get("step").and_then(Value::as_u64)?;
            let validation = found.get("eval_loss").and_then(Value::as_f64);
            Some(RemoteCheckpoint { model: found.get("path").and_then(Value::as_str)?.to_owned(), step, validation })
        };
        Ok(all.data.into_iter().filter_map(checkpoint).collect())
    }

    async fn losses(&self, job: &Job, watch: &dyn Watch) -> Result<Vec<u8>, ProviderError> {
        Ok(csv(self.events(&job.id, &BTreeSet::new(), watch).await?.into_iter().filter_map(|event| event.losses)))
    }

    async fn cancel(&self, id: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        self.client.send(&Request::post(format!("/fine-tunes/{id}/cancel"), json!({}), Repeat::Freely), watch).await.map(drop)
    }
}

impl Together {
    fn unreadable(&self, job: &Value) -> ProviderError {
        let shown: String = job.to_string().chars().take(200).collect();
        ProviderError::Unexpected { url: self.client.url("/fine-tunes"), problem: format!("a job without an id: {shown}") }
    }

    fn creation(&self, request: &TuningRequest, train: &str, validation: Option<&str>) -> Value {
        let sizes = &request.hyperparameters;
        let name: String = request.suffix.chars().take(SUFFIX).collect();
        let mut body = json!({
            "training_file": train,
            "suffix": format!("{name}-{}", mark(request.key)),
            "random_seed": sizes.seed % 2_147_483_648,
        });
        // A job takes one of the two: the checkpoint knows its base.
        body[if request.start.is_some() { "from_checkpoint" } else { "model" }] = json!(request.begins_with());
        let given: [(&str, Option<Value>); 8] = [
            ("validation_file", validation.map(|file| json!(file))),
            ("n_evals", validation.map(|_| json!(sizes.epochs.unwrap_or(1)))),
            ("n_epochs", sizes.epochs.map(|epochs| json!(epochs))),
            ("batch_size", sizes.batch_size.map(|size| json!(size))),
            ("learning_rate", sizes.learning_rate.map(|rate| json!(rate))),
            ("warmup_ratio", sizes.warmup.map(|share| json!(share))),
            ("weight_decay", sizes.weight_decay.map(|rate| json!(rate))),
            ("wandb_project_name", request.report.as_ref().map(|report| json!(report.project))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        body["training_type"] = match &sizes.lora {
            Some(lora) => json!({ "type": "Lora", "lora_r": lora.rank, "lora_alpha": lora.alpha }),
            None => json!({ "type": "Full" }),
        };
        body["training_method"] = match &request.method {
            Method::Dpo { beta: Some(beta) } => json!({ "method": "dpo", "dpo_beta": beta }),
            Method::Dpo { beta: None } => json!({ "method": "dpo" }),
            Method::Supervised if sizes.taught == Taught::Everything => json!({ "method": "sft", "train_on_inputs": true }),
            Method::Supervised | Method::Reinforcement { .. } => json!({ "method": "sft" }),
        };
        for (name, value) in &self.client.endpoint().fields {
            body[name.as_str()] = value.clone();
        }
        body
    }
}
