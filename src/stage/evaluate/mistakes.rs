//! What a person looks at first: the worst rows, those that flipped against the baseline, and which class is taken for which.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::grade::grader::label::{Class, Label};
use crate::grade::grader::{Graded, Named};
use crate::grade::{Scores, Slice};

/// So many rows are shown of each kind.
const SHOWN: usize = 20;

/// The report of mistakes.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Mistakes<'a> {
    /// The rows with the lowest scores by the first grader.
    worst: Vec<&'a Scores>,
    /// Rows that the baseline had right and the model has not.
    broken: Flipped<'a>,
    /// Rows that the model has right and the baseline had not.
    fixed: Flipped<'a>,
    /// How the first grader's metric stands in each slice.
    #[serde(skip_serializing_if = "<[Slice]>::is_empty")]
    slices: &'a [Slice],
    /// How each class was told, the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassTold>,
    /// Which class was taken for which, the most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    taken_for: Vec<Taken>,
}

#[derive(Debug, Default, Serialize, schemars::JsonSchema)]
struct Flipped<'a> {
    rows: usize,
    samples: Vec<&'a Scores>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ClassTold {
    class: String,
    rows: usize,
    precision: f64,
    recall: f64,
    f1: f64,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Taken {
    wanted: String,
    said: String,
    rows: usize,
}

/// What went wrong in scored rows.
pub fn mistakes<'a>(graders: &[Named], rows: &'a [Scores], slices: &'a [Slice]) -> Mistakes<'a> {
    let mut worst: Vec<&Scores> = rows.iter().filter(|row| row.score < 1.0).collect();
    worst.sort_by(|a, b| a.score.total_cmp(&b.score));
    worst.truncate(SHOWN);
    let flipped = |is: bool| {
        let all: Vec<&Scores> = rows.iter().filter(|row| (row.score >= 1.0) == is && row.baseline_score.is_some_and(|score| (score >= 1.0) != is)).collect();
        Flipped { rows: all.len(), samples: all.into_iter().take(SHOWN).collect() }
    };
    let label = graders.iter().find_map(|named| named.grader.classes());
    let (classes, taken_for) = label.map(|label| tables(label, rows.iter().flat_map(Scores::graded))).unwrap_or_default();
    Mistakes { worst, broken: flipped(false), fixed: flipped(true), slices, classes, taken_for }
}

fn tables<'a>(label: &Label, rows: impl Iterator<Item = Graded<'a>>) -> (Vec<ClassTold>, Vec<Taken>) {
    let (classes, taken): (BTreeMap<String, Class>, _) = label.confusion(rows);
    let told = |(class, told): (String, Class)| ClassTold { class, rows: told.rows, precision: told.precision(), recall: told.recall(), f1: told.f1() };
    let mut classes: Vec<ClassTold> = classes.into_iter().map(told).collect();
    classes.sort_by(|a, b| a.f1.total_cmp(&b.f1));
    let wrong = taken.into_iter().filter(|((wanted, said), _)| wanted != said);
    let mut taken: Vec<Taken> = wrong.map(|((wanted, said), rows)| Taken { wanted, said, rows }).collect();
    taken.sort_by_key(|taken| std::cmp::Reverse(taken.rows));
    (classes, taken)
}
