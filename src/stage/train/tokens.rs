//! How many tokens a training goes through.

use std::path::Path;

use crate::data::{Message, Role, Tokenizer};
use crate::provider::{Api, Declared, Protocol};

/// Tokens of a conversation as a provider counts them: exactly for the local model and for OpenAI's public encodings, and by its
/// letters elsewhere.
pub fn chat_tokens(declared: &Declared, model: &str, messages: &[Message]) -> usize {
    match &declared.api {
        Api::Local => Tokenizer::tiny().count(messages),
        Api::Hosted(endpoint) if matches!(endpoint.protocol(), Protocol::OpenAi(_)) && model.trim_start_matches("ft:").starts_with("gpt-") => {
            openai(model, messages)
        }
        Api::Hosted(_) | Api::Command(_) => messages.iter().map(|message| message.content.len().div_ceil(4) + 4).sum(),
    }
}

/// By OpenAI's rule for chat rows: three tokens a message besides its role and content, and three for the beginning of an answer.
fn openai(model: &str, messages: &[Message]) -> usize {
    let name = model.trim_start_matches("ft:");
    let encoding = if name.starts_with("gpt-3.5") || name.starts_with("gpt-4-") { bpe_openai::cl100k_base() } else { bpe_openai::o200k_base() };
    let role = |role: Role| match role {
        Role::System | Role::User | Role::Assistant => 1,
    };
    messages.iter().map(|message| 3 + role(message.role) + encoding.count(message.content.as_str())).sum::<usize>() + 3
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_models_are_counted_by_their_own_encoding() {
        let message = |role, content: &str| Message { role, content: content.to_owned() };
        let messages = [message(Role::System, "You are a helpful assistant."), message(Role::User, "hello world"), message(Role::Assistant, "hi")];
        // Six, two and one tokens of content, in either encoding.
        assert_eq!(openai("gpt-4.1-nano", &messages), 3 * 4 + 6 + 2 + 1 + 3);
        assert_eq!(openai("gpt-3.5-turbo", &messages), openai("gpt-4o", &messages));
    }
}
