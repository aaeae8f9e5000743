//! From a request to the id of a job: found, or made once.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;

use crate::fingerprint::ActionKey;
use crate::ledger::{GivenUp, JobJournal, JobStep, Stopping};

use super::super::transport::today;
use super::super::watch::{Cost, Watch};
use super::super::{ProviderError, TuningRequest, dollars, shut_down};
use super::hosted::Hosted;
use super::rows::{self, Rows};
use super::wire::{Job, JobState, TrainingFile};

/// Whether a job is worth following. `gone` are those that were given up: of them only one that came to its end all the same is.
fn is_worth(job: &Job, gone: &[GivenUp]) -> bool {
    let given_up = gone.iter().any(|gone| gone.job == job.id && (gone.for_good || job.state != JobState::Succeeded));
    !matches!(job.state, JobState::Failed | JobState::Cancelled) && !job.is_ending() && !given_up
}

/// What came of asking for something that is paid for.
#[derive(Debug)]
pub enum Asked<T> {
    /// It was made.
    Made(T),
    /// It was there, made by a request that was refused as too soon.
    Found(T),
    /// It was certainly not made.
    No(ProviderError),
    /// Nobody knows.
    Unknown(ProviderError),
}

impl<T> Asked<T> {
    /// What the reply to the request says.
    pub fn of(reply: Result<T, ProviderError>) -> Self {
        match reply {
            Ok(made) => Self::Made(made),
            // 409 also says that it is there already, where ids are ours to choose. Whatever begins with a 5 may come after it was made.
            Err(error @ (ProviderError::Refused { status: 400..=407 | 410..=499, .. } | ProviderError::Detached { .. })) => Self::No(error),
            Err(error) => Self::Unknown(error),
        }
    }
}

