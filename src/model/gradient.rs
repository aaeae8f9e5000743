use super::adapter::{Adapter, AdapterLayout};
use super::kernel;
use super::matmul::{View, product};
use super::weights::{Layout, Matrix};

/// The output side and the input side of a matrix in one backward pass: the gradient of what came out, and what went in.
#[derive(Clone, Copy, Debug)]
pub struct LinearGradient<'a> {
    /// Gradient of the outputs, `rows x outputs`.
    pub d_out: View<'a>,
    /// The inputs, `rows x inputs`.
    pub input: View<'a>,
    /// How many rows.
    pub rows: usize,
}

/// Takes gradients of the parts of a model that are trained, and lets the others pass.
pub trait GradientSink: Send {
    /// A matrix of a layer.
    fn matrix(&mut self, layer: usize, matrix: Matrix, gradient: LinearGradient<'_>);

    /// Where the gradient of a norm's gain is to be added, if it is trained.
    fn norm(&mut self, layer: usize, which: usize) -> Option<&mut [f32]>;

    /// Where the gradient of the last norm's gain is to be added, if it is trained.
    fn final_norm(&mut self) -> Option<&mut [f32]>;

    /// Where the gradient of the embedding is to be added, if it is trained.
    fn embedding(&mut self) -> Option<&mut [f32]>;

    /// All gradients, in the order of the parameters that they belong to.
    fn values(&mut self) -> &mut Vec<f32>;
}

/// Gradients of every parameter.
#[derive(Clone, Debug)]
pub struct FullGradient {
    layout: Layout,
    widths: [(usize, usize); 7],
    values: Vec<f32>,
}

impl FullGradient {
    /// Zero gradients for a model; `values` may be a used buffer.
    #[must_use]
    pub fn new(layout: Layout, architecture: &super::Architecture, mut values: Vec<f32>) -> Self {
        values.clear();
        values.resize(layout.size(), 0.0);
        Self { layout, widths: Matrix::ALL.map(|matrix| matrix.shape(architecture)), values }
    }
}

impl GradientSink for FullGradient {
    fn matrix(&mut self, layer: usize, matrix: Matrix, gradient: LinearGradient<'_>) {
        let (_, columns) = self.widths[matrix as usize];
        let out = &mut self.values[self.layout.matrix(layer, matrix)];
        product(out, columns, gradient.d_out.transposed(), gradient.input, 1.0, true);
    }

    fn norm(&mut self, layer: usize, which: usize) -> Option<&mut [f32]> {
        Some(&mut self.values[self.layout.norm(layer, which)])
    }

    fn final_norm(&mut self) -> Option<&mut [f32]> {
        Some(&mut self.values[self.layout.final_norm()])
    }

    fn embedding(&mut self) -> Option<&mut [f32]> {
        Some(&mut self.values[self.layout.embedding()])
    }

    fn values(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }
}

/// Gradients of a LoRA adapter. With `y = x (W + s B A)^T` they are `dB = s dy^T (x A^T)` and
/// `dA = s (dy B)^T x`: products with the rank on one side, far smaller than the gradient of W.
#[derive(Clone, Debug)]
pub struct LoraGradient<'a> {
    adapter: &'a Adapter,
    layout: AdapterLayout,
    values: Vec<f32>,
    narrow: Vec<f32>,
}

impl<'a> LoraGradient<'a> {
    /// Zero gradients for an adapter; `values` may be a used buffer.
    #[must_use]
    pub fn new(adapter: &'a Adapter, mut values: Vec<f32>) -> Self {
        let layout = adapter.layout();
        values.clear();
        values.resize(layout.size(), 0.0);
        Self { adapter, layout, values, narrow: Vec::new() }
    }
}

impl GradientSink for LoraGradient<'_> {
    fn matrix(&mut self, layer: usize, matrix: Matrix, gradient: LinearGradient<'_>) {
        let (rank, scale) = (self.adapter.shape.rank, self.adapter.shape.scale());
        let (outputs, inputs) = matrix.shape(&self.adapter.architecture);
        let (down, up) = self.layout.pair(layer, matrix);
        let narrow = super::decoder::sized(&mut self.narrow, gradient.rows * rank);
        let a = View::new(&self.adapter.values[down.clone()], rank, inputs, inputs);
        product(narrow, rank, gradient.input, a.transposed(), 1.0, false);
        product(&mut self.values[up.clone()], rank, gradient.d_out.transposed(), View::new(narrow, gradient.rows, rank, rank), scale, true);
        let b = View::new(&self.adapter.values[up], outputs, rank, rank);
        product(narrow, rank, gradient.d_out, b, 1.0, false);
        product(&mut self.values[down], inputs, View::new(narrow, gradient.rows, rank, rank).transposed(), gradient.input, scale, true);
    }

    fn norm(&mut self, _: usize, _: usize) -> Option<&mut [f32]> {
        None
    }

    fn final_norm(&mut self) -> Option<&mut [f32]> {
        None
    }

    fn embedding(&mut self) -> Option<&mut [f32]> {
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
