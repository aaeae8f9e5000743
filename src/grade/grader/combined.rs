//! Graders made of others.

use crate::config::{Block, ConfigError};

use super::outside::alone;
use super::{Graded, Grader, GraderKind, Measured, within};

pub const ALL: GraderKind = GraderKind { name: "all", reads: &[], metric: "all", prepare: |block| combined(block, How::All) };
pub const ANY: GraderKind = GraderKind { name: "any", reads: &[], metric: "any", prepare: |block| combined(block, How::Any) };
pub const NOT: GraderKind = GraderKind { name: "not", reads: &[], metric: "not", prepare: |block| combined(block, How::Not) };
pub const WEIGHTED: GraderKind = GraderKind { name: "weighted", reads: &[], metric: "weighted", prepare: |block| combined(block, How::Weighted) };

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// The least of the scores.
    All,
    /// The highest of the scores.
    Any,
    /// One less the score.
    Not,
    /// The mean by `weight`.
    Weighted,
}

#[derive(Debug)]
struct Combined {
    how: How,
    parts: Vec<(Box<dyn Grader>, f64)>,
}

fn combined(block: &Block, how: How) -> Result<Box<dyn Grader>, ConfigError> {
    let inside: Vec<&Block> = block.all("grader").collect();
    let enough = if how == How::Not { inside.len() == 1 } else { inside.len() > 1 };
    if !enough {
        return Err(ConfigError::MissingNode {
            node: block.text("kind").to_owned(),
            child: "grader".into(),
            at: block.name_span.into(),
            help: if how == How::Not {
                "it turns one grader round: `grader \"not\" { grader \"contains\" value=\"...\" }`"
            } else {
                "it is made of two graders or more"
            }
            .into(),
        });
    }
    let mut parts = Vec::with_capacity(inside.len());
    for part in inside {
        let grader = within(part, how == How::Weighted)?;
        if grader.is_outside() {
            return Err(alone(part));
        }
        if !grader.is_share() {
            return Err(ConfigError::Contradiction {
                problem: format!("`{}` tells an amount, and `{}` is made of shares", part.text("kind"), block.text("kind")),
                label: "is no share".into(),
                at: part.name_span.into(),
                help: "give it a bound: `min=` or `max=`".into(),
            });
        }
        parts.push((grader, part.find_number("weight").unwrap_or(1.0)));
    }
    Ok(Box::new(Combined { how, parts }))
}

impl Grader for Combined {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let mut scores = self.parts.iter().map(|(grader, weight)| (grader.score(graded), *weight));
        match self.how {
            How::All => scores.map(|(score, _)| score).fold(1.0, f64::min),
            How::Any => scores.map(|(score, _)| score).fold(0.0, f64::max),
            How::Not => 1.0 - scores.next().map_or(0.0, |(score, _)| score),
            How::Weighted => {
                let (sum, weights) = scores.fold((0.0, 0.0), |(sum, weights), (score, weight)| (sum + score * weight, weights + weight));
                sum / weights
            }
        }
    }

    fn wants(&self) -> bool {
        self.parts.iter().any(|(grader, _)| grader.wants())
    }

    fn measures(&self) -> Measured {
        self.parts.iter().fold(Measured::default(), |all, (grader, _)| all.or(grader.measures()))
    }

    fn is_yes_or_no(&self) -> bool {
        self.how != How::Weighted && self.parts.iter().all(|(grader, _)| grader.is_yes_or_no())
    }
}
