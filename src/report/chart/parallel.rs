//! Parallel coordinates: a vertical axis for each setting and figure, and a line through them for each instance.

use crate::grade::count;

use super::scale::{Scale, bounds, told};
use super::{Anchor, Canvas, cut};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const SIDE: f64 = 70.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 24.0;

/// A vertical axis.
#[derive(Clone, Debug)]
pub struct Axis {
    pub name: String,
    /// Words that stand at places of their own, where it is not of numbers.
    pub words: Option<Vec<String>>,
}

/// A line through all axes.
#[derive(Clone, Debug)]
pub struct Path {
    pub name: String,
    /// A value on each axis; on one of words the place of its word.
    pub values: Vec<Option<f64>>,
    /// Whether it is pointed out.
    pub is_best: bool,
}

/// The picture. Nothing where there are fewer than two axes.
#[must_use]
pub fn parallel(title: &str, axes: &[Axis], paths: &[Path]) -> Option<String> {
    if axes.len() < 2 || paths.is_empty() {
        return None;
    }
    let across = Scale::new((0.0, count(axes.len() - 1)), (SIDE, WIDTH - SIDE));
    let scale = |place: usize, axis: &Axis| {
        let values = paths.iter().filter_map(|path| path.values.get(place).copied().flatten());
        let found = match &axis.words {
            Some(words) => (0.0, count(words.len().saturating_sub(1))),
            None => bounds(values).unwrap_or((0.0, 1.0)),
        };
        Scale::new(found, (HEIGHT - BOTTOM, TOP))
    };
    let scales: Vec<Scale> = axes.iter().enumerate().map(|(place, axis)| scale(place, axis)).collect();
    let mut canvas = Canvas::new(title, WIDTH, HEIGHT);
    let x = |place: usize| across.at(count(place));
    // The best one is drawn last, over the others.
    let (others, best): (Vec<&Path>, Vec<&Path>) = paths.iter().partition(|path| !path.is_best);
    for path in others.into_iter().chain(best) {
        let points: Vec<(f64, f64)> = path.values.iter().enumerate().filter_map(|(place, value)| Some((x(place), scales.get(place)?.at((*value)?)))).collect();
        canvas.path(if path.is_best { "line c0 best" } else { "line faint" }, &points, &path.name);
    }
    for (place, axis) in axes.iter().enumerate() {
        canvas.line("axis", (x(place), TOP), (x(place), HEIGHT - BOTTOM));
        canvas.text(Anchor::Middle, (x(place), 18.0), &cut(&axis.name, 18));
        match &axis.words {
            Some(words) => {
                for (nth, word) in words.iter().enumerate() {
                    canvas.text(Anchor::Start, (x(place) + 5.0, scales[place].at(count(nth)) + 4.0), &cut(word, 14));
                }
            }
            None => {
                for tick in scales[place].ticks(4) {
                    canvas.text(Anchor::Start, (x(place) + 5.0, scales[place].at(tick) + 4.0), &told(tick));
                }
            }
        }
    }
    Some(canvas.done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_is_a_line_through_the_axes() {
        let axes = [Axis { name: "rank".into(), words: None }, Axis { name: "prompt".into(), words: Some(vec!["a".into(), "b".into()]) }];
        let path = |name: &str, values, is_best| Path { name: name.into(), values, is_best };
        let paths = [path("x[rank=2]", vec![Some(2.0), Some(0.0)], true), path("x[rank=4]", vec![Some(4.0), None], false)];
        let drawn = parallel("Sweep", &axes, &paths).expect("two axes");
        assert!(drawn.find("x[rank=4]") < drawn.find("x[rank=2]"), "the best is on top");
        assert_eq!(parallel("Sweep", &axes[..1], &paths), None);
    }
}
