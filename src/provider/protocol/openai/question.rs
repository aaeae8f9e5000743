//! One question, and the answers to many.

use serde_json::{Value, json};

use crate::data::Message;

use super::super::super::Answers;
use super::shapes::Answered;

/// The answers with what they took, in order.
pub fn answered(all: impl Iterator<Item = Answered>) -> Answers {
    let mut answers = Answers::default();
    for one in all {
        answers.tokens_in += one.tokens_in;
        answers.tokens_out += one.tokens_out;
        answers.cut += usize::from(one.cut);
        answers.texts.push(one.text);
    }
    answers
}

/// The body of one question.
pub fn question(limit: &str, model: &str, messages: &[Message], max_tokens: usize) -> Value {
    let mut body = json!({ "model": model, "messages": messages, limit: max_tokens });
    // Models that reason take no temperature but their own.
    let name = model.trim_start_matches("ft:");
    if !["o1", "o3", "o4", "gpt-5"].iter().any(|family| name.starts_with(family)) {
        body["temperature"] = json!(0);
    }
    body
}

/// Whether a complaint says that the provider's filter refused a question.
pub fn is_filtered(complaint: &str) -> bool {
    let complaint = complaint.to_lowercase();
    complaint.contains("content") && complaint.contains("filter")
}
