//! What a model learns from, and how much of it goes through the model together.

use std::cmp::Reverse;

use crate::model::network::packed::{Packed, Sample};

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
