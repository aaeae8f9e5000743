//! The life of a remote job, the same for every protocol: intent, files, creation, following, fetching. Each step is in the
//! journal before the next, so that a crash after any of them pays nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::ledger::{GivenUp, JobJournal, JobStep, STOPPED_EARLY, Stopping};

use super::super::transport::printable;
use super::super::watch::{Watch, until_stopped};
use super::super::{ModelCard, ProviderError, Tune, TuningRequest, TuningResult};
use super::monitor::{Care, Monitor, Verdict};
use super::rows;
use super::wire::{Job, JobState, Losses, RemoteCheckpoint, Wire};

/// Tunes models by remote jobs.
pub struct Hosted {
    pub(super) wire: Box<dyn Wire>,
    /// Whether a request is under way that makes something paid for: its reply is waited for whatever happens.
    pub(super) creating: AtomicBool,
    /// When a job was made here, so that another one of the same may show in the list only now.
    pub(super) made: Mutex<Option<Instant>>,
    /// Whether one was asked for of which the reply was lost: it may show beside one that was found.
    pub(super) unknown: AtomicBool,
    /// Whether it was said that there is no checkpoint to keep.
    said: Mutex<bool>,
}

impl Hosted {
    /// Tunes by this protocol.
    #[must_use]
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, creating: AtomicBool::new(false), made: Mutex::default(), unknown: AtomicBool::new(false), said: Mutex::default() }
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
    /// Whether it was said that events cannot be had.
    deaf: bool,
}

/// How a job that was followed came to its end.
struct Followed {
    job: Job,
    /// What is kept of it, where it was stopped early.
    kept: Option<Stopping>,
    /// Its losses, where they were asked for already.
    losses: Option<Vec<u8>>,
}

impl Hosted {
    pub(super) fn provider(&self) -> String {
        self.wire.client().provider().to_owned()
    }

    async fn tune_through(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let id = self.begun(request, journal, watch).await?;
        let mut followed = self.follow(&id, request, journal, watch).await?;
        if let Some(other) = self.instead(&followed, request, journal, watch).await? {
            followed = self.follow(&other, request, journal, watch).await?;
        }
        let job = &followed.job;
        let status = if followed.kept.is_some() { STOPPED_EARLY.to_owned() } else { job.word.clone() };
        journal.note(JobStep::Ended { status })?;
        if followed.kept.is_none() && job.state != JobState::Succeeded {
            let message = job.problem.as_deref().map_or_else(|| "no reason was given".into(), printable);
            return Err(ProviderError::JobFailed { job: job.id.clone(), status: printable(&job.word), message });
        }
        self.fetch(request, followed, watch).await
    }

    /// Another job under our key, where the one that was followed was cancelled, and not here: somebody may have kept that one.
    async fn instead(
        &self,
        followed: &Followed,
        request: &TuningRequest,
        journal: &mut JobJournal,
        watch: &dyn Watch,
    ) -> Result<Option<String>, ProviderError> {
        let Followed { job, kept, .. } = followed;
        if kept.is_some() || job.state != JobState::Cancelled || self.wire.client().network().replays() {
            return Ok(None);
        }
        let gone: Vec<GivenUp> = journal.ended().collect();
        let other = self.look(request.key, Duration::ZERO, &gone, watch).await?.filter(|other| other.id != job.id);
        if let Some(other) = &other {
            watch.note(&format!("job {} was cancelled elsewhere; job {} under our key is followed instead", job.id, other.id));
            journal.note(JobStep::Exists { job: other.id.clone(), found: true })?;
        }
        Ok(other.map(|other| other.id))
    }