impl Hosted {
    /// The id of the job: from the journal, else from the provider's list by our key, else of a new one.
    pub(super) async fn begun(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<String, ProviderError> {
        if let Some(job) = journal.job() {
            if journal.is_doubtful() {
                self.doubt();
            }
            watch.note(&format!("following job {job}"));
            if self.wire.client().network().tape().is_some_and(|tape| !tape.replays()) {
                watch.note("warning: the recording begins in the middle of this job, and can only be replayed where the job is known");
            }
            return Ok(job.to_owned());
        }
        if journal.steps().is_empty() {
            let declared = serde_json::to_value(self.wire.client().declared()).unwrap_or_default();
            let (stage, model) = (Some(request.stage.clone()), request.base.clone());
            journal.note(JobStep::Intent { provider: self.provider(), model, stage, declared: Some(declared) })?;
        }
        // One that was asked for, and of which nothing is known, may show in the list only after a while.
        let patience = if journal.is_unsure() { self.visible() } else { Duration::ZERO };
        let gone: Vec<GivenUp> = journal.ended().collect();
        if journal.is_unsure() {
            self.doubt();
        }
        if let Some(job) = self.look(request.key, patience, &gone, watch).await? {
            watch.note(&format!("found job {} under our key", job.id));
            journal.note(JobStep::Exists { job: job.id.clone(), found: true })?;
            return Ok(job.id);
        }
        if journal.is_unsure()
            && let Some(job) = self.alike(request, journal, &gone, watch).await?
        {
            journal.note(JobStep::Exists { job: job.id.clone(), found: true })?;
            return Ok(job.id);
        }
        if let Some((id, kept)) = self.stopped_before(request, journal, watch).await? {
            watch.note(&format!("found job {id} under our key, stopped early at its best checkpoint of step {}", kept.step));
            journal.note(JobStep::Exists { job: id.clone(), found: true })?;
            journal.note(JobStep::Stopping(kept))?;
            return Ok(id);
        }
        let made = self.made(request, journal, watch).await;
        if made.is_err() && !journal.is_unsure() {
            // Nothing was begun, and nothing will be paid for.
            watch.unspent();
        }
        let (job, found) = made?;
        watch.note(&if found { format!("following job {job}") } else { format!("job {job} begun") });
        Ok(job)
    }

    /// The id of a job that is made, after all that may stand against it was looked at; or of one that was found then.
    async fn made(&self, request: &TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<(String, bool), ProviderError> {
        let (train, validation) = (TrainingFile::of(&request.train)?, request.validation.as_deref().map(TrainingFile::of).transpose()?);
        self.fit(request, &train, validation.as_ref(), watch).await?;
        let quotes = self.wire.client().endpoint().quotes();
        if !quotes {
            watch.spend(&self.provider(), Cost { usd: request.estimate, tokens: request.expected_tokens })?;
        }
        let train = self.upload("train", &train, journal, watch).await?;
        let validation = match &validation {
            Some(file) => Some(self.upload("validation", file, journal, watch).await?),
            None => None,
        };
        if quotes {
            let quote = self.wire.quote(request, &train, validation.as_deref(), watch).await?;
            let quote = quote.filter(|usd| usd.is_finite() && *usd >= 0.0);
            if let Some(usd) = quote {
                watch.note(&format!("by the provider's word it will cost {}", dollars(usd)));
            }
            watch.spend(&self.provider(), Cost { usd: quote.or(request.estimate), tokens: request.expected_tokens })?;
        }
        if watch.let_go() {
            return Err(ProviderError::Stopped);
        }
        // What is there already is not ours, should the reply be lost and ours not show our key.
        let learners = self.wire.learners(&train, watch).await?;
        journal.note(JobStep::Learners { jobs: learners })?;
        journal.note(JobStep::Creating)?;
        let gone: Vec<GivenUp> = journal.ended().collect();
        let (job, found) = match self.ask(request, &train, validation.as_deref(), journal, watch).await? {
            Asked::Found(job) => (job, true),
            Asked::Made(job) => {
                *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                let only = self.only_one(request.key, job.clone(), &gone, watch).await?;
                if only.id == job.id {
                    return Ok((job.id, false));
                }
                (only, true)
            }
            Asked::No(error) => {
                let status = if matches!(error, ProviderError::Detached { .. }) { "interrupted" } else { "refused" };
                journal.note(JobStep::Ended { status: status.into() })?;
                return Err(error);
            }
            // Nobody knows whether it arrived: look, and never send it again in this run.
            Asked::Unknown(error) => {
                self.doubt();
                let mut found = self.look(request.key, self.visible(), &gone, watch).await.unwrap_or_default();
                if found.is_none() {
                    found = match self.alike(request, journal, &gone, watch).await {
                        Err(error @ ProviderError::Indistinct { .. }) => return Err(error),
                        found => found.unwrap_or_default(),
                    };
                }
                (found.ok_or_else(|| ProviderError::Lost { what: "job", problem: error.to_string() })?, true)
            }
        };
        journal.note(JobStep::Exists { job: job.id.clone(), found })?;
        Ok((job.id, found))
    }

    /// Asks for the job. A server that says that it was too soon is asked again, each time after a look as long as a job may take to
    /// show: it may have made one all the same.
    async fn ask(
        &self,
        request: &TuningRequest,
        train: &str,
        validation: Option<&str>,
        journal: &mut JobJournal,
        watch: &dyn Watch,
    ) -> Result<Asked<Job>, ProviderError> {
        let gone: Vec<GivenUp> = journal.ended().collect();
        let mut attempt = 1;
        loop {
            self.creating.store(true, Ordering::Relaxed);
            let created = self.wire.create(request, train, validation, watch).await;
            if let Ok(job) = &created {
                // On disk before anything else is waited for.
                journal.note(JobStep::Exists { job: job.id.clone(), found: false })?;
            }
            self.creating.store(false, Ordering::Relaxed);
            let early = match created {
                Err(ProviderError::TooSoon(early)) => early,
                created => return Ok(Asked::of(created)),
            };
            // Who stops it here leaves it open whether there is a job.
            let again = self.wire.client().wait_after(&early, attempt, watch).await?;
            let found = match self.look(request.key, self.visible(), &gone, watch).await {
                Ok(None) => self.alike(request, journal, &gone, watch).await,
                found => found,
            };
            match found {
                Ok(Some(job)) => return Ok(Asked::Found(job)),
                Ok(None) if again => attempt += 1,
                Ok(None) => return Ok(Asked::No(early.refused)),
                Err(error @ (ProviderError::Indistinct { .. } | ProviderError::Detached { .. })) => return Err(error),
                // That there is none was not seen.
                Err(error) => return Ok(Asked::Unknown(error)),
            }
        }
    }

    /// From now on a job of ours may show that nobody follows.
    fn doubt(&self) {
        self.unknown.store(true, Ordering::Relaxed);
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The job that shows no key at all and learns from our files with our settings, where it was not there before ours was asked
    /// for and no other journal knows it: the one whose reply was lost, at a server that keeps neither metadata nor suffix.
    async fn alike(&self, request: &TuningRequest, journal: &JobJournal, gone: &[GivenUp], watch: &dyn Watch) -> Result<Option<Job>, ProviderError> {
        let Some(train) = journal.file("train") else {
            return Ok(None);
        };
        let (elsewhere, before) = (journal.jobs_elsewhere(), journal.learners());
        let found = self.wire.alike(request, train, journal.file("validation"), watch).await?.into_iter();
        let mut found: Vec<Job> = found.filter(|job| is_worth(job, gone) && !elsewhere.contains(&job.id) && !before.contains(job.id.as_str())).collect();
        if found.len() > 1 {
            let ids: Vec<String> = found.into_iter().map(|job| job.id).collect();
            return Err(ProviderError::Indistinct { jobs: ids.join("`, `") });
        }
        let job = found.pop();
        if let Some(job) = &job {
            watch.note(&format!(
                "job {} shows no key, but learns from the same files with the same settings: it is taken for the one that was asked for",
                job.id
            ));
        }
        Ok(job)
    }

    /// A job that a workspace which lost its state had stopped early: cancelled, and its losses are such that we would do the same.
    async fn stopped_before(&self, request: &TuningRequest, journal: &JobJournal, watch: &dyn Watch) -> Result<Option<(String, Stopping)>, ProviderError> {
        let ended = journal.steps().iter().any(|step| matches!(step, JobStep::Ended { .. }));
        if request.care.patience.is_none() || ended {
            return Ok(None);
        }
        let cancelled = self.wire.find(request.key, watch).await?.into_iter().filter(|job| job.state == JobState::Cancelled);
        for job in cancelled {
            if let Some(until) = request.care.enough(&self.told(&job, watch).await)
                && let Some(best) = self.best(&job.id, until, watch).await?
            {
                return Ok(Some((job.id, best.kept(until))));
            }
        }
        Ok(None)
    }

    /// How long a job may take to show in the provider's list.
    pub(super) fn visible(&self) -> Duration {
        self.wire.client().declared().limits.visible
    }

    /// Somebody else may have made the same job at the same moment, in another workspace: both keep the one that was first.
    pub(super) async fn only_one(&self, key: ActionKey, made: Job, gone: &[GivenUp], watch: &dyn Watch) -> Result<Job, ProviderError> {
        // The job is there: that others cannot be looked for is no reason to lose it.
        let Ok(all) = self.wire.find(key, watch).await else {
            return Ok(made);
        };
        let alive = all.into_iter().filter(|job| is_worth(job, gone));
        match alive.min_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id))) {
            Some(first) if first.id != made.id => {
                watch.note(&format!("job {} was made for the same at the same moment; {} is to be cancelled", first.id, made.id));
                // The first is the one to follow, whatever becomes of the other.
                self.end(&made.id, watch).await;
                Ok(first)
            }
            _ => Ok(made),
        }
    }

