//! Where models are tuned and asked: two traits, the protocols behind them, and what they share (retries, pace, records, prices).
//! The local engine implements the same traits in `model`.

mod answers;
mod declared;
mod dialect;
mod error;
mod hyperparameters;
mod prices;
mod protocol;
mod question;
mod request;
mod retirement;
mod secret;
mod transport;
mod tuning;
mod watch;

use async_trait::async_trait;

use crate::ledger::JobJournal;

pub use answers::{AnswerLog, Answered};
pub use declared::{Api, BUILT_IN, Declared, Endpoint, Program, Protocol, SETTING, declared};
pub use dialect::Sizes;
pub use error::ProviderError;
pub use hyperparameters::{Decay, Hyperparameters, Longest, Lora, Overflow, Taught};
pub use prices::{AS_OF, Price, dollars, price};
pub use protocol::{Asks, StoredCompletions, StoredFilter, expresses, longest_suffix, methods, rules, told_of_job, wire};
pub use question::Question;
pub use request::{Batch, Generation, Method, ModelCard, ModelHandle, Report, Search, TuningRequest, TuningResult};
pub use retirement::{last_day, shut_down};
pub use secret::Secret;
pub(crate) use transport::http;
pub use transport::{Download, DownloadError, Limits, Network, Onward, Pace, Passed, Profile, Reply, Tape, download, hub, today, web};
pub use tuning::{Alarm, Care, Hosted, Job, JobState, Monitor, Remote, Verdict, Wire};
pub use watch::{Cost, Exchange, Silent, Watch, until_stopped};

/// Tunes models.
#[async_trait]
pub trait Tune: Send + Sync {
    /// Does a fine-tuning, or follows one that the journal or the provider already knows.
    async fn tune(&self, request: TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError>;
}

/// Asks models.
#[async_trait]
pub trait Infer: Send + Sync {
    /// Answers each question, in order.
    async fn answer(&self, model: &ModelHandle, questions: Vec<Question>, how: Generation, watch: &dyn Watch) -> Result<Vec<Answered>, ProviderError>;
}
