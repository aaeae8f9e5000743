//! One question, and the answers to many.

use serde_json::{Value, json};

use crate::data::Message;

use super::super::super::Answers;
use super::shapes::Completion;

/// The answers with what they took, in order.
pub fn answered(completions: impl Iterator<Item = Completion>) -> Answers {
    let mut answers = Answers::default();
    for completion in completions {
        let usage = completion.usage.unwrap_or_default();
        answers.tokens_in += usage.prompt_tokens;
        answers.tokens_out += usage.completion_tokens;
        let said = completion.choices.into_iter().next().and_then(|choice| choice.message.content);
        // A refusal has no content; it is an answer all the same, and a wrong one.
        answers.texts.push(said.unwrap_or_default());
    }
    answers
}

/// The body of one question.
pub fn question(limit: &str, model: &str, messages: &[Message], max_tokens: usize) -> Value {
    json!({ "model": model, "messages": messages, limit: max_tokens, "temperature": 0 })
}
