use crate::model::random::Random;

use super::architecture::Architecture;
use super::layout::{Layout, Matrix, Sort};

/// All parameters of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The sizes.
    pub architecture: Architecture,
    /// The numbers, laid out as [`Layout`] says.
    pub values: Vec<f32>,
}

impl Weights {
    /// Where each tensor lies.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout::new(self.architecture)
    }

    /// Random weights for training from scratch: normal with deviation 0.02, those that write to the
    /// residual stream less by the root of twice the number of layers, gains at 1 and biases at 0 (Radford et al. 2019).
    #[must_use]
    pub fn random(architecture: Architecture, seed: u64) -> Self {
        let layout = Layout::new(architecture);
        let mut random = Random::new(seed, "initial weights");
        let mut values: Vec<f32> = (0..layout.size()).map(|_| random.normal() * 0.02).collect();
        #[expect(clippy::cast_precision_loss, reason = "layers are few")]
        let less = 1.0 / (2.0 * architecture.layers as f32).sqrt();
        for tensor in layout.tensors() {
            let values = &mut values[tensor.range];
            match tensor.sort {
                Sort::Gain => values.fill(1.0),
                Sort::Bias(_) => values.fill(0.0),
                Sort::Matrix(Matrix::Output | Matrix::Down) => values.iter_mut().for_each(|value| *value *= less),
                Sort::Matrix(_) | Sort::Table => {}
            }
        }
        Self { architecture, values }
    }
}
