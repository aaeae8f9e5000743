use serde_json::{Map, Value};

use super::super::Form;
use super::{Finding, Rules, calls, kind, shown};

/// Everything in a row that is not as the rules want it.
pub fn look(rules: &Rules, form: Form, row: &Map<String, Value>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !rules.forms.contains(&form) {
        let name = match form {
            Form::Chat => "conversations",
            Form::Preference => "preferences",
            Form::Reinforcement => "conversations to be graded",
            Form::Completion => "completions",
        };
        found.push(Finding::new("", format!("{} does not train on {name}", rules.name)));
        return found;
    }
    match form {
        Form::Chat | Form::Reinforcement => conversation(rules, form, row, "", &mut found),
        Form::Preference => preference(rules, row, &mut found),
        Form::Completion => {
            for name in ["prompt", "completion"] {
                match row.get(name) {
                    Some(Value::String(text)) if !text.trim().is_empty() => {}
                    Some(Value::String(_)) => found.push(Finding::new(name, "it is empty")),
                    Some(other) => found.push(Finding::new(name, format!("expected a text, found {}", kind(other)))),
                    None => found.push(missing(row, name)),
                }
            }
        }
    }
    found
}

fn missing(row: &Map<String, Value>, name: &str) -> Finding {
    let has = row.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let finding = format!("it is not there (the row has: {has})");
    // As ShareGPT and its kin write conversations.
    if name == "messages" && row.get("conversations").is_some_and(Value::is_array) {
        Finding::fixed_by(name, finding, "roles")
    } else {
        Finding::new(name, finding)
    }
}

/// A row of messages, with its tools; `above` is where it stands.
fn conversation(rules: &Rules, form: Form, row: &Map<String, Value>, above: &str, found: &mut Vec<Finding>) {
    let place = format!("{above}messages");
    if rules.name == "together" && above.is_empty() {
        for other in ["text", "prompt"].into_iter().filter(|other| row.contains_key(*other)) {
            found.push(Finding::fixed_by(other, "a row of messages must not be of another format too", "parts"));
        }
    }
    let Some(messages) = list(row, "messages", &place, found) else {
        return;
    };
    let tools = calls::tools(row, above, found);
    each(rules, messages, &place, found);
    calls::look(messages, &place, tools.as_ref(), found);
    ending(form, messages, &place, found);
}

fn list<'a>(row: &'a Map<String, Value>, name: &str, place: &str, found: &mut Vec<Finding>) -> Option<&'a [Value]> {
    match row.get(name) {
        Some(Value::Array(list)) if list.is_empty() => found.push(Finding::new(place, "it is empty")),
        Some(Value::Array(list)) => return Some(list),
        Some(other) => found.push(Finding::new(place, format!("expected a list, found {}", kind(other)))),
        None => found.push(Finding { field: place.to_owned(), ..missing(row, name) }),
    }
    None
}

/// The messages one by one, and their order.
fn each(rules: &Rules, messages: &[Value], place: &str, found: &mut Vec<Finding>) {
    let mut before = "";
    let mut images = 0;
    for (at, message) in messages.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let Some(message) = message.as_object() else {
            found.push(Finding::new(place, format!("expected a message, found {}", kind(message))));
            continue;
        };
        let role = match message.get("role") {
            Some(Value::String(role)) if rules.roles.contains(&role.as_str()) => role.as_str(),
            Some(role) => {
                let reason = format!("expected one of {}, found {}", rules.roles.join(", "), shown(role));
                let known = role.as_str().and_then(known_as).filter(|role| rules.roles.contains(role));
                found.push(
                    known.map_or_else(|| Finding::new(format!("{place}.role"), &reason), |_| Finding::fixed_by(format!("{place}.role"), &reason, "roles")),
                );
                continue;
            }
            None => {
                let fix = message.get("from").is_some_and(Value::is_string);
                let (field, reason) = (format!("{place}.role"), "it is not there");
                found.push(if fix { Finding::fixed_by(field, reason, "roles") } else { Finding::new(field, reason) });
                continue;
            }
        };
        for part in message.keys().filter(|part| !rules.parts.contains(&part.as_str())) {
            found.push(Finding::fixed_by(format!("{place}.{part}"), format!("{} does not know it", rules.name), "parts"));
        }
        content(message, role, &place, &mut images, found);
        weight(message, role, &place, found);
        if rules.system_first && role == "system" && at > 0 {
            found.push(Finding::new(format!("{place}.role"), "a system message may only come first"));
        }
        if rules.turns && role == before && matches!(role, "user" | "assistant") {
            found.push(Finding::fixed_by(
                format!("{place}.role"),
                format!("user and assistant must take turns, and two messages in a row are the {role}'s"),
                "turns",
            ));
        }
        before = role;
    }
    if images > rules.images {
        found.push(Finding::new(place, format!("it holds {images} images, and at most {} are taken", rules.images)));
    }
}

/// The role that others call by this name.
#[must_use]
pub fn known_as(name: &str) -> Option<&'static str> {
    Some(match name.trim().to_lowercase().as_str() {
        "system" | "developer" | "instruction" | "instructions" => "system",
        "user" | "human" | "customer" | "prompter" | "question" => "user",
        "assistant" | "gpt" | "bot" | "ai" | "model" | "agent" | "chatgpt" | "answer" => "assistant",
        "tool" | "function" | "observation" => "tool",
        _ => return None,
    })
}

