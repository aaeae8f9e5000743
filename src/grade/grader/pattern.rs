use regex::Regex;

use crate::config::{Block, ConfigError};

use super::{Graded, Grader, GraderKind, needed};

pub const KIND: GraderKind = GraderKind { name: "regex", reads: &["value"], metric: "regex", prepare: |block| Ok(Box::new(Pattern(pattern(block)?))) };

/// Right is what a regular expression matches somewhere.
#[derive(Debug)]
struct Pattern(Regex);

fn pattern(block: &Block) -> Result<Regex, ConfigError> {
    let text = needed(block, "value", "give it a regular expression: `grader \"regex\" value=\"^[A-Z]{3}-[0-9]+$\"`")?;
    Regex::new(text).map_err(|error| ConfigError::WrongType {
        name: "value".into(),
        expected: "a regular expression".into(),
        found: format!("{text:?}"),
        at: block.span_of("value").into(),
        help: error.to_string().lines().last().unwrap_or_default().to_owned(),
    })
}

impl Grader for Pattern {
    fn score(&self, graded: Graded<'_>) -> f64 {
        f64::from(u8::from(self.0.is_match(graded.answer)))
    }

    fn wants(&self) -> bool {
        false
    }
}
