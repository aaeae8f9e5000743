use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::config::{ConfigError, PipelineErrors, in_shell};
use crate::ledger::LedgerError;
use crate::stage::StageError;
use crate::store::StoreError;

/// What can go wrong before and around the stages.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum EngineError {
    /// The pipeline file is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pipeline(Box<PipelineErrors>),

    /// The command line names what is not there.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Usage(ConfigError),

    /// `--locked`, and something would be made again.
    #[error("--locked, and {} would be made again: {}", if stages.len() == 1 { "a stage" } else { "stages" }, stages.join(", "))]
    #[diagnostic(code(engine::stale), help("`retune plan` tells why; run without --locked where the results may change, and commit the lock file"))]
    Stale { stages: Vec<String> },

    /// `--locked`, and the lock file says something else than what is there.
    #[error("--locked, and {} does not say what is there of {}", lock.display(), stages.join(", "))]
    #[diagnostic(
        code(engine::not_locked),
        help(
            "nothing would be made again, and the lock file is missing, edited or from another state; `retune run` without --locked writes it, `git diff` shows the difference"
        )
    )]
    NotLocked { stages: Vec<String>, lock: PathBuf },

    /// `--force` names a stage that is not asked for.
    #[error("`--force {stage}`, and none of the stages asked for needs `{stage}`")]
    #[diagnostic(code(engine::not_asked), help("ask for it too: `retune run STAGE {0} --force {0}`", in_shell(stage)))]
    NotAsked { stage: String },

    /// A result that cannot be kept over a change.
    #[error("the last result of `{stage}` cannot be kept: {why}")]
    #[diagnostic(code(engine::not_accepted), help("`retune why {0}` tells how it stands; `retune run {0}` makes it", in_shell(stage)))]
    NotAccepted { stage: String, why: String },

    /// A run is live where nothing may be at work.
    #[error("a run is live in this workspace")]
    #[diagnostic(code(engine::busy), help("wait until it is over: what it uses must not be let go of"))]
    Busy,

    /// A run that is not there.
    #[error("there is no run `{name}` to look at")]
    #[diagnostic(code(engine::unknown_run))]
    UnknownRun {
        name: String,
        #[help]
        help: String,
    },

    /// A job that the ledger does not know.
    #[error("no remote job `{job}` was begun in this workspace")]
    #[diagnostic(code(engine::unknown_job), help("`retune jobs` lists them"))]
    UnknownJob { job: String },

    /// An id that several providers gave.
    #[error("`{job}` is a job at each of {}", providers.join(", "))]
    #[diagnostic(code(engine::ambiguous_job), help("name it by its fingerprint, as `retune jobs` shows it: {}", keys.join(", ")))]
    AmbiguousJob { job: String, providers: Vec<String>, keys: Vec<String> },

    /// A model that somebody uses by an alias.
    #[error("`{alias}` stands for `{model}` now, which job {job} made")]
    #[diagnostic(code(engine::model_in_use), help("deploy another model first, or `retune rollback {alias}`; then delete it"))]
    ModelInUse { alias: String, model: String, job: String },

    /// A file that would be written is there already.
    #[error("{} is there already", path.display())]
    #[diagnostic(code(engine::taken), help("nothing was written; name an empty folder, or move the file away"))]
    Taken { path: PathBuf },

    /// The workspace cannot be used.
    #[error("cannot use the workspace {}: {reason}", path.display())]
    #[diagnostic(code(engine::workspace), help("retune keeps its state in `.retune` there; give yourself the right to write in it"))]
    Workspace { path: PathBuf, reason: String },

    /// The ledger failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),

    /// The store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),

    /// A stage failed outside a run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stage(#[from] StageError),
}

impl From<PipelineErrors> for EngineError {
    fn from(errors: PipelineErrors) -> Self {
        Self::Pipeline(Box::new(errors))
    }
}