fn content(message: &Map<String, Value>, role: &str, place: &str, images: &mut usize, found: &mut Vec<Finding>) {
    let field = format!("{place}.content");
    let calls = ["tool_calls", "function_call", "refusal", "audio"]
        .iter()
        .any(|part| message.get(*part).is_some_and(|part| !part.is_null() && part.as_array().is_none_or(|calls| !calls.is_empty())));
    match message.get("content") {
        Some(Value::String(text)) if role == "assistant" && text.trim().is_empty() && !calls => {
            found.push(Finding::new(field, "there is nothing in the answer to learn"));
        }
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            for (at, part) in parts.iter().enumerate() {
                let place = format!("{field}[{at}]");
                match part["type"].as_str() {
                    Some("text") if part["text"].is_string() => {}
                    Some("text") => found.push(Finding::new(format!("{place}.text"), "expected a text")),
                    Some("refusal") if role == "assistant" => {}
                    Some("image_url") => {
                        *images += 1;
                        image(part, role, &place, found);
                    }
                    _ => found.push(Finding::new(format!("{place}.type"), format!("expected text or image_url, found {}", shown(&part["type"])))),
                }
            }
        }
        Some(Value::Null) | None if role == "assistant" && calls => {}
        None => found.push(Finding::new(field, "it is not there")),
        Some(other) => found.push(Finding::new(field, format!("expected a text or a list of parts, found {}", kind(other)))),
    }
}

fn image(part: &Value, role: &str, place: &str, found: &mut Vec<Finding>) {
    if role != "user" {
        found.push(Finding::new(place, format!("only the user may show images, and this is the {role}'s")));
    }
    let address = part.pointer("/image_url/url").and_then(Value::as_str).unwrap_or_default();
    let inline = ["jpeg", "jpg", "png", "webp"].iter().any(|kind| address.starts_with(&format!("data:image/{kind};base64,")));
    if !inline && !address.starts_with("https://") && !address.starts_with("http://") {
        let reason = format!("expected an address, or a JPEG, PNG or WebP as a data address, found {}", shown(&Value::from(address)));
        found.push(Finding::new(format!("{place}.image_url.url"), reason));
    }
}

fn weight(message: &Map<String, Value>, role: &str, place: &str, found: &mut Vec<Finding>) {
    let Some(weight) = message.get("weight") else {
        return;
    };
    let field = format!("{place}.weight");
    if role != "assistant" {
        found.push(Finding::fixed_by(field, format!("only the assistant's messages have a weight, and this is the {role}'s"), "weights"));
    } else if weight.as_i64().is_none_or(|weight| !(0..=1).contains(&weight)) {
        let reason = format!("expected 0 or 1, found {}", shown(weight));
        let sure = matches!(weight, Value::Bool(_))
            || matches!(weight.as_f64(), Some(weight) if weight == 0.0 || weight == 1.0)
            || weight.as_str().is_some_and(|text| matches!(text, "0" | "1"));
        found.push(if sure { Finding::fixed_by(field, reason, "weights") } else { Finding::new(field, reason) });
    }
}

/// How a conversation ends, and whether there is anything to learn from it.
fn ending(form: Form, messages: &[Value], place: &str, found: &mut Vec<Finding>) {
    let role = |message: &Value| message["role"].as_str().and_then(known_as);
    let last = messages.last().and_then(role);
    let at = format!("{place}[{}].role", messages.len() - 1);
    if form == Form::Reinforcement {
        if last == Some("assistant") {
            found.push(Finding::new(at, "the model is to answer here, and the last message is an answer already"));
        }
        return;
    }
    if last.is_some() && last != Some("assistant") {
        let reason = "the last message must be the assistant's: there is nothing to learn after it";
        let any = messages.iter().any(|message| role(message) == Some("assistant"));
        found.push(if any { Finding::fixed_by(at, reason, "ending") } else { Finding::new(at, reason) });
    }
    let answers = || messages.iter().filter(|message| role(message) == Some("assistant"));
    if answers().count() > 0 && answers().all(|answer| answer["weight"] == 0) {
        found.push(Finding::new(place, "every answer has the weight 0, so that there is nothing to learn"));
    }
}

fn preference(rules: &Rules, row: &Map<String, Value>, found: &mut Vec<Finding>) {
    match row.get("input") {
        Some(Value::Object(input)) => {
            if let Some(messages) = list(input, "messages", "input.messages", found) {
                let tools = calls::tools(input, "input.", found);
                each(rules, messages, "input.messages", found);
                calls::look(messages, "input.messages", tools.as_ref(), found);
                ending(Form::Reinforcement, messages, "input.messages", found);
            }
        }
        Some(other) => found.push(Finding::new("input", format!("expected an object, found {}", kind(other)))),
        None => found.push(missing(row, "input")),
    }
    for name in ["preferred_output", "non_preferred_output"] {
        let Some(messages) = list(row, name, name, found) else {
            continue;
        };
        each(&Rules { turns: false, ..copied(rules) }, messages, name, found);
        if let Some(other) = messages.iter().position(|message| !matches!(message["role"].as_str(), Some("assistant" | "tool"))) {
            found.push(Finding::new(format!("{name}[{other}].role"), "an output is the assistant's"));
        }
    }
    if row.get("preferred_output").is_some_and(|better| Some(better) == row.get("non_preferred_output")) {
        found.push(Finding::new("non_preferred_output", "it is the same as the preferred one"));
    }
}

const fn copied(rules: &Rules) -> Rules {
    Rules { ..*rules }
}
