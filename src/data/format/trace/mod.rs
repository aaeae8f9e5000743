//! What products log of their conversations with models, as the tools that keep it export it: each becomes a chat example in
//! `messages`, with what people thought of it and what else is known of it as further fields.

mod helicone;
mod langfuse;
mod langsmith;
mod otel;

use std::io::Read;

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::super::{Blocks, DataError, Rejected, Row};
use super::{Format, How, Sink, json, packed};

pub const LANGFUSE: Format =
    Format { name: "langfuse", endings: &[], read: How::InParts(|file, content, _, rows| read(file, content, rows, "langfuse", langfuse::rows)) };
pub const LANGSMITH: Format =
    Format { name: "langsmith", endings: &[], read: How::InParts(|file, content, _, rows| read(file, content, rows, "langsmith", langsmith::rows)) };
pub const HELICONE: Format =
    Format { name: "helicone", endings: &[], read: How::InParts(|file, content, _, rows| read(file, content, rows, "helicone", helicone::rows)) };
pub const OTEL: Format = Format { name: "otel", endings: &[], read: How::InParts(|file, content, _, rows| read(file, content, rows, "otel", otel::rows)) };

/// The rows of one record, or why there is none of a part of it, or of all. A record that is no conversation at all, such as a span of
/// something else, is no row.
type Rows = Result<Vec<Result<Map<String, Value>, String>>, String>;

/// Reads a list of records, an object that holds one, or one record a line. Only an object that is the whole file is held in memory, and
/// what may become one: a file that begins with two broken lines.
fn read(file: &str, content: &mut dyn Read, rows: Sink<'_>, by: &str, convert: fn(&Value) -> Rows) -> Result<(), DataError> {
    let failed = |error| packed::failed(file, &error);
    let mut take = |line: u64, record: Result<&Value, String>, text: &str| -> Result<(), DataError> {
        let found = record.and_then(convert).unwrap_or_else(|reason| vec![Err(reason)]);
        found.into_iter().try_for_each(|found| {
            let row = found.map(|fields| Row { source: file.to_owned(), line, fields: fields.into() });
            rows(row.map_err(|reason| Rejected::new(file, line, by, reason, text)))
        })
    };
    let parsed = |text: &[u8]| serde_json::from_slice::<Value>(text).map_err(|error| format!("no JSON: {error}"));
    let (mut first, mut skipped) = ([b' '], 0);
    while first[0].is_ascii_whitespace() && content.read(&mut first).map_err(failed)? > 0 {
        skipped += u64::from(first == [b'\n']);
    }
    let mut content = first.as_slice().chain(content);
    if first == [b'['] {
        let mut number = 0;
        return json::each(file, &mut content, &mut |_, text| {
            number += 1;
            take(number, parsed(text.as_bytes()).as_ref().map_err(Clone::clone), text)
        });
    }
    let mut take_line = |line: u64, text: &[u8]| {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        take(line, parsed(text).as_ref().map_err(Clone::clone), &String::from_utf8_lossy(text))
    };
    // Until it is known that there is a record on each line, what was read so far.
    let (mut whole, mut is_lines) = (Vec::new(), None);
    let mut blocks = Blocks::new(content);
    while let Some(lines) = blocks.further().map_err(failed)? {
        for (line, text) in lines.into_iter().map(|(line, text)| (line + skipped, text)) {
            if is_lines == Some(true) {
                take_line(line, text)?;
                continue;
            }
            if is_lines.is_none() && !whole.is_empty() && !text.trim_ascii().is_empty() {
                // A first line may be broken; in an object that is the whole file, no second line is one by itself.
                let is_object = text.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok();
                is_lines = Some(is_object || serde_json::from_slice::<IgnoredAny>(&whole).is_ok());
                if is_lines == Some(true) {
                    take_line(1 + skipped, whole.trim_ascii_end())?;
                    take_line(line, text)?;
                    continue;
                }
            }
            whole.extend_from_slice(text);
            whole.push(b'\n');
        }
    }
    if is_lines == Some(true) {
        return Ok(());
    }
    let Ok(record) = serde_json::from_slice::<Value>(&whole) else {
        return whole.split(|&byte| byte == b'\n').zip(1 + skipped..).try_for_each(|(text, line)| take_line(line, text));
    };
    let inside = ["data", "runs", "traces", "observations"].iter().find_map(|name| record.get(name)?.as_array());
    match inside {
        Some(records) => records.iter().zip(1..).try_for_each(|(record, number)| take(number, Ok(record), &record.to_string())),
        None => take(1, Ok(&record), &String::from_utf8_lossy(&whole[..whole.len().min(2000)])),
    }
}

