//! Sample data, the same every time. Every person, number and place in it is made up.

use crate::model::Random;

/// Draws from lists.
#[derive(Debug)]
pub struct Draw(Random);

impl Draw {
    /// A sequence of its own.
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed, "a template"))
    }

    /// One of these.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A whole number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }
}

/// Rows as CSV, quoted where it is needed.
pub fn csv(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let quoted = |cell: &str| if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() };
    let mut text = header.join(",");
    text.push('\n');
    for row in rows {
        text.push_str(&row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}
