//! Where each tensor of a model lies in the one long vector of its parameters, and what it is called in files.

use std::ops::Range;

use super::architecture::{Architecture, Family};

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
            Self::Query => (a.query_width(), a.width),
            Self::Key | Self::Value => (a.key_width(), a.width),
            Self::Output => (a.width, a.query_width()),
            Self::Gate | Self::Up => (a.hidden, a.width),
            Self::Down => (a.width, a.hidden),
        }
    }

    /// Its name in a checkpoint of Hugging Face, below its layer.
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

    /// The last part of that name, by which LoRA's targets are named.
    #[must_use]
    pub fn target(self) -> &'static str {
        self.module().split_once('.').map_or("", |(_, name)| name)
    }

    /// Its name in a GGUF file, below its layer.
    #[must_use]
    pub const fn gguf(self) -> &'static str {
        match self {
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::Output => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }
}

/// One of the norms that a layer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Before the attention.
    Attention,
    /// Before the feed-forward block.
    Feed,
    /// Of what the attention gives.
    AfterAttention,
    /// Of what the feed-forward block gives.
    AfterFeed,
    /// Of each head's query.
    Query,
    /// Of each head's key.
    Key,
}

impl Norm {
    const ALL: [Self; 6] = [Self::Attention, Self::Feed, Self::AfterAttention, Self::AfterFeed, Self::Query, Self::Key];

    /// How many gains it has in a layer; none where the family does not have it.
    const fn width(self, a: &Architecture) -> usize {
        match self {
            Self::Attention | Self::Feed => a.width,
            Self::AfterAttention | Self::AfterFeed if a.family.norms_after() => a.width,
            Self::Query | Self::Key if a.family.has_head_norms() => a.head_width,
            _ => 0,
        }
    }

    const fn module(self, family: Family) -> &'static str {
        match (self, family.norms_after()) {
            (Self::Attention, _) => "input_layernorm",
            (Self::Feed, false) | (Self::AfterAttention, _) => "post_attention_layernorm",
            (Self::Feed, true) => "pre_feedforward_layernorm",
            (Self::AfterFeed, _) => "post_feedforward_layernorm",
            (Self::Query, _) => "self_attn.q_norm",
            (Self::Key, _) => "self_attn.k_norm",
        }
    }

    const fn gguf(self) -> &'static str {
        match self {
            Self::Attention => "attn_norm",
            Self::Feed => "ffn_norm",
            Self::AfterAttention => "post_attention_norm",
            Self::AfterFeed => "post_ffw_norm",
            Self::Query => "attn_q_norm",
            Self::Key => "attn_k_norm",
        }
    }
}

/// The matrices that have a bias where there are any, in the order of memory.
const BIASED: [Matrix; 3] = [Matrix::Query, Matrix::Key, Matrix::Value];

/// What a tensor is, where files treat some otherwise than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The gain of a norm.
    Gain,
    /// A bias, of the matrix that is named.
    Bias(Matrix),
    /// A matrix of a layer.
    Matrix(Matrix),
    /// The embedding or the output matrix.
    Table,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in a checkpoint of Hugging Face.
    pub name: String,
    /// Its name in a GGUF file.
    pub gguf: String,
    /// Its shape, rows first.
    pub shape: Vec<usize>,
    /// What it is.
    pub sort: Sort,
    /// Where it lies.
    pub range: Range<usize>,
}

/// Where each tensor lies in the one long vector of all parameters.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    a: Architecture,
}

impl Layout {
    /// The layout of an architecture.
    #[must_use]
    pub const fn new(architecture: Architecture) -> Self {
        Self { a: architecture }
    }

    fn norms_size(&self) -> usize {
        Norm::ALL.iter().map(|norm| norm.width(&self.a)).sum()
    }

    const fn biases_size(&self) -> usize {
        if self.a.family.has_biases() { self.a.attention_width() } else { 0 }
    }

    fn layer_size(&self) -> usize {
        let matrices: usize = Matrix::ALL.iter().map(|matrix| matrix.shape(&self.a)).map(|(rows, columns)| rows * columns).sum();
        self.norms_size() + self.biases_size() + matrices
    }

