//! Remote jobs that the ledger knows of: how they stand, and what can be done about them.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::fingerprint::ActionKey;
use crate::ledger::{Alias, DELETED, FORGOTTEN, JobJournal, JobStep, journals};
use crate::provider::{self, Api, Declared, Job, JobState, Network, ProviderError, Remote, Silent, Wire, declared, wire};
use crate::stage::StageError;

use super::super::EngineError;
use super::super::workspace::Workspace;

/// A remote job of this workspace.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct KnownJob {
    /// Its id at the provider; none while it is only meant to be made.
    pub job: Option<String>,
    /// The provider.
    pub provider: String,
    /// The model that it starts from.
    pub model: String,
    /// The stage.
    pub stage: Option<String>,
    /// How it stands, by the ledger or, where it was asked, by the provider.
    pub status: String,
    /// The key of its action.
    pub key: String,
    #[serde(skip)]
    declared: Option<Declared>,
}

/// What can be done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobChange {
    /// Stop it for good.
    Cancel,
    /// Let it rest.
    Pause,
    /// Let it go on.
    Resume,
    /// Follow it no more: the next run makes a new one.
    Forget,
    /// Delete the model that came of it, and the files that it learnt from.
    Delete,
}

/// All jobs that the ledger knows of, the latest first. With `ask` their providers are asked how they stand.
///
/// # Errors
/// When a provider cannot be asked.
pub async fn jobs(workspace: &Workspace, ask: bool) -> Result<Vec<KnownJob>, EngineError> {
    let network = network(workspace);
    let mut known = Vec::new();
    for (key, journal) in journals(&folder(workspace)) {
        let Some(mut job) = of(key, &journal) else {
            continue;
        };
        if let (true, Some(id), Some(wire)) = (ask, &job.job, wire_of(&job, &network)) {
            job.status = match wire.job(id, &Silent).await {
                Ok(job) => job.word,
                Err(ProviderError::Refused { status: 404, .. }) => "gone from the provider".into(),
                // One provider that is down hides no job of another.
                Err(error) => format!("cannot be asked: {error}"),
            };
        }
        known.push(job);
    }
    Ok(known)
}

/// As much of a fingerprint as a list of jobs shows.
pub const SHOWN: usize = 12;

/// The job of an id, or of the fingerprint that stands beside it in the list. One that is only meant to be made has no id yet.
fn named(workspace: &Workspace, name: &str) -> Result<(KnownJob, Option<String>, JobJournal), EngineError> {
    let of_name = |(key, journal): (ActionKey, JobJournal)| {
        let job = of(key, &journal)?;
        let id = job.job.clone();
        (id.as_deref() == Some(name) || (name.len() >= SHOWN && job.key.starts_with(name))).then_some((job, id, journal))
    };
    let mut found: Vec<_> = journals(&folder(workspace)).into_iter().filter_map(of_name).collect();
    match found.len() {
        0 => Err(EngineError::UnknownJob { job: name.to_owned() }),
        1 => Ok(found.remove(0)),
        _ => Err(EngineError::AmbiguousJob {
            job: name.to_owned(),
            providers: found.iter().map(|(job, ..)| job.provider.clone()).collect(),
            keys: found.iter().map(|(job, ..)| job.key[..SHOWN].to_owned()).collect(),
        }),
    }
}

/// Changes a job, and writes down that it was.
///
/// # Errors
/// When the ledger does not know it, several go by that name, or the provider refuses.
pub async fn change(workspace: &Workspace, name: &str, change: JobChange) -> Result<Job, EngineError> {
    let (known, id, mut journal) = named(workspace, name)?;
    if change == JobChange::Forget {
        journal.note(JobStep::Ended { status: FORGOTTEN.into() })?;
        let word = FORGOTTEN.to_owned();
        return Ok(Job {
            id: id.unwrap_or_else(|| name.to_owned()),
            state: JobState::Cancelled,
            word,
            created: 0,
            model: None,
            results: Vec::new(),
            trained_tokens: None,
            usd: None,
            problem: None,
        });
    }
    let id = id.as_deref().ok_or_else(|| EngineError::UnknownJob { job: name.to_owned() })?;
    let wire = wire_of(&known, &network(workspace)).ok_or_else(|| EngineError::UnknownJob { job: id.to_owned() })?;
    let mut refused = None;
    let done = match change {
        JobChange::Cancel => match wire.cancel(id, &Silent).await {
            // What is over already says so itself.
            Err(error @ ProviderError::Refused { status: 400 | 404 | 409, .. }) => {
                refused = Some(error);
                Ok(())
            }
            done => done,
        },
        JobChange::Pause => wire.pause(id, true, &Silent).await,
        JobChange::Resume => wire.pause(id, false, &Silent).await,
        JobChange::Forget => Ok(()),
        JobChange::Delete => return delete(workspace, wire.as_ref(), &known, id, &mut journal).await,
    };
    done.map_err(StageError::from)?;
    let job = wire.job(id, &Silent).await.map_err(StageError::from)?;
    if let (Some(error), JobState::Going | JobState::Paused) = (refused, job.state) {
        return Err(StageError::from(error).into());
    }
    if change == JobChange::Cancel && job.state != JobState::Succeeded {
        // It is followed no more, even where the provider takes a while to end it; should it come to its end, it is found.
        journal.note(JobStep::Ended { status: if job.state == JobState::Cancelled { job.word.clone() } else { "asked to cancel".into() } })?;
    }
    Ok(job)
}

