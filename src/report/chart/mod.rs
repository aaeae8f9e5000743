//! Charts as SVG that needs nothing else: colours come from the page, and numbers stand in a table beside.

mod intervals;
mod lines;
mod parallel;
mod scale;

use std::fmt::Write as _;

use crate::graph::escaped;

pub use intervals::{Estimate, Row, intervals};
pub use lines::{Line, Mark, lines};
pub use parallel::{Axis, Path, parallel};

/// A picture of this size in the making. `title` says what it shows, for those who do not see it.
#[derive(Debug)]
struct Canvas {
    out: String,
}

/// Where a text stands relative to its place.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    fn new(title: &str, width: f64, height: f64) -> Self {
        let title = escaped(title);
        Self {
            out: format!(
                "<svg class=\"chart\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">"
            ),
        }
    }

    fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = write!(self.out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    }

    fn path(&mut self, class: &str, points: &[(f64, f64)], title: &str) {
        let mut d = String::new();
        for (place, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        }
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(title)) };
        let _ = write!(self.out, "<path class=\"{class}\" d=\"{d}\">{title}</path>");
    }

    fn dot(&mut self, class: &str, (x, y): (f64, f64), title: &str) {
        let _ = write!(self.out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}</title></circle>", escaped(title));
    }

    fn text(&mut self, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text));
    }

    fn done(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }
}

/// A text of at most so many characters.
fn cut(text: &str, most: usize) -> String {
    super::format::shortened(text, most)
}
