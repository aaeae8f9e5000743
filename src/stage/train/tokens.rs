//! How many tokens a training goes through.

use std::path::Path;

use crate::data::{Counter, Message};
use crate::provider::{Api, Declared, Protocol};

/// Tokens of a conversation as a provider counts them: exactly for the local model and for OpenAI's public encodings, and by its
/// letters elsewhere.
pub fn chat_tokens(declared: &Declared, model: &str, messages: &[Message]) -> usize {
    let counter = match &declared.api {
        Api::Local => Counter::Tiny,
        Api::Hosted(endpoint) if matches!(endpoint.protocol(), Protocol::OpenAi(_)) => Counter::exact(model).unwrap_or(Counter::Letters),
        Api::Hosted(_) | Api::Command(_) => Counter::Letters,
    };
    counter.count(messages)
}

/// The tokens of all examples of a file, each line once. `None` where a line is no conversation.
pub fn file_tokens(declared: &Declared, model: &str, train: &Path) -> Option<usize> {
    use std::io::BufRead;
    let file = std::io::BufReader::new(std::fs::File::open(train).ok()?);
    let mut sum = 0;
    for line in file.lines() {
        let line = line.ok()?;
        if line.trim().is_empty() {
            continue;
        }
        sum += match serde_json::from_str::<crate::data::Example>(&line) {
            Ok(example) => chat_tokens(declared, model, &example.messages),
            // Pairs and graded rows: by their letters.
            Err(_) => line.len().div_ceil(4),
        };
    }
    Some(sum)
}