    /// The checkpoint of a job with the lowest validation loss, up to a step.
    pub(super) async fn best(&self, id: &str, up_to: u64, watch: &dyn Watch) -> Result<Option<RemoteCheckpoint>, ProviderError> {
        let loss = |kept: &RemoteCheckpoint| kept.validation.unwrap_or(f64::MAX);
        let checkpoints = match self.wire.checkpoints(id, watch).await {
            Ok(checkpoints) => checkpoints,
            // A server that has none.
            Err(ProviderError::Refused { status: 400 | 404 | 405 | 501, .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let checkpoints = checkpoints.into_iter().filter(|kept| kept.validation.is_some() && kept.step <= up_to);
        Ok(checkpoints.min_by(|a, b| loss(a).total_cmp(&loss(b))))
    }

    pub(super) async fn cancel(&self, id: &str, watch: &dyn Watch) -> Result<(), ProviderError> {
        match self.wire.cancel(id, watch).await {
            // What is over already cannot be cancelled, and need not be; what goes on must not be taken for it.
            Err(error @ ProviderError::Refused { status: 400 | 404 | 405 | 409 | 501, .. }) => match self.wire.job(id, watch).await {
                Ok(job) if matches!(job.state, JobState::Going | JobState::Paused) => Err(error),
                _ => Ok(()),
            },
            done => done,
        }
    }

    async fn follow(&self, id: &str, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        let mut pause = Duration::from_millis(100);
        let mut heard = Heard { told: BTreeSet::new(), monitor: Monitor::new(request.care), losses: false, deaf: false };
        let (mut paused, mut odd) = (false, false);
        let (mut unseen, mut nameless): (Option<Instant>, Option<Instant>) = (None, None);
        let mut id = id.to_owned();
        loop {
            let job = match self.wire.job(&id, watch).await {
                Err(ProviderError::Refused { status: 404, .. }) => {
                    // A new one may take a while to show.
                    if unseen.get_or_insert_with(Instant::now).elapsed() >= self.visible() {
                        return Err(ProviderError::JobGone { job: id });
                    }
                    self.wait(pause, &id, watch).await?;
                    continue;
                }
                job => job?,
            };
            unseen = None;
            if let Some(first) = self.overtaken(&job, request, journal, watch).await? {
                id = first;
                continue;
            }
            let id = id.as_str();
            if let Some(kept) = journal.kept() {
                // It was stopped before, here or by a run that was killed while it did.
                return self.stop(job, kept.clone(), watch).await;
            }
            match self.tell(id, &mut heard, watch).await {
                Verdict::KeepBest { step, why } if matches!(job.state, JobState::Going | JobState::Paused | JobState::Succeeded) => {
                    if let Some(followed) = self.keep_best(&job, step, &why, journal, watch).await? {
                        return Ok(followed);
                    }
                }
                Verdict::Fail(why) if !matches!(job.state, JobState::Failed | JobState::Cancelled) => {
                    return Err(self.alarmed(&job, why, journal, watch).await?);
                }
                _ => {}
            }
            if job.state == JobState::Going && !job.is_usual() && !std::mem::replace(&mut odd, true) {
                watch.note(&format!(
                    "the provider says of job {id} that it is `{}`, which is not known here: it is followed until it is over",
                    printable(&job.word)
                ));
            }
            // The name of the model may come a moment later.
            if job.state == JobState::Succeeded && job.model.is_none() && nameless.get_or_insert_with(Instant::now).elapsed() < self.visible() {
                self.wait(pause, id, watch).await?;
                continue;
            }
            if matches!(job.state, JobState::Succeeded) && self.in_doubt() {
                // Another one of ours may go on, and shows only now.
                self.wait(pause, id, watch).await?;
                continue;
            }
            match job.state {
                JobState::Succeeded if request.care != Care::default() => {
                    return self.judged(job, &heard, journal, watch).await;
                }
                JobState::Succeeded | JobState::Failed | JobState::Cancelled => return Ok(Followed { job, kept: None, losses: None }),
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

    /// Whether a job was asked for here so lately that others of the same may show only now.
    fn is_fresh(&self) -> bool {
        let made = *self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.is_some_and(|made| made.elapsed() <= self.visible()) && !self.wire.client().network().replays()
    }

    /// Whether one that was asked for may still show beside the one that is followed.
    fn in_doubt(&self) -> bool {
        self.unknown.load(Ordering::Relaxed) && self.is_fresh()
    }

    /// The job that was first, where somebody else made one for the same at the same moment and it shows in the list only now.
    async fn overtaken(&self, own: &Job, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Option<String>, ProviderError> {
        if !self.is_fresh() {
            return Ok(None);
        }
        let gone: Vec<GivenUp> = journal.ended().collect();
        let first = if self.unknown.load(Ordering::Relaxed) {
            self.look(request.key, Duration::ZERO, &gone, watch).await.unwrap_or_default().map_or_else(|| own.id.clone(), |first| first.id)
        } else {
            self.only_one(request.key, own.clone(), &gone, watch).await?.id
        };
        if first == own.id {
            return Ok(None);
        }
        journal.note(JobStep::Exists { job: first.clone(), found: true })?;
        Ok(Some(first))
    }

    /// A job is over, and its events may not have told all losses: its result file does.
    async fn judged(&self, job: Job, heard: &Heard, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        let losses = self.losses(&job, watch).await;
        let mut monitor = heard.monitor.anew();
        let steps = rows::losses(&losses);
        if steps.is_empty() && !heard.losses {
            watch.note("warning: the provider tells no losses of this job: `early-stop` and `alarm` could not be looked after");
        }
        for Losses { step, train, validation, .. } in steps {
            match monitor.see(step, train, validation) {
                Verdict::Warn(warning) => watch.note(&format!("warning: {warning}")),
                Verdict::Fail(why) => return Err(self.alarmed(&job, why, journal, watch).await?),
                Verdict::KeepBest { step, why } => {
                    if let Some(followed) = self.keep_best(&job, step, &why, journal, watch).await? {
                        return Ok(followed);
                    }
                    break;
                }
                Verdict::GoOn => {}
            }
        }
        Ok(Followed { job, kept: None, losses: Some(losses) })
    }

    /// Ends a job over which an alarm went off, and says so.
    async fn alarmed(&self, job: &Job, why: String, journal: &mut JobJournal, watch: &dyn Watch) -> Result<ProviderError, ProviderError> {
        let going = matches!(job.state, JobState::Going | JobState::Paused);
        let end = match (going, going && self.end(&job.id, watch).await) {
            (false, _) => "is over already, and its model is not taken",
            (true, true) => "was stopped",
            (true, false) => "runs on and costs, since it cannot be stopped",
        };
        journal.note(JobStep::Ended { status: format!("an alarm went off; it {end}") })?;
        Ok(ProviderError::Alarm { job: job.id.clone(), why, end })
    }

    /// Cancels a job, or says that it goes on and costs. Tells which.
    pub(super) async fn end(&self, id: &str, watch: &dyn Watch) -> bool {
        let cancelled = self.cancel(id, watch).await;
        if let Err(error) = &cancelled {
            watch.note(&format!("warning: job {id} runs on and costs, since it cannot be cancelled: {error}"));
        }
        cancelled.is_ok()
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

    /// Stops a job and keeps its best checkpoint up to a step, if it has left one.
    async fn keep_best(&self, job: &Job, step: u64, why: &str, journal: &mut JobJournal, watch: &dyn Watch) -> Result<Option<Followed>, ProviderError> {
        let best = self.best(&job.id, step, watch).await.inspect_err(|_| {
            if matches!(job.state, JobState::Going | JobState::Paused) {
                watch.note(&format!("warning: {why}, and its checkpoints cannot be listed: job {} runs on and costs until the next run stops it", job.id));
            }
        })?;
        let Some(best) = best else {
            if !std::mem::replace(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner), true) {
                watch.note(&format!("{why}: but the job has left no checkpoint with a loss, so that it goes on"));
            }
            return Ok(None);
        };
        watch.note(&format!("{why}: it is stopped, and the checkpoint of step {} is kept", best.step));
        // Which checkpoint is kept is on disk before the job is stopped: it is never made anew for want of it.
        let kept = best.kept(step);
        journal.note(JobStep::Stopping(kept.clone()))?;
        self.stop(job.clone(), kept, watch).await.map(Some)
    }

    async fn stop(&self, job: Job, kept: Stopping, watch: &dyn Watch) -> Result<Followed, ProviderError> {
        if matches!(job.state, JobState::Going | JobState::Paused) {
            self.end(&job.id, watch).await;
        }
        Ok(Followed { job: self.wire.job(&job.id, watch).await?, kept: Some(kept), losses: None })
    }

    /// Passes on the events that were not told yet, and what follows from their losses. They are a help, so that failing to get
    /// them is no error.
    async fn tell(&self, id: &str, heard: &mut Heard, watch: &dyn Watch) -> Verdict {
        let mut verdict = Verdict::GoOn;
        let mut events = match self.wire.events(id, &heard.told, watch).await {
            Ok(events) => events,
            Err(error) => {
                if !std::mem::replace(&mut heard.deaf, true) {
                    watch.note(&format!("warning: nothing is heard of what job {id} does, so that its losses are not looked after: {error}"));
                }
                return verdict;
            }
        };
        heard.deaf = false;
        // Some list what is newest first, some what is oldest.
        events.sort_by_key(|event| event.losses.map(|losses| losses.step));
        let mut shown = false;
        for event in events {
            heard.told.insert(event.id);
            let Some(losses) = event.losses else {
                watch.note(&printable(&event.message));
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

    /// The losses of a job. A model that is paid for is not lost over them.
    async fn losses(&self, job: &Job, watch: &dyn Watch) -> Vec<u8> {
        let losses = self.wire.losses(job, watch).await.unwrap_or_else(|error| {
            watch.note(&format!("the losses of the job cannot be had: {error}"));
            Vec::new()
        });
        if losses.is_empty() { rows::csv(self.told(job, watch).await.into_iter()) } else { losses }
    }

    /// The losses of a job that was stopped early, up to the step where it was: what it did until it heard of that depends on the
    /// moment, and is no part of the result. Events or the result file, whichever tells more.
    async fn losses_until(&self, job: &Job, until: u64, watch: &dyn Watch) -> Vec<u8> {
        let up_to = |losses: Vec<Losses>| losses.into_iter().filter(|losses| losses.step <= until).collect::<Vec<_>>();
        let told = up_to(self.told(job, watch).await);
        // A job that was cancelled need not have one.
        let filed = up_to(rows::losses(&self.wire.losses(job, watch).await.unwrap_or_default()));
        rows::csv(if filed.len() > told.len() { filed } else { told }.into_iter())
    }

    /// The losses that the events of a job tell, by step. Where they cannot be had, there are none.
    pub(super) async fn told(&self, job: &Job, watch: &dyn Watch) -> Vec<Losses> {
        let events = self.wire.events(&job.id, &BTreeSet::new(), watch).await.unwrap_or_else(|error| {
            watch.note(&format!("the events of job {} cannot be had: {error}", job.id));
            Vec::new()
        });
        let mut told: Vec<Losses> = events.into_iter().filter_map(|event| event.losses).collect();
        told.sort_by_key(|losses| losses.step);
        told
    }

    async fn fetch(&self, request: &TuningRequest, followed: Followed, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let Followed { job, kept, losses } = followed;
        let Some(name) = kept.as_ref().map(|kept| kept.model.clone()).or(job.model.clone()) else {
            return Err(ProviderError::Unexpected { url: format!("job {}", job.id), problem: "it succeeded and names no model".into() });
        };
        let losses = match (&kept, losses) {
            (Some(kept), _) => self.losses_until(&job, kept.until, watch).await,
            (None, Some(losses)) => losses,
            (None, None) => self.losses(&job, watch).await,
        };
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
        if let Some(kept) = kept {
            metrics.extend(rows::at_step(&losses, kept.step));
            metrics.extend(kept.validation.map(|loss| ("validation-loss".to_owned(), loss)));
            metrics.insert("stopped-at-step".to_owned(), kept.step as f64);
        }
        let model = ModelCard { provider: self.provider(), base: request.base.clone(), name, digest: None };
        Ok(TuningResult { model, files: BTreeMap::new(), losses, flight: Vec::new(), metrics })
    }
}
