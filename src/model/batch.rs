//! Conversations as tokens, and how many of them go through the model together.

use std::cmp::Reverse;

/// One conversation as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// For each token, whether the model should learn to say it.
    pub learned: Vec<bool>,
}

impl Sample {
    /// How many tokens count in the loss.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.learned.iter().skip(1).filter(|&&learned| learned).count()
    }
}

/// What a model learns from.
#[derive(Clone, Debug, PartialEq)]
pub enum Lessons {
    /// To say what an assistant says.
    Say(Vec<Sample>),
    /// To like the first of two answers better than the second (Rafailov et al. 2023).
    Prefer {
        /// The better and the worse answer to the same, each as a whole conversation.
        pairs: Vec<[Sample; 2]>,
        /// How close it stays to the model before: the higher, the closer.
        beta: f64,
    },
}

impl Lessons {
    /// How many examples there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Say(samples) => samples.len(),
            Self::Prefer { pairs, .. } => pairs.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The conversations of an example: one, or the better and the worse one.
    #[must_use]
    pub fn samples(&self, index: usize) -> &[Sample] {
        match self {
            Self::Say(samples) => std::slice::from_ref(&samples[index]),
            Self::Prefer { pairs, .. } => &pairs[index],
        }
    }

    /// The tokens of an example.
    #[must_use]
    pub fn tokens(&self, index: usize) -> usize {
        self.samples(index).iter().map(|sample| sample.tokens.len()).sum()
    }

    /// The tokens of the longest conversation.
    #[must_use]
    pub fn longest(&self) -> usize {
        (0..self.len()).flat_map(|index| self.samples(index)).map(|sample| sample.tokens.len()).max().unwrap_or(0)
    }

    /// Some examples one after the other.
    #[must_use]
    pub fn pack(&self, indices: &[usize]) -> Packed {
        Packed::new(indices.iter().flat_map(|&index| self.samples(index)))
    }
}

/// A row whose next token counts in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The row.
    pub row: usize,
    /// The token after it.
    pub token: u32,
    /// The sample that it is of, by its place among those packed.
    pub sample: usize,
}

/// Samples one after the other without padding; attention never crosses from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// The tokens of all samples.
    pub tokens: Vec<u32>,
    /// Where each sample begins, and the end of the last.
    pub starts: Vec<usize>,
    /// What is learnt.
    pub targets: Vec<Target>,
}

impl Packed {
    /// Packs samples.
    #[must_use]
    pub fn new<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut packed = Self { starts: vec![0], ..Self::default() };
        for (number, sample) in samples.into_iter().enumerate() {
            let base = packed.tokens.len();
            packed.tokens.extend(&sample.tokens);
            packed.starts.push(packed.tokens.len());
            let next = (1..sample.tokens.len()).filter(|&at| sample.learned[at]);
            packed.targets.extend(next.map(|at| Target { row: base + at - 1, token: sample.tokens[at], sample: number }));
        }
        packed
    }

    /// Packs prompts, for which there is no loss.
    #[must_use]
    pub fn prompts<'a>(prompts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut packed = Self { starts: vec![0], ..Self::default() };
        for prompt in prompts {
            packed.tokens.extend(prompt);
            packed.starts.push(packed.tokens.len());
        }
        packed
    }

    /// The tokens of the longest sample.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.starts.windows(2).map(|sample| sample[1] - sample[0]).max().unwrap_or(0)
    }

    /// Sums what is known of each target for each sample.
    #[must_use]
    pub fn by_sample(&self, of_targets: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.starts.len() - 1];
        for (target, value) in self.targets.iter().zip(of_targets) {
            sums[target.sample] += value;
        }
        sums
    }
}

/// Divides the examples of a batch into groups of about equal size, by a rule that knows nothing of the
/// number of threads, so that sums are always made in the same order.
#[must_use]
pub fn shards(lessons: &Lessons, batch: &[usize]) -> Vec<Vec<usize>> {
    /// Tokens that are worth reading all weights once.
    const GROUP: usize = 256;
    let tokens: usize = batch.iter().map(|&index| lessons.tokens(index)).sum();
    let groups = (tokens / GROUP).next_multiple_of(2).clamp(1, batch.len().max(1));
    let mut order: Vec<usize> = batch.to_vec();
    order.sort_by_key(|&index| Reverse(lessons.tokens(index)));
    let mut shards: Vec<(usize, Vec<usize>)> = vec![(0, Vec::new()); groups];
    for index in order {
        // The first of the emptiest: a tie always goes the same way.
        if let Some((tokens, shard)) = shards.iter_mut().min_by_key(|(tokens, _)| *tokens) {
            *tokens += lessons.tokens(index);
            shard.push(index);
        }
    }
    shards.into_iter().map(|(_, shard)| shard).filter(|shard| !shard.is_empty()).collect()
}