/// A row: the messages first, then what is known of them. A name that is taken gets its origin before it.
#[derive(Debug, Default)]
struct Example {
    fields: Map<String, Value>,
}

impl Example {
    fn new(messages: Vec<Value>) -> Self {
        Self { fields: Map::from_iter([("messages".to_owned(), Value::Array(messages))]) }
    }

    /// Adds a field, unless there is nothing in it.
    fn add(&mut self, name: &str, value: &Value) {
        if !value.is_null() && !self.fields.contains_key(name) {
            self.fields.insert(name.to_owned(), value.clone());
        }
    }

    /// Adds all fields of an object.
    fn add_all(&mut self, origin: &str, fields: &Value) {
        for (name, value) in fields.as_object().into_iter().flatten() {
            let name = if self.fields.contains_key(name) { format!("{origin}_{name}") } else { name.clone() };
            self.add(&name, value);
        }
    }

    /// Adds what somebody thought of it.
    fn judged(&mut self, name: &str, value: &Value, comment: &Value) {
        self.add(&format!("feedback_{name}"), value);
        if !comment.as_str().unwrap_or_default().is_empty() {
            self.add(&format!("feedback_{name}_comment"), comment);
        }
    }
}

/// A value that may be JSON in a string.
fn opened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}

/// The messages of what was asked: a list of them, an object that holds one, or a text.
fn asked(input: &Value) -> Option<Vec<Value>> {
    match opened(input) {
        Value::String(text) if !text.is_empty() => Some(vec![json!({ "role": "user", "content": text })]),
        Value::Array(messages) => {
            // Some keep a list for each prompt of a batch.
            let messages = if let [Value::Array(only)] = messages.as_slice() { only.clone() } else { messages };
            let all: Vec<Vec<Value>> = messages.iter().map(|found| self::messages(found, "user")).collect();
            let is_whole = !all.is_empty() && all.iter().all(|found| !found.is_empty());
            is_whole.then(|| all.concat())
        }
        Value::Object(fields) => {
            let inside = ["messages", "input", "prompt", "question", "query", "text"].iter().find_map(|name| fields.get(*name));
            inside.and_then(asked).or_else(|| message(&Value::Object(fields.clone()), "user").map(|only| vec![only]))
        }
        _ => None,
    }
}

/// The message of what was answered.
fn answered(output: &Value) -> Option<Value> {
    match opened(output) {
        Value::String(text) => Some(json!({ "role": "assistant", "content": text })),
        Value::Array(answers) => answered(answers.first()?),
        Value::Object(fields) => {
            let choice = fields.get("choices").and_then(|choices| choices.get(0)).map(|choice| choice.get("message").unwrap_or(choice).clone());
            let generation = fields.get("generations").and_then(|all| all.get(0)).map(|first| first.get(0).unwrap_or(first).clone());
            let whole = Value::Object(fields.clone());
            choice
                .as_ref()
                .and_then(|found| message(found, "assistant"))
                .or_else(|| generation.as_ref().and_then(answered))
                .or_else(|| message(&whole, "assistant"))
                .or_else(|| ["message", "output", "answer", "completion", "text", "content"].iter().find_map(|name| answered(fields.get(*name)?)))
        }
        _ => None,
    }
}

