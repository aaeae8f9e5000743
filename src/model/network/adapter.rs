//! LoRA adapters (Hu et al. 2021), with the scale of rsLoRA (Kalajdzievski 2023) and the magnitudes of DoRA (Liu et al. 2024).

use std::ops::Range;

use crate::model::random::Random;

use super::architecture::Architecture;
use super::dropout::Dropout;
use super::kernel;
use super::layout::Matrix;
use super::matmul::{View, product};
use super::parameters::Parameters;
use super::trace::room;
use super::weights::Weights;

/// The matrices of each layer that an adapter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets(u8);

impl Targets {
    /// Every matrix.
    pub const ALL: Self = Self(0x7f);

    /// Some matrices.
    #[must_use]
    pub fn of(matrices: impl IntoIterator<Item = Matrix>) -> Self {
        Self(matrices.into_iter().fold(0, |all, matrix| all | 1 << matrix as u8))
    }

    /// Whether a matrix is among them.
    #[must_use]
    pub const fn holds(self, matrix: Matrix) -> bool {
        self.0 >> matrix as u8 & 1 == 1
    }

    /// Those that are among them, in the order of memory.
    pub fn iter(self) -> impl Iterator<Item = Matrix> {
        Matrix::ALL.into_iter().filter(move |matrix| self.holds(*matrix))
    }
}

/// The size and kind of an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraShape {
    /// The width of the narrow side.
    pub rank: usize,
    /// The adapter's part is multiplied by `alpha / rank`, or by `alpha / sqrt(rank)` where it is rank-stabilised.
    pub alpha: f64,
    /// rsLoRA.
    pub is_rank_stabilised: bool,
    /// DoRA: the length of each row of a matrix is learnt apart from its direction.
    pub is_dora: bool,
    /// The share of its inputs that is left out at random in training.
    pub dropout: f64,
    /// The matrices that it is for.
    pub targets: Targets,
}

impl LoraShape {
    /// A plain adapter of every matrix.
    #[must_use]
    pub const fn plain(rank: usize, alpha: f64) -> Self {
        Self { rank, alpha, is_rank_stabilised: false, is_dora: false, dropout: 0.0, targets: Targets::ALL }
    }

    /// What the adapter's part is multiplied by.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "ranks are small and weights single precision")]
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.is_rank_stabilised { rank.sqrt() } else { rank }) as f32
    }
}

/// Where the parts for one matrix lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// A, `rank x inputs`.
    pub down: Range<usize>,
    /// B, `outputs x rank`.
    pub up: Range<usize>,
    /// DoRA's lengths, one for each output; else nothing.
    pub magnitude: Range<usize>,
}

/// Where the parts of each matrix lie in the one long vector of an adapter.
#[derive(Clone, Copy, Debug)]
pub struct AdapterLayout {
    architecture: Architecture,
    shape: LoraShape,
}

impl AdapterLayout {
    fn layer_size(&self) -> usize {
        self.shape.targets.iter().map(|matrix| self.matrix_size(matrix)).sum()
    }

    const fn matrix_size(&self, matrix: Matrix) -> usize {
        let (outputs, inputs) = matrix.shape(&self.architecture);
        self.shape.rank * (outputs + inputs) + if self.shape.is_dora { outputs } else { 0 }
    }

    /// How many parameters there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.architecture.layers * self.layer_size()
    }

    /// The parts for a matrix, if it is a target.
    #[must_use]
    pub fn pair(&self, layer: usize, matrix: Matrix) -> Option<Pair> {
        if !self.shape.targets.holds(matrix) {
            return None;
        }
        let before = self.shape.targets.iter().take_while(|&other| other != matrix);
        let start = layer * self.layer_size() + before.map(|other| self.matrix_size(other)).sum::<usize>();
        let (outputs, inputs) = matrix.shape(&self.architecture);
        let middle = start + self.shape.rank * inputs;
        let end = middle + self.shape.rank * outputs;
        let magnitude = if self.shape.is_dora { end..end + outputs } else { end..end };
        Some(Pair { down: start..middle, up: middle..end, magnitude })
    }
}