/// Deletes all that a job left at its provider, unless an alias stands for its model now. Versions that stood for it are marked.
async fn delete(workspace: &Workspace, wire: &dyn Wire, known: &KnownJob, id: &str, journal: &mut JobJournal) -> Result<Job, EngineError> {
    let job = wire.job(id, &Silent).await.map_err(StageError::from)?;
    if matches!(job.state, JobState::Going | JobState::Paused) {
        let lack = format!("still works on {id}, which needs its files: `retune cancel {id}` first");
        return Err(StageError::from(ProviderError::Cannot { provider: wire.client().provider().to_owned(), lack }).into());
    }
    let names: Vec<String> = job.model.iter().cloned().chain(journal.kept().map(|kept| kept.model.clone())).collect();
    let models: Vec<String> = names.iter().map(|name| format!("{} {name}", known.provider)).collect();
    let aliases = Alias::all(&workspace.root)?;
    for (alias, (model, name)) in aliases.iter().flat_map(|alias| models.iter().zip(&names).map(move |model| (alias, model))) {
        if alias.of_model(model).any(|number| number == alias.current) {
            return Err(EngineError::ModelInUse { alias: alias.name.clone(), model: name.clone(), job: id.to_owned() });
        }
    }
    for name in &names {
        wire.delete(Remote::Model(name), &Silent).await.map_err(StageError::from)?;
    }
    for alias in aliases.iter().filter(|alias| models.iter().any(|model| alias.of_model(model).next().is_some())) {
        Alias::change(&workspace.store, &workspace.root, &alias.name, |alias| {
            let gone: Vec<u32> = models.iter().flat_map(|model| alias.of_model(model)).collect();
            gone.into_iter().for_each(|number| alias.versions[number as usize - 1].deleted = Some(Timestamp::now()));
            Ok(())
        })?;
    }
    let elsewhere = used_elsewhere(workspace, id);
    for role in ["train", "validation"] {
        if let Some(file) = journal.file(role).filter(|file| !elsewhere.iter().any(|used| used == file)) {
            wire.delete(Remote::File(file), &Silent).await.map_err(StageError::from)?;
        }
    }
    journal.note(JobStep::Ended { status: DELETED.into() })?;
    // The result stands for a model that is no more.
    if let Ok(key) = known.key.parse() {
        workspace.store.forget(ActionKey(key))?;
    }
    Ok(job)
}

/// The files that other jobs were given which may still go on.
fn used_elsewhere(workspace: &Workspace, id: &str) -> Vec<String> {
    let others = journals(&folder(workspace)).into_iter().map(|(_, journal)| journal);
    let over = |journal: &JobJournal| matches!(journal.steps().last(), Some(JobStep::Ended { .. }));
    let others = others.filter(|journal| journal.job() != Some(id) && !over(journal));
    others.flat_map(|journal| ["train", "validation"].map(|role| journal.file(role).map(str::to_owned))).flatten().collect()
}

/// The job that was begun under a key and is followed by the next run, if there is one.
pub fn begun(workspace: &Workspace, key: ActionKey) -> Option<String> {
    let journal = JobJournal::open(&folder(workspace), key).ok()?;
    journal.job().map(str::to_owned)
}

fn folder(workspace: &Workspace) -> std::path::PathBuf {
    workspace.store.root().join("jobs")
}

fn network(workspace: &Workspace) -> Arc<Network> {
    Arc::new(Network::new(&providers(workspace), None))
}

/// Where is kept what providers tell of themselves.
pub fn providers(workspace: &Workspace) -> std::path::PathBuf {
    Path::new(workspace.store.root()).join("providers")
}

/// All that OpenAI tells of a job of the account whose key is set, as it tells it.
///
/// # Errors
/// When there is no such job, or it cannot be asked.
pub async fn told_of_job(workspace: &Workspace, id: &str) -> Result<serde_json::Value, EngineError> {
    let network = Arc::new(Network::new(&providers(workspace), None));
    let found = declared("openai", &[]).ok().flatten();
    let Some((declared, Api::Hosted(endpoint))) = found.as_ref().map(|declared| (declared, &declared.api)) else {
        return Err(EngineError::UnknownJob { job: id.to_owned() });
    };
    provider::told_of_job(declared, endpoint, &network, id, &Silent).await.map_err(|error| StageError::from(error).into())
}

fn wire_of(job: &KnownJob, network: &Arc<Network>) -> Option<Box<dyn Wire>> {
    let declared = job.declared.as_ref()?;
    match &declared.api {
        Api::Hosted(endpoint) => {
            let mut endpoint = endpoint.clone();
            endpoint.settle();
            Some(wire(declared, &endpoint, network))
        }
        Api::Local | Api::Command(_) => None,
    }
}

fn of(key: ActionKey, journal: &JobJournal) -> Option<KnownJob> {
    let mut known: Option<KnownJob> = None;
    for step in journal.steps() {
        match (step, &mut known) {
            (JobStep::Intent { provider, model, stage, declared }, known) => {
                let declared = declared.as_ref().and_then(|declared| serde_json::from_value(declared.clone()).ok());
                *known = Some(KnownJob {
                    job: None,
                    provider: provider.clone(),
                    model: model.clone(),
                    stage: stage.clone(),
                    status: "meant".into(),
                    key: key.to_string(),
                    declared,
                });
            }
            (_, None) | (JobStep::Learners { .. }, _) => {}
            (JobStep::Uploaded { role, .. }, Some(known)) => known.status = format!("{role} uploaded"),
            (JobStep::Creating, Some(known)) => known.status = "being made".into(),
            (JobStep::Exists { job, .. }, Some(known)) => (known.job, known.status) = (Some(job.clone()), "begun".into()),
            (JobStep::Stopping(kept), Some(known)) => known.status = format!("stopped early, step {} kept", kept.step),
            (JobStep::Ended { status }, Some(known)) => known.status.clone_from(status),
        }
    }
    known
}
