//! What kind of decoder it is, and how large.

/// A family of decoders: all have RMS norms, rotary positions, grouped queries and a gated feed-forward block, and each has switches of
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama, and what is built like it: SmolLM2, Mistral, TinyLlama, `builtin:tiny`.
    Llama,
    /// Queries, keys and values have biases.
    Qwen2,
    /// Each head's query and key is normed.
    Qwen3,
    /// As Qwen 3, with norms after each block too, GELU in the gate, scaled embeddings, and layers that see only a window.
    Gemma3,
}

impl Family {
    /// Queries, keys and values have biases.
    #[must_use]
    pub const fn has_biases(self) -> bool {
        matches!(self, Self::Qwen2)
    }

    /// Each head's query and key is normed.
    #[must_use]
    pub const fn has_head_norms(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// What a block gives is normed before it is added to the stream.
    #[must_use]
    pub const fn norms_after(self) -> bool {
        matches!(self, Self::Gemma3)
    }

    /// The gate is a GELU (its approximation by a hyperbolic tangent) and no SiLU.
    #[must_use]
    pub const fn has_gelu(self) -> bool {
        matches!(self, Self::Gemma3)
    }

    /// Files hold the gain of a norm less one.
    #[must_use]
    pub const fn stores_gain_less_one(self) -> bool {
        matches!(self, Self::Gemma3)
    }

    /// Embeddings are multiplied by the root of the width.
    #[must_use]
    pub const fn scales_embeddings(self) -> bool {
        matches!(self, Self::Gemma3)
    }
}

/// Rotary positions (Su et al. 2021), for contexts longer than those of the pre-training too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub base: f64,
    /// How they are stretched.
    pub stretch: Stretch,
}

/// How the frequencies of rotary positions are made lower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// Not at all.
    None,
    /// All by the same factor (Chen et al. 2023).
    Linear(f64),
    /// Low ones by a factor, high ones not at all, those between by something between (Llama 3.1).
    ByParts {
        /// The factor of the low ones.
        factor: f64,
        /// Waves longer than `original / low` are low.
        low: f64,
        /// Waves shorter than `original / high` are high.
        high: f64,
        /// The context of the pre-training.
        original: f64,
    },
}

/// Layers that see only so far back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Local {
    /// How many tokens they see, the own one among them.
    pub window: usize,
    /// One layer of so many sees everything, the last of them.
    pub every: usize,
    /// The base of their rotary frequencies.
    pub base: f64,
}

/// A decoder's kind and sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    /// Its switches.
    pub family: Family,
    /// How many different tokens there are.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / key_heads` of queries (Ainslie et al. 2023).
    pub key_heads: usize,
    /// Width of a head; even.
    pub head_width: usize,
    /// Width inside the feed-forward block.
    pub hidden: usize,
    /// The most tokens in one conversation.
    pub context: usize,
    /// Added under the root of the norms.
    pub epsilon: f32,
    /// Positions.
    pub rope: Rope,
    /// Layers with a window.
    pub local: Option<Local>,
    /// What scores are multiplied by before the softmax.
    pub score_scale: f32,
    /// Whether the embedding is the output matrix too.
    pub tied: bool,
}

impl Architecture {
    /// A small decoder of Llama's family with as many heads of keys as of queries and tied embeddings.
    #[must_use]
    pub const fn small(vocabulary: usize, width: usize, layers: usize, heads: usize, hidden: usize, context: usize) -> Self {
        let head_width = width / heads;
        Self {
            family: Family::Llama,
            vocabulary,
            width,
            layers,
            heads,
            key_heads: heads,
            head_width,
            hidden,
            context,
            epsilon: 1e-5,
            rope: Rope { base: 10_000.0, stretch: Stretch::None },
            local: None,
            score_scale: inverse_root(head_width),
            tied: true,
        }
    }

    /// Width of all queries of a row.
    #[must_use]
    pub const fn query_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Width of all keys of a row, and of all values.
    #[must_use]
    pub const fn key_width(&self) -> usize {
        self.key_heads * self.head_width
    }

    /// Width of queries, keys and values of a row.
    #[must_use]
    pub const fn attention_width(&self) -> usize {
        self.query_width() + 2 * self.key_width()
    }

    /// How many tokens a layer sees, where not all.
    #[must_use]
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.local.filter(|local| !(layer + 1).is_multiple_of(local.every)).map(|local| local.window)
    }

    /// What embeddings are multiplied by.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "widths are small")]
    pub fn embedding_scale(&self) -> f32 {
        if self.family.scales_embeddings() { (self.width as f32).sqrt() } else { 1.0 }
    }
}

/// One over the root of a small number, where the compiler has no root: by Newton's steps.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "widths are small")]
const fn inverse_root(of: usize) -> f32 {
    let of = of as f64;
    let (mut root, mut step) = (of, 0);
    while step < 64 {
        root = 0.5 * (root + of / root);
        step += 1;
    }
    (1.0 / root) as f32
}
