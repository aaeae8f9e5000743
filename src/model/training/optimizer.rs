use pulp::{Arch, Simd, WithSimd};
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
        let figures = Figures { step, shrink, scale, inverse };
        blocks.zip(moments).for_each(|((values, gradients), (first, second))| Arch::new().dispatch(Block { values, gradients, first, second, figures }));
    }
}

/// What a step multiplies by.
#[derive(Clone, Copy)]
struct Figures {
    step: f32,
    shrink: f32,
    scale: f32,
    inverse: f32,
}

/// Some of the parameters.
struct Block<'a> {
    values: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    figures: Figures,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Figures { step, shrink, scale, inverse } = self.figures;
        for (((value, gradient), m), v) in self.values.iter_mut().zip(self.gradients).zip(self.first.iter_mut()).zip(self.second.iter_mut()) {
            let g = gradient * scale;
            *m += (1.0 - BETA_FIRST) * (g - *m);
            *v += (1.0 - BETA_SECOND) * (g * g - *v);
            *value = *value * shrink - step * *m / ((*v * inverse).sqrt() + EPSILON);
        }
    }
}
