use std::ops::Range;

use super::architecture::Architecture;
use super::matmul::{View, product};
use super::random::Random;
use super::weights::{Matrix, Weights};

/// The size of a LoRA adapter (Hu et al. 2021).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraShape {
    /// The width of the narrow side.
    pub rank: usize,
    /// The adapter's part is multiplied by `alpha / rank`.
    pub alpha: f64,
}

impl LoraShape {
    /// What the adapter's part is multiplied by.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "ranks are small and weights single precision")]
    pub fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }
}

/// Where the two factors of each matrix lie in the one long vector of an adapter.
#[derive(Clone, Copy, Debug)]
pub struct AdapterLayout {
    architecture: Architecture,
    rank: usize,
}

impl AdapterLayout {
    fn layer_size(&self) -> usize {
        Matrix::ALL.iter().map(|matrix| self.matrix_size(*matrix)).sum()
    }

    const fn matrix_size(&self, matrix: Matrix) -> usize {
        let (outputs, inputs) = matrix.shape(&self.architecture);
        self.rank * (outputs + inputs)
    }

    /// How many parameters there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.architecture.layers * self.layer_size()
    }

    /// A (`rank x inputs`) and B (`outputs x rank`) of a matrix.
    #[must_use]
    pub fn pair(&self, layer: usize, matrix: Matrix) -> (Range<usize>, Range<usize>) {
        let before = Matrix::ALL.iter().take_while(|&&other| other != matrix);
        let start = layer * self.layer_size() + before.map(|other| self.matrix_size(*other)).sum::<usize>();
        let (outputs, inputs) = matrix.shape(&self.architecture);
        let middle = start + self.rank * inputs;
        (start..middle, middle..middle + self.rank * outputs)
    }
}

/// A LoRA adapter on every matrix of every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The base's sizes.
    pub architecture: Architecture,
    /// The adapter's size.
    pub shape: LoraShape,
    /// The numbers, laid out as [`AdapterLayout`] says.
    pub values: Vec<f32>,
}

impl Adapter {
    /// A fresh adapter that changes nothing yet: A is random (uniform, as PEFT has it), B is zero.
    #[must_use]
    pub fn new(architecture: Architecture, shape: LoraShape, seed: u64) -> Self {
        let layout = AdapterLayout { architecture, rank: shape.rank };
        let mut random = Random::new(seed, "adapter");
        let mut values = vec![0.0; layout.size()];
        for layer in 0..architecture.layers {
            for matrix in Matrix::ALL {
                let (down, _) = layout.pair(layer, matrix);
                #[expect(clippy::cast_precision_loss, reason = "widths are small")]
                let bound = 1.0 / (matrix.shape(&architecture).1 as f64).sqrt();
                for value in &mut values[down] {
                    #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
                    let uniform = ((2.0 * random.share() - 1.0) * bound) as f32;
                    *value = uniform;
                }
            }
        }
        Self { architecture, shape, values }
    }

    /// Where its parts lie.
    #[must_use]
    pub const fn layout(&self) -> AdapterLayout {
        AdapterLayout { architecture: self.architecture, rank: self.shape.rank }
    }

    /// Writes `base` with the adapter added to it over `merged`, which must have the base's sizes. Only
    /// the matrices are written; the rest of `merged` must be the base's already.
    pub fn merge_into(&self, base: &Weights, merged: &mut Weights) {
        use rayon::prelude::*;
        let (layout, own, rank) = (base.layout(), self.layout(), self.shape.rank);
        let layer_start = |layer: usize| layout.matrix(layer, Matrix::Query).start;
        let mut layers = Vec::with_capacity(self.architecture.layers);
        let mut rest: &mut [f32] = &mut merged.values;
        let mut taken = 0;
        for layer in 0..self.architecture.layers {
            let end = layout.matrix(layer, Matrix::Down).end;
            let (_, tail) = std::mem::take(&mut rest).split_at_mut(layer_start(layer) - taken);
            let (matrices, tail) = tail.split_at_mut(end - layer_start(layer));
            layers.push((layer, matrices));
            rest = tail;
            taken = end;
        }
        layers.into_par_iter().for_each(|(layer, values)| {
            values.copy_from_slice(&base.values[layer_start(layer)..layout.matrix(layer, Matrix::Down).end]);
            for matrix in Matrix::ALL {
                let (outputs, inputs) = matrix.shape(&self.architecture);
                let (down, up) = own.pair(layer, matrix);
                let place = layout.matrix(layer, matrix);
                let out = &mut values[place.start - layer_start(layer)..place.end - layer_start(layer)];
                let (a, b) = (View::new(&self.values[down], rank, inputs, inputs), View::new(&self.values[up], outputs, rank, rank));
                product(out, inputs, b, a, self.shape.scale(), true);
            }
        });
    }

    /// The base with the adapter added to it.
    #[must_use]
    pub fn merged(&self, base: &Weights) -> Weights {
        let mut merged = base.clone();
        self.merge_into(base, &mut merged);
        merged
    }
}
