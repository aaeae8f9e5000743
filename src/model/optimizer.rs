use pulp::Arch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// AdamW with decoupled weight decay (Loshchilov and Hutter 2017); betas 0.9 and 0.999, epsilon 1e-8.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdamW {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
    weight_decay: f64,
}

const BETA_FIRST: f32 = 0.9;
const BETA_SECOND: f32 = 0.999;
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// A fresh optimizer for this many parameters.
    #[must_use]
    pub fn new(parameters: usize, weight_decay: f64) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0, weight_decay }
    }

    /// One step; gradients are multiplied by `scale` first (clipping).
    #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
    pub fn step(&mut self, values: &mut [f32], gradients: &[f32], rate: f64, scale: f64) {
        const BLOCK: usize = 1 << 14;
        self.steps += 1;
        let first_bias = 1.0 - f64::from(BETA_FIRST).powi(self.steps);
        let second_bias = 1.0 - f64::from(BETA_SECOND).powi(self.steps);
        let (step, shrink, scale) = ((rate / first_bias) as f32, (1.0 - rate * self.weight_decay) as f32, scale as f32);
        let inverse = (1.0 / second_bias) as f32;
        let blocks = values.par_chunks_mut(BLOCK).zip(gradients.par_chunks(BLOCK));
        let moments = self.first.par_chunks_mut(BLOCK).zip(self.second.par_chunks_mut(BLOCK));
        blocks.zip(moments).for_each(|((values, gradients), (first, second))| {
            Arch::new().dispatch(|| {
                for (((value, gradient), m), v) in values.iter_mut().zip(gradients).zip(first.iter_mut()).zip(second.iter_mut()) {
                    let g = gradient * scale;
                    *m += (1.0 - BETA_FIRST) * (g - *m);
                    *v += (1.0 - BETA_SECOND) * (g * g - *v);
                    *value = *value * shrink - step * *m / ((*v * inverse).sqrt() + EPSILON);
                }
            });
        });
    }
}

/// The learning rate over the steps: a linear warm-up, then half a cosine down to a tenth.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let rest = (self.steps - self.warmup).max(1) as f64;
        let way = ((step - self.warmup) as f64 / rest).min(1.0);
        self.peak * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * way).cos()))
    }
}
