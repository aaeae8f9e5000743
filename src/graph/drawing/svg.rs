use std::fmt::Write as _;

use super::layout::{HEIGHT, Placed};
use super::{Sketch, TONES};

/// The space around the picture.
const MARGIN: f64 = 16.0;
const CORNER: f64 = 6.0;

/// The picture as one SVG file, which needs nothing else.
pub fn render(title: &str, boxes: &[Sketch], placed: &Placed) -> String {
    let (width, height) = (placed.width + 2.0 * MARGIN, placed.height + 2.0 * MARGIN);
    let title = escaped(title);
    let mut out = format!(
        "<svg class=\"drawing\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n"
    );
    out.push_str(&style());
    out.push_str("<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n<g class=\"lines\">\n");
    for line in &placed.lines {
        let _ = writeln!(out, "<path d=\"{}\"/>", curve(line));
    }
    out.push_str("</g>\n");
    for (sketch, &(left, middle, wide)) in boxes.iter().zip(&placed.boxes) {
        let (left, top) = (left + MARGIN, middle - HEIGHT / 2.0 + MARGIN);
        let (name, note) = (escaped(&sketch.title), escaped(&sketch.note));
        let _ = writeln!(
            out,
            "<g class=\"{}\"><title>{name}: {note}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{HEIGHT}\" rx=\"{CORNER}\"/>\
             <text x=\"{x:.1}\" y=\"{y:.1}\">{name}</text><text class=\"note\" x=\"{x:.1}\" y=\"{below:.1}\">{note}</text></g>",
            sketch.tone.class(),
            x = left + 10.0,
            y = top + 16.0,
            below = top + 30.0,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn style() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    for tone in TONES {
        let class = tone.class();
        let rule = |out: &mut String, (fill, line): (&str, &str)| {
            let _ = write!(out, ".drawing .{class} rect{{fill:{fill};stroke:{line}}}");
        };
        rule(&mut light, tone.colours());
        rule(&mut dark, tone.dark_colours());
    }
    format!(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <style>.drawing text{{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#111827}}.drawing .note{{font-size:10px;fill:#4b5563}}.drawing .ground{{fill:#fff}}\
         .drawing .lines path{{fill:none;stroke:#9ca3af;stroke-width:1.3;marker-end:url(#tip)}}.drawing .tip{{fill:#9ca3af}}{light}\
         @media(prefers-color-scheme:dark){{.drawing text{{fill:#e5e7eb}}.drawing .note{{fill:#b6bdc9}}.drawing .ground{{fill:#0f1218}}{dark}}}</style>\n"
    )
}

/// A line through points that leaves and reaches each of them level.
fn curve(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut last: Option<(f64, f64)> = None;
    for &(x, y) in points {
        let (x, y) = (x + MARGIN, y + MARGIN);
        match last {
            None => {
                let _ = write!(path, "M{x:.1} {y:.1}");
            }
            Some((from, level)) if (level - y).abs() < 0.05 => {
                let _ = (write!(path, "L{x:.1} {y:.1}"), from);
            }
            Some((from, level)) => {
                let half = f64::midpoint(from, x);
                let _ = write!(path, "C{half:.1} {level:.1} {half:.1} {y:.1} {x:.1} {y:.1}");
            }
        }
        last = Some((x, y));
    }
    path
}

/// A text as it may stand in markup.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
