use std::collections::BTreeMap;

use super::{Stream, count, normal_below, normal_quantile, wilson_of};

/// Values of rows, with what belongs together: rows of one customer or document are drawn together, since they tell less than as many
/// that have nothing to do with each other.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// For each group the sum of its values, and how many there are.
    groups: Vec<(f64, f64)>,
}

impl Rows {
    /// Rows that stand alone.
    #[must_use]
    pub fn alone(values: impl IntoIterator<Item = f64>) -> Self {
        Self { groups: values.into_iter().map(|value| (value, 1.0)).collect() }
    }

    /// Rows in groups, by name.
    #[must_use]
    pub fn grouped(values: impl IntoIterator<Item = (String, f64)>) -> Self {
        let mut groups: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (group, value) in values {
            let (sum, rows) = groups.entry(group).or_default();
            *sum += value;
            *rows += 1.0;
        }
        Self { groups: groups.into_values().collect() }
    }

    fn mean<'a>(groups: impl Iterator<Item = &'a (f64, f64)>) -> f64 {
        let (sum, rows) = groups.fold((0.0, 0.0), |(sum, rows), group| (sum + group.0, rows + group.1));
        sum / f64::max(rows, 1.0)
    }
}

impl Rows {
    /// How many groups there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The sum of the values of each group.
    pub fn sums(&self) -> impl Iterator<Item = f64> {
        self.groups.iter().map(|(sum, _)| *sum)
    }
}

/// A 95 % interval of the mean of values within bounds: by the bootstrap, or where groups do not differ, so that it would take them for
/// certain, by Wilson's method on their number.
#[must_use]
pub fn bounded_interval(rows: &Rows, least: f64, most: f64) -> (f64, f64) {
    mean_interval(rows).unwrap_or_else(|| {
        let wide = most - least;
        let (low, high) = wilson_of((Rows::mean(rows.groups.iter()) - least) / wide, rows.len());
        (least + wide * low, least + wide * high)
    })
}

/// A 95 % interval of the mean by the bootstrap, corrected for bias and acceleration (BCa, Efron 1987). The draws are the same every
/// time: the same values have the same interval. None where there are fewer than two groups or none differs: the draws tell nothing then.
#[must_use]
pub fn mean_interval(rows: &Rows) -> Option<(f64, f64)> {
    const LOW: f64 = 0.025;
    let groups = &rows.groups;
    let mean = Rows::mean(groups.iter());
    if groups.len() < 2 || groups.iter().all(|group| group.0 / group.1 == groups[0].0 / groups[0].1) {
        return None;
    }
    // Where there are many, each draw tells more.
    let draws = (40_000_000 / groups.len()).clamp(2_000, 10_000);
    let mut stream = Stream::new();
    let mut means: Vec<f64> = (0..draws).map(|_| Rows::mean((0..groups.len()).map(|_| &groups[stream.below(groups.len())]))).collect();
    means.sort_by(f64::total_cmp);
    // Half of those that are equal count as below, as with shares many are.
    let (below, up_to) = (means.partition_point(|found| *found < mean), means.partition_point(|found| *found <= mean));
    let share = (count(below + up_to) / 2.0 / count(draws)).clamp(0.5 / count(draws), 1.0 - 0.5 / count(draws));
    let (bias, acceleration) = (normal_quantile(share), acceleration(groups));
    let end = |point: f64| {
        let shifted = bias + normal_quantile(point);
        let at = normal_below(bias + shifted / (1.0 - acceleration * shifted));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the draws")]
        let place = (at * count(draws)) as usize;
        means[place.min(draws - 1)]
    };
    Some((end(LOW), end(1.0 - LOW)))
}

/// How likely a mean of no more than a margin is by the draws of the bootstrap.
#[must_use]
pub fn chance_of_no_more(rows: &Rows, margin: f64) -> f64 {
    const DRAWS: usize = 10_000;
    let groups = &rows.groups;
    if groups.is_empty() {
        return 1.0;
    }
    let mut stream = Stream::new();
    let no_more = (0..DRAWS).filter(|_| Rows::mean((0..groups.len()).map(|_| &groups[stream.below(groups.len())])) <= margin).count();
    count(no_more + 1) / count(DRAWS + 1)
}

/// How the spread changes with the mean, by what becomes of it without each group (the jackknife).
fn acceleration(groups: &[(f64, f64)]) -> f64 {
    let (sum, rows) = groups.iter().fold((0.0, 0.0), |(sum, rows), group| (sum + group.0, rows + group.1));
    let without: Vec<f64> = groups.iter().map(|group| (sum - group.0) / f64::max(rows - group.1, 1.0)).collect();
    let middle = without.iter().sum::<f64>() / count(without.len());
    let (square, cube) = without.iter().map(|found| middle - found).fold((0.0, 0.0), |(square, cube), off| (square + off * off, cube + off * off * off));
    if square == 0.0 { 0.0 } else { cube / (6.0 * square.powf(1.5)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_surrounds_the_mean_and_repeats_itself() {
        let rows = Rows::alone((0..200).map(|at| f64::from(u8::from(at % 4 != 0))));
        let (low, high) = mean_interval(&rows).expect("they differ");
        assert!(low < 0.75 && 0.75 < high && low > 0.68 && high < 0.82, "{low} {high}");
        assert_eq!(mean_interval(&rows), Some((low, high)));
        assert_eq!((mean_interval(&Rows::alone([0.5; 9])), mean_interval(&Rows::default())), (None, None));
        // Rows that are all the same are no certainty.
        let (low, high) = bounded_interval(&Rows::alone([1.0; 12]), 0.0, 1.0);
        assert!((low - 0.7575).abs() < 1e-3 && high >= 1.0, "{low} {high}");
        let (low, high) = bounded_interval(&Rows::alone([0.0; 10]), -1.0, 1.0);
        assert!(low < -0.4 && high > 0.4, "{low} {high}");
    }

    #[test]
    fn a_skewed_sample_has_the_interval_that_scipy_gives() {
        // `scipy.stats.bootstrap((x,), np.mean, method="BCa", n_resamples=200_000)` of SciPy 1.17.
        let skewed = [0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.5, 0.7, 0.9, 1.4, 2.0, 3.1, 5.2, 0.15, 0.25, 0.35, 0.45, 0.6];
        let (low, high) = mean_interval(&Rows::alone(skewed)).expect("they differ");
        assert!((low - SCIPY.0).abs() < 0.02 && (high - SCIPY.1).abs() < 0.06, "{low} {high}");
    }

    const SCIPY: (f64, f64) = (0.475, 1.703);

    #[test]
    fn rows_that_belong_together_tell_less() {
        let width = |(low, high): (f64, f64)| high - low;
        let value = |at: usize| f64::from(u8::from((at / 10).is_multiple_of(2)));
        let names: Vec<String> = (0..200).map(|at| format!("customer {}", at / 10)).collect();
        let alone = mean_interval(&Rows::alone((0..200).map(value))).expect("they differ");
        let grouped = mean_interval(&Rows::grouped((0..200).map(|at| (names[at].clone(), value(at))))).expect("they differ");
        assert!(width(grouped) > 2.0 * width(alone), "{grouped:?} {alone:?}");
    }
}
