//! The graders. A grader is one file here and one line in [`GRADERS`].

mod exact_match;

use std::fmt;

use crate::config::{Block, Setting};

/// A kind of grader: its table, and how a declared one is made ready.
#[derive(Clone, Copy, Debug)]
pub struct GraderKind {
    /// What `grader "..."` calls it.
    pub name: &'static str,
    /// The version of what it does.
    pub version: u32,
    /// Makes it ready from its settings.
    pub prepare: fn(&Block) -> Box<dyn Grader>,
}

/// All graders.
pub static GRADERS: &[GraderKind] = &[exact_match::KIND];

/// Says how good an answer is.
pub trait Grader: Send + Sync + fmt::Debug {
    /// The score of an answer where another was wanted, from 0 to 1.
    fn score(&self, wanted: &str, answer: &str) -> f64;
}

/// The table of the `grader` node.
pub static SETTING: Setting = exact_match::SETTING;

/// Makes a declared grader ready.
#[must_use]
pub fn prepare(block: &Block) -> Option<Box<dyn Grader>> {
    let name = block.text("kind");
    GRADERS.iter().find(|kind| kind.name == name).map(|kind| (kind.prepare)(block))
}
