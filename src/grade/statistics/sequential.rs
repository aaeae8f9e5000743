//! The difference between two arms of a trial that is looked at after every observation.
//!
//! It is the interval of all differences that the mixture sequential probability ratio test (Robbins 1970; Johari, Koomen, Pekelis
//! and Walsh, "Always Valid Inference", 2017/2022) does not reject: it holds the true one at every moment at once with its
//! confidence, so that who stops as soon as it tells something is not led astray by having looked often.

use serde::{Deserialize, Serialize};

/// The observations of one arm, as far as mean and spread need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Arm {
    /// Takes in an observation.
    pub fn push(&mut self, value: f64) {
        self.add(&Self { count: 1, sum: value, squares: value * value });
    }

    /// Takes in those of another.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The number of observations as a figure.
    #[expect(clippy::cast_precision_loss, reason = "counts of answers are far below 2^52")]
    const fn size(&self) -> f64 {
        self.count as f64
    }

    /// Their mean; nothing where there are none.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.size())
    }

    /// The variance of an observation. Shares get one more of each end, for those that never varied are not certain.
    fn variance(&self, values: Values) -> f64 {
        let (count, sum, squares) = match values {
            Values::Shares => (self.size() + 2.0, self.sum + 1.0, self.squares + 1.0),
            Values::Logarithms => (self.size(), self.sum, self.squares),
        };
        let mean = sum / count;
        (squares / count - mean * mean).max(0.0) * count / (count - 1.0)
    }
}

/// What is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Numbers from 0 to 1.
    Shares,
    /// Natural logarithms of amounts, so that a difference is a ratio.
    Logarithms,
}

impl Values {
    /// The standard deviation of the differences that the test looks for. Any is valid; one near those that happen sees them soonest.
    const fn scale(self) -> f64 {
        match self {
            Self::Shares => 0.1,
            Self::Logarithms => 0.5,
        }
    }
}

/// So many observations of each arm at least, before their spread says anything.
pub const FEWEST: u64 = 20;

/// The ends of the interval for the mean of `trial` above that of `control`, which holds at every look at once but for a chance of
/// `alpha`. There is none while an arm has fewer than [`FEWEST`] observations.
#[must_use]
pub fn always_valid(control: &Arm, trial: &Arm, values: Values, alpha: f64) -> Option<[f64; 2]> {
    if control.count.min(trial.count) < FEWEST {
        return None;
    }
    let difference = trial.mean()? - control.mean()?;
    let variance = spread(control, trial, values);
    let scale = values.scale().powi(2);
    let both = variance + scale;
    let half = (variance * both / scale * ((both / variance).ln() - 2.0 * alpha.ln())).sqrt();
    Some([difference - half, difference + half])
}

/// The variance of the difference. An arm that happened to vary little is taken to vary as both together do: without that, small shares
/// are missed more often than said.
fn spread(control: &Arm, trial: &Arm, values: Values) -> f64 {
    let mut both = *control;
    both.add(trial);
    let both = both.variance(values);
    let of = |arm: &Arm| arm.variance(values).max(both) / arm.size();
    (of(control) + of(trial)).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "the upper 53 bits")]
    fn share(stream: &mut Stream) -> f64 {
        (stream.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The ends of all intervals of a trial with one in ten requests, as they come.
    fn trial(stream: &mut Stream, requests: usize, control: f64, trial: f64, mut look: impl FnMut([f64; 2]) -> bool) -> bool {
        let mut arms = [Arm::default(); 2];
        (0..requests).any(|_| {
            let is_trial = share(stream) < 0.1;
            let rate = if is_trial { trial } else { control };
            arms[usize::from(is_trial)].push(f64::from(u8::from(share(stream) < rate)));
            always_valid(&arms[0], &arms[1], Values::Shares, 0.05).is_some_and(&mut look)
        })
    }

    #[test]
    fn it_is_the_mixture_test_turned_round() {
        // At the ends the likelihood ratio of the mixture is 1 / alpha.
        let of = |count: u64, sum: f64| Arm { count, sum, squares: sum };
        let (control, tried) = (of(1000, 100.0), of(200, 30.0));
        let [low, high] = always_valid(&control, &tried, Values::Shares, 0.05).expect("enough");
        let (variance, scale) = (spread(&control, &tried, Values::Shares), 0.01);
        let difference = 0.15 - 0.1;
        for end in [low, high] {
            let ratio = (variance / (variance + scale)).sqrt() * (scale * (difference - end).powi(2) / (2.0 * variance * (variance + scale))).exp();
            assert!((ratio - 20.0).abs() < 1e-6, "{ratio}");
        }
    }

    #[test]
    fn the_truth_is_missed_by_no_look_at_all_more_often_than_said() {
        let mut stream = Stream::new();
        for (control, tried) in [(0.01, 0.01), (0.1, 0.1), (0.5, 0.5), (0.02, 0.04), (0.1, 0.05)] {
            let truth = tried - control;
            let missed = (0..400).filter(|_| trial(&mut stream, 5000, control, tried, |[low, high]| low > truth || high < truth)).count();
            assert!(missed <= 20, "{missed} of 400 were wrong at {control} and {tried}");
        }
    }

    #[test]
    fn what_is_worse_is_seen_soon() {
        let mut stream = Stream::new();
        let seen = |stream: &mut Stream, requests, rate| (0..100).filter(|_| trial(stream, requests, 0.02, rate, |[low, _]| low > 0.0)).count();
        assert_eq!(seen(&mut stream, 600, 0.9), 100, "one that fails is seen at sixty answers");
        assert!(seen(&mut stream, 5000, 0.15) >= 95);
    }

    #[test]
    fn times_are_held_beside_each_other_as_ratios() {
        let (mut control, mut tried) = (Arm::default(), Arm::default());
        for at in 0..200_i32 {
            let wobble = f64::from(at % 10) / 10.0;
            control.push((0.1 + 0.05 * wobble).ln());
            tried.push((0.2 + 0.1 * wobble).ln());
        }
        let [low, high] = always_valid(&control, &tried, Values::Logarithms, 0.05).expect("enough");
        assert!(low.exp() > 1.7 && low.exp() < 2.0 && high.exp() > 2.0 && high.exp() < 2.3, "{low} {high}");
        assert_eq!(always_valid(&control, &Arm { count: FEWEST - 1, ..Arm::default() }, Values::Logarithms, 0.05), None);
    }
}
