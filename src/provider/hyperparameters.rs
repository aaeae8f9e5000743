//! The sizes of a training.

/// The sizes of a training, as the pipeline gives them. What is absent the provider chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hyperparameters {
    /// Passes over the training data.
    pub epochs: Option<usize>,
    /// Examples in one step.
    pub batch_size: Option<usize>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// The learning rate as a multiple of what the provider would take.
    pub rate_multiplier: Option<f64>,
    /// Share of the steps that the rate takes to rise.
    pub warmup: Option<f64>,
    /// Decoupled weight decay.
    pub weight_decay: Option<f64>,
    /// How the rate goes down.
    pub decay: Option<Decay>,
    /// Gradients are scaled down to this length.
    pub clip: Option<f64>,
    /// Steps from one look at all validation examples to the next.
    pub eval_interval: Option<usize>,
    /// How long examples may be.
    pub longest: Option<Longest>,
    /// Whether what layers leave is computed a second time in place of being kept.
    pub recompute: bool,
    /// What of a conversation is learnt.
    pub taught: Taught,
    /// Whether it begins with random weights in place of those of the base.
    pub from_scratch: bool,
    /// A LoRA adapter; without it all weights are trained.
    pub lora: Option<Lora>,
    /// The seed of everything random.
    pub seed: u64,
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The width of the narrow side.
    pub rank: usize,
    /// The adapter's part is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// The share of its inputs that is left out at random.
    pub dropout: f64,
    /// rsLoRA: it is multiplied by `alpha / sqrt(rank)`.
    pub is_rank_stabilised: bool,
    /// DoRA: lengths are learnt apart from directions.
    pub is_dora: bool,
    /// The matrices that it is for, by the names that PEFT gives them; all where there is none.
    pub targets: Vec<String>,
}

impl Lora {
    /// A plain one for all matrices.
    #[must_use]
    pub const fn plain(rank: usize, alpha: f64) -> Self {
        Self { rank, alpha, dropout: 0.0, is_rank_stabilised: false, is_dora: false, targets: Vec::new() }
    }
}

/// What of a conversation the model learns to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Taught {
    /// What the assistant says.
    #[default]
    Answers,
    /// All of it, what it is asked too.
    Everything,
}

/// How the learning rate goes down after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Half a cosine, down to a tenth (Loshchilov and Hutter 2016).
    Cosine,
    /// A straight line, down to nothing.
    Linear,
    /// Not at all.
    Constant,
}

impl Decay {
    /// Its name in the pipeline.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::Constant => "constant",
        }
    }
}

/// What becomes of examples that are longer than they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// They are an error.
    Error,
    /// They are left out.
    Drop,
    /// Their end is cut off.
    Truncate,
}

/// How long examples may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// The most tokens.
    pub tokens: usize,
    /// What becomes of longer ones.
    pub overflow: Overflow,
}
