//! Intervals and tests, exact where they can be.

/// A 95 % interval of a share by Wilson's score method (Wilson 1927), which stays within 0 and 1 and
/// holds for few rows and for shares near the ends.
#[must_use]
pub fn wilson(successes: usize, rows: usize) -> (f64, f64) {
    /// The 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if rows == 0 {
        return (0.0, 1.0);
    }
    let (n, k) = (count(rows), count(successes));
    let share = k / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let low = if successes == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if successes == rows { 1.0 } else { (middle + half).min(1.0) };
    (low, high)
}

/// The one-sided exact McNemar test: how likely at least `wins` of the rows on which two models differ
/// would go to the first if neither were better. Rows on which they agree say nothing.
#[must_use]
pub fn mcnemar_exact(wins: usize, losses: usize) -> f64 {
    let rows = wins + losses;
    let half = -std::f64::consts::LN_2 * count(rows);
    let tail: f64 = (wins..=rows).map(|k| (log_choose(rows, k) + half).exp()).sum();
    tail.min(1.0)
}

fn log_choose(n: usize, k: usize) -> f64 {
    let k = k.min(n - k);
    (0..k).map(|i| (count(n - i) / count(i + 1)).ln()).sum()
}

/// A 95 % interval of the mean difference of paired scores, by the percentile bootstrap with 2,000
/// resamples. The resampling is seeded: the same scores give the same interval.
#[must_use]
pub fn paired_bootstrap(differences: &[f64]) -> (f64, f64) {
    const RESAMPLES: usize = 2_000;
    if differences.is_empty() {
        return (0.0, 0.0);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let rows = differences.len();
    let mut pick = || {
        let wide = u128::from(next()) * rows as u128;
        differences[usize::try_from(wide >> 64).unwrap_or(0)]
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| (0..rows).map(|_| pick()).sum::<f64>() / count(rows)).collect();
    means.sort_by(f64::total_cmp);
    (means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40])
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
pub(super) const fn count(rows: usize) -> f64 {
    rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 5e-4, "found {found}, wanted {wanted}");
    }

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (k, n, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)] {
            let (a, b) = wilson(k, n);
            close(a, low);
            close(b, high);
        }
    }

    #[test]
    fn mcnemar_is_the_binomial_tail() {
        close(mcnemar_exact(5, 0), 1.0 / 32.0);
        close(mcnemar_exact(8, 2), 56.0 / 1024.0);
        close(mcnemar_exact(0, 0), 1.0);
        close(mcnemar_exact(0, 7), 1.0);
        assert!(mcnemar_exact(400, 3) < 1e-100);
    }

    #[test]
    fn the_bootstrap_surrounds_the_mean_and_repeats_itself() {
        let differences: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 4 != 0))).collect();
        let (low, high) = paired_bootstrap(&differences);
        assert!(low < 0.75 && 0.75 < high && low > 0.68 && high < 0.82, "{low} {high}");
        assert_eq!(paired_bootstrap(&differences), (low, high));
    }
}
