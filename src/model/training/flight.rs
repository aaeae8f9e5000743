//! The flight record of a training: what made up each step.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Step {
    /// Its number, from 1.
    pub step: usize,
    /// The learning rate.
    pub rate: f64,
    /// The mean loss.
    pub loss: f64,
    /// The length of the gradient before it was cut.
    pub gradient: f64,
    /// The examples that it was made of, by their line in the file of examples, from 1.
    pub rows: Vec<usize>,
    /// The mean loss of each of them.
    pub losses: Vec<f64>,
}

impl Step {
    /// Steps as lines of JSON; what is no number is `null`.
    #[must_use]
    pub fn lines(steps: &[Self]) -> Vec<u8> {
        let mut lines = Vec::new();
        for step in steps {
            lines.extend(serde_json::to_vec(step).unwrap_or_default());
            lines.push(b'\n');
        }
        lines
    }

    /// The rows with the largest losses, the largest first.
    #[must_use]
    pub fn worst(&self, count: usize) -> Vec<(usize, f64)> {
        let mut rows: Vec<(usize, f64)> = self.rows.iter().copied().zip(self.losses.iter().copied()).collect();
        // What is no number comes before all others.
        rows.sort_by(|a, b| b.1.is_nan().cmp(&a.1.is_nan()).then(b.1.total_cmp(&a.1)).then(a.0.cmp(&b.0)));
        rows.truncate(count);
        rows
    }

    /// The rows with the largest losses in words.
    #[must_use]
    pub fn blame(&self) -> String {
        let mut text = String::from("rows ");
        for (place, (row, loss)) in self.worst(3).into_iter().enumerate() {
            let _ = write!(text, "{}{row} (loss {loss:.3})", if place == 0 { "" } else { ", " });
        }
        if self.rows.len() > 3 {
            let _ = write!(text, " and {} more", self.rows.len() - 3);
        }
        text
    }
}

/// Looks out for losses that stand out from those before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spikes {
    mean: f64,
    spread: f64,
    seen: usize,
}

impl Spikes {
    /// Whether a loss stands out: after some steps, by far more than they differ from each other.
    pub fn see(&mut self, loss: f64) -> bool {
        const SETTLED: usize = 20;
        const SHARE: f64 = 0.1;
        let off = loss - self.mean;
        let stands_out = self.seen >= SETTLED && off > 6.0 * self.spread && off > 0.5;
        let share = if self.seen == 0 { 1.0 } else { SHARE };
        // One that stands out says nothing of what is usual.
        if !stands_out {
            self.spread += share * (off.abs() - self.spread);
            self.mean += share * off;
        }
        self.spread = if self.seen == 0 { 0.0 } else { self.spread };
        self.seen += 1;
        stands_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_that_has_no_loss_is_named_first() {
        let step = Step { step: 3, rate: 0.1, loss: f64::NAN, gradient: f64::NAN, rows: vec![7, 2, 9, 4], losses: vec![1.0, 3.0, f64::NAN, 2.0] };
        assert_eq!(step.blame(), "rows 9 (loss NaN), 2 (loss 3.000), 4 (loss 2.000) and 1 more");
    }

    #[test]
    fn a_loss_that_stands_out_is_seen_and_a_fall_is_none() {
        let mut spikes = Spikes::default();
        for step in 0..60 {
            let loss = 3.0 - 0.04 * f64::from(step) + 0.05 * f64::from(step % 3);
            assert!(!spikes.see(loss), "step {step}");
        }
        assert!(spikes.see(4.0));
        assert!(!spikes.see(0.7));
    }
}
