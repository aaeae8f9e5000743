//! The operators of `prepare`. An operator is one file here and one line in [`OPERATORS`].

mod balance;
mod decontaminate;
mod deduplicate;
mod filter;
mod fix;
mod language;
mod limit;
mod map;
mod mix;
mod normalize;
mod passthrough;
mod quality;
mod redact;
mod sample;
mod template;

use std::fmt;
use std::sync::LazyLock;

use crate::config::{Block, ConfigError, Setting};

use super::flow::{Flow, Item, Stream};
use super::point::point;
use super::{DataError, Form};

/// A kind of operator: its table, and how a declared one is made ready.
#[derive(Clone, Copy, Debug)]
pub struct OperatorKind {
    /// Its table; the version in it rises when what it does changes.
    pub setting: &'static Setting,
    /// Makes it ready from its settings.
    pub prepare: fn(&Block) -> Result<Box<dyn Operator>, ConfigError>,
    /// What examples it makes of rows, if it does; a `prepare` needs exactly one that does.
    pub makes: fn(&Block) -> Option<Form>,
    /// Whether it works on examples, and so must stand after the one that makes them.
    pub needs_examples: bool,
    /// The property that names files which it reads beside the rows.
    pub beside: Option<&'static str>,
}

impl OperatorKind {
    /// A kind that works on rows or examples alike, and makes none.
    const fn new(setting: &'static Setting, prepare: fn(&Block) -> Result<Box<dyn Operator>, ConfigError>) -> Self {
        Self { setting, prepare, makes: |_| None, needs_examples: false, beside: None }
    }
}

/// All operators.
pub static OPERATORS: &[OperatorKind] = &[
    balance::KIND,
    decontaminate::KIND,
    deduplicate::KIND,
    filter::KIND,
    fix::KIND,
    language::KIND,
    limit::KIND,
    map::KIND,
    mix::KIND,
    normalize::KIND,
    passthrough::KIND,
    quality::KIND,
    redact::KIND,
    sample::KIND,
    template::CHAT,
    template::COMPLETION,
    template::PREFERENCE,
    template::REINFORCEMENT,
];

/// An operator that is ready to work.
pub trait Operator: Send + Sync + fmt::Debug {
    /// Lets rows through in their order: what comes out is the same for any number of threads.
    ///
    /// # Errors
    /// When the user asked for a failure where rows are not as they should be.
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError>;

    /// Whether what it does with a row depends on that row alone and on its settings, so that it need not be done again for a row
    /// that was there before.
    fn is_by_row(&self) -> bool {
        false
    }
}

/// Operators with their names, in the order written.
pub type Named = Vec<(&'static str, Box<dyn Operator>)>;

/// A number from 0 up to 1 for a row where chance decides: by all that it says.
fn chance(purpose: &str, seed: i64, item: &Item) -> f64 {
    static CONTEXT: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("retune operator v1"));
    point(CONTEXT.clone().update(purpose.as_bytes()).update(&seed.to_le_bytes()).update(item.text(None).as_bytes()))
}
