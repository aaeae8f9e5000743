use serde::{Deserialize, Serialize};

use super::DataError;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The frame of the conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// One training row in OpenAI's chat format.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Example {
    /// The conversation; the last message is the assistant's.
    pub messages: Vec<Message>,
}

impl Example {
    /// The messages that a model is asked with: all before the last answer.
    #[must_use]
    pub fn prompt(&self) -> &[Message] {
        match self.messages.split_last() {
            Some((last, before)) if last.role == Role::Assistant => before,
            _ => &self.messages,
        }
    }

    /// The answer that is wanted.
    #[must_use]
    pub fn answer(&self) -> &str {
        self.messages.last().filter(|last| last.role == Role::Assistant).map_or("", |last| &last.content)
    }
}

/// Reads chat examples, one a line.
///
/// # Errors
/// When a line is not an example; the first such line is named.
pub fn parse_examples(bytes: &[u8]) -> Result<Vec<Example>, DataError> {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| serde_json::from_slice(line).map_err(|error| DataError::MalformedExample { line: index + 1, problem: error.to_string() }))
        .collect()
}

/// Chat examples as JSON Lines.
#[must_use]
pub fn write_examples<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Vec<u8> {
    let examples: Vec<&Example> = examples.into_iter().collect();
    super::write_lines(&examples)
}
