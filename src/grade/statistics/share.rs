use super::count;

/// A 95 % interval of a share by Wilson's score method (Wilson 1927), which stays within 0 and 1 and
/// holds for few rows and for shares near the ends.
#[must_use]
pub fn wilson(successes: usize, rows: usize) -> (f64, f64) {
    wilson_of(count(successes) / count(rows.max(1)), rows)
}

/// The same for the mean of so many values from 0 to 1, of which it then takes no more than that they are no more spread than yes and no.
#[must_use]
pub fn wilson_of(share: f64, rows: usize) -> (f64, f64) {
    /// The 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if rows == 0 {
        return (0.0, 1.0);
    }
    let n = count(rows);
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let low = if share <= 0.0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if share >= 1.0 { 1.0 } else { (middle + half).min(1.0) };
    (low, high)
}

/// The share of failures that there may be at most, with 95 % confidence, where so many rows failed: the upper end of the one-sided
/// interval of Clopper and Pearson (1934). For none it is 1 - 0.05^(1/n), of which the "rule of three", 3/n, is an approximation.
#[must_use]
pub fn most_failures(failures: usize, rows: usize) -> f64 {
    const DOUBT: f64 = 0.05;
    if failures >= rows {
        return 1.0;
    }
    if failures == 0 {
        return 1.0 - DOUBT.powf(1.0 / count(rows));
    }
    // The share at which so few failures would be a surprise; the chance of them falls as the share rises.
    let (mut low, mut high) = (count(failures) / count(rows), 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(failures, rows, middle) > DOUBT { low = middle } else { high = middle }
    }
    high
}

/// How likely a binomial variable is at most so large.
fn at_most(successes: usize, rows: usize, share: f64) -> f64 {
    let (yes, no) = (share.ln(), (-share).ln_1p());
    let mut log = count(rows) * no;
    let mut sum = log.exp();
    for k in 1..=successes {
        log += (count(rows - k + 1) / count(k)).ln() + yes - no;
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::*;

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
    fn the_most_failures_are_those_of_clopper_and_pearson() {
        // The 95 % point of Beta(k + 1, n - k), as SciPy 1.17 gives it.
        for (k, n, high) in WANTED {
            close(most_failures(*k, *n), *high);
        }
        assert!((most_failures(0, 300) - 3.0 / 300.0).abs() < 1e-4, "the rule of three");
        close(most_failures(5, 5), 1.0);
    }

    const WANTED: &[(usize, usize, f64)] = &[(0, 30, 0.095_034), (0, 300, 0.009_936), (1, 100, 0.046_560), (7, 50, 0.246_935)];
}
