//! Curves over steps.

use crate::grade::count;

use super::scale::{Scale, bounds, told};
use super::{Anchor, Canvas};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 40.0;

/// More points than this cannot be told apart.
const MOST_POINTS: usize = 400;

/// A curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A place that is pointed out.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where on the horizontal axis.
    pub x: f64,
    /// What it says.
    pub text: String,
}

/// Curves in one picture, each in a colour of its own. Nothing where there are no points.
#[must_use]
pub fn lines(title: &str, x_name: &str, all: &[Line], marks: &[Mark]) -> Option<String> {
    let points = || all.iter().flat_map(|line| &line.points).filter(|(_, y)| y.is_finite());
    let xs = bounds(points().map(|point| point.0))?;
    let (low, high) = bounds(points().map(|point| point.1))?;
    let x = Scale::new(xs, (LEFT, WIDTH - RIGHT));
    let y = Scale::new((low.min(0.0), high), (HEIGHT - BOTTOM, TOP));
    let mut canvas = Canvas::new(title, WIDTH, HEIGHT);
    for tick in y.ticks(5) {
        canvas.line("grid", (LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick)));
        canvas.text(Anchor::End, (LEFT - 6.0, y.at(tick) + 4.0), &told(tick));
    }
    for tick in x.ticks(7) {
        canvas.text(Anchor::Middle, (x.at(tick), HEIGHT - BOTTOM + 16.0), &told(tick));
    }
    canvas.text(Anchor::Middle, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0), x_name);
    for mark in marks {
        canvas.line("mark", (x.at(mark.x), TOP), (x.at(mark.x), HEIGHT - BOTTOM));
        let (anchor, aside) = if x.at(mark.x) > WIDTH * 0.6 { (Anchor::End, -6.0) } else { (Anchor::Start, 6.0) };
        canvas.text(anchor, (x.at(mark.x) + aside, TOP + 12.0), &mark.text);
    }
    let mut legend = LEFT;
    for (place, line) in all.iter().enumerate() {
        let class = format!("line c{}", place % 4);
        let placed: Vec<(f64, f64)> = thinned(&line.points).into_iter().map(|(step, value)| (x.at(step), y.at(value))).collect();
        match placed.as_slice() {
            [] => continue,
            [only] => canvas.dot(&format!("dot c{}", place % 4), *only, &line.name),
            several => canvas.path(&class, several, &line.name),
        }
        canvas.line(&class, (legend, 12.0), (legend + 20.0, 12.0));
        canvas.text(Anchor::Start, (legend + 26.0, 16.0), &line.name);
        legend += 50.0 + 7.0 * count(line.name.chars().count());
    }
    Some(canvas.done())
}

/// A long curve as means over as many stretches as can be told apart. What is not finite is left out.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if finite.len() <= MOST_POINTS {
        return finite;
    }
    let mean = |stretch: &[(f64, f64)]| {
        let count = count(stretch.len());
        let (x, y) = stretch.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        (x / count, y / count)
    };
    finite.chunks(finite.len().div_ceil(MOST_POINTS)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: Vec<(f64, f64)>) -> Line {
        Line { name: "a < b".into(), points }
    }

    #[test]
    fn a_curve_is_drawn_and_a_hole_in_it_is_none() {
        let drawn = lines("Loss", "step", &[line(vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)])], &[Mark { x: 3.0, text: "kept".into() }]);
        let drawn = drawn.expect("it has points");
        assert!(drawn.contains("a &lt; b") && drawn.contains(">kept<") && drawn.contains("class=\"mark\""), "{drawn}");
        assert!(!drawn.contains("NaN"), "{drawn}");
        assert_eq!(lines("Loss", "step", &[line(vec![(1.0, f64::INFINITY)])], &[]), None);
    }

    #[test]
    fn long_curves_are_made_short() {
        let long: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        let short = thinned(&long);
        assert!(short.len() <= MOST_POINTS && short.iter().all(|(_, y)| (*y - 1.0).abs() < 1e-12));
    }
}
