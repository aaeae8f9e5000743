//! The learning rate over the steps.

use crate::provider::Decay;

/// A linear warm-up, then the decay.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
    /// How it goes down.
    pub decay: Decay,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let rest = (self.steps - self.warmup).max(1) as f64;
        let way = ((step - self.warmup) as f64 / rest).min(1.0);
        self.peak
            * match self.decay {
                Decay::Cosine => 0.45f64.mul_add(1.0 + (std::f64::consts::PI * way).cos(), 0.1),
                Decay::Linear => 1.0 - way,
                Decay::Constant => 1.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_as_it_is_told() {
        let rates = |decay| {
            let schedule = Schedule { peak: 1.0, warmup: 4, steps: 12, decay };
            [0, 3, 4, 8, 11].map(|step| (schedule.rate(step) * 1e3).round() / 1e3)
        };
        assert_eq!(rates(Decay::Constant), [0.25, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(rates(Decay::Linear), [0.25, 1.0, 1.0, 0.5, 0.125]);
        assert_eq!(rates(Decay::Cosine), [0.25, 1.0, 1.0, 0.55, 0.134]);
    }
}
