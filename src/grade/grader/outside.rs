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
        Ok(Box::new(SHARE))
    },
};

pub const PAIRWISE: GraderKind = GraderKind {
    name: "pairwise",
    reads: &["rubric", "model", "provider"],
    metric: "pairwise",
    prepare: |block| {
        needed(block, "rubric", "say what the better answer is: `grader \"pairwise\" model=\"gpt-4.1\" provider=\"openai\" rubric=\"It helps more.\"`")?;
        needed(block, "model", "name the model that judges: `model=\"gpt-4.1\"`")?;
        needed(block, "provider", "say who has that model: `provider=\"openai\"`")?;
        Ok(Box::new(Outside { others: &[CONSISTENCY, TIES], compares: true, ..SHARE }))
    },
};

pub const MODERATION: GraderKind = GraderKind {
    name: "moderation",
    reads: &["provider", "model"],
    metric: "moderation",
    prepare: |block| {
        needed(block, "provider", "say who has moderation: `provider=\"openai\"`")?;
        Ok(Box::new(Outside { yes_or_no: true, ..SHARE }))
    },
};

pub const OPENAI: GraderKind = GraderKind {
    name: "openai",
    reads: &["input", "provider"],
    metric: "openai",
    prepare: |block| {
        needed(block, "input", "name the file with the grader: `grader \"openai\" input=\"graders/quality.json\"`")?;
        Ok(Box::new(Outside { share: false, ..SHARE }))
    },
};

pub const PERPLEXITY: GraderKind =
    GraderKind { name: "perplexity", reads: &[], metric: "perplexity", prepare: |_| Ok(Box::new(Outside { share: false, ..SHARE })) };

/// Of a comparison: how often both orders have the same answer win.
pub const CONSISTENCY: &str = "consistency";
/// Of a comparison: how often neither answer does.
pub const TIES: &str = "ties";

pub const COMMAND: GraderKind = GraderKind {
    name: "command",
    reads: &["run", "input"],
    metric: "command",
    prepare: |block| {
        needed(block, "run", "write the line that is run: `grader \"command\" run=\"python3 grade.py\" input=\"grade.py\"`")?;
        Ok(Box::new(SHARE))
    },
};

#[derive(Clone, Copy, Debug)]
struct Outside {
    yes_or_no: bool,
    share: bool,
    /// Whether its score is about both models.
    compares: bool,
    others: &'static [&'static str],
}

/// What says any share.
const SHARE: Outside = Outside { yes_or_no: false, share: true, compares: false, others: &[] };

impl Grader for Outside {
    fn score(&self, _: Graded<'_>) -> f64 {
        0.0
    }

    fn is_yes_or_no(&self) -> bool {
        self.yes_or_no
    }

    fn is_share(&self) -> bool {
        self.share
    }

    fn compares(&self) -> bool {
        self.compares
    }

    fn names(&self) -> &'static [&'static str] {
        self.others
    }

    fn is_outside(&self) -> bool {
        true
    }
}

/// Whether a node is such a grader.
#[must_use]
pub fn is_outside(block: &Block) -> bool {
    [JUDGE, COMMAND, OPENAI, PAIRWISE, MODERATION, PERPLEXITY].iter().any(|kind| kind.name == block.text("kind"))
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
