//! How many tokens a training goes through.

use std::path::Path;

use crate::data::{Counter, Message};
use crate::provider::{Api, Declared, Protocol};

/// How a provider counts the tokens of a conversation: exactly for `builtin:tiny` and for OpenAI's public encodings, and by its
/// letters elsewhere.
pub fn counter(declared: &Declared, model: &str) -> Counter {
    match &declared.api {
        Api::Local => Counter::exact(model).unwrap_or(Counter::Letters),
        Api::Hosted(endpoint) if matches!(endpoint.protocol(), Protocol::OpenAi(_)) => Counter::exact(model).unwrap_or(Counter::Letters),
        Api::Hosted(_) | Api::Command(_) => Counter::Letters,
    }
}

/// Tokens of a conversation as a provider counts them.
pub fn chat_tokens(declared: &Declared, model: &str, messages: &[Message]) -> usize {
    counter(declared, model).count(messages)
}

/// How often a provider most likely goes through so many examples where `epochs` are `auto`: by the rule that OpenAI has published
/// (three times, but at least 100 examples in all and at most 25 times, and above 25,000 less often), three times elsewhere.
pub fn auto_epochs(declared: &Declared, examples: usize) -> usize {
    const USUAL: usize = 3;
    match &declared.api {
        Api::Hosted(endpoint) if matches!(endpoint.protocol(), Protocol::OpenAi(_)) => match examples * USUAL {
            0 => USUAL,
            all if all < 100 => (100 / examples).clamp(1, 25),
            all if all > 25_000 => (25_000 / examples).max(1),
            _ => USUAL,
        },
        _ => USUAL,
    }
}

/// The tokens of all examples of a file, each line once, and how many there are. `None` where it cannot be read.
pub fn file_tokens(declared: &Declared, model: &str, train: &Path) -> Option<(usize, usize)> {
    use std::io::BufRead;
    let file = std::io::BufReader::new(std::fs::File::open(train).ok()?);
    let (mut sum, mut examples) = (0, 0);
    for line in file.lines() {
        let line = line.ok()?;
        if line.trim().is_empty() {
            continue;
        }
        examples += 1;
        sum += match serde_json::from_str::<crate::data::Example>(&line) {
            Ok(example) => chat_tokens(declared, model, &example.messages),
            // Pairs and graded rows: by their letters.
            Err(_) => line.len().div_ceil(4),
        };
    }
    Some((sum, examples))
}
