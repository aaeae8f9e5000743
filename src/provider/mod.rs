//! Where models are tuned and asked: two traits, and the OpenAI protocol behind them. The local engine
//! implements the same traits in `model`.

mod declared;
mod error;
pub mod openai;
mod pace;
mod prices;
mod secret;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::data::Message;
use crate::fingerprint::ActionKey;
use crate::ledger::JobJournal;

pub use declared::{Api, BUILT_IN, Declared, SETTING, declared};
pub use error::ProviderError;
pub use pace::{Limits, Pace};
pub use prices::training_price;
pub use secret::Secret;
pub use watch::{Silent, Watch};

/// The sizes of supervised fine-tuning, as the pipeline gives them. What is absent the provider chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Passes over the training data.
    pub epochs: usize,
    /// Examples in one step.
    pub batch_size: Option<usize>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the steps that the rate takes to rise.
    pub warmup: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Rank and alpha of a LoRA adapter; without it all weights are trained.
    pub lora: Option<(usize, f64)>,
    /// The seed of everything random.
    pub seed: u64,
}

/// One fine-tuning to be done.
#[derive(Debug)]
pub struct TuningRequest {
    /// The action's key, by which a remote job is found again.
    pub key: ActionKey,
    /// The model to start from.
    pub base: String,
    /// Training examples in chat format, as JSON Lines.
    pub train: Vec<u8>,
    /// Validation examples, perhaps none.
    pub validation: Vec<u8>,
    /// How.
    pub hyperparameters: Hyperparameters,
    /// A short name to show in the provider's lists.
    pub suffix: String,
    /// A folder to keep the training's state in, and the steps from one time to the next, where the user wants that.
    pub checkpoints: Option<(PathBuf, usize)>,
}

/// What came of a fine-tuning.
#[derive(Debug)]
pub struct TuningResult {
    /// The model, in a form that goes into `model.json`.
    pub model: ModelCard,
    /// Files that make up the model (an adapter), by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The losses over the steps, as CSV.
    pub losses: Vec<u8>,
    /// Figures: tokens trained, best validation loss, and so on.
    pub metrics: BTreeMap<String, f64>,
}

/// What a tuned model is: enough to ask it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The provider that has it.
    pub provider: String,
    /// The model that it was made from.
    pub base: String,
    /// Its name at the provider, or the kind of local files (`adapter`, `weights`).
    pub name: String,
}

/// How answers are generated: the likeliest token each time, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The most tokens in an answer.
    pub max_tokens: usize,
}

/// A model that can be asked.
#[derive(Clone, Debug)]
pub struct ModelHandle {
    /// Its card.
    pub card: ModelCard,
    /// Its files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Tunes models.
#[async_trait]
pub trait Tune: Send + Sync {
    /// Does a fine-tuning, or follows one that the journal or the provider already knows.
    async fn tune(&self, request: TuningRequest, journal: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError>;
}

/// Asks models.
#[async_trait]
pub trait Infer: Send + Sync {
    /// Answers each prompt, in order.
    async fn answer(&self, model: &ModelHandle, prompts: Vec<Vec<Message>>, how: Generation, watch: &dyn Watch) -> Result<Vec<String>, ProviderError>;
}
