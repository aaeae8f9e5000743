use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::data::DataError;
use crate::ledger::LedgerError;

use super::transport::TooSoon;

/// What can go wrong with a provider.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum ProviderError {
    /// No key.
    #[error("provider `{provider}` needs a key in the environment variable `{variable}`, which is not set")]
    #[diagnostic(code(provider::no_key), help("set it before the command: `{variable}=... retune run`; the key is never stored"))]
    NoKey { provider: String, variable: String },

    /// A key that can be none.
    #[error("the key for provider `{provider}` holds white space or a control character")]
    #[diagnostic(code(provider::bad_key), help("a line break may have been copied with it: set it again, the key alone"))]
    BadKey { provider: String },

    /// A command that should print a key.
    #[error("provider `{provider}` needs a key, and `{command}` printed none")]
    #[diagnostic(code(provider::no_key_from), help("run it by hand: it must end well and print the key alone; the key is never stored"))]
    NoKeyFrom { provider: String, command: String },

    /// The budget is spent.
    #[error("this would cost {cost} at `{provider}`, and of the budget of {of} of {budget} there is {left} left")]
    #[diagnostic(
        code(provider::over_budget),
        help(
            "nothing was spent on it; raise `budget`, train on less, or tell the price in prices.kdl: `price \"{provider}\" \"MODEL\" training=... input=... output=...`"
        )
    )]
    OverBudget { provider: String, cost: String, of: String, budget: String, left: String },

    /// Rows that stand in training and validation.
    #[error("{count} of the validation examples stand among those of the training, the first in line {line}: {sample}")]
    #[diagnostic(
        code(provider::leaked),
        help("the validation loss would lie; split by a key that is the same for both (`split key=\"...\"`), or deduplicate first")
    )]
    Leaked { count: usize, line: usize, sample: String },

    /// A base model that is shut down soon.
    #[error("`{model}` is shut down on {day} at `{provider}`")]
    #[diagnostic(code(provider::retires), help("what is tuned from it goes with it, most likely; name another model, or say `allow-retiring` in the stage"))]
    Retires { provider: String, model: String, day: String },

    /// A job that the provider does not know any more.
    #[error("the fine-tuning job {job} is gone from the provider")]
    #[diagnostic(code(provider::job_gone), help("if its model is gone too, `retune jobs --forget {job}` lets the next run make a new one, which is paid for"))]
    JobGone { job: String },

    /// Rows that are no examples.
    #[error("line {line} of the {what} examples is no example: {problem}")]
    #[diagnostic(
        code(provider::malformed_row),
        help("nothing was uploaded; mend the row: supervised rows have `messages`, pairs `input`, `preferred_output` and `non_preferred_output`")
    )]
    MalformedRow { what: &'static str, line: usize, problem: String },

    /// A file of prices that cannot be read.
    #[error("prices.kdl: {problem}")]
    #[diagnostic(
        code(provider::prices),
        help("each line is `price \"PROVIDER\" \"MODEL\" training=... input=... output=... hour=...`, in US dollars for a million tokens")
    )]
    Prices { problem: String },

    /// Rows that the provider's moderation flags.
    #[error("the provider's moderation flags {count} of the training examples, the first in line {line}")]
    #[diagnostic(
        code(provider::flagged),
        help("nothing was uploaded; look at these rows (`retune get` writes them as a file), and take them out, or take `moderate` out")
    )]
    Flagged { count: usize, line: usize },

    /// A training that went wrong by its losses.
    #[error("{why}: the fine-tuning job {job} {end}")]
    #[diagnostic(code(provider::alarm), help("an `alarm` of the stage asked for it; change the learning rate or the data, or the alarm"))]
    Alarm { job: String, why: String, end: &'static str },

    /// A file that cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    #[diagnostic(code(provider::unreadable_file), help("run again; if it stays, run the stage that made it with `--force`"))]
    UnreadableFile { path: PathBuf, reason: String },

    /// Exchanges that cannot be recorded or replayed.
    #[error("cannot use the recordings in {}: {problem}", path.display())]
    #[diagnostic(code(provider::tape), help("`--record DIR` makes them, `--replay DIR` reads them"))]
    Tape { path: PathBuf, problem: String },

    /// A request that was never recorded.
    #[error("{method} {path} was never recorded: {nearest}")]
    #[diagnostic(code(provider::not_recorded), help("record again: `retune run --record DIR` with a key and the network"))]
    NotRecorded { method: String, path: String, nearest: String },

    /// The provider cannot be reached.
    #[error("cannot reach {url}: {reason}")]
    #[diagnostic(code(provider::unreachable), help("check the network and `base-url`; a job that was begun goes on, and the next run finds it"))]
    Unreachable { url: String, reason: String },

    /// Something that is paid for was asked for, and nobody knows whether it was made.
    #[error("{problem}; whether the {what} was made is not known")]
    #[diagnostic(
        code(provider::lost),
        help("it is not asked for again in this run; run again: the next run looks for it first, for as long as `limits visible=` says")
    )]
    Lost { what: &'static str, problem: String },

    /// A request was lost, and several jobs may have come of it.
    #[error("the reply that a job was made was lost, and it may be any of `{jobs}`: this server keeps no mark of ours")]
    #[diagnostic(
        code(provider::indistinct),
        help(
            "none is made anew, which could be paid for twice. Cancel at the provider what nobody needs: once one is left, the next run takes it. \
             Where all are somebody else's, `retune jobs --forget FINGERPRINT` (see `retune jobs`) has a new one made"
        )
    )]
    Indistinct { jobs: String },

    /// The provider said no.
    #[error("{method} {url} was refused with {status}: {message}")]
    #[diagnostic(code(provider::refused), help("{}", refusal_help(*status, message)))]
    Refused { method: String, url: String, status: u16, message: String },

    /// Something that is paid for was asked for too soon. It is asked for again after a look whether it was made all the same.
    #[error("{}", .0.refused)]
    #[diagnostic(code(provider::too_soon), help("wait a while, and run again"))]
    TooSoon(Box<TooSoon>),

    /// The provider said something that cannot be understood.
    #[error("{url} answered with something unexpected: {problem}")]
    #[diagnostic(code(provider::unexpected), help("is `base-url` the address of an API of the kind that `api` names?"))]
    Unexpected { url: String, problem: String },

    /// The job did not succeed.
    #[error("the fine-tuning job {job} ended as {status}: {message}")]
    #[diagnostic(code(provider::job_failed), help("mend what it names and run again, which makes a new job; this one is never followed again"))]
    JobFailed { job: String, status: String, message: String },

    /// The batch of questions did not come to its end.
    #[error("the batch {batch} ended as {status}: {message}")]
    #[diagnostic(
        code(provider::batch_failed),
        help("mend what it names and run again, which asks in a new batch; or take `batch=#true` out, to ask one by one")
    )]
    BatchFailed { batch: String, status: String, message: String },

    /// A provider without what is asked of it.
    #[error("provider `{provider}` {lack}")]
    #[diagnostic(code(provider::cannot), help("mend that, or name another provider in the pipeline"))]
    Cannot { provider: String, lack: String },

    /// The user let go of the job.
    #[error("{}", job.as_ref().map_or_else(|| "stopped; if a job was begun, it goes on at the provider".to_owned(), |job| format!("let go of the job {job}; it goes on at the provider")))]
    #[diagnostic(code(provider::detached), help("run again to follow it; nothing is paid twice"))]
    Detached { job: Option<String> },

    /// The local engine failed.
    #[error("{0}")]
    #[diagnostic(forward(0))]
    Local(Box<dyn Diagnostic + Send + Sync>),

    /// The user stopped it.
    #[error("stopped")]
    #[diagnostic(code(provider::stopped), help("run again to begin this stage anew"))]
    Stopped,

    /// The journal of the job failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),

    /// The examples are not what they should be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] DataError),
}

fn refusal_help(status: u16, message: &str) -> &'static str {
    let is_of_money = ["quota", "billing", "credit"].iter().any(|word| message.to_lowercase().contains(word));
    match status {
        402 | 429 if is_of_money => "there is no credit left, or no way to bill; look at the account: to wait does not help",
        402 => "there is no credit left, or no way to bill; look at the account",
        401 | 403 => "the key is wrong, or may not do this",
        404 => "there is no such model, deployment or address; check `model`, `base-url`, and on Azure `deployment \"MODEL\" \"NAME\"`",
        429 => "too much at once, or no credit left; wait, or look at the account",
        500..=599 => "the provider has trouble; run again later, nothing is paid twice",
        _ => "mend what the message names and run again",
    }
}
