//! One question.

use serde_json::{Value, json};

use crate::data::Message;

/// The body of one question.
pub fn question(limit: &str, model: &str, messages: &[Message], max_tokens: usize, temperature: f64) -> Value {
    let mut body = json!({ "model": model, "messages": messages, limit: max_tokens });
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
