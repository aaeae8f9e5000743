use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::config::in_shell;
use crate::data::DataError;
use crate::ledger::LedgerError;
use crate::provider::ProviderError;
use crate::store::StoreError;

use super::collect::SourceError;

/// What can go wrong while a stage runs.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum StageError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    #[diagnostic(code(stage::io), help("mend that and run again; what was finished is kept"))]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },

    /// An input was edited while the stage ran.
    #[error("{path} changed while the stage ran")]
    #[diagnostic(code(stage::input_changed), help("nothing was published, since the result would belong to neither content; run again"))]
    InputChanged { path: String },

    /// A pinned file with other content.
    #[error("{path} is not the content that is pinned: it hashes to {found}")]
    #[diagnostic(code(stage::pin_mismatch), help("get the right file, or change `blake3=` if the new content is meant"))]
    PinMismatch { path: String, found: String },

    /// A command that failed.
    #[error("the command {how}{}", if tail.is_empty() { String::new() } else { format!("\nit said:\n{tail}") })]
    #[diagnostic(code(stage::command_failed))]
    CommandFailed {
        how: String,
        tail: String,
        #[help]
        help: String,
    },

    /// A program that is not found.
    #[error("there is no program `{program}` where the command looks for it")]
    #[diagnostic(code(stage::no_program))]
    NoProgram {
        program: String,
        #[help]
        help: String,
    },

    /// A folder or glob that means nothing but what is left of stages that are gone.
    #[error("all that `{pattern}` means was made by stages that the pipeline does not have any more, as `{path}`")]
    #[diagnostic(code(stage::only_left), help("delete it; or name it by itself, if it is to be an input as it is"))]
    OnlyLeft { pattern: String, path: String },

    /// A glob that would leave out what a stage makes.
    #[error("`{pattern}` reaches into `{folder}`, which a stage writes")]
    #[diagnostic(
        code(stage::reaches_into),
        help("what lies in it would be left out without a word: name `{folder}` by itself, and let the glob mean other folders")
    )]
    ReachesInto { pattern: String, folder: String },

    /// A file of a folder that a stage made without it.
    #[error("the folder `{folder}` was made without a file at `{part}` or in it")]
    #[diagnostic(code(stage::no_part), help("nothing in it has that name; `retune show STAGE` of the stage that makes it lists what is there"))]
    NoPart { folder: String, part: String },

    /// A link that leads to what a stage writes.
    #[error("`{path}` leads to `{target}`, which a stage writes")]
    #[diagnostic(code(stage::leads_into), help("through a link it is not seen that one stage needs the other: name `{target}` in its place"))]
    LeadsInto { path: String, target: String },

    /// A source outside of the workspace.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),

    /// What goes in is not made yet, or not any more as it should be.
    #[error("`{stage}` is not up to date, so that there is nothing to look at")]
    #[diagnostic(code(stage::not_made), help("`retune run {}` makes it", in_shell(stage)))]
    NotMade { stage: String },

    /// A row that is not there.
    #[error("there is no row {number}: {rows} rows go in")]
    #[diagnostic(code(stage::no_row), help("rows are counted from 1, in the order in which they were collected"))]
    NoRow { number: usize, rows: usize },

    /// A step that is not there.
    #[error("there is no step {step}: the training went through {steps}")]
    #[diagnostic(code(stage::no_step), help("steps are counted from 1"))]
    NoStep { step: usize, steps: usize },

    /// `sandbox "strict"` where there is no way to have it.
    #[error("this system cannot keep a command from writing in the workspace: {problem}")]
    #[diagnostic(code(stage::no_fence), help("`sandbox \"strict\"` needs Linux 6.2 or later with Landlock; without it take `sandbox \"on\"`"))]
    NoFence { problem: String },

    /// A command that did not write what it should.
    #[error("the command ended well and did not write `{path}`")]
    #[diagnostic(
        code(stage::missing_output),
        help("outputs are paths relative to the top of the workspace, wherever `directory` lets the command begin; check the path")
    )]
    MissingOutput { path: String },

    /// An output that lies elsewhere in the workspace, by a link.
    #[error("`{path}` is `{real}`, by a link")]
    #[diagnostic(code(stage::linked_output), help("write the output as `{real}`, so that stages that read it there wait for this one"))]
    LinkedOutput { path: String, real: String },

    /// A command that wrote its output past the folder that it works in.
    #[error("the command wrote `{path}` in the workspace itself, and not in the folder that it works in")]
    #[diagnostic(
        code(stage::written_elsewhere),
        help("write `{path}` by this relative path; a command that must work in the workspace itself says `sandbox \"off\"`")
    )]
    WrittenElsewhere { path: String },

    /// A command that wrote what nothing would keep.
    #[error("the command wrote {}, which no `output` declares", shown(paths))]
    #[diagnostic(
        code(stage::undeclared_output),
        help("declare it as an `output` if it is a result; what is needed for a moment only belongs into $TMPDIR, or can be deleted by the command")
    )]
    UndeclaredOutput { paths: Vec<String> },

    /// A metrics file that holds no metrics.
    #[error("`{path}` cannot be read as metrics: {problem}")]
    #[diagnostic(code(stage::metrics), help("write a JSON object of numbers, such as {{\"loss\": 0.1, \"test\": {{\"accuracy\": 0.9}}}}"))]
    Metrics { path: String, problem: String },

    /// An attempt that took longer than it may.
    #[error("it took longer than {}", humanly(*limit))]
    #[diagnostic(
        code(stage::timed_out),
        help(
            "all that it started here was ended; a remote job goes on (`retune jobs`). Raise `timeout`, or find out what it waits for: `retune log` with the stage's name"
        )
    )]
    TimedOut { limit: std::time::Duration },

    /// A stage that asks for more than there is.
    #[error("it asks for {asked} and this machine has {there}")]
    #[diagnostic(code(stage::resources), help("change its `resources`, or run it on a machine that has them"))]
    Resources { asked: String, there: String },

    /// A command that wrote into what it should only read.
    #[error("`{path}`, an input, was written to while the command ran")]
    #[diagnostic(
        code(stage::input_written),
        help("by it, or by another stage that reads it at the same time: inputs are read-only; let a command copy what it changes, or write to an output")
    )]
    InputWritten { path: String },

    /// Something of the user's where checkpoints are to appear.
    #[error("{} is where the checkpoints of the stage are to appear, and something lies there", path.display())]
    #[diagnostic(code(stage::in_the_way), help("move it away, or name another folder in `checkpoints`"))]
    InTheWay { path: PathBuf },

    /// Something of the user's where a target is to be written.
    #[error("{} is to tell what the alias stands for, and something else lies there", path.display())]
    #[diagnostic(code(stage::target_taken), help("move it away, or name another file in `target`"))]
    TargetTaken { path: PathBuf },

    /// `--locked`, and a result is not there after all.
    #[error("--locked, and its result is damaged or gone")]
    #[diagnostic(code(stage::held), help("`retune cache verify` looks at all of the store; run without --locked to make it again"))]
    Held,

    /// The user stopped it.
    #[error("stopped")]
    #[diagnostic(code(stage::stopped), help("run again to go on; what was finished is kept"))]
    Stopped,

    /// A mistake in a stage kind.
    #[error("the input `{name}` was not given")]
    #[diagnostic(code(stage::no_input), help("this is a mistake in retune; please report it with the pipeline"))]
    NoInput { name: String },

    /// A figure that models are compared by is not known of one of them.
    #[error("`{stage}` tells no `{metric}`")]
    #[diagnostic(code(stage::no_figure), help("it tells: {known}; choose one of these, or give the training a validation split"))]
    NoFigure { stage: String, metric: String, known: String },

    /// A file in the store that should be ours and is not.
    #[error("{what} cannot be read: {problem}")]
    #[diagnostic(code(stage::unreadable_artifact), help("run the stage that made it with `--force`"))]
    Unreadable { what: &'static str, problem: String },

    /// The config file of a program that trains cannot be made from its template.
    #[error("the config template {file} cannot be rendered: {problem}")]
    #[diagnostic(code(stage::bad_template), help("it is written in the language of minijinja; here it may name {}", names.join(", ")))]
    BadTemplate { file: String, problem: String, names: Vec<String> },

    /// Data is not as it should be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] DataError),

    /// A provider failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Provider(ProviderError),

    /// The model that is to be deployed is shut down too soon.
    #[error("`{provider}` shuts {which} down on {day}, and `{model}` is to be there for {days} days more")]
    #[diagnostic(
        code(stage::shut_down_soon),
        help("`retune doctor --lifecycle` tells who could take the recipe; the stage's `outlives` says how long a model must last")
    )]
    ShutDownSoon { model: String, which: &'static str, provider: String, day: String, days: i64 },

    /// A verdict on another model than the one that is to be deployed.
    #[error("the verdict of `{stage}` is on another model than this one")]
    #[diagnostic(code(stage::stale_verdict), help("`{stage}` is frozen, or its result was accepted: let it judge this model"))]
    StaleVerdict { stage: String },

    /// An alias does not answer as the model that was judged.
    #[error("`{alias}` does not answer as the model that was judged: {problem}")]
    #[diagnostic(
        code(stage::live_check),
        help(
            "it went back to {}; look at what serves it, or at `live-check`, and deploy again with `--force`",
            if *back == 0 { "nothing".to_owned() } else { format!("version {back}") }
        )
    )]
    LiveCheck { alias: String, version: u32, back: u32, problem: String },

    /// A copy of a model that cannot be made, or is none.
    #[error("the copy {path} cannot be made: {problem}")]
    #[diagnostic(code(stage::no_copy), help("nothing was deployed; mend that and run again"))]
    NoCopy { path: String, problem: String },

    /// Whoever should have been told of a deployment was not.
    #[error("`{alias}` is deployed, and not everybody knows:\n{problems}")]
    #[diagnostic(code(stage::not_told), help("mend that and run again: those who know are not told twice"))]
    NotTold { alias: String, problems: String },

    /// The store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),

    /// The ledger failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<ProviderError> for StageError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Stopped => Self::Stopped,
            error => Self::Provider(error),
        }
    }
}

