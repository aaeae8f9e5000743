//! What examples weigh in the loss.

use rayon::prelude::*;

use crate::model::error::ModelError;
use crate::model::network::decoder::Decoder;
use crate::model::network::packed::{Packed, Target};
use crate::model::network::trace::{Keep, Trace};
use crate::provider::Watch;

use super::lessons::Lessons;

/// What is to be learnt, with what the model before makes of it.
#[derive(Debug)]
pub struct Objective<'a> {
    /// The examples.
    pub lessons: &'a Lessons,
    /// Of pairs: by how much likelier the model before finds the better answer than the worse, as natural logarithms.
    before: Vec<f64>,
}

/// What the targets of packed examples are weighed with: the gradient of the loss is that of the targets' own losses, times these.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// The weights.
    pub weights: Vec<f32>,
    /// The loss of each example, where it is not the sum of its targets' own.
    pub losses: Option<Vec<f64>>,
}

impl<'a> Objective<'a> {
    /// Prepares to learn: of pairs, the model before is asked once.
    ///
    /// # Errors
    /// When the watch says stop.
    pub fn new(lessons: &'a Lessons, before: &Decoder<'_>, watch: &dyn Watch) -> Result<Self, ModelError> {
        let before = match lessons {
            Lessons::Say(_) => Vec::new(),
            Lessons::Prefer { pairs, .. } => (0..pairs.len())
                .into_par_iter()
                .map_init(Trace::default, |trace, index| {
                    if watch.stopped() {
                        return Err(ModelError::Stopped);
                    }
                    let packed = lessons.pack(&[index]);
                    before.forward(&packed, trace, Keep::End);
                    let sums = packed.by_sample(&before.likelihoods(&packed, &mut *trace));
                    Ok(sums[0] - sums[1])
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { lessons, before })
    }

    /// What some examples count: the summed loss over it is the mean. Tokens that are learnt, or pairs.
    #[must_use]
    pub fn counts(&self, indices: &[usize]) -> usize {
        match self.lessons {
            Lessons::Say(samples) => indices.iter().map(|&index| samples[index].targets()).sum(),
            Lessons::Prefer { .. } => indices.len(),
        }
    }

    /// What the targets of packed examples weigh where the whole batch counts `counts`. How likely the model finds them is asked only
    /// where that depends on it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "weights are single precision, counts far below 2^24")]
    pub fn weigh(&self, indices: &[usize], packed: &Packed, counts: usize, likelihoods: impl FnOnce() -> Vec<f64>) -> Weighed {
        let each = 1.0 / counts.max(1) as f64;
        match self.lessons {
            Lessons::Say(_) => Weighed { weights: vec![each as f32; packed.targets.len()], losses: None },
            Lessons::Prefer { beta, .. } => {
                let margins = self.margins(indices, packed, &likelihoods());
                let weight = |target: &Target| {
                    let pull = beta * each / (1.0 + margins[target.sample / 2].exp());
                    (if target.sample.is_multiple_of(2) { pull } else { -pull }) as f32
                };
                let weights = packed.targets.iter().map(weight).collect();
                Weighed { weights, losses: Some(margins.into_iter().map(|margin| softplus(-margin)).collect()) }
            }
        }
    }

    /// The summed loss of each of the packed examples.
    #[must_use]
    pub fn losses(&self, indices: &[usize], packed: &Packed, likelihoods: &[f64]) -> Vec<f64> {
        match self.lessons {
            Lessons::Say(_) => packed.by_sample(likelihoods).into_iter().map(|sum| -sum).collect(),
            Lessons::Prefer { .. } => self.margins(indices, packed, likelihoods).into_iter().map(|margin| softplus(-margin)).collect(),
        }
    }

    /// By how much more the model likes the better answers now than it did before, times beta.
    fn margins(&self, indices: &[usize], packed: &Packed, likelihoods: &[f64]) -> Vec<f64> {
        let beta = if let Lessons::Prefer { beta, .. } = self.lessons { *beta } else { 0.0 };
        let sums = packed.by_sample(likelihoods);
        sums.chunks_exact(2).zip(indices).map(|(sums, &index)| beta * (sums[0] - sums[1] - self.before[index])).collect()
    }
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
