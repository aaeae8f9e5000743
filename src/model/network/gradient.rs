//! Where the gradients of a backward pass go.

use std::ops::Range;

use super::adapter::Fitted;
use super::decoder::linear;
use super::dropout::Dropout;
use super::kernel;
use super::layout::Matrix;
use super::matmul::{View, product};
use super::parameters::Parameters;
use super::trace::room;

/// A matrix of a layer on the way back: the gradient of what came out of it, and what went in.
#[derive(Debug)]
pub struct LinearGradient<'a> {
    /// The layer and the matrix.
    pub at: (usize, Matrix),
    /// Gradient of the outputs: rows of `stride` numbers, of which the matrix's own come first. Where an adapter multiplies the outputs
    /// of the base, it becomes the gradient of those.
    pub d_out: &'a mut [f32],
    /// How far one row is from the next.
    pub stride: usize,
    /// The inputs, `rows x inputs`.
    pub input: &'a [f32],
    /// How many rows.
    pub rows: usize,
}

/// Takes gradients of the parts of a model that are trained, and lets the others pass.
pub trait GradientSink: Send {
    /// A matrix of a layer.
    fn linear(&mut self, gradient: LinearGradient<'_>);

    /// Adds to the gradient of a matrix's inputs what comes of what stands beside it, once [`GradientSink::linear`] was told.
    fn inputs(&mut self, at: (usize, Matrix), d_input: &mut [f32]);

    /// Whether outputs of a matrix are multiplied beside the base, so that their gradient changes on the way.
    fn scales(&self, matrix: Matrix) -> bool;

    /// Where the gradient of another part of the base is to be added, if it is trained.
    fn part(&mut self, range: Range<usize>) -> Option<&mut [f32]>;

    /// All gradients, in the order of the parameters that they belong to.
    fn values(&mut self) -> &mut Vec<f32>;
}

/// Gradients of every parameter.
#[derive(Clone, Debug)]
pub struct FullGradient<'a> {
    parameters: Parameters<'a>,
    values: Vec<f32>,
}

impl<'a> FullGradient<'a> {
    /// Gradients that are added to those in `values`, or to zeros where it is empty.
    #[must_use]
    pub fn new(parameters: Parameters<'a>, mut values: Vec<f32>) -> Self {
        values.resize(parameters.layout().size(), 0.0);
        Self { parameters, values }
    }
}

impl GradientSink for FullGradient<'_> {
    fn linear(&mut self, gradient: LinearGradient<'_>) {
        let (layer, matrix) = gradient.at;
        let (outputs, inputs) = matrix.shape(self.parameters.architecture);
        let out = &mut self.values[self.parameters.layout().matrix(layer, matrix)];
        let d_out = View::new(gradient.d_out, gradient.rows, outputs, gradient.stride);
        product(out, inputs, d_out.transposed(), View::new(gradient.input, gradient.rows, inputs, inputs), 1.0, true);
    }

    fn inputs(&mut self, _: (usize, Matrix), _: &mut [f32]) {}

    fn scales(&self, _: Matrix) -> bool {
        false
    }

    fn part(&mut self, range: Range<usize>) -> Option<&mut [f32]> {
        Some(&mut self.values[range])
    }

    fn values(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }
}

/// Gradients of a LoRA adapter. With `y = x W^T + s (x A^T) B^T` they are `dB = s dy^T (x A^T)` and
/// `dA = s (dy B)^T x`: products with the rank on one side, far smaller than the gradient of W. DoRA's ratios count as constants, as in the
/// paper; the gradient of a length is that of the outputs along what they are without it.
#[derive(Clone, Debug)]
pub struct LoraGradient<'a> {
    fitted: &'a Fitted<'a>,
    base: Parameters<'a>,
    dropout: Option<Dropout>,
    values: Vec<f32>,
    /// `dy B` of each matrix, for its inputs.
    back: [Vec<f32>; Matrix::ALL.len()],
    narrow: Vec<f32>,
    wide: Vec<f32>,
}

impl<'a> LoraGradient<'a> {
    /// Gradients that are added to those in `values`, or to zeros where it is empty.
    #[must_use]
    pub fn new(fitted: &'a Fitted<'a>, base: Parameters<'a>, dropout: Option<Dropout>, mut values: Vec<f32>) -> Self {
        values.resize(fitted.adapter.layout().size(), 0.0);
        Self { fitted, base, dropout, values, back: Default::default(), narrow: Vec::new(), wide: Vec::new() }
    }

