use crate::data::{Example, Tokenizer};

use super::error::ModelError;

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

/// Examples as samples for a model that holds `context` tokens.
///
/// # Errors
/// When one is too long, or has nothing to learn in it.
pub fn samples(tokenizer: &Tokenizer, examples: &[Example], context: usize) -> Result<Vec<Sample>, ModelError> {
    let numbered = examples.iter().enumerate();
    numbered
        .map(|(index, example)| {
            let (tokens, learned) = tokenizer.conversation(&example.messages);
            if tokens.len() > context {
                return Err(ModelError::TooLong { index: index + 1, tokens: tokens.len(), limit: context });
            }
            let sample = Sample { tokens, learned };
            if sample.targets() == 0 {
                return Err(ModelError::NothingToLearn { problem: format!("example {} has nothing that the model is to say", index + 1) });
            }
            Ok(sample)
        })
        .collect()
}

/// Samples one after the other without padding; attention never crosses from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// The tokens of all samples.
    pub tokens: Vec<u32>,
    /// Where each sample begins, and the end of the last.
    pub starts: Vec<usize>,
    /// Rows whose next token counts in the loss, with that token.
    pub targets: Vec<(usize, u32)>,
}

impl Packed {
    /// Packs samples.
    #[must_use]
    pub fn new<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut packed = Self { starts: vec![0], ..Self::default() };
        for sample in samples {
            let base = packed.tokens.len();
            packed.tokens.extend(&sample.tokens);
            packed.starts.push(packed.tokens.len());
            let next = (1..sample.tokens.len()).filter(|&at| sample.learned[at]);
            packed.targets.extend(next.map(|at| (base + at - 1, sample.tokens[at])));
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
}

/// Divides the samples of a batch into groups of about equal size, by a rule that knows nothing of the
/// number of threads, so that sums are always made in the same order.
#[must_use]
pub fn shards<'a>(batch: &[&'a Sample]) -> Vec<Vec<&'a Sample>> {
    /// Tokens that keep a core busy without too many groups to add up.
    const TOKENS: usize = 160;
    let tokens: usize = batch.iter().map(|sample| sample.tokens.len()).sum();
    let groups = (tokens / TOKENS).next_multiple_of(2).clamp(1, 32).min(batch.len().max(1));
    let mut order: Vec<usize> = (0..batch.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(batch[index].tokens.len()));
    let mut shards: Vec<(usize, Vec<&Sample>)> = vec![(0, Vec::new()); groups];
    for index in order {
        // Groups are few; the first lightest one takes the next longest sample.
        if let Some(lightest) = shards.iter_mut().min_by_key(|(load, _)| *load) {
            lightest.0 += batch[index].tokens.len();
            lightest.1.push(batch[index]);
        }
    }
    shards.into_iter().map(|(_, samples)| samples).filter(|samples| !samples.is_empty()).collect()
}
