//! Doing the jobs, one after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::data::parse_examples;
use crate::fingerprint::{ActionKey, Digest};
use crate::ledger::JobJournal;
use crate::model::LocalEngine;
use crate::provider::{Care, Method, ProviderError, Tune, TuningRequest, TuningResult, Watch};
use crate::serve::chat::now;
use crate::store::Lock;

use super::files::RESULTS;
use super::jobs::{Job, Jobs, Made, Problem, Status};

/// Steps from one checkpoint to the next.
const EVERY: usize = 20;
/// After so many steps only each tenth is told.
const MANY: u64 = 1000;
/// How often it is looked for jobs that others left.
const AGAIN: Duration = Duration::from_secs(5);

/// Does jobs as they come, until no more can.
pub async fn work(jobs: Arc<Jobs>, mut queued: UnboundedReceiver<String>, is_over: Arc<AtomicBool>) {
    loop {
        let waited = tokio::time::timeout(AGAIN, queued.recv()).await;
        // Jobs that another gateway of this workspace left are done as well, and those whose state could not be written.
        let ids = match waited {
            Ok(Some(id)) => vec![id],
            Ok(None) => return,
            Err(_) => jobs.open_ones(),
        };
        for id in ids {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            // Another one may be at it.
            let Ok(Some(_alone)) = Lock::try_alone(&jobs.store, &format!("serve/jobs/{id}")) else {
                continue;
            };
            if let Some((job, stop)) = jobs.begins(&id) {
                do_one(&jobs, job, stop).await;
                jobs.lets_go(&id);
            }
        }
    }
}

async fn do_one(jobs: &Arc<Jobs>, mut job: Job, stop: Arc<AtomicBool>) {
    let said = match tune(jobs, &mut job, stop).await {
        Ok(name) => {
            job.status = Status::Succeeded;
            vec![("info", format!("New fine-tuned model created: {name}")), ("info", "The job has successfully completed".to_owned())]
        }
        Err(Ended::Stopped) => {
            // Whoever cancelled it has written that down. Else it goes on where it is when there is a gateway again.
            if jobs.is_over(&job.id) {
                let _ = std::fs::remove_dir_all(jobs.checkpoints(&job.id));
            }
            return;
        }
        Err(Ended::Failed(problem)) => {
            job.status = Status::Failed;
            let said = vec![("error", problem.message.clone())];
            job.problem = Some(problem);
            said
        }
    };
    job.finished_at = Some(now());
    // Where that cannot be written it is done again from its last checkpoint.
    if jobs.ends(&job, &said).is_ok() {
        let _ = std::fs::remove_dir_all(jobs.checkpoints(&job.id));
    }
}

/// Why nothing came of a job.
enum Ended {
    Stopped,
    Failed(Problem),
}

impl Ended {
    fn failed(error: &impl std::fmt::Display) -> Self {
        Self::Failed(Problem { code: "server_error".into(), message: error.to_string(), param: None })
    }

    /// It failed for what a file holds.
    fn by_file(param: &str, error: &impl std::fmt::Display) -> Self {
        Self::Failed(Problem { code: format!("invalid_{param}"), message: error.to_string(), param: Some(param.to_owned()) })
    }
}

/// Does a job. Returns the name of the model that came of it.
async fn tune(jobs: &Arc<Jobs>, job: &mut Job, stop: Arc<AtomicBool>) -> Result<String, Ended> {
    let request = tokio::task::block_in_place(|| request(jobs, job))?;
    jobs.event(&job.id, "info", "Fine-tuning job started", None);
    let watch = JobWatch { jobs: Arc::clone(jobs), id: job.id.clone(), stop };
    let mut journal = JobJournal::unwritten(jobs.store.root(), request.key);
    let tuned = LocalEngine::new(jobs.store.root()).tune(request, &mut journal, &watch).await.map_err(|error| match error {
        ProviderError::Stopped => Ended::Stopped,
        ProviderError::Data(error) => Ended::by_file("training_file", &error),
        error => Ended::failed(&error),
    })?;
    keep(jobs, job, tuned).map_err(|error| Ended::failed(&error))
}