    fn layer_start(&self, layer: usize) -> usize {
        self.embedding().end + layer * self.layer_size()
    }

    /// How many parameters there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.head().end.max(self.final_norm().end)
    }

    /// The embedding, one row a token.
    #[must_use]
    pub const fn embedding(&self) -> Range<usize> {
        0..self.a.vocabulary * self.a.width
    }

    /// The gain of the last norm.
    #[must_use]
    pub fn final_norm(&self) -> Range<usize> {
        let start = self.layer_start(self.a.layers);
        start..start + self.a.width
    }

    /// The output matrix, which may be the embedding.
    #[must_use]
    pub fn head(&self) -> Range<usize> {
        let start = self.final_norm().end;
        if self.a.tied { self.embedding() } else { start..start + self.a.vocabulary * self.a.width }
    }

    /// The gains of a norm of a layer; none where the family does not have it.
    #[must_use]
    pub fn norm(&self, layer: usize, norm: Norm) -> Range<usize> {
        let before: usize = Norm::ALL.iter().take_while(|&&other| other != norm).map(|other| other.width(&self.a)).sum();
        let start = self.layer_start(layer) + before;
        start..start + norm.width(&self.a)
    }

    /// The biases of queries, keys and values as one; none where the family has none.
    #[must_use]
    pub fn biases(&self, layer: usize) -> Range<usize> {
        let start = self.layer_start(layer) + self.norms_size();
        start..start + self.biases_size()
    }

    /// A matrix of a layer. Query, key and value lie one after the other, and so do gate and up, so that
    /// each group is one matrix for a product.
    #[must_use]
    pub fn matrix(&self, layer: usize, matrix: Matrix) -> Range<usize> {
        let size = |matrix: &Matrix| matrix.shape(&self.a).0 * matrix.shape(&self.a).1;
        let before: usize = Matrix::ALL.iter().take_while(|&&other| other != matrix).map(size).sum();
        let start = self.biases(layer).end + before;
        start..start + size(&matrix)
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

    /// Every tensor, in the order of memory.
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        let (a, family) = (&self.a, self.a.family);
        let table = |name: &str, gguf: &str, range| Tensor {
            name: name.to_owned(),
            gguf: gguf.to_owned(),
            shape: vec![a.vocabulary, a.width],
            sort: Sort::Table,
            range,
        };
        let single = |name: String, gguf: String, sort: Sort, range: Range<usize>| Tensor {
            name: name + ".weight",
            gguf: gguf + ".weight",
            shape: vec![range.len()],
            sort,
            range,
        };
        let mut tensors = vec![table("model.embed_tokens.weight", "token_embd.weight", self.embedding())];
        for layer in 0..a.layers {
            let (place, block) = (format!("model.layers.{layer}."), format!("blk.{layer}."));
            let norms = Norm::ALL.iter().map(|&norm| (norm, self.norm(layer, norm))).filter(|(_, range)| !range.is_empty());
            tensors.extend(norms.map(|(norm, range)| single(place.clone() + norm.module(family), block.clone() + norm.gguf(), Sort::Gain, range)));
            let mut start = self.biases(layer).start;
            for matrix in BIASED.into_iter().filter(|_| family.has_biases()) {
                let range = start..start + matrix.shape(a).0;
                start = range.end;
                let names = (format!("{place}{}.bias", matrix.module()), format!("{block}{}.bias", matrix.gguf()));
                tensors.push(Tensor { name: names.0, gguf: names.1, shape: vec![range.len()], sort: Sort::Bias(matrix), range });
            }
            tensors.extend(Matrix::ALL.into_iter().map(|matrix| {
                let (rows, columns) = matrix.shape(a);
                let tensor = single(place.clone() + matrix.module(), block.clone() + matrix.gguf(), Sort::Matrix(matrix), self.matrix(layer, matrix));
                Tensor { shape: vec![rows, columns], ..tensor }
            }));
        }
        tensors.push(single("model.norm".into(), "output_norm".into(), Sort::Gain, self.final_norm()));
        if !a.tied {
            tensors.push(table("lm_head.weight", "output.weight", self.head()));
        }
        tensors
    }
}
