//! Values with the bounds that they are certain to, one row below the other.

use crate::grade::count;

use super::scale::{Scale, bounds, told};
use super::{Anchor, Canvas, cut};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 24.0;
const ROW: f64 = 30.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 26.0;

/// A value and its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// A row: what it is, and its values, one of each series.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub values: Vec<Option<Estimate>>,
}

/// Rows of values. `series` are their names; `within` are bounds that the picture has at least.
#[must_use]
pub fn intervals(title: &str, series: &[&str], rows: &[Row], within: Option<(f64, f64)>) -> Option<String> {
    let estimates = || rows.iter().flat_map(|row| row.values.iter().flatten());
    let ends = estimates().flat_map(|estimate| [estimate.low, estimate.high, estimate.value]);
    let found = bounds(ends.chain(within.into_iter().flat_map(|(low, high)| [low, high])))?;
    estimates().next()?;
    let height = TOP + BOTTOM + ROW * count(rows.len());
    let x = Scale::new(found, (LEFT, WIDTH - RIGHT));
    let mut canvas = Canvas::new(title, WIDTH, height);
    for tick in x.ticks(6) {
        canvas.line("grid", (x.at(tick), TOP), (x.at(tick), height - BOTTOM));
        canvas.text(Anchor::Middle, (x.at(tick), height - 8.0), &told(tick));
    }
    let mut legend = LEFT;
    for (place, name) in series.iter().enumerate().filter(|_| series.len() > 1) {
        canvas.dot(&format!("dot c{place}"), (legend + 4.0, 12.0), name);
        canvas.text(Anchor::Start, (legend + 14.0, 16.0), name);
        legend += 40.0 + 7.0 * count(name.chars().count());
    }
    for (nth, row) in rows.iter().enumerate() {
        let middle = TOP + ROW * (count(nth) + 0.5);
        canvas.text(Anchor::End, (LEFT - 10.0, middle + 4.0), &cut(&row.name, 26));
        let apart = 8.0;
        let first = middle - apart * count(row.values.len().saturating_sub(1)) / 2.0;
        for (place, estimate) in row.values.iter().enumerate() {
            let Some(Estimate { value, low, high }) = *estimate else {
                continue;
            };
            let y = first + apart * count(place);
            let name = series.get(place).copied().unwrap_or_default();
            canvas.line(&format!("line c{place}"), (x.at(low), y), (x.at(high), y));
            canvas.dot(&format!("dot c{place}"), (x.at(value), y), &format!("{}, {name}: {value:.3} [{low:.3}, {high:.3}]", row.name));
        }
    }
    Some(canvas.done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_place_and_its_words() {
        let estimate = |value| Some(Estimate { value, low: value - 0.1, high: value + 0.1 });
        let rows = [Row { name: "accuracy".into(), values: vec![estimate(0.9), estimate(0.4)] }, Row { name: "f1".into(), values: vec![estimate(0.8), None] }];
        let drawn = intervals("Metrics", &["model", "baseline"], &rows, Some((0.0, 1.0))).expect("it has values");
        assert!(drawn.contains("accuracy, baseline: 0.400 [0.300, 0.500]"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 5, "three values, and two in the legend");
        assert_eq!(intervals("Metrics", &["model"], &[], None), None);
    }
}
