//! What a message says, as one text: with the tools that it calls, where it calls any.

use serde_json::{Value, json};

/// What a message in OpenAI's form says. One that calls tools is JSON: `{"content": ..., "tool_calls": [{"name": ..., "arguments": ...}]}`,
/// without the content where it has none, and with arguments as they are meant, not as text.
#[must_use]
pub fn spoken(message: &Value) -> String {
    let content = text(&message["content"]);
    let calls: Vec<Value> = match (&message["tool_calls"], &message["function_call"]) {
        (Value::Array(calls), _) => calls.iter().map(|call| called(&call["function"])).collect(),
        // The older form, of one call.
        (_, call @ Value::Object(_)) => vec![called(call)],
        _ => Vec::new(),
    };
    match (calls.is_empty(), content.is_empty()) {
        (true, _) => content,
        (false, true) => json!({ "tool_calls": calls }).to_string(),
        (false, false) => json!({ "content": content, "tool_calls": calls }).to_string(),
    }
}

fn called(function: &Value) -> Value {
    let arguments = match &function["arguments"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        arguments => arguments.clone(),
    };
    json!({ "name": function["name"], "arguments": arguments })
}

/// A content as text: of parts, those that are text.
#[must_use]
pub fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.as_str().or_else(|| part.get("text")?.as_str())).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// The calls in a text as [`spoken`] writes it, in order: names and arguments. None where it is no such text.
#[must_use]
pub fn calls(text: &str) -> Vec<(String, Value)> {
    let Ok(mut said) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let calls = said["tool_calls"].as_array_mut().map(std::mem::take).unwrap_or_default();
    calls.into_iter().filter_map(|mut call| Some((call["name"].as_str()?.to_owned(), call["arguments"].take()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_text_and_are_found_in_it() {
        let call = json!({ "id": "1", "type": "function", "function": { "name": "find", "arguments": "{\"day\": 3}" } });
        let said = spoken(&json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
        assert_eq!(said, "{\"tool_calls\":[{\"name\":\"find\",\"arguments\":{\"day\":3}}]}");
        assert_eq!(calls(&said), [("find".to_owned(), json!({ "day": 3 }))]);
        let both = spoken(&json!({ "content": "I look.", "function_call": { "name": "find", "arguments": "not JSON" } }));
        assert_eq!(calls(&both), [("find".to_owned(), json!("not JSON"))]);
        assert!(both.starts_with("{\"content\":\"I look.\""));
        assert_eq!(spoken(&json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] })), "a\nb");
        assert!(calls("find").is_empty() && calls("{\"tool_calls\": 3}").is_empty());
    }
}
