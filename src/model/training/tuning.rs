//! How a model is trained.

use crate::model::network::adapter::LoraShape;
use crate::provider::{Care, Decay};

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TuningMethod {
    /// Every weight.
    Full,
    /// A LoRA adapter.
    Lora(LoraShape),
}

/// How it is trained.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// What is trained.
    pub method: TuningMethod,
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples in one step. What they need of memory does not grow with it: they go through the model in groups.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the steps that the rate takes to rise.
    pub warmup: f64,
    /// How the rate goes down.
    pub decay: Decay,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this length.
    pub clip: f64,
    /// Steps from one look at all validation examples to the next; else it is twice in an epoch.
    pub evaluate_every: Option<usize>,
    /// Whether all but the inputs of layers is computed a second time on the way back, in place of being kept.
    pub recompute: bool,
    /// The seed of the adapter, of what is left out and of the order of examples.
    pub seed: u64,
    /// What is watched while it goes on.
    pub care: Care,
}

impl Tuning {
    /// As it is where nobody says anything else.
    #[must_use]
    pub const fn plain(method: TuningMethod, epochs: usize, batch_size: usize, learning_rate: f64) -> Self {
        Self {
            method,
            epochs,
            batch_size,
            learning_rate,
            warmup: 0.05,
            decay: Decay::Cosine,
            weight_decay: 0.0,
            clip: 1.0,
            evaluate_every: None,
            recompute: false,
            seed: 0,
            care: Care { patience: None, loss: None, gap: None },
        }
    }
}
