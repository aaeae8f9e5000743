use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::parse_lines;
use crate::grade::Scores;

/// The answers of a judged model in both runs, on the rows that both have.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Predictions {
    /// Rows that both runs have.
    pub rows: usize,
    /// Rows that only one of them has.
    pub unmatched: usize,
    /// Rows that are right now and were wrong.
    pub fixed: usize,
    /// Rows that are wrong now and were right.
    pub broken: usize,
    /// Rows with another answer that is worth the same.
    pub reworded: usize,
    /// Some of the rows that flipped, broken ones first.
    pub samples: Vec<Flip>,
}

/// A row whose answer flipped.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Flip {
    /// What was asked.
    pub asked: String,
    /// What was wanted.
    pub wanted: String,
    /// The answer in the first run.
    pub old: String,
    /// The answer in the second.
    pub new: String,
    /// Whether the second is the right one.
    pub fixed: bool,
}

/// More samples than this are not shown.
const SAMPLES: usize = 6;

/// Compares two lists of scored rows. Rows are matched by what they ask and want.
pub fn compare(a: &[u8], b: &[u8]) -> Predictions {
    let (old, new): (Vec<Scores>, Vec<Scores>) = (parse_lines(a).unwrap_or_default(), parse_lines(b).unwrap_or_default());
    let mut before: BTreeMap<(&str, &str), Vec<&Scores>> = BTreeMap::new();
    old.iter().rev().for_each(|row| before.entry((&row.asked, &row.wanted)).or_default().push(row));
    let mut found = Predictions::default();
    let mut flips = Vec::new();
    for row in &new {
        let Some(earlier) = before.get_mut(&(row.asked.as_str(), row.wanted.as_str())).and_then(Vec::pop) else {
            found.unmatched += 1;
            continue;
        };
        found.rows += 1;
        let (was, is) = (earlier.score >= 1.0, row.score >= 1.0);
        if was == is {
            found.reworded += usize::from(earlier.answer != row.answer);
            continue;
        }
        *(if is { &mut found.fixed } else { &mut found.broken }) += 1;
        flips.push(Flip { asked: row.asked.clone(), wanted: row.wanted.clone(), old: earlier.answer.clone(), new: row.answer.clone(), fixed: is });
    }
    found.unmatched += before.values().map(Vec::len).sum::<usize>();
    flips.sort_by_key(|flip| flip.fixed);
    flips.truncate(SAMPLES);
    found.samples = flips;
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::write_lines;

    #[test]
    fn rows_that_flip_are_found_whatever_their_order() {
        let row =
            |asked: &str, answer: &str, score: f64| Scores { asked: asked.into(), wanted: "yes".into(), answer: answer.into(), score, ..Scores::default() };
        let old = write_lines(&[row("a", "yes", 1.0), row("b", "no", 0.0), row("c", "no", 0.0), row("e", "yes", 1.0)]);
        let new = write_lines(&[row("c", "nope", 0.0), row("b", "yes", 1.0), row("a", "no", 0.0), row("d", "yes", 1.0)]);
        let found = compare(&old, &new);
        assert_eq!((found.rows, found.unmatched, found.fixed, found.broken, found.reworded), (3, 2, 1, 1, 1));
        assert_eq!(found.samples[0].asked, "a");
    }
}
