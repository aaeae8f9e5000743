use serde::{Deserialize, Serialize};

use super::flight::Step;

/// The loss at a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// The step, from 1.
    pub step: usize,
    /// The mean loss of the step's tokens, in nats.
    pub train: f64,
    /// The mean loss of the few validation samples whose turn it is, with the same parameters as `train`; none without
    /// validation samples.
    pub validation: Option<f64>,
    /// The mean loss of all validation samples after the step, where it was measured.
    pub full_validation: Option<f64>,
}

/// What came of a training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trained {
    /// The parameters that were trained, at their best: an adapter's, or all.
    pub values: Vec<f32>,
    /// The losses.
    pub points: Vec<LossPoint>,
    /// What made up each step.
    pub flight: Vec<Step>,
    /// The step after which the kept parameters stood.
    pub best_step: usize,
    /// The lowest validation loss, if there were samples to measure it on.
    pub best_validation: Option<f64>,
    /// Tokens that went through the model in training.
    pub tokens: u64,
}
