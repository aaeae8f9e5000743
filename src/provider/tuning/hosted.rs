//! The life of a remote job, the same for every protocol: intent, files, creation, following, fetching. Each step is in the
//! journal before the next, so that a crash after any of them pays nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::Date;

use crate::fingerprint::ActionKey;
use crate::ledger::{JobJournal, JobStep, STOPPED_EARLY};

use super::super::transport::today;
use super::super::watch::{Watch, until_stopped};
use super::super::{ModelCard, ProviderError, Tune, TuningRequest, TuningResult};
use super::monitor::{Care, Monitor, Verdict};
use super::rows::{self, Rows};
use super::wire::{Job, JobState, RemoteCheckpoint, TrainingFile, Wire};

/// Tunes models by remote jobs.
pub struct Hosted {
    wire: Box<dyn Wire>,
    /// Whether a request is under way that makes something paid for: its reply is waited for whatever happens.
    creating: AtomicBool,
    /// Whether it was said that there is no checkpoint to keep.
    said: Mutex<bool>,
}

impl Hosted {
    /// Tunes by this protocol.
    #[must_use]
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, creating: AtomicBool::new(false), said: Mutex::default() }
    }
}

#[async_trait]
impl Tune for Hosted {
    async fn tune(&self, request: TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let may_stop = || !self.creating.load(Ordering::Relaxed);
        let tuned = until_stopped(watch, may_stop, self.tune_through(&request, journal, watch)).await;
        tuned.unwrap_or_else(|| Err(ProviderError::Detached { job: None }))
    }
}

/// What was heard of a job so far.
struct Heard {
    told: BTreeSet<String>,
    monitor: Monitor,
    /// Whether any event told a loss.
    losses: bool,
}

/// Whether a reply says for certain that no job was made.
fn is_no(error: &ProviderError) -> bool {
    // 409 also says that it is there already, where ids are ours to choose; a gateway's 502 or 504 says nothing of what is behind it.
    matches!(error, ProviderError::Refused { status: 400..=407 | 410..=501 | 503, .. } | ProviderError::Detached { .. })
}

/// How a job that was followed came to its end.
struct Followed {
    job: Job,
    /// The checkpoint that is kept, where it was stopped early.
    kept: Option<RemoteCheckpoint>,
}

impl Hosted {
    fn provider(&self) -> String {
        self.wire.client().provider().to_owned()
    }

    async fn tune_through(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let id = self.begun(request, journal, watch).await?;
        let Followed { job, kept } = self.follow(&id, request, journal, watch).await?;
        if let Some(kept) = kept {
            journal.note(JobStep::Ended { status: STOPPED_EARLY.into() })?;
            return self.fetch(request, job, Some(kept), watch).await;
        }
        journal.note(JobStep::Ended { status: job.word.clone() })?;
        if job.state != JobState::Succeeded {
            let message = job.problem.unwrap_or_else(|| "no reason was given".into());
            return Err(ProviderError::JobFailed { job: job.id, status: job.word, message });
        }
        self.fetch(request, job, None, watch).await
    }

