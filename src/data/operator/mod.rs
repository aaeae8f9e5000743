//! The operators of `prepare`. An operator is one file here and one line in [`OPERATORS`].

mod chat;
mod deduplicate;
mod limit;
mod normalize;

use std::fmt;

use crate::config::{Block, ConfigError, Setting};

use super::DataError;
use super::flow::Flow;

/// A kind of operator: its table, and how a declared one is made ready.
#[derive(Clone, Copy, Debug)]
pub struct OperatorKind {
    /// Its table; the version in it rises when what it does changes.
    pub setting: &'static Setting,
    /// Makes it ready from its settings.
    pub prepare: fn(&Block) -> Result<Box<dyn Operator>, ConfigError>,
    /// Whether it makes examples of rows; a `prepare` needs exactly one that does.
    pub makes_examples: bool,
    /// Whether it works on examples, and so must stand after the one that makes them.
    pub needs_examples: bool,
}

/// All operators.
pub static OPERATORS: &[OperatorKind] = &[chat::KIND, deduplicate::KIND, limit::KIND, normalize::KIND];

/// An operator that is ready to work.
pub trait Operator: Send + Sync + fmt::Debug {
    /// Works on all rows.
    ///
    /// # Errors
    /// When the user asked for a failure where rows are not as they should be.
    fn apply(&self, flow: &mut Flow) -> Result<(), DataError>;
}