/// The messages of one that may hold answers of tools besides: each of them is one by itself.
fn messages(found: &Value, fallback: &str) -> Vec<Value> {
    let inner = if found["kwargs"].is_object() { &found["kwargs"] } else { found };
    let answer = |part: &Value| {
        let said = [&part["response"], &part["result"]].into_iter().find(|said| !said.is_null());
        let mut answer = json!({ "role": "tool", "content": said.map(text_of).unwrap_or_default() });
        if part["id"].is_string() {
            answer["tool_call_id"] = part["id"].clone();
        }
        answer
    };
    let mut all: Vec<Value> = parts_of(inner, RESPONSE).map(answer).collect();
    if all.is_empty() {
        return message(found, fallback).into_iter().collect();
    }
    let mut rest = inner.clone();
    if let Some(parts) = rest["parts"].as_array_mut() {
        parts.retain(|part| part["type"] != RESPONSE);
    }
    // What is left without them is somebody else's.
    let role = if found["role"] == "tool" { json!(fallback) } else { found["role"].clone() };
    rest["role"] = role;
    all.extend(message(&rest, fallback));
    all
}

/// The type of a part that is the answer of a tool.
const RESPONSE: &str = "tool_call_response";

/// A message in any of the shapes that they are kept in. A role that is not said is `fallback`.
fn message(found: &Value, fallback: &str) -> Option<Value> {
    // LangChain writes a constructor and its arguments.
    let kind = found["id"].as_array().and_then(|path| path.last()).and_then(Value::as_str).or_else(|| found["type"].as_str());
    let role = match found["role"].as_str().or(kind) {
        Some("HumanMessage" | "HumanMessageChunk" | "human" | "user") => "user",
        Some("AIMessage" | "AIMessageChunk" | "ai" | "assistant" | "model") => "assistant",
        Some("SystemMessage" | "system" | "developer") => "system",
        Some("ToolMessage" | "FunctionMessage" | "tool" | "function") => "tool",
        _ => fallback,
    };
    let inner = if found["kwargs"].is_object() { &found["kwargs"] } else { found };
    // Images and the like stay in their parts, as examples have them.
    let whole = inner["content"].as_array().filter(|parts| parts.iter().any(|part| part["type"].as_str().is_some_and(|kind| ATTACHED.contains(&kind))));
    let content = whole.map(|parts| json!(parts)).or_else(|| content(&inner["content"]).or_else(|| content(&inner["parts"])).map(Value::String));
    let listed = [&inner["tool_calls"], &inner["additional_kwargs"]["tool_calls"]].into_iter().find_map(|calls| calls.as_array()).cloned();
    let called = parts_of(inner, "tool_call")
        .map(|part| json!({ "id": part["id"], "type": "function", "function": { "name": part["name"], "arguments": arguments(&part["arguments"]) } }));
    let calls: Vec<Value> = listed.unwrap_or_default().into_iter().chain(called).collect();
    if content.is_none() && calls.is_empty() {
        return None;
    }
    let mut message = Map::new();
    message.insert("role".into(), json!(role));
    message.insert("content".into(), content.unwrap_or_default());
    if !calls.is_empty() {
        message.insert("tool_calls".into(), json!(calls));
    }
    for name in ["name", "tool_call_id"] {
        if let Some(text) = inner[name].as_str() {
            message.insert(name.into(), json!(text));
        }
    }
    Some(Value::Object(message))
}

/// Parts of a message that are no text and stay as they are.
const ATTACHED: &[&str] = &["image_url", "input_audio", "file"];

/// The parts of a message of one type, as OpenTelemetry has them.
fn parts_of<'a>(message: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    message["parts"].as_array().into_iter().flatten().filter(move |part| part["type"] == kind)
}

/// What a tool is called with, as JSON: one that takes nothing is called with nothing.
fn arguments(value: &Value) -> String {
    if value.is_null() { "{}".into() } else { text_of(value) }
}

/// A value as text: a string as it is, anything else as JSON.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The text of a message, or of its parts that are text.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let text = |part: &Value| part.as_str().or_else(|| part["text"].as_str()).or_else(|| part["content"].as_str()).map(str::to_owned);
            let texts: Vec<String> = parts.iter().filter_map(text).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}
