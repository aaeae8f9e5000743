//! Data and what is done to it: rows as collected, examples as trained on, the formats they come in,
//! the operators of `prepare`, splits, tokens and reports.

mod error;
mod example;
pub mod flow;
pub mod format;
pub mod operator;
mod row;
mod split;
mod tokenizer;

pub use error::DataError;
pub use example::{Example, Message, Role, parse_examples, write_examples};
pub use row::{Rejected, Row, parse_lines, write_lines};
pub use split::{Split, Splitter};
pub use tokenizer::{Special, TINY_MERGES, Tokenizer, learn_merges, merges_to_text};