    /// The id of the job: from the journal, else from the provider's list by our key, else of a new one.
    async fn begun(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<String, ProviderError> {
        if let Some(job) = journal.job() {
            watch.note(&format!("following job {job}"));
            return Ok(job.to_owned());
        }
        if journal.steps().is_empty() {
            let declared = serde_json::to_value(self.wire.client().declared()).unwrap_or_default();
            let (stage, model) = (Some(request.stage.clone()), request.base.clone());
            journal.note(JobStep::Intent { provider: self.provider(), model, stage, declared: Some(declared) })?;
        }
        // One that was asked for, and of which nothing is known, may show in the list only after a while.
        let patience = if journal.is_unsure() { self.visible() } else { Duration::ZERO };
        if let Some(job) = self.look(request.key, patience, watch).await? {
            watch.note(&format!("found job {} under our key", job.id));
            journal.note(JobStep::Exists { job: job.id.clone(), found: true })?;
            return Ok(job.id);
        }
        let (train, validation) = (TrainingFile::of(&request.train)?, request.validation.as_deref().map(TrainingFile::of).transpose()?);
        self.fit(request, &train, validation.as_ref(), watch).await?;
        watch.spend(&self.provider(), request.estimate)?;
        let train = self.upload("train", &train, journal, watch).await?;
        let validation = match &validation {
            Some(file) => Some(self.upload("validation", file, journal, watch).await?),
            None => None,
        };
        if watch.let_go() {
            return Err(ProviderError::Stopped);
        }
        journal.note(JobStep::Creating)?;
        self.creating.store(true, Ordering::Relaxed);
        let created = self.wire.create(request, &train, validation.as_deref(), watch).await;
        self.creating.store(false, Ordering::Relaxed);
        let (job, found) = match created {
            Ok(job) => (self.only_one(request.key, job, watch).await?, false),
            Err(error) if is_no(&error) => {
                journal.note(JobStep::Ended { status: "refused".into() })?;
                return Err(error);
            }
            // Nobody knows whether it arrived: look, and never send it again in this run.
            Err(error) => (self.look(request.key, self.visible(), watch).await?.ok_or(error)?, true),
        };
        journal.note(JobStep::Exists { job: job.id.clone(), found })?;
        watch.note(&format!("job {} begun", job.id));
        Ok(job.id)
    }

    /// How long a job may take to show in the provider's list.
    fn visible(&self) -> Duration {
        self.wire.client().declared().limits.visible
    }

    /// Somebody else may have made the same job at the same moment, in another workspace: both keep the one that was first.
    async fn only_one(&self, key: ActionKey, made: Job, watch: &dyn Watch) -> Result<Job, ProviderError> {
        // The job is there: that others cannot be looked for is no reason to lose it.
        let Ok(all) = self.wire.find(key, watch).await else {
            return Ok(made);
        };
        let alive = all.into_iter().filter(|job| !matches!(job.state, JobState::Failed | JobState::Cancelled));
        match alive.min_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id))) {
            Some(first) if first.id != made.id => {
                watch.note(&format!("job {} was made for the same at the same moment; {} is cancelled", first.id, made.id));
                self.cancel(&made.id, watch).await?;
                Ok(first)
            }
            _ => Ok(made),
        }
    }

    /// Makes sure, before anything is spent, that the provider takes what it is to be given.
    async fn fit(&self, request: &TuningRequest, train: &TrainingFile, validation: Option<&TrainingFile>, watch: &dyn Watch) -> Result<(), ProviderError> {
        let (rules, provider) = (self.wire.rules(), self.provider());
        let refuse = |lack: String| Err(ProviderError::Cannot { provider: provider.clone(), lack });
        for file in std::iter::once(train).chain(validation) {
            if file.bytes > rules.largest {
                return refuse(format!("takes files of at most {} bytes, and there is one of {}", rules.largest, file.bytes));
            }
        }
        let Rows { count, leaked } = rows::look(request.method.name(), &train.path, validation.map(|file| file.path.as_path()))?;
        if count < rules.fewest {
            return refuse(format!("takes at least {} training examples, and there are {count}", rules.fewest));
        }
        if let Some(leak) = leaked {
            return Err(ProviderError::Leaked { count: leak.count, line: leak.line, sample: leak.sample });
        }
        if request.moderate {
            self.moderated(&train.path, watch).await?;
        }
        if let Some(last) = rules.ends.and_then(|last| last.parse::<Date>().ok()).filter(|last| today() > *last) {
            return refuse(format!("takes no new fine-tuning jobs since {last}"));
        }
        self.outlives(request, watch).await
    }

    /// Makes sure that the base model is there for some time yet.
    async fn outlives(&self, request: &TuningRequest, watch: &dyn Watch) -> Result<(), ProviderError> {
        /// A model that is shut down within so many days is not worth a training.
        const NEAR: i32 = 30;
        // A list that cannot be had is no reason to stop.
        let Ok(models) = self.wire.models(watch).await else {
            watch.note("the provider's list of models cannot be had: whether the base model retires is not known");
            return Ok(());
        };
        let (provider, base) = (self.provider(), &request.base);
        // A name without a date stands for one with it.
        let dated = |name: &str| name.strip_prefix(base.as_str()).is_some_and(|rest| rest.starts_with("-20"));
        let days = models.iter().filter(|(name, _)| *name == base || dated(name)).filter_map(|(_, day)| *day);
        let day = days.max();
        if !models.is_empty() {
            self.wire.client().network().list(&provider, models);
        }
        let Some(day) = day else {
            return Ok(());
        };
        if (day - today()).get_days() <= NEAR && !request.may_retire {
            return Err(ProviderError::Retires { provider, model: base.clone(), day: day.to_string() });
        }
        watch.note(&format!("`{base}` is shut down on {day}, and what is tuned from it most likely with it"));
        Ok(())
    }

    /// Shows every row of a file to the provider's moderation.
    async fn moderated(&self, path: &Path, watch: &dyn Watch) -> Result<(), ProviderError> {
        /// Rows in one request.
        const AT_ONCE: usize = 32;
        let texts = rows::texts(path)?;
        let mut flagged = Vec::new();
        for (chunk, some) in texts.chunks(AT_ONCE).enumerate() {
            let verdicts = self.wire.moderate(some, watch).await?;
            flagged.extend(verdicts.iter().enumerate().filter(|(_, flagged)| **flagged).map(|(place, _)| chunk * AT_ONCE + place + 1));
            watch.progress(((chunk + 1) * AT_ONCE).min(texts.len()) as u64, texts.len() as u64, "rows moderated", "");
        }
        match flagged.first() {
            None => Ok(()),
            Some(line) => Err(ProviderError::Flagged { count: flagged.len(), line: *line }),
        }
    }

    async fn upload(&self, role: &str, file: &TrainingFile, journal: &mut JobJournal, watch: &dyn Watch) -> Result<String, ProviderError> {
        let account = format!("{} {}", self.wire.client().endpoint().base_url, self.wire.client().declared().key);
        // What is recorded must be whole: another workspace, that replays it, knows nothing of earlier uploads.
        let recorded = self.wire.client().network().tape().is_some();
        let known = [journal.file(role).map(str::to_owned), journal.uploads().find(&account, file.digest)];
        for id in known.into_iter().flatten().filter(|_| !recorded) {
            if self.wire.is_there(&id, file, watch).await? {
                journal.note(JobStep::Uploaded { role: role.to_owned(), file: id.clone() })?;
                return Ok(id);
            }
        }
        let id = match self.wire.stored(file, watch).await? {
            Some(id) => id,
            None => self.wire.upload(file, watch).await?,
        };
        journal.note(JobStep::Uploaded { role: role.to_owned(), file: id.clone() })?;
        if !recorded {
            journal.uploads().keep(&account, file.digest, &id);
        }
        Ok(id)
    }

    /// The job under our key that is worth following: one that succeeded, else the first that may still. It is looked for until
    /// it shows or the time is up.
    async fn look(&self, key: ActionKey, patience: Duration, watch: &dyn Watch) -> Result<Option<Job>, ProviderError> {
        let (began, mut pause) = (std::time::Instant::now(), Duration::from_millis(200));
        loop {
            let found = self.wire.find(key, watch).await?.into_iter();
            let worth = found.filter(|job| !matches!(job.state, JobState::Failed | JobState::Cancelled));
            let best = worth.min_by(|a, b| (a.state != JobState::Succeeded, a.created, &a.id).cmp(&(b.state != JobState::Succeeded, b.created, &b.id)));
            if best.is_some() || began.elapsed() >= patience || self.wire.client().network().replays() {
                return Ok(best);
            }
            watch.progress(0, 0, "", "looking for a job that may have been made");
            tokio::time::sleep(pause.min(patience.saturating_sub(began.elapsed()))).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(3));
        }
    }

    async fn cancel(&self, id: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        match self.wire.cancel(id, watch).await {
            // What is over already cannot be cancelled, and need not be.
            Err(ProviderError::Refused { status: 400 | 404 | 409, .. }) => Ok(()),
            done => done,
        }
    }

    async fn follow(&self, id: &str, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        let mut pause = Duration::from_millis(100);
        let mut heard = Heard { told: BTreeSet::new(), monitor: Monitor::new(request.care), losses: false };
        let mut paused = false;
        loop {
            let job = match self.wire.job(id, watch).await {
                Err(ProviderError::Refused { status: 404, .. }) => return Err(ProviderError::JobGone { job: id.to_owned() }),
                job => job?,
            };
            if let Some(kept) = journal.kept() {
                // It was stopped before, here or by a run that was killed while it did.
                let (model, step) = (kept.0.to_owned(), kept.1);
                return self.stop(job, RemoteCheckpoint { model, step, validation: None }, watch).await;
            }
            match self.tell(id, &mut heard, watch).await {
                Verdict::KeepBest(why) if matches!(job.state, JobState::Going | JobState::Paused | JobState::Succeeded) => {
                    if let Some(followed) = self.keep_best(&job, &why, journal, watch).await? {
                        return Ok(followed);
                    }
                }
                Verdict::Fail(why) if !matches!(job.state, JobState::Failed | JobState::Cancelled) => {
                    return Err(self.alarmed(&job, why, journal, watch).await?);
                }
                _ => {}
            }
            match job.state {
                JobState::Succeeded if request.care != Care::default() && !heard.losses => return self.judged(job, request, journal, watch).await,
                JobState::Succeeded | JobState::Failed | JobState::Cancelled => return Ok(Followed { job, kept: None }),
                JobState::Paused if !std::mem::replace(&mut paused, true) => {
                    watch.note(&format!("job {id} is paused; `retune jobs --resume {id}` lets it go on, `retune cancel {id}` ends it"));
                }
                JobState::Paused => {}
                JobState::Going => paused = false,
            }
            self.wait(pause, id, watch).await?;
            pause = (pause * 3 / 2).min(Duration::from_secs(15));
        }
    }

    /// A job is over and none of its events told a loss: its result file may.
    async fn judged(&self, job: Job, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        let losses = self.wire.losses(&job, watch).await.unwrap_or_default();
        let mut monitor = Monitor::new(request.care);
        let steps = rows::losses(&losses);
        if steps.is_empty() {
            watch.note("the provider tells no losses of this job: `early-stop` and `alarm` could not be looked after");
        }
        for (step, train, validation) in steps {
            match monitor.see(step, train, validation) {
                Verdict::Warn(warning) => watch.note(&format!("warning: {warning}")),
                Verdict::Fail(why) => return Err(self.alarmed(&job, why, journal, watch).await?),
                Verdict::KeepBest(why) => {
                    if let Some(followed) = self.keep_best(&job, &why, journal, watch).await? {
                        return Ok(followed);
                    }
                    break;
                }
                Verdict::GoOn => {}
            }
        }
        Ok(Followed { job, kept: None })
    }

    /// Ends a job over which an alarm went off, and says so.
    async fn alarmed(&self, job: &Job, why: String, journal: &mut JobJournal, watch: &dyn Watch) -> Result<ProviderError, ProviderError> {
        if matches!(job.state, JobState::Going | JobState::Paused) {
            self.cancel(&job.id, watch).await?;
        }
        journal.note(JobStep::Ended { status: "stopped by an alarm".into() })?;
        Ok(ProviderError::Alarm { job: job.id.clone(), why })
    }

    async fn wait(&self, pause: Duration, id: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        let mut waited = Duration::ZERO;
        // What is replayed happened long ago.
        let pause = if self.wire.client().network().replays() { Duration::ZERO } else { pause };
        while waited < pause {
            if watch.let_go() {
                return Err(ProviderError::Detached { job: Some(id.to_owned()) });
            }
            let step = Duration::from_millis(50).min(pause - waited);
            tokio::time::sleep(step).await;
            waited += step;
        }
        Ok(())
    }

    /// Stops a job and keeps its best checkpoint, if it has left one.
    async fn keep_best(&self, job: &Job, why: &str, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Option<Followed>, ProviderError> {
        let checkpoints = self.wire.checkpoints(&job.id, watch).await?;
        let best = checkpoints
            .into_iter()
            .filter(|kept| kept.validation.is_some())
            .min_by(|a, b| a.validation.unwrap_or(f64::MAX).total_cmp(&b.validation.unwrap_or(f64::MAX)));
        let Some(best) = best else {
            if !std::mem::replace(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner), true) {
                watch.note(&format!("{why}: but the job has left no checkpoint with a loss, so that it goes on"));
            }
            return Ok(None);
        };
        watch.note(&format!("{why}: it is stopped, and the checkpoint of step {} is kept", best.step));
        // Which checkpoint is kept is on disk before the job is stopped: it is never made anew for want of it.
        journal.note(JobStep::Stopping { model: best.model.clone(), step: best.step })?;
        self.stop(job.clone(), best, watch).await.map(Some)
    }

    async fn stop(&self, job: Job, kept: RemoteCheckpoint, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        if matches!(job.state, JobState::Going | JobState::Paused) {
            self.cancel(&job.id, watch).await?;
        }
        Ok(Followed { job: self.wire.job(&job.id, watch).await?, kept: Some(kept) })
    }

    /// Passes on the events that were not told yet, and what follows from their losses. They are a help, so that failing to get
    /// them is no error.
    async fn tell(&self, id: &str, heard: &mut Heard, watch: &dyn Watch) -> Verdict {
        let mut verdict = Verdict::GoOn;
        let Ok(events) = self.wire.events(id, &heard.told, watch).await else {
            return verdict;
        };
        let mut shown = false;
        for event in events {
            heard.told.insert(event.id);
            let Some(losses) = event.losses else {
                watch.note(&event.message);
                continue;
            };
            (shown, heard.losses) = (true, true);
            let mut figures = BTreeMap::new();
            figures.extend(losses.train.map(|loss| ("train-loss".to_owned(), loss)));
            figures.extend(losses.validation.map(|loss| ("validation-loss".to_owned(), loss)));
            watch.metrics(losses.step, &figures);
            let text = figures.iter().map(|(name, loss)| format!("{name} {loss:.3}")).collect::<Vec<_>>().join(", ");
            watch.progress(losses.step, losses.of, "steps", &text);
            match heard.monitor.see(losses.step, losses.train, losses.validation) {
                Verdict::GoOn => {}
                Verdict::Warn(warning) => watch.note(&format!("warning: {warning}")),
                // The first thing that went wrong counts.
                worse if verdict == Verdict::GoOn => verdict = worse,
                _ => {}
            }
        }
        if !shown {
            watch.progress(0, 0, "", &format!("job {id} is under way"));
        }
        verdict
    }

    async fn fetch(&self, request: &TuningRequest, job: Job, kept: Option<RemoteCheckpoint>, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let Some(name) = kept.as_ref().map(|kept| kept.model.clone()).or(job.model.clone()) else {
            return Err(ProviderError::Unexpected { url: format!("job {}", job.id), problem: "it succeeded and names no model".into() });
        };
        // A model that is paid for is not lost over its losses.
        let losses = self.wire.losses(&job, watch).await.unwrap_or_else(|error| {
            watch.note(&format!("the losses of the job cannot be had: {error}"));
            Vec::new()
        });
        let mut metrics: BTreeMap<String, f64> = rows::last_losses(&losses).into_iter().collect();
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        metrics.extend(job.trained_tokens.map(|tokens| ("trained-tokens".to_owned(), tokens as f64)));
        metrics.extend(job.usd.map(|usd| ("usd".to_owned(), usd)));
        if let (Some(told), Some(expected)) = (job.trained_tokens, request.expected_tokens) {
            #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
            let share = told as f64 / expected;
            if !(0.8..=1.25).contains(&share) {
                watch.note(&format!("{told} tokens were billed, and {expected:.0} were expected"));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
        metrics.extend(kept.map(|kept| ("stopped-at-step".to_owned(), kept.step as f64)));
        let model = ModelCard { provider: self.provider(), base: request.base.clone(), name };
        Ok(TuningResult { model, files: BTreeMap::new(), losses, metrics })
    }
}
