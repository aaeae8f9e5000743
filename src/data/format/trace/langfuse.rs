//! Langfuse: exported traces and observations.

use serde_json::Value;

use super::{Example, Rows, answered, asked, opened};

pub fn rows(record: &Value) -> Rows {
    // Spans and events beside the generations are no conversations.
    if record["type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("generation") && !kind.eq_ignore_ascii_case("trace")) {
        return Ok(Vec::new());
    }
    let mut messages = asked(&record["input"]).ok_or("its `input` holds no messages and no text")?;
    messages.push(answered(&record["output"]).ok_or("its `output` holds no answer")?);
    let mut example = Example::new(messages);
    for (name, field) in
        [("id", "id"), ("trace", "traceId"), ("name", "name"), ("model", "model"), ("user", "userId"), ("session", "sessionId"), ("tags", "tags")]
    {
        example.add(name, &record[field]);
    }
    for score in record["scores"].as_array().into_iter().flatten() {
        let value = if score["value"].is_null() { &score["stringValue"] } else { &score["value"] };
        example.judged(score["name"].as_str().unwrap_or("score"), value, &score["comment"]);
    }
    example.add_all("metadata", &opened(&record["metadata"]));
    Ok(vec![Ok(example.fields)])
}
