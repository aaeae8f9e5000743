//! Graders that are not of this program: another model, or a command. What they say is an output of an action of its own, so that
//! it is kept and asked for once.

use crate::config::{Block, ConfigError};

use super::{Graded, Grader, GraderKind, needed};

pub const JUDGE: GraderKind = GraderKind {
    name: "judge",
    reads: &["rubric", "model", "provider", "votes"],
    metric: "judge",
    prepare: |block| {
        needed(block, "rubric", "say what a good answer is: `grader \"judge\" model=\"gpt-4.1\" provider=\"openai\" rubric=\"It is polite.\"`")?;
        needed(block, "model", "name the model that judges: `model=\"gpt-4.1\"`")?;
        needed(block, "provider", "say who has that model: `provider=\"openai\"`")?;
        Ok(Box::new(Outside))
    },
};

pub const COMMAND: GraderKind = GraderKind {
    name: "command",
    reads: &["run", "input"],
    metric: "command",
    prepare: |block| {
        needed(block, "run", "write the line that is run: `grader \"command\" run=\"python3 grade.py\" input=\"grade.py\"`")?;
        Ok(Box::new(Outside))
    },
};

#[derive(Debug)]
struct Outside;

impl Grader for Outside {
    fn score(&self, _: Graded<'_>) -> f64 {
        0.0
    }

    fn is_yes_or_no(&self) -> bool {
        false
    }

    fn is_outside(&self) -> bool {
        true
    }
}

/// Whether a node is such a grader.
#[must_use]
pub fn is_outside(block: &Block) -> bool {
    [JUDGE.name, COMMAND.name].contains(&block.text("kind"))
}

/// An error where such a grader stands in another.
pub fn alone(block: &Block) -> ConfigError {
    ConfigError::Contradiction {
        problem: format!("`{}` stands by itself", block.text("kind")),
        label: "cannot be a part of another grader".into(),
        at: block.name_span.into(),
        help: "write it beside the others, with a `name=`".into(),
    }
}
