use std::ops::Range;

use super::architecture::Architecture;
use super::random::Random;

/// One of the matrices that a layer has, by which LoRA names its targets too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matrix {
    /// Queries of the attention.
    Query,
    /// Keys of the attention.
    Key,
    /// Values of the attention.
    Value,
    /// Output of the attention.
    Output,
    /// Gates of the feed-forward block.
    Gate,
    /// Values of the feed-forward block.
    Up,
    /// Output of the feed-forward block.
    Down,
}

impl Matrix {
    /// All of them, in the order in which they lie in memory.
    pub const ALL: [Self; 7] = [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Rows (outputs) and columns (inputs).
    #[must_use]
    pub const fn shape(self, a: &Architecture) -> (usize, usize) {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => (a.width, a.width),
            Self::Gate | Self::Up => (a.hidden, a.width),
            Self::Down => (a.width, a.hidden),
        }
    }

    /// Its name in a Hugging Face checkpoint of the Llama family.
    #[must_use]
    pub const fn module(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }
}

/// Where each tensor lies in the one long vector of all parameters.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    architecture: Architecture,
}

impl Layout {
    /// The layout of an architecture.
    #[must_use]
    pub const fn new(architecture: Architecture) -> Self {
        Self { architecture }
    }

    const fn layer_size(&self) -> usize {
        let a = &self.architecture;
        2 * a.width + 4 * a.width * a.width + 3 * a.width * a.hidden
    }

    /// How many parameters there are.
    #[must_use]
    pub const fn size(&self) -> usize {
        let a = &self.architecture;
        a.vocabulary * a.width + a.layers * self.layer_size() + a.width
    }

    /// The embedding, one row a token; also the output weights.
    #[must_use]
    pub const fn embedding(&self) -> Range<usize> {
        0..self.architecture.vocabulary * self.architecture.width
    }

    /// The gain of the last norm.
    #[must_use]
    pub const fn final_norm(&self) -> Range<usize> {
        self.size() - self.architecture.width..self.size()
    }

    /// The gain of the norm before the attention (0) or before the feed-forward block (1).
    #[must_use]
    pub const fn norm(&self, layer: usize, which: usize) -> Range<usize> {
        let a = &self.architecture;
        let start = a.vocabulary * a.width + layer * self.layer_size() + which * a.width;
        start..start + a.width
    }

    /// A matrix of a layer. Query, key and value lie one after the other, and so do gate and up, so that
    /// each group is one matrix for a product.
    #[must_use]
    pub fn matrix(&self, layer: usize, matrix: Matrix) -> Range<usize> {
        let a = &self.architecture;
        let before = Matrix::ALL.iter().take_while(|&&other| other != matrix);
        let offset: usize = before.map(|other| other.shape(a).0 * other.shape(a).1).sum();
        let start = self.norm(layer, 1).end + offset;
        let (rows, columns) = matrix.shape(a);
        start..start + rows * columns
    }

    /// Query, key and value as one.
    #[must_use]
    pub fn attention_in(&self, layer: usize) -> Range<usize> {
        self.matrix(layer, Matrix::Query).start..self.matrix(layer, Matrix::Value).end
    }

    /// Gate and up as one.
    #[must_use]
    pub fn feed_in(&self, layer: usize) -> Range<usize> {
        self.matrix(layer, Matrix::Gate).start..self.matrix(layer, Matrix::Up).end
    }

    /// Every tensor by its name in a Hugging Face checkpoint, with its shape.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, Range<usize>)> {
        let a = &self.architecture;
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![a.vocabulary, a.width], self.embedding())];
        for layer in 0..a.layers {
            for (which, name) in ["input_layernorm", "post_attention_layernorm"].into_iter().enumerate() {
                tensors.push((format!("model.layers.{layer}.{name}.weight"), vec![a.width], self.norm(layer, which)));
            }
            for matrix in Matrix::ALL {
                let (rows, columns) = matrix.shape(a);
                tensors.push((format!("model.layers.{layer}.{}.weight", matrix.module()), vec![rows, columns], self.matrix(layer, matrix)));
            }
        }
        tensors.push(("model.norm.weight".to_owned(), vec![a.width], self.final_norm()));
        tensors
    }
}

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
    /// residual stream less by the root of twice the number of layers, gains at 1 (Radford et al. 2019).
    #[must_use]
    pub fn random(architecture: Architecture, seed: u64) -> Self {
        let layout = Layout::new(architecture);
        let mut random = Random::new(seed, "initial weights");
        let mut values: Vec<f32> = (0..layout.size()).map(|_| random.normal() * 0.02).collect();
        values[layout.final_norm()].fill(1.0);
        #[expect(clippy::cast_precision_loss, reason = "layers are few")]
        let less = 1.0 / (2.0 * architecture.layers as f32).sqrt();
        for layer in 0..architecture.layers {
            values[layout.norm(layer, 0)].fill(1.0);
            values[layout.norm(layer, 1)].fill(1.0);
            for matrix in [Matrix::Output, Matrix::Down] {
                values[layout.matrix(layer, matrix)].iter_mut().for_each(|value| *value *= less);
            }
        }
        Self { architecture, values }
    }
}
