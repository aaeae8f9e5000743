//! What a forward pass leaves for the backward pass: kept and used again, so that nothing is allocated a second time.

/// What one layer leaves. All are rows x some width.
#[derive(Clone, Debug, Default)]
pub struct LayerTrace {
    /// Input of the layer.
    pub input: Vec<f32>,
    /// It after the first norm, and one over the roots of that.
    pub normed: Vec<f32>,
    pub inverse: Vec<f32>,
    /// Queries, keys and values of each row, turned by position.
    pub qkv: Vec<f32>,
    /// Queries and keys before their norms, and one over the roots of those; of families that have them.
    pub plain: Vec<f32>,
    pub head_inverse: Vec<f32>,
    /// What the heads gathered.
    pub attended: Vec<f32>,
    /// What the attention gives, of families that norm it.
    pub given: Normed,
    /// After the attention, and after the second norm.
    pub middle: Vec<f32>,
    pub middle_normed: Vec<f32>,
    pub middle_inverse: Vec<f32>,
    /// Gates and values of the feed-forward block, and their product.
    pub gate_up: Vec<f32>,
    pub active: Vec<f32>,
    /// What the feed-forward block gives, of families that norm it.
    pub fed: Normed,
}

/// What a block gave, before it was normed.
#[derive(Clone, Debug, Default)]
pub struct Normed {
    pub input: Vec<f32>,
    pub inverse: Vec<f32>,
}

/// Buffers of the forward pass itself.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    pub narrow: Vec<f32>,
    pub scores: Vec<f32>,
    pub given: Vec<f32>,
    pub gathered: Vec<f32>,
    pub logits: Vec<f32>,
}

/// How much of a forward pass is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All that the backward pass needs.
    All,
    /// What goes into each layer: the rest is computed a second time on the way back (Chen et al. 2016).
    Inputs,
    /// Nothing but the end.
    End,
}

/// Everything that a forward pass leaves.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Of each layer where all is kept, else of the last that ran.
    pub layers: Vec<LayerTrace>,
    /// What went into each layer, where that alone is kept.
    pub inputs: Vec<Vec<f32>>,
    /// The residual stream after the last layer, and after the last norm.
    pub last: Vec<f32>,
    pub last_normed: Vec<f32>,
    pub last_inverse: Vec<f32>,
    pub buffers: Buffers,
}

/// Room for so many numbers, whatever they are, in a buffer that never gets shorter, so that it is not filled with zeros again and again.
pub fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// A buffer of just so many numbers, whatever they are.
pub fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}