/// A few of many paths.
fn shown(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut shown = paths.iter().take(SHOWN).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN {
        shown += &format!(" and {} more", paths.len() - SHOWN);
    }
    shown
}

fn humanly(limit: std::time::Duration) -> String {
    if limit.as_secs() >= 60 && limit.subsec_millis() == 0 { format!("{} min {} s", limit.as_secs() / 60, limit.as_secs() % 60) } else { format!("{limit:?}") }
}

impl StageError {
    /// Whether another attempt may go better.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            // What is not there will not come by itself.
            Self::Io { source, .. } => source.kind() != std::io::ErrorKind::NotFound,
            Self::CommandFailed { .. } | Self::TimedOut { .. } | Self::Source(SourceError::Unreachable { .. }) => true,
            // What a provider refuses it refuses again, and a job that failed would be paid for again.
            Self::Provider(error) => matches!(error, ProviderError::Unreachable { .. } | ProviderError::Refused { status: 500..=599, .. }),
            _ => false,
        }
    }

    /// Whether it was `--locked` that stopped it.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Held)
    }

    /// Whether it was the budget that stopped it.
    #[must_use]
    pub const fn is_over_budget(&self) -> bool {
        matches!(self, Self::Provider(ProviderError::OverBudget { .. }))
    }

    /// Whether the user wanted it.
    #[must_use]
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Stopped | Self::Provider(ProviderError::Detached { .. }))
    }

    /// Whether a file that had been seen was not there any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Store(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether the store turned out to be damaged, so that making things again can help.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Corrupt { .. } | StoreError::Missing { .. }))
    }
}
