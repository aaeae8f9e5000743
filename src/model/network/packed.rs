//! Conversations as tokens, one after the other.

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
