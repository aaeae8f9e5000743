//! OpenTelemetry: spans with the attributes of its conventions for generative AI, as OTLP in JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Example, Rows, message, opened};

pub fn rows(record: &Value) -> Rows {
    let mut found = Vec::new();
    for resource in record["resourceSpans"].as_array().into_iter().flatten() {
        for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
            for span in scope["spans"].as_array().into_iter().flatten() {
                found.extend(row(span).transpose());
            }
        }
    }
    if !record["resourceSpans"].is_array() {
        if !record["attributes"].is_array() && !record["attributes"].is_object() {
            return Err("neither `resourceSpans` nor a span with `attributes`".into());
        }
        found.extend(row(record).transpose());
    }
    Ok(found)
}

/// The row of a span; none where it is not of a model.
fn row(span: &Value) -> Result<Option<Map<String, Value>>, String> {
    let attributes = attributes(&span["attributes"]);
    let operation = attributes.get("gen_ai.operation.name").and_then(Value::as_str);
    let is_silent = operation.is_some_and(|operation| matches!(operation, "embeddings" | "execute_tool" | "create_agent"));
    // One with a name of its own may talk, or not.
    let talks = operation.is_none_or(|operation| matches!(operation, "chat" | "generate_content" | "text_completion" | "invoke_agent"));
    if is_silent || !attributes.keys().any(|name| name.starts_with("gen_ai.")) {
        return Ok(None);
    }
    let mut messages = conversation(&attributes);
    let mut judged = Vec::new();
    for event in span["events"].as_array().into_iter().flatten() {
        let inside = self::attributes(&event["attributes"]);
        match event["name"].as_str().unwrap_or_default() {
            "gen_ai.evaluation.result" => judged.push(inside),
            "gen_ai.client.inference.operation.details" if messages.is_empty() => messages = conversation(&inside),
            name => messages.extend(spoken(name, &inside)),
        }
    }
    if !messages.iter().any(|message| message["role"] == "assistant") {
        if !talks {
            return Ok(None);
        }
        return Err("the span holds no messages: its instrumentation must be told to keep content".into());
    }
    let mut example = Example::new(messages);
    example.add("trace", &span["traceId"]);
    example.add("id", &span["spanId"]);
    for (name, attribute) in [("model", "gen_ai.request.model"), ("system", "gen_ai.provider.name"), ("session", "gen_ai.conversation.id")] {
        example.add(name, attributes.get(attribute).unwrap_or(&Value::Null));
    }
    for result in judged {
        let name = result.get("gen_ai.evaluation.name").and_then(Value::as_str).unwrap_or("score").to_owned();
        let value = ["gen_ai.evaluation.score.value", "gen_ai.evaluation.score.label"].iter().find_map(|name| result.get(*name));
        example.judged(&name, value.unwrap_or(&Value::Null), result.get("gen_ai.evaluation.explanation").unwrap_or(&Value::Null));
    }
    // What else the product said of it; the conventions' own figures are no data.
    for (name, value) in attributes.iter().filter(|(name, _)| !name.starts_with("gen_ai.") && !name.starts_with("llm.")) {
        example.add(name, value);
    }
    Ok(Some(example.fields))
}

/// The messages of a span as the conventions have them now, or as numbered attributes.
fn conversation(attributes: &BTreeMap<String, Value>) -> Vec<Value> {
    let mut messages = Vec::new();
    if let Some(system) = attributes.get("gen_ai.system_instructions").map(opened) {
        messages.extend(message(&json!({ "role": "system", "parts": system }), "system"));
    }
    for (name, role) in [("gen_ai.input.messages", "user"), ("gen_ai.output.messages", "assistant")] {
        let list = attributes.get(name).map(opened).unwrap_or_default();
        messages.extend(list.as_array().into_iter().flatten().flat_map(|found| super::messages(found, role)));
    }
    if messages.is_empty() {
        for (name, role) in [("gen_ai.prompt", "user"), ("gen_ai.completion", "assistant")] {
            let numbered = (0..).map_while(|number| {
                let part = |part: &str| attributes.get(&format!("{name}.{number}.{part}"));
                message(&json!({ "role": part("role").cloned().unwrap_or_else(|| json!(role)), "content": part("content")? }), role)
            });
            messages.extend(numbered);
        }
    }
    messages
}

/// A message as an event of its own, as earlier conventions had them.
fn spoken(name: &str, inside: &BTreeMap<String, Value>) -> Option<Value> {
    let role = name.strip_prefix("gen_ai.")?.strip_suffix(".message").or((name == "gen_ai.choice").then_some("assistant"))?;
    let content = inside.get("content").or_else(|| inside.get("gen_ai.event.content")).map(opened);
    let inner = inside.get("message").map(opened).or(content)?;
    let found = if inner.is_object() { inner } else { json!({ "content": inner }) };
    message(&found, role)
}

/// Attributes by name, whether they are a list of keys and typed values or an object.
fn attributes(list: &Value) -> BTreeMap<String, Value> {
    let typed = |pair: &Value| Some((pair["key"].as_str()?.to_owned(), plain(&pair["value"])));
    match list {
        Value::Array(pairs) => pairs.iter().filter_map(typed).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        _ => BTreeMap::new(),
    }
}

/// A typed value without its type.
fn plain(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|typed| typed.iter().next()) else {
        return value.clone();
    };
    match kind.as_str() {
        // Whole numbers of 64 bits are strings there.
        "intValue" => inner.as_str().and_then(|digits| digits.parse::<i64>().ok()).map_or_else(|| inner.clone(), |number| json!(number)),
        "arrayValue" => inner["values"].as_array().into_iter().flatten().map(plain).collect(),
        "kvlistValue" => Value::Object(attributes(&inner["values"]).into_iter().collect()),
        _ => inner.clone(),
    }
}