    /// Adds the gradient of DoRA's lengths, and multiplies that of the outputs by the ratios.
    fn lengths(&mut self, gradient: &mut LinearGradient<'_>, magnitude: Range<usize>, up: View<'_>, scale: f32) {
        let (layer, matrix) = gradient.at;
        let (outputs, inputs) = matrix.shape(self.base.architecture);
        let ratios = self.fitted.ratios(layer, matrix);
        let plain = room(&mut self.wide, gradient.rows * outputs);
        linear(plain, gradient.input, self.base.part(self.base.layout().matrix(layer, matrix)), gradient.rows, inputs, false);
        let rank = self.fitted.adapter.shape.rank;
        product(plain, outputs, View::new(&self.narrow, gradient.rows, rank, rank), up.transposed(), scale, true);
        let lengths = self.fitted.adapter.values[magnitude.clone()].iter().zip(ratios).zip(&mut self.values[magnitude]);
        for (column, ((length, ratio), d_length)) in lengths.enumerate() {
            let along: f32 = (0..gradient.rows).map(|row| gradient.d_out[row * gradient.stride + column] * plain[row * outputs + column]).sum();
            *d_length += along * ratio / length;
        }
        kernel::scale_columns(gradient.d_out, gradient.stride, ratios);
    }
}

impl GradientSink for LoraGradient<'_> {
    fn linear(&mut self, mut gradient: LinearGradient<'_>) {
        let (adapter, rows) = (self.fitted.adapter, gradient.rows);
        let (layer, matrix) = gradient.at;
        let Some(pair) = adapter.layout().pair(layer, matrix) else {
            return;
        };
        let ((outputs, inputs), rank, scale) = (matrix.shape(&adapter.architecture), adapter.shape.rank, adapter.shape.scale());
        let some = self.dropout.map(|dropout| {
            let mut some = gradient.input.to_vec();
            dropout.apply(layer, matrix, &mut some);
            some
        });
        let input = View::new(some.as_deref().unwrap_or(gradient.input), rows, inputs, inputs);
        let (down, up) = (adapter.down(&pair, inputs), adapter.up(&pair, outputs));
        product(room(&mut self.narrow, rows * rank), rank, input, down.transposed(), 1.0, false);
        if adapter.shape.is_dora {
            self.lengths(&mut gradient, pair.magnitude.clone(), up, scale);
        }
        let d_out = View::new(gradient.d_out, rows, outputs, gradient.stride);
        product(&mut self.values[pair.up.clone()], rank, d_out.transposed(), View::new(&self.narrow, rows, rank, rank), scale, true);
        let back = room(&mut self.back[matrix as usize], rows * rank);
        product(back, rank, d_out, up, scale, false);
        product(&mut self.values[pair.down], inputs, View::new(back, rows, rank, rank).transposed(), input, 1.0, true);
    }

    fn inputs(&mut self, (layer, matrix): (usize, Matrix), d_input: &mut [f32]) {
        let adapter = self.fitted.adapter;
        let Some(pair) = adapter.layout().pair(layer, matrix) else {
            return;
        };
        let (inputs, rank) = (matrix.shape(&adapter.architecture).1, adapter.shape.rank);
        let rows = d_input.len() / inputs;
        let back = View::new(&self.back[matrix as usize], rows, rank, rank);
        match self.dropout {
            None => product(d_input, inputs, back, adapter.down(&pair, inputs), 1.0, true),
            Some(dropout) => {
                let some = room(&mut self.wide, d_input.len());
                product(some, inputs, back, adapter.down(&pair, inputs), 1.0, false);
                dropout.apply(layer, matrix, some);
                kernel::add(d_input, some);
            }
        }
    }

    fn scales(&self, matrix: Matrix) -> bool {
        self.fitted.adapter.shape.is_dora && self.fitted.adapter.shape.targets.holds(matrix)
    }

    fn part(&mut self, _: Range<usize>) -> Option<&mut [f32]> {
        None
    }

    fn values(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }
}

/// Adds gradients up in the order of the list, into the first of it.
pub fn add_up(parts: &mut [Vec<f32>]) {
    use rayon::prelude::*;
    const BLOCK: usize = 1 << 14;
    let Some((sum, rest)) = parts.split_first_mut() else {
        return;
    };
    let rest = &*rest;
    sum.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sum)| {
        for part in rest {
            kernel::add(sum, &part[block * BLOCK..block * BLOCK + sum.len()]);
        }
    });
}
