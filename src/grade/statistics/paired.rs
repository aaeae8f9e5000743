use super::{Stream, count, normal_quantile};

/// The one-sided exact McNemar test: how likely at least `wins` of the rows on which two models differ
/// would go to the first if neither were better. Rows on which they agree say nothing.
#[must_use]
pub fn mcnemar_exact(wins: usize, losses: usize) -> f64 {
    let rows = wins + losses;
    let half = -std::f64::consts::LN_2 * count(rows);
    let mut log = log_choose(rows, wins) + half;
    let mut tail = 0.0;
    for k in wins..=rows {
        tail += log.exp();
        log += (count(rows - k) / count(k + 1)).ln();
    }
    f64::min(tail, 1.0)
}

fn log_choose(n: usize, k: usize) -> f64 {
    let k = k.min(n - k);
    (0..k).map(|i| (count(n - i) / count(i + 1)).ln()).sum()
}

/// The permutation test of paired differences by their signs (Fisher 1935): how likely a mean at least as high would be if each
/// difference were as likely to be the other way round. Exact up to 16 differences that are not zero, else of 20,000 draws that are the
/// same every time.
#[must_use]
pub fn sign_flips(differences: &[f64]) -> f64 {
    const EXACT: usize = 16;
    const DRAWS: usize = 20_000;
    let told: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let sum: f64 = told.iter().sum();
    // What differs in the last digit is the same.
    let at_least = |found: f64| found >= sum - 1e-12 * sum.abs().max(1.0);
    if told.len() <= EXACT {
        let all = 1_usize << told.len();
        let flipped = |signs: usize| told.iter().enumerate().map(|(at, value)| if signs >> at & 1 == 1 { -value } else { *value }).sum::<f64>();
        return count((0..all).filter(|signs| at_least(flipped(*signs))).count()) / count(all);
    }
    let mut stream = Stream::new();
    let mut hits = 0;
    for _ in 0..DRAWS {
        let (mut found, mut signs) = (0.0, 0);
        for (at, value) in told.iter().enumerate() {
            if at % 64 == 0 {
                signs = stream.next();
            }
            found += if signs >> (at % 64) & 1 == 1 { -value } else { *value };
        }
        hits += usize::from(at_least(found));
    }
    count(hits + 1) / count(DRAWS + 1)
}

/// The least difference of two shares that a paired comparison of so many rows would show, four times in five, with 95 % confidence in
/// one direction: by the normal approximation, where the models differ on a share of the rows (Connor 1987).
#[must_use]
pub fn smallest_difference(rows: usize, differing: f64) -> f64 {
    const CONFIDENCE: f64 = 0.95;
    const POWER: f64 = 0.8;
    if rows == 0 {
        return 1.0;
    }
    ((normal_quantile(CONFIDENCE) + normal_quantile(POWER)) * (differing / count(rows)).sqrt()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::*;

    #[test]
    fn mcnemar_is_the_binomial_tail() {
        close(mcnemar_exact(5, 0), 1.0 / 32.0);
        close(mcnemar_exact(8, 2), 56.0 / 1024.0);
        close(mcnemar_exact(0, 0), 1.0);
        close(mcnemar_exact(0, 7), 1.0);
        assert!(mcnemar_exact(400, 3) < 1e-100);
    }

    #[test]
    fn flipped_signs_are_counted_one_by_one_or_drawn() {
        // Darwin's maize, inches by eighths (Fisher 1935, The Design of Experiments): 863 of the 32,768 ways are as high.
        let darwin = [49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0, -48.0];
        close(sign_flips(&darwin), 863.0 / 32_768.0);
        close(sign_flips(&[1.0; 5]), mcnemar_exact(5, 0));
        let many: Vec<f64> = (0..200)
            .map(|at| {
                if at % 5 == 0 {
                    -1.0
                } else if at % 5 < 3 {
                    0.0
                } else {
                    1.0
                }
            })
            .collect();
        assert!((sign_flips(&many) - mcnemar_exact(80, 40)).abs() < 2e-4);
        close(sign_flips(&[]), 1.0);
    }

    #[test]
    fn what_few_rows_can_show() {
        close(smallest_difference(200, 0.25), 0.0879);
        close(smallest_difference(1_000, 0.1), 0.0249);
    }
}
