//! What providers ask of training rows, looked for before anything is uploaded. A provider's rules are one file here and one line in
//! [`RULES`].

mod azure;
mod calls;
mod fireworks;
mod glance;
mod messages;
mod openai;
mod rows;
mod together;

use serde::Serialize;
use serde_json::Value;

use super::Form;

pub use messages::known_as;
pub use rows::{Checked, Found};

/// What a provider asks of rows and of files of them.
#[derive(Debug)]
pub struct Rules {
    /// The provider's name.
    pub name: &'static str,
    /// The forms of rows that it trains on.
    pub forms: &'static [Form],
    /// Who may speak.
    pub roles: &'static [&'static str],
    /// What a message may have.
    pub parts: &'static [&'static str],
    /// Rows at least.
    pub fewest: usize,
    /// Rows at most.
    pub most: usize,
    /// Bytes of a file at most.
    pub largest: u64,
    /// Whether user and assistant must take turns.
    pub turns: bool,
    /// Whether a system message may only come first.
    pub system_first: bool,
    /// Images of a row at most.
    pub images: usize,
    /// Tokens of a row at most, for a model.
    pub tokens: fn(&str) -> Option<usize>,
}

/// The rules of all providers that state them.
pub static RULES: &[&Rules] = &[&openai::RULES, &azure::RULES, &together::RULES, &fireworks::RULES];

/// The rules that hold for an API.
#[must_use]
pub fn of(api: &str) -> &'static Rules {
    // What speaks OpenAI's protocol takes its rows.
    RULES.iter().find(|rules| rules.name == api).unwrap_or(&RULES[0])
}

/// Something in a row that a provider does not take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// Where in the row: `messages[1].role`.
    pub field: String,
    /// What was expected and what is there.
    pub reason: String,
    /// What of `fix` in `prepare` mends it, where that is safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<&'static str>,
}

impl Finding {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), fix: None }
    }

    fn fixed_by(field: impl Into<String>, reason: impl Into<String>, fix: &'static str) -> Self {
        Self { field: field.into(), reason: reason.into(), fix: Some(fix) }
    }
}

impl Rules {
    /// What is wrong with a row, in the order in which it stands there.
    #[must_use]
    pub fn look(&self, form: Form, row: &[u8]) -> Vec<Finding> {
        if form == Form::Chat && glance::is_plain(self, row) {
            return Vec::new();
        }
        match serde_json::from_slice(row) {
            Ok(Value::Object(row)) => messages::look(self, form, &row),
            Ok(other) => vec![Finding::new("", format!("expected an object, found {}", kind(&other)))],
            Err(error) => vec![Finding::new("", format!("it is not JSON: {error}"))],
        }
    }
}

/// What kind of value something is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value as a message shows it: short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { text.chars().take(40).chain("...".chars()).collect() } else { text }
}
