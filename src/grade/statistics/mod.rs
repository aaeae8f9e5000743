//! Intervals and tests, exact where they can be.

mod bootstrap;
mod many;
mod normal;
mod paired;
mod samples;
mod sequential;
mod share;

pub use bootstrap::{Rows, bounded_interval, chance_of_no_more, mean_interval};
pub use many::holm;
pub use normal::{normal_below, normal_quantile};
pub use paired::{mcnemar_exact, sign_flips, smallest_difference};
pub use samples::{pass_at, told};
pub use sequential::{Arm, FEWEST, Values, always_valid};
pub use share::{most_failures, wilson, wilson_of};

/// A number of rows as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
#[must_use]
pub const fn count(rows: usize) -> f64 {
    rows as f64
}

/// Holds a figure to a published one, which is rounded.
#[cfg(test)]
fn close(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 5e-4, "found {found}, wanted {wanted}");
}

/// A stream of numbers for resampling, the same every time: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Stream(u64);

impl Stream {
    const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound, each as likely as any other (Lemire 2019, without the rejection, which tells only above 2^32 rows).
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from((u128::from(self.next()) * bound as u128) >> 64).unwrap_or(0)
    }
}
