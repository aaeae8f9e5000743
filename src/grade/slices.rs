use std::collections::BTreeMap;

use serde::Serialize;

use super::Metrics;
use super::grader::Grader;
use super::metrics::{Scores, interval};
use super::statistics::count;

/// How the first grader's metric stands where a field has one value.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Slice {
    /// The field.
    pub field: String,
    /// Its value.
    pub value: String,
    /// Rows that have it.
    pub rows: usize,
    /// The mean of their scores.
    pub mean: f64,
    /// Where its 95 % interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

/// What the gap between slices is called.
pub const SLICE_GAP: &str = "slice-gap";
/// What the gap between rows that were learnt and others is called.
pub const OVERFIT_GAP: &str = "overfit-gap";

/// Of fewer rows a slice tells nothing that a gap should rest on.
const FEWEST: usize = 10;

/// The mean of the scores of some rows, with its interval.
fn stand(rows: &[Scores], grader: &dyn Grader) -> (f64, f64, f64) {
    let scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
    let mean = scores.iter().sum::<f64>() / count(scores.len().max(1));
    let (low, high) = interval(rows, &scores, grader).unwrap_or((mean, mean));
    (mean, low, high)
}

/// The difference of two means of different rows, with its 95 % interval from theirs: the method of variance estimates recovery (Zou and
/// Donner 2008), for shares that of Newcombe (1998, method 10).
fn difference(more: (f64, f64, f64), less: (f64, f64, f64)) -> (f64, f64, f64) {
    let gap = more.0 - less.0;
    let low = gap - (more.0 - more.1).hypot(less.2 - less.0);
    let high = gap + (more.2 - more.0).hypot(less.0 - less.1);
    (gap, low, high)
}

/// The slices of scored rows, by field and value.
#[must_use]
pub fn slices(rows: &[Scores], grader: &dyn Grader) -> Vec<Slice> {
    let mut parts: BTreeMap<(&str, &str), Vec<Scores>> = BTreeMap::new();
    for row in rows {
        for (field, value) in &row.slices {
            parts.entry((field, value)).or_default().push(Scores { score: row.score, group: row.group.clone(), again: row.again.clone(), ..Scores::default() });
        }
    }
    let slice = |((field, value), rows): ((&str, &str), Vec<Scores>)| {
        let (mean, low, high) = stand(&rows, grader);
        Slice { field: field.to_owned(), value: value.to_owned(), rows: rows.len(), mean, low, high }
    };
    parts.into_iter().map(slice).collect()
}

/// The largest gap between two values of one field, over slices of ten rows and more.
#[must_use]
pub fn slice_gap(slices: &[Slice]) -> Metrics {
    let told: Vec<&Slice> = slices.iter().filter(|slice| slice.rows >= FEWEST).collect();
    let of = |slice: &Slice| (slice.mean, slice.low, slice.high);
    let pairs =
        told.iter().flat_map(|more| told.iter().filter(|less| less.field == more.field && less.value != more.value).map(|less| difference(of(more), of(less))));
    named(SLICE_GAP, pairs.max_by(|a, b| a.0.total_cmp(&b.0)))
}

/// By how much rows that were learnt are answered better than others.
#[must_use]
pub fn overfit_gap(learnt: &[f64], others: &[Scores], grader: &dyn Grader) -> Metrics {
    let learnt: Vec<Scores> = learnt.iter().map(|score| Scores { score: *score, ..Scores::default() }).collect();
    named(OVERFIT_GAP, Some(difference(stand(&learnt, grader), stand(others, grader))))
}

fn named(name: &str, gap: Option<(f64, f64, f64)>) -> Metrics {
    let figures = gap.map(|(gap, low, high)| [(name.to_owned(), gap), (format!("{name}.low"), low), (format!("{name}.high"), high)]);
    figures.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::grader::Graded;
    use super::super::statistics::wilson;
    use super::*;

    #[derive(Debug)]
    struct Right;

    impl Grader for Right {
        fn score(&self, _: Graded<'_>) -> f64 {
            1.0
        }
    }

    #[test]
    fn a_difference_of_shares_has_the_interval_of_newcombe() {
        // Newcombe 1998, Statistics in Medicine 17:873, table II, method 10: 56/70 against 48/80, and 9/10 against 3/10.
        let share = |hits: usize, rows: usize| {
            let (low, high) = wilson(hits, rows);
            (count(hits) / count(rows), low, high)
        };
        for (more, less, low, high) in [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)] {
            let (_, a, b) = difference(share(more.0, more.1), share(less.0, less.1));
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{a} {b}");
        }
    }

    #[test]
    fn the_gap_is_the_largest_within_one_field() {
        let row = |channel: &str, score: f64| Scores { score, slices: [("channel".to_owned(), channel.to_owned())].into_iter().collect(), ..Scores::default() };
        let mut rows: Vec<Scores> = (0..40).map(|at| row(if at % 2 == 0 { "web" } else { "phone" }, f64::from(u8::from(at % 4 != 1)))).collect();
        rows.push(row("fax", 0.0));
        let slices = slices(&rows, &Right);
        assert_eq!(slices.iter().map(|slice| (slice.value.as_str(), slice.rows)).collect::<Vec<_>>(), [("fax", 1), ("phone", 20), ("web", 20)]);
        let gap = slice_gap(&slices);
        assert!((gap[SLICE_GAP] - 0.5).abs() < 1e-12, "one fax tells nothing: {gap:?}");
        assert!(gap["slice-gap.low"] > 0.2 && gap["slice-gap.high"] < 0.75, "{gap:?}");
        assert!(slice_gap(&[]).is_empty());
    }
}
