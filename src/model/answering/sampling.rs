//! How the next token is chosen.

use crate::model::random::Random;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// How freely: 0 for the likeliest token each time.
    pub temperature: f64,
    /// Of the likeliest tokens, as many as together are this likely (nucleus sampling; Holtzman et al. 2020).
    pub top_p: f64,
    /// Of the likeliest tokens, at most so many; 0 for all.
    pub top_k: usize,
    /// The same seed gives the same answer to the same prompt, whoever else is answered.
    pub seed: u64,
}

impl Sampling {
    /// Of all tokens, at a temperature.
    #[must_use]
    pub const fn at(temperature: f64) -> Self {
        Self { temperature, top_p: 1.0, top_k: 0, seed: 0 }
    }
}

/// Chooses the tokens of one answer.
#[derive(Debug)]
pub struct Chooser {
    sampling: Sampling,
    random: Random,
}

impl Chooser {
    /// For a new answer.
    #[must_use]
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, random: Random::new(sampling.seed, "answer") }
    }

    /// The next token, by what the model makes of each.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        let Sampling { temperature, top_p, top_k, .. } = self.sampling;
        if temperature <= 0.0 {
            return likeliest(logits);
        }
        let order = best(logits, if top_k == 0 { logits.len() } else { top_k });
        let highest = order.first().map_or(0.0, |&token| f64::from(logits[token as usize]));
        let weight = |token: u32| ((f64::from(logits[token as usize]) - highest) / temperature).exp();
        let whole: f64 = order.iter().map(|&token| weight(token)).sum();
        let (mut kept, mut sum) = (Vec::new(), 0.0);
        for token in order {
            kept.push((token, weight(token)));
            sum += weight(token);
            if sum >= top_p * whole {
                break;
            }
        }
        let mut left = self.random.share() * sum;
        let chosen = kept.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        chosen.or(kept.last()).map_or(0, |(token, _)| *token)
    }
}

/// The likeliest token; among equals the first.
fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (token, &logit)| if logit > best.1 { (token, logit) } else { best });
    u32::try_from(best.0).unwrap_or(u32::MAX)
}

/// The likeliest tokens, the likeliest first; among equals the lower number.
pub fn best(logits: &[f32], count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(logits.len()).unwrap_or(u32::MAX)).collect();
    let better = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let count = count.min(order.len());
    if count > 0 && count < order.len() {
        order.select_nth_unstable_by(count - 1, better);
    }
    order.truncate(count);
    order.sort_unstable_by(better);
    order
}