/// An adapter of a base model.
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
    /// A fresh adapter that changes nothing yet: A is random (uniform, as PEFT has it), B is zero, lengths are the base's.
    #[must_use]
    pub fn new<'a>(base: impl Into<Parameters<'a>>, shape: LoraShape, seed: u64) -> Self {
        let base = base.into();
        let mut adapter = Self::empty(*base.architecture, shape);
        let layout = adapter.layout();
        let mut random = Random::new(seed, "adapter");
        for layer in 0..base.architecture.layers {
            for matrix in shape.targets.iter() {
                let inputs = matrix.shape(base.architecture).1;
                let Some(pair) = layout.pair(layer, matrix) else { continue };
                #[expect(clippy::cast_precision_loss, reason = "widths are small")]
                let bound = 1.0 / (inputs as f64).sqrt();
                for value in &mut adapter.values[pair.down] {
                    #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
                    let uniform = ((2.0 * random.share() - 1.0) * bound) as f32;
                    *value = uniform;
                }
                if pair.magnitude.is_empty() {
                    continue;
                }
                let weight = base.few(base.layout().matrix(layer, matrix));
                for (length, row) in adapter.values[pair.magnitude].iter_mut().zip(weight.chunks_exact(inputs)) {
                    *length = length_of(row);
                }
            }
        }
        adapter
    }

    /// An adapter whose numbers are all zero.
    #[must_use]
    pub fn empty(architecture: Architecture, shape: LoraShape) -> Self {
        let size = AdapterLayout { architecture, shape }.size();
        Self { architecture, shape, values: vec![0.0; size] }
    }

    /// Where its parts lie.
    #[must_use]
    pub const fn layout(&self) -> AdapterLayout {
        AdapterLayout { architecture: self.architecture, shape: self.shape }
    }

    /// The base with the adapter in it.
    #[must_use]
    pub fn merged<'a>(&self, base: impl Into<Parameters<'a>>) -> Weights {
        let base = base.into();
        let (mut merged, fitted) = (base.to_weights(), Fitted::new(self, base));
        for layer in 0..self.architecture.layers {
            for matrix in self.shape.targets.iter() {
                let Some(pair) = self.layout().pair(layer, matrix) else { continue };
                let (outputs, inputs) = matrix.shape(&self.architecture);
                let out = &mut merged.values[base.layout().matrix(layer, matrix)];
                product(out, inputs, self.up(&pair, outputs), self.down(&pair, inputs), self.shape.scale(), true);
                for (row, ratio) in out.chunks_exact_mut(inputs).zip(fitted.ratios(layer, matrix)) {
                    row.iter_mut().for_each(|value| *value *= ratio);
                }
            }
        }
        merged
    }

    /// A of a matrix.
    pub fn down(&self, pair: &Pair, inputs: usize) -> View<'_> {
        View::new(&self.values[pair.down.clone()], self.shape.rank, inputs, inputs)
    }

    /// B of a matrix.
    pub fn up(&self, pair: &Pair, outputs: usize) -> View<'_> {
        View::new(&self.values[pair.up.clone()], outputs, self.shape.rank, self.shape.rank)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
fn length_of(row: &[f32]) -> f32 {
    kernel::sum_of_squares(row).sqrt() as f32
}

/// An adapter beside its base, ready to run: with what DoRA multiplies each output by.
#[derive(Clone, Debug)]
pub struct Fitted<'a> {
    /// The adapter.
    pub adapter: &'a Adapter,
    /// For each layer and matrix, one number an output; empty where it is no DoRA.
    ratios: Vec<Vec<f32>>,
}

