//! One question.

use serde_json::{Value, json};

use super::super::super::Question;

/// The body of one question.
pub fn question(limit: &str, model: &str, asked: &Question, max_tokens: usize, temperature: f64) -> Value {
    let mut body = json!({ "model": model, "messages": asked.messages, limit: max_tokens });
    for (name, value) in asked.written.iter().flat_map(|written| written.iter()) {
        body[name] = value.clone();
    }
    // Models that reason take no temperature but their own.
    let name = model.trim_start_matches("ft:");
    if !["o1", "o3", "o4", "gpt-5"].iter().any(|family| name.starts_with(family)) {
        body["temperature"] = if temperature == 0.0 { json!(0) } else { json!(temperature) };
    }
    body
}

/// Whether a complaint says that the provider's filter refused a question.
pub fn is_filtered(complaint: &str) -> bool {
    let complaint = complaint.to_lowercase();
    complaint.contains("content") && complaint.contains("filter")
}
