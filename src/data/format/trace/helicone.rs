//! Helicone: exported requests with their responses.

use serde_json::Value;

use super::{Example, Rows, answered, asked, opened};

pub fn rows(record: &Value) -> Rows {
    let either = |names: [&str; 2]| names.iter().map(|name| opened(&record[*name])).find(|value| !value.is_null()).unwrap_or_default();
    let (request, response) = (either(["request_body", "request"]), either(["response_body", "response"]));
    let mut messages = asked(&request).ok_or("its request holds no messages")?;
    messages.push(answered(&response).ok_or("its response holds no answer")?);
    let mut example = Example::new(messages);
    for (name, field) in [("id", "request_id"), ("model", "model"), ("user", "user_id"), ("user", "request_user_id"), ("status", "response_status")] {
        example.add(name, &record[field]);
    }
    example.add("model", &request["model"]);
    if request["tools"].is_array() {
        example.add("tools", &request["tools"]);
    }
    example.judged("rating", &either(["helicone_feedback", "feedback"])["rating"], &Value::Null);
    example.judged("rating", &record["feedback_rating"], &Value::Null);
    for (name, score) in either(["scores", "helicone_scores"]).as_object().into_iter().flatten() {
        let value = if score["value"].is_null() { score } else { &score["value"] };
        example.judged(name, value, &Value::Null);
    }
    for properties in ["properties", "request_properties"] {
        example.add_all("properties", &opened(&record[properties]));
    }
    Ok(vec![Ok(example.fields)])
}
