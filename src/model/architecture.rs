/// The sizes of a decoder of the Llama family: RMS norm before each block, rotary positions, SwiGLU,
/// output weights tied to the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// How many different tokens there are.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads; the width is a multiple of it.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub hidden: usize,
    /// The most tokens in one conversation.
    pub context: usize,
}

/// Added under the root of the RMS norm.
pub const NORM_EPSILON: f32 = 1e-5;
/// The base of the rotary frequencies (Su et al. 2021).
pub const ROPE_BASE: f32 = 10_000.0;

impl Architecture {
    /// Width of one head.
    #[must_use]
    pub const fn head_width(&self) -> usize {
        self.width / self.heads
    }
}
