//! LangSmith: exported runs, and the examples of its datasets.

use serde_json::Value;

use super::{Example, Rows, answered, asked};

pub fn rows(record: &Value) -> Rows {
    if record["run_type"].as_str().is_some_and(|kind| kind != "llm" && kind != "chain") {
        return Ok(Vec::new());
    }
    let mut messages = asked(&record["inputs"]).ok_or("its `inputs` hold no messages and no text")?;
    messages.push(answered(&record["outputs"]).ok_or("its `outputs` hold no answer")?);
    let mut example = Example::new(messages);
    for (name, field) in [("id", "id"), ("trace", "trace_id"), ("name", "name"), ("session", "session_id"), ("tags", "tags")] {
        example.add(name, &record[field]);
    }
    for (name, stats) in record["feedback_stats"].as_object().into_iter().flatten() {
        example.judged(name, &stats["avg"], &Value::Null);
    }
    for feedback in record["feedback"].as_array().into_iter().flatten() {
        let value = if feedback["score"].is_null() { &feedback["value"] } else { &feedback["score"] };
        example.judged(feedback["key"].as_str().unwrap_or("score"), value, &feedback["comment"]);
    }
    for metadata in [&record["extra"]["metadata"], &record["metadata"]] {
        example.add_all("metadata", metadata);
    }
    Ok(vec![Ok(example.fields)])
}