    /// Makes sure, before anything is spent, that the provider takes what it is to be given.
    async fn fit(&self, request: &TuningRequest, train: &TrainingFile, validation: Option<&TrainingFile>, watch: &dyn Watch) -> Result<(), ProviderError> {
        let (rules, provider) = (self.wire.rules(), self.provider());
        let refuse = |lack: String| Err(ProviderError::Cannot { provider: provider.clone(), lack });
        let in_one = self.wire.client().declared().limits.largest.filter(|_| !rules.parts);
        for file in std::iter::once(train).chain(validation) {
            if in_one.is_some_and(|most| file.bytes > most) {
                return refuse(format!("takes a file in one request only, and one of {} bytes is over `limits largest-request`", file.bytes));
            }
            if file.bytes > rules.largest {
                return refuse(format!("takes files of at most {} bytes, and there is one of {}", rules.largest, file.bytes));
            }
        }
        let Rows { count, leaked } = rows::look(rules.rows, request.method.name(), &train.path, validation.map(|file| file.path.as_path()))?;
        if count < rules.fewest {
            return refuse(format!("takes at least {} training examples, and there are {count}", rules.fewest));
        }
        if let Some(leak) = leaked {
            return Err(ProviderError::Leaked { count: leak.count, line: leak.line, sample: leak.sample });
        }
        if request.moderate {
            for file in std::iter::once(train).chain(validation) {
                self.moderated(&file.path, count, watch).await?;
            }
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
        let day = shut_down(&models, base);
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
    async fn moderated(&self, path: &Path, rows: usize, watch: &dyn Watch) -> Result<(), ProviderError> {
        /// Rows in one request.
        const IN_ONE: usize = 32;
        /// Requests at once.
        const AT_ONCE: usize = 8;
        let mut said = rows::Said::of(path)?;
        let parts = std::iter::from_fn(|| said.further(IN_ONE).map(|part| (!part.is_empty()).then_some(part)).transpose());
        let looks = parts.map(|part| async {
            let part = part?;
            let looked_at = part.len();
            // A row that says nothing is nothing to look at.
            let (lines, texts): (Vec<usize>, Vec<String>) = part.into_iter().filter(|(_, text)| !text.trim().is_empty()).unzip();
            let verdicts = if texts.is_empty() { Vec::new() } else { self.wire.moderate(None, &texts, watch).await? };
            let flagged = lines.into_iter().zip(verdicts).filter_map(|(line, why)| (!why.is_empty()).then_some(line));
            Ok::<_, ProviderError>((looked_at, flagged.collect::<Vec<_>>()))
        });
        let mut looks = stream::iter(looks).buffered(AT_ONCE);
        let (mut looked_at, mut flagged, mut first) = (0, 0, None);
        while let Some((more, lines)) = looks.try_next().await? {
            looked_at += more;
            flagged += lines.len();
            first = first.or(lines.first().copied());
            watch.progress(looked_at as u64, rows as u64, "rows moderated", "");
        }
        first.map_or(Ok(()), |line| Err(ProviderError::Flagged { count: flagged, line }))
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
    /// it shows or the time is up. Where one that was asked for here is not accounted for, others that go on are it, paid for and
    /// followed by nobody: they are ended.
    pub(super) async fn look(&self, key: ActionKey, patience: Duration, gone: &[GivenUp], watch: &dyn Watch) -> Result<Option<Job>, ProviderError> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(200));
        loop {
            let mut worth: Vec<Job> = self.wire.find(key, watch).await?.into_iter().filter(|job| is_worth(job, gone)).collect();
            worth.sort_by(|a, b| (a.state != JobState::Succeeded, a.created, &a.id).cmp(&(b.state != JobState::Succeeded, b.created, &b.id)));
            let mut worth = worth.into_iter();
            let best = worth.next();
            let in_doubt = self.unknown.load(Ordering::Relaxed);
            for other in worth.filter(|job| in_doubt && matches!(job.state, JobState::Going | JobState::Paused)) {
                watch.note(&format!("job {} was made for the same too, and is to be cancelled", other.id));
                self.end(&other.id, watch).await;
            }
            if best.is_some() || began.elapsed() >= patience || self.wire.client().network().replays() {
                return Ok(best);
            }
            watch.progress(0, 0, "", "looking for a job that may have been made");
            tokio::time::sleep(pause.min(patience.saturating_sub(began.elapsed()))).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(3));
        }
    }
}