impl<'a> Fitted<'a> {
    /// Fits an adapter to its base.
    #[must_use]
    pub fn new<'b>(adapter: &'a Adapter, base: impl Into<Parameters<'b>>) -> Self {
        use rayon::prelude::*;
        let base = base.into();
        if !adapter.shape.is_dora {
            return Self { adapter, ratios: Vec::new() };
        }
        let places: Vec<(usize, Matrix)> = (0..base.architecture.layers).flat_map(|layer| Matrix::ALL.map(|matrix| (layer, matrix))).collect();
        let ratios = places.into_par_iter().map(|(layer, matrix)| ratios(adapter, base, layer, matrix));
        Self { adapter, ratios: ratios.collect() }
    }

    /// What DoRA multiplies each output of a matrix by; nothing where it multiplies nothing.
    #[must_use]
    pub fn ratios(&self, layer: usize, matrix: Matrix) -> &[f32] {
        self.ratios.get(layer * Matrix::ALL.len() + matrix as usize).map_or(&[], Vec::as_slice)
    }

    /// Adds what the adapter makes of the inputs of a matrix to what the base made of them: `out` holds rows of `stride` numbers, of
    /// which the matrix's own come first.
    pub fn add(&self, at: (usize, Matrix), input: View<'_>, out: &mut [f32], stride: usize, narrow: &mut Vec<f32>) {
        let (layer, matrix) = at;
        let Some(pair) = self.adapter.layout().pair(layer, matrix) else {
            return;
        };
        let (outputs, inputs) = matrix.shape(&self.adapter.architecture);
        let (rows, rank) = (input.rows(), self.adapter.shape.rank);
        let narrow = room(narrow, rows * rank);
        product(narrow, rank, input, self.adapter.down(&pair, inputs).transposed(), 1.0, false);
        product(out, stride, View::new(narrow, rows, rank, rank), self.adapter.up(&pair, outputs).transposed(), self.adapter.shape.scale(), true);
        if self.adapter.shape.is_dora {
            kernel::scale_columns(out, stride, self.ratios(layer, matrix));
        }
    }

    /// As [`Self::add`] in training, where some of the inputs are left out.
    pub fn add_some(&self, at: (usize, Matrix), input: &[f32], dropout: Dropout, out: &mut [f32], stride: usize, narrow: &mut Vec<f32>) {
        let inputs = at.1.shape(&self.adapter.architecture).1;
        let mut some = input.to_vec();
        dropout.apply(at.0, at.1, &mut some);
        self.add(at, View::new(&some, some.len() / inputs, inputs, inputs), out, stride, narrow);
    }
}

/// `m / |W + s B A|` for each row of a matrix, by `|w|^2 + 2 s (W A^T) b + s^2 b (A A^T) b`, so that nothing as large as the matrix is made.
fn ratios(adapter: &Adapter, base: Parameters<'_>, layer: usize, matrix: Matrix) -> Vec<f32> {
    let Some(pair) = adapter.layout().pair(layer, matrix) else {
        return Vec::new();
    };
    let ((outputs, inputs), rank, scale) = (matrix.shape(&adapter.architecture), adapter.shape.rank, adapter.shape.scale());
    let weight = base.few(base.layout().matrix(layer, matrix));
    let down = adapter.down(&pair, inputs);
    let (mut crossed, mut square) = (vec![0.0; outputs * rank], vec![0.0; rank * rank]);
    product(&mut crossed, rank, View::new(&weight, outputs, inputs, inputs), down.transposed(), 1.0, false);
    product(&mut square, rank, down, down.transposed(), 1.0, false);
    let mut turned = vec![0.0; outputs * rank];
    product(&mut turned, rank, adapter.up(&pair, outputs), View::new(&square, rank, rank, rank), 1.0, false);
    let (up, magnitude) = (&adapter.values[pair.up], &adapter.values[pair.magnitude]);
    let ratio = |row: usize| {
        let narrow = row * rank..(row + 1) * rank;
        let sum = |of: &[f32]| of[narrow.clone()].iter().zip(&up[narrow.clone()]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let scale = f64::from(scale);
        let own = kernel::sum_of_squares(&weight[row * inputs..(row + 1) * inputs]);
        let square = own + 2.0 * scale * sum(&crossed) + scale * scale * sum(&turned);
        #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
        let ratio = (f64::from(magnitude[row]) / square.max(1e-30).sqrt()) as f32;
        ratio
    };
    (0..outputs).map(ratio).collect()
}
