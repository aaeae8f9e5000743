//! What real exports have in them: slips, doubles, spaces, half lines.

use retune::model::Random;

pub const NAMES: &[&str] = &["Ana Reyes", "Tom Okafor", "Li Wei", "Marta Nowak", "Sam Patel", "Ingrid Dahl"];

/// One of these.
pub fn pick<T: Copy>(random: &mut Random, items: &[T]) -> T {
    items[random.below(items.len())]
}

/// A slip of the finger: a letter gone, doubled, or swapped with the next.
pub fn typo(random: &mut Random, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = random.below(letters.len().saturating_sub(1).max(1));
    match random.below(3) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        _ => letters.swap(at, (at + 1).min(text.chars().count() - 1)),
    }
    letters.into_iter().collect()
}

/// A cell of CSV in quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// So many rows of a text and what belongs to it. Some of them stand there again: as they are, with other spaces, or with a slip.
pub fn rows<R: Clone>(random: &mut Random, count: usize, new: impl Fn(&mut Random) -> (String, R)) -> Vec<(String, R)> {
    let mut rows: Vec<(String, R)> = Vec::with_capacity(count);
    while rows.len() < count {
        let earlier = rows.len().checked_sub(1).map(|last| rows[random.below(last + 1)].clone());
        rows.push(match (random.below(20), earlier) {
            (0, Some(again)) => again,
            (1, Some((text, rest))) => (format!("  {}  ", text.replace(' ', "  ")), rest),
            (2, Some((text, rest))) => (typo(random, &text), rest),
            _ => new(random),
        });
    }
    rows
}

/// A line of CSV, every cell in quotes.
pub fn line(cells: &[&str]) -> String {
    cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n"
}
