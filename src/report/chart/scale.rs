//! From values to places.

use crate::grade::count;

/// A straight way from values to places on the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    begin: f64,
    end: f64,
}

impl Scale {
    /// From `low` and `high` to the places `begin` and `end`. Where both are the same, there is room on both sides.
    pub fn new((low, high): (f64, f64), (begin, end): (f64, f64)) -> Self {
        let room = if high > low { 0.0 } else { low.abs().max(1.0) / 2.0 };
        Self { low: low - room, high: high.max(low) + room, begin, end }
    }

    /// The place of a value.
    pub fn at(&self, value: f64) -> f64 {
        self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)
    }

    /// About so many round values within it: their steps are 1, 2 or 5 of a power of ten.
    pub fn ticks(&self, about: usize) -> Vec<f64> {
        let step = round_step((self.high - self.low) / count(about.max(1)));
        let first = (self.low / step).ceil();
        (0..)
            .map(|nth| (first + f64::from(nth)) * step)
            .take_while(|tick| *tick <= self.high + step * 1e-9)
            .map(|tick| if tick == 0.0 { 0.0 } else { tick })
            .collect()
    }
}

fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

/// The least and the greatest of values; none where there is no value.
pub fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// A value beside an axis: with as many digits as it needs.
pub fn told(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.0e}")
    } else {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let ticks = |low, high, about| Scale::new((low, high), (0.0, 100.0)).ticks(about).into_iter().map(told).collect::<Vec<_>>();
        assert_eq!(ticks(0.0, 1.0, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks(0.3, 7.9, 4), ["2", "4", "6"]);
        assert_eq!(ticks(-3.0, 3.0, 3), ["-2", "0", "2"]);
        assert_eq!(ticks(1e-5, 3e-5, 2), ["1e-5", "2e-5", "3e-5"]);
    }

    #[test]
    fn one_value_stands_in_the_middle() {
        let scale = Scale::new((4.0, 4.0), (0.0, 100.0));
        assert!((scale.at(4.0) - 50.0).abs() < 1e-9);
        assert_eq!(bounds([f64::NAN, 2.0, -1.0].into_iter()), Some((-1.0, 2.0)));
        assert_eq!(bounds(std::iter::empty()), None);
    }
}