/// What the engine is asked for, once all rows are seen to be examples.
fn request(jobs: &Jobs, job: &Job) -> Result<TuningRequest, Ended> {
    let place = |id: &str, param: &str| -> Result<PathBuf, Ended> {
        let path = jobs.files.find(id).map(|file| jobs.files.content(&file));
        let path = path.ok_or_else(|| Ended::by_file(param, &format!("there is no file `{id}` any more")))?;
        let bytes = std::fs::read(&path).map_err(|error| Ended::failed(&error))?;
        parse_examples(&bytes).map_err(|error| Ended::by_file(param, &error))?;
        Ok(path)
    };
    let train = place(&job.training_file, "training_file")?;
    let validation = job.validation_file.as_deref().map(|id| place(id, "validation_file")).transpose()?;
    let checkpoints = jobs.checkpoints(&job.id);
    let has_place = std::fs::create_dir_all(&checkpoints).is_ok();
    Ok(TuningRequest {
        key: ActionKey(Digest::of(job.id.as_bytes())),
        stage: job.id.clone(),
        base: job.model.clone(),
        start: None,
        train,
        validation,
        method: Method::Supervised,
        hyperparameters: job.sizes.hyperparameters(job.seed),
        suffix: job.suffix.clone().unwrap_or_default(),
        may_retire: true,
        moderate: false,
        report: None,
        care: Care::default(),
        expected_tokens: None,
        estimate: None,
        left: None,
        checkpoints: has_place.then_some((checkpoints, EVERY)),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts that became figures")]
fn keep(jobs: &Jobs, job: &mut Job, tuned: TuningResult) -> std::io::Result<String> {
    let digest = jobs.keep(&job.id, &tuned.files)?;
    let draft = jobs.files.begin()?;
    std::fs::write(draft.content(), &tuned.losses)?;
    let results = draft.keep("step_metrics.csv", RESULTS, None)?;
    let figure = |name: &str| tuned.metrics.get(name).copied().unwrap_or_default();
    let suffix: String = job.suffix.iter().flat_map(|suffix| suffix.chars()).map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let name = format!("ft:{}:retune:{suffix}:{}", job.model, job.id.trim_start_matches("ftjob-"));
    let figures = at_step(&tuned.losses, figure("best-step") as u64);
    let (tokens, step) = (figure("trained-tokens") as u64, figure("best-step") as u64);
    job.made = Some(Made { name: name.clone(), card: tuned.model, digest, tokens, results: results.id, step, figures });
    Ok(name)
}

/// The losses of a step, by OpenAI's names.
fn at_step(losses: &[u8], step: u64) -> BTreeMap<String, f64> {
    let text = String::from_utf8_lossy(losses);
    let mut lines = text.lines().map(|line| line.split(','));
    let names: Vec<&str> = lines.next().into_iter().flatten().collect();
    let line = lines.find(|line| line.clone().next().and_then(|first| first.parse().ok()) == Some(step));
    let figures = names.into_iter().zip(line.into_iter().flatten()).skip(1);
    figures.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

struct JobWatch {
    jobs: Arc<Jobs>,
    id: String,
    stop: Arc<AtomicBool>,
}

impl Watch for JobWatch {
    fn progress(&self, _: u64, _: u64, _: &str, _: &str) {}

    fn note(&self, message: &str) {
        self.jobs.event(&self.id, "info", message, None);
    }

    fn metrics(&self, step: u64, figures: &BTreeMap<String, f64>) {
        let loss = figures.get("train-loss").or_else(|| figures.values().next()).copied().unwrap_or_default();
        let mut data = json!({ "step": step, "train_loss": loss });
        figures.iter().for_each(|(name, value)| data[name.replace('-', "_")] = json!(value));
        // Another gateway of this workspace may have been asked to cancel it.
        if self.jobs.is_over(&self.id) {
            self.stop.store(true, Ordering::Relaxed);
        }
        if step > MANY && !step.is_multiple_of(10) {
            return;
        }
        self.jobs.event(&self.id, "info", &format!("Step {step}: training loss={loss:.4}"), Some(data));
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
