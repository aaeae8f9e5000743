use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// How likely a normal variable of mean 0 and deviation 1 is below a value.
#[must_use]
pub fn normal_below(value: f64) -> f64 {
    let x = value.abs() * FRAC_1_SQRT_2;
    // Abramowitz and Stegun 7.1.5 near the middle, and 7.1.14 beyond, where the continued fraction converges fast.
    let beyond = if x < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        1.0 - 2.0 / PI.sqrt() * sum
    } else {
        let fraction = (1..=60).rev().fold(x, |under, n| x + f64::from(n) / 2.0 / under);
        (-x * x).exp() / PI.sqrt() / fraction
    };
    if value < 0.0 { beyond / 2.0 } else { 1.0 - beyond / 2.0 }
}

/// The value that a normal variable is below with this likelihood. Halving intervals is fast enough for the few that are asked for.
#[must_use]
pub fn normal_quantile(below: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if normal_below(middle) < below { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_agrees_with_its_table() {
        for (value, below) in
            [(0.0, 0.5), (1.0, 0.841_344_746_068_543), (-1.96, 0.024_997_895_148_220), (3.0, 0.998_650_101_968_37), (-5.0, 2.866_515_718_791_94e-7)]
        {
            assert!((normal_below(value) / below - 1.0).abs() < 1e-10, "{value}: {}", normal_below(value));
        }
        for (below, value) in [(0.975, 1.959_963_984_540_054), (0.05, -1.644_853_626_951_472), (0.8, 0.841_621_233_572_914)] {
            assert!((normal_quantile(below) - value).abs() < 1e-9, "{below}: {}", normal_quantile(below));
        }
    }
}
