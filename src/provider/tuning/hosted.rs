//! The life of a remote job, the same for every protocol: intent, files, creation, following, fetching. Each step is in the
//! journal before the next, so that a crash after any of them pays nothing twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::Date;

use crate::fingerprint::ActionKey;
use crate::ledger::{JobJournal, JobStep, STOPPED_EARLY};

use super::super::transport::today;
use super::super::watch::{Watch, until_stopped};
use super::super::{ModelCard, ProviderError, Tune, TuningRequest, TuningResult};
use super::monitor::{Monitor, Verdict};
use super::rows::{self, Rows};
use super::wire::{Job, JobState, RemoteCheckpoint, TrainingFile, Wire};

/// Tunes models by remote jobs.
pub struct Hosted {
    wire: Box<dyn Wire>,
    /// Whether a request is under way that makes something paid for: its reply is waited for whatever happens.
    creating: AtomicBool,
}

impl Hosted {
    /// Tunes by this protocol.
    #[must_use]
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, creating: AtomicBool::new(false) }
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
        let asked_before = journal.steps().contains(&JobStep::Creating);
        if journal.steps().is_empty() {
            let declared = serde_json::to_value(self.wire.client().declared()).unwrap_or_default();
            let (stage, model) = (Some(request.stage.clone()), request.base.clone());
            journal.note(JobStep::Intent { provider: self.provider(), model, stage, declared: Some(declared) })?;
        }
        // A request that was lost on the way back may show in the list only after a moment.
        let looks = if asked_before { 3 } else { 1 };
        if let Some(job) = self.look(request.key, looks, watch).await? {
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
            Ok(job) => (job, false),
            // 409 also says that it is there already, where ids are ours to choose.
            Err(error @ ProviderError::Refused { status: 400..=408 | 410..=499, .. }) => return Err(error),
            // Nobody knows whether it arrived: look, and never send it again in this run.
            Err(error) => (self.look(request.key, 3, watch).await?.ok_or(error)?, true),
        };
        journal.note(JobStep::Exists { job: job.id.clone(), found })?;
        watch.note(&format!("job {} begun", job.id));
        Ok(job.id)
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
        let Rows { count, leaked } = rows::look(&train.path, validation.map(|file| file.path.as_path()))?;
        if count < rules.fewest {
            return refuse(format!("takes at least {} training examples, and there are {count}", rules.fewest));
        }
        if let Some(leak) = leaked {
            return Err(ProviderError::Leaked { count: leak.count, line: leak.line, sample: leak.sample });
        }
        if request.moderate {
            self.moderated(&train.path, watch).await?;
        }
        let today = today();
        if let Some(last) = rules.ends.and_then(|last| last.parse::<Date>().ok()).filter(|last| today > *last) {
            return refuse(format!("takes no new fine-tuning jobs since {last}"));
        }
        // A list that cannot be had is no reason to stop.
        if let Ok(models) = self.wire.models(watch).await
            && !models.is_empty()
        {
            self.wire.client().network().list(&provider, models.clone());
            if let Some(shutdown) = models.get(&request.base).copied().flatten() {
                if shutdown <= today {
                    return refuse(format!("shut `{}` down on {shutdown}; name another model", request.base));
                }
                watch.note(&format!("`{}` is shut down on {shutdown}, and what is tuned from it most likely with it", request.base));
            }
        }
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
        let known = [journal.file(role).map(str::to_owned), journal.uploads().find(&account, file.digest)];
        for id in known.into_iter().flatten() {
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
        journal.uploads().keep(&account, file.digest, &id);
        Ok(id)
    }

    /// The job under our key that is worth following: one that succeeded, else the latest that may still.
    async fn look(&self, key: ActionKey, times: u32, watch: &dyn Watch) -> Result<Option<Job>, ProviderError> {
        for time in 0..times {
            if time > 0 {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            let found = self.wire.find(key, watch).await?.into_iter();
            let worth = found.filter(|job| !matches!(job.state, JobState::Failed | JobState::Cancelled));
            if let Some(job) = worth.max_by_key(|job| (job.state == JobState::Succeeded, job.created)) {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    async fn follow(&self, id: &str, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        let mut pause = Duration::from_millis(100);
        let mut told = std::collections::BTreeSet::new();
        let mut monitor = Monitor::new(request.care);
        let mut paused = false;
        loop {
            let job = self.wire.job(id, watch).await?;
            let verdict = self.tell(id, &mut told, &mut monitor, watch).await;
            if let Some(kept) = journal.kept() {
                // It was stopped before, here or by a run that was killed while it did.
                let (model, step) = (kept.0.to_owned(), kept.1);
                return self.stop(job, RemoteCheckpoint { model, step, validation: None }, watch).await;
            }
            if job.state == JobState::Going {
                match verdict {
                    Verdict::KeepBest(why) => {
                        if let Some(followed) = self.keep_best(&job, &why, journal, watch).await? {
                            return Ok(followed);
                        }
                    }
                    Verdict::Fail(why) => {
                        self.wire.cancel(id, watch).await?;
                        journal.note(JobStep::Ended { status: "cancelled".into() })?;
                        return Err(ProviderError::Alarm { job: id.to_owned(), why });
                    }
                    Verdict::GoOn | Verdict::Warn(_) => {}
                }
            }
            match job.state {
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
            return Ok(None);
        };
        watch.note(&format!("{why}: it is stopped, and the checkpoint of step {} is kept", best.step));
        // Which checkpoint is kept is on disk before the job is stopped: it is never made anew for want of it.
        journal.note(JobStep::Stopping { model: best.model.clone(), step: best.step })?;
        self.stop(job.clone(), best, watch).await.map(Some)
    }

    async fn stop(&self, job: Job, kept: RemoteCheckpoint, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        if matches!(job.state, JobState::Going | JobState::Paused) {
            self.wire.cancel(&job.id, watch).await?;
        }
        Ok(Followed { job: self.wire.job(&job.id, watch).await?, kept: Some(kept) })
    }

    /// Passes on the events that were not told yet, and what follows from their losses. They are a help, so that failing to get
    /// them is no error.
    async fn tell(&self, id: &str, told: &mut std::collections::BTreeSet<String>, monitor: &mut Monitor, watch: &dyn Watch) -> Verdict {
        let mut verdict = Verdict::GoOn;
        let Ok(events) = self.wire.events(id, watch).await else {
            return verdict;
        };
        let mut shown = false;
        for event in events {
            if !told.insert(event.id) {
                continue;
            }
            let Some(losses) = event.losses else {
                watch.note(&event.message);
                continue;
            };
            shown = true;
            let mut figures = BTreeMap::new();
            figures.extend(losses.train.map(|loss| ("train-loss".to_owned(), loss)));
            figures.extend(losses.validation.map(|loss| ("validation-loss".to_owned(), loss)));
            watch.metrics(losses.step, &figures);
            let text = figures.iter().map(|(name, loss)| format!("{name} {loss:.3}")).collect::<Vec<_>>().join(", ");
            watch.progress(losses.step, losses.of, "steps", &text);
            match monitor.see(losses.step, losses.train, losses.validation) {
                Verdict::GoOn => {}
                Verdict::Warn(warning) => watch.note(&format!("warning: {warning}")),
                worse => verdict = worse,
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
        let losses = self.wire.losses(&job, watch).await?;
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
