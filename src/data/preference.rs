//! Pairs of a better and a worse answer, as OpenAI's files have them.

use serde::Deserialize;

use super::{DataError, Message};

/// A better and a worse answer to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The conversation before.
    pub prompt: Vec<Message>,
    /// The better answer.
    pub better: Vec<Message>,
    /// The worse answer.
    pub worse: Vec<Message>,
}

impl Preference {
    /// The conversation with one of the answers, of which the answer alone is learnt.
    #[must_use]
    pub fn with(&self, answer: &[Message]) -> Vec<Message> {
        let before = self.prompt.iter().map(|message| Message { learned: false, ..message.clone() });
        before.chain(answer.iter().cloned()).collect()
    }
}

#[derive(Deserialize)]
struct Written {
    input: Input,
    preferred_output: Vec<Message>,
    non_preferred_output: Vec<Message>,
}

#[derive(Deserialize)]
struct Input {
    messages: Vec<Message>,
}

/// Pairs from a file of JSON Lines.
///
/// # Errors
/// When a line is none.
pub fn parse_preferences(bytes: &[u8]) -> Result<Vec<Preference>, DataError> {
    let malformed = |problem: String| DataError::MalformedFile { file: "the examples".into(), format: "JSON Lines", problem };
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let pair = |(number, line): (usize, &[u8])| {
        let written: Written = serde_json::from_slice(line).map_err(|error| malformed(format!("line {}: {error}", number + 1)))?;
        Ok(Preference { prompt: written.input.messages, better: written.preferred_output, worse: written.non_preferred_output })
    };
    lines.map(pair).collect()
}
