use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Finding, kind, shown};

/// The names of the tools that a row declares; none where it declares none.
pub fn tools<'a>(row: &'a Map<String, Value>, above: &str, found: &mut Vec<Finding>) -> Option<BTreeSet<&'a str>> {
    if let Some(other) = row.get("parallel_tool_calls").filter(|flag| !flag.is_boolean()) {
        found.push(Finding::new(format!("{above}parallel_tool_calls"), format!("expected true or false, found {}", kind(other))));
    }
    let list = match row.get("tools")? {
        Value::Array(list) => list,
        other => {
            found.push(Finding::new(format!("{above}tools"), format!("expected a list, found {}", kind(other))));
            return None;
        }
    };
    let mut names = BTreeSet::new();
    for (at, tool) in list.iter().enumerate() {
        let place = format!("{above}tools[{at}]");
        if tool["type"] != "function" {
            let bare = tool.get("type").is_none() && (tool["function"].is_object() || tool["name"].is_string());
            let reason = format!("expected \"function\", found {}", shown(&tool["type"]));
            found.push(if bare { Finding::fixed_by(format!("{place}.type"), reason, "tools") } else { Finding::new(format!("{place}.type"), reason) });
        }
        let function = tool.get("function").unwrap_or(tool);
        match function["name"].as_str() {
            Some(name) if !is_name(name) => {
                found.push(Finding::new(format!("{place}.function.name"), format!("expected at most 64 letters, digits, `_` and `-`, found {name:?}")));
            }
            Some(name) if !names.insert(name) => found.push(Finding::new(format!("{place}.function.name"), format!("two tools are called {name:?}"))),
            Some(_) => {}
            None => found.push(Finding::new(format!("{place}.function.name"), "it is not there")),
        }
        if let Some(other) = function.get("parameters").filter(|schema| !schema.is_object()) {
            found.push(Finding::new(format!("{place}.function.parameters"), format!("expected a JSON schema, found {}", kind(other))));
        }
    }
    Some(names)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The calls of tools in a conversation, and the answers to them.
pub fn look(messages: &[Value], place: &str, tools: Option<&BTreeSet<&str>>, found: &mut Vec<Finding>) {
    let mut open: Vec<(String, &str)> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let place = format!("{place}[{at}]");
        if message["role"] == "tool" {
            match message["tool_call_id"].as_str() {
                None => found.push(Finding::new(format!("{place}.tool_call_id"), "it is not there: nobody knows which call this answers")),
                Some(id) if !open.iter().any(|(_, call)| *call == id) => {
                    found.push(Finding::new(format!("{place}.tool_call_id"), format!("no call before it is called {id:?}")));
                }
                Some(id) => open.retain(|(_, call)| *call != id),
            }
            continue;
        }
        for (place, id) in open.drain(..) {
            found.push(Finding::new(place, format!("the call {id:?} is not answered before the conversation goes on")));
        }
        let calls = match message.get("tool_calls") {
            None | Some(Value::Null) => continue,
            Some(Value::Array(calls)) if calls.is_empty() => {
                found.push(Finding::new(format!("{place}.tool_calls"), "it is empty: leave it out where nothing is called"));
                continue;
            }
            Some(Value::Array(calls)) if message["role"] == "assistant" => calls,
            Some(_) => {
                found.push(Finding::new(format!("{place}.tool_calls"), "only the assistant calls tools, in a list"));
                continue;
            }
        };
        for (number, call) in calls.iter().enumerate() {
            let place = format!("{place}.tool_calls[{number}]");
            match call["id"].as_str() {
                Some(id) => open.push((place.clone(), id)),
                None => found.push(Finding::new(format!("{place}.id"), "it is not there")),
            }
            if call["type"] != "function" {
                let reason = format!("expected \"function\", found {}", shown(&call["type"]));
                let field = format!("{place}.type");
                found.push(if call.get("type").is_none() { Finding::fixed_by(field, reason, "tools") } else { Finding::new(field, reason) });
            }
            match call.pointer("/function/name").and_then(Value::as_str) {
                Some(name) if tools.is_some_and(|tools| !tools.contains(name)) => {
                    found.push(Finding::new(format!("{place}.function.name"), format!("no tool of the row is called {name:?}")));
                }
                Some(_) => {}
                None => found.push(Finding::new(format!("{place}.function.name"), "it is not there")),
            }
            arguments(call, &place, found);
        }
    }
}

fn arguments(call: &Value, place: &str, found: &mut Vec<Finding>) {
    let field = format!("{place}.function.arguments");
    match call.pointer("/function/arguments") {
        Some(Value::String(text)) if serde_json::from_str::<Map<String, Value>>(text).is_err() => {
            found.push(Finding::new(field, format!("expected an object as JSON in a text, found {}", shown(&Value::from(text.as_str())))));
        }
        Some(Value::String(_)) => {}
        Some(Value::Object(_)) => found.push(Finding::fixed_by(field, "expected a text with the object as JSON, found the object", "tools")),
        Some(other) => found.push(Finding::new(field, format!("expected a text with an object as JSON, found {}", kind(other)))),
        None => found.push(Finding::new(field, "it is not there")),
    }
}
