//! How near an answer comes to the one that was wanted, by measures that people know.

mod grams;
mod words;

pub use grams::{bleu, shared, tokens};
pub use words::{longest, rouge, rouge_l};

use super::{Graded, Grader, GraderKind, needed};

pub const KIND: GraderKind = GraderKind {
    name: "similarity",
    reads: &["by"],
    metric: "similarity",
    prepare: |block| {
        let by = needed(block, "by", "say by what: `grader \"similarity\" by=\"rouge-l\"`")?;
        Ok(Box::new(Similarity::by(by)))
    },
};

/// What can be measured.
pub const MEASURES: &[&str] = &["bleu", "chrf", "rouge-1", "rouge-2", "rouge-l", "levenshtein", "token-f1"];

/// How near the texts of a measure are, from 0 to 1: first what was wanted, then what was said.
type Measure = fn(&str, &str) -> f64;

struct Similarity {
    name: String,
    measure: Measure,
}

impl std::fmt::Debug for Similarity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Similarity").field(&self.name).finish()
    }
}

impl Similarity {
    fn by(name: &str) -> Self {
        let measure: Measure = match name {
            "bleu" => bleu,
            "chrf" => grams::chrf,
            "rouge-1" => |wanted, said| rouge(wanted, said, 1),
            "rouge-2" => |wanted, said| rouge(wanted, said, 2),
            "rouge-l" => rouge_l,
            "levenshtein" => |wanted, said| strsim::normalized_levenshtein(wanted.trim(), said.trim()),
            _ => words::token_f1,
        };
        Self { name: name.to_owned(), measure }
    }
}

impl Grader for Similarity {
    fn score(&self, graded: Graded<'_>) -> f64 {
        (self.measure)(graded.wanted, graded.answer)
    }

    fn is_yes_or_no(&self) -> bool {
        false
    }
}

/// The harmonic mean of how much of what was said was wanted, and how much of what was wanted was said; the second `weight` times as
/// heavy as the first.
fn f_score(precision: f64, recall: f64, weight: f64) -> f64 {
    let below = weight * weight * precision + recall;
    if below == 0.0 { 0.0 } else { (1.0 + weight * weight) * precision * recall / below }
}
