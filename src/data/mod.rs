//! Data and what is done to it: rows as collected, examples as trained on, the formats they come in,
//! the operators of `prepare`, splits, tokens and reports.

mod blocks;
mod called;
mod cells;
mod error;
mod example;
pub mod fields;
pub mod flow;
pub mod format;
mod identities;
mod identity;
mod lines;
pub mod near;
mod numbers;
pub mod operator;
mod ordered;
pub mod personal;
mod point;
mod preference;
mod row;
pub mod rules;
mod split;
pub mod tally;
mod tokenizer;

pub use blocks::Blocks;
pub use called::{calls, spoken};
pub use cells::Cells;
pub use error::DataError;
pub use example::{Example, Form, Message, Role, parse_examples};
pub use identities::Identities;
pub use identity::{ByIdentity, Identifying, Identity};
pub use lines::Lines;
pub use preference::{Preference, parse_preferences};
pub use row::{Rejected, Row, parse_lines, write_lines};
pub use split::{Split, Splitter};
pub use tokenizer::{
    CHAT_TEMPLATE, ChatTemplate, ChatTokenizer, Counter, Encoded, Rendered, Special, Spelling, TINY_MERGES, TINY_WORDS, TemplateError, Templated, Tokenizer,
    learn_merges, merges_to_text,
};
