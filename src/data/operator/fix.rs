use serde_json::{Map, Value, json};

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Stream, Verdict};
use super::super::rules::{self, Rules};
use super::{Operator, OperatorKind};

static SETTING: Setting =
    Setting::new("fix", "Mends what a provider would refuse in rows that are conversations already, where that changes nothing they say.")
        .operator(1)
        .arguments(&[Slot::new("what", Kind::Choice(NAMES), "What is mended, as `check --data` calls it.")])
        .rest(&Slot::new("more", Kind::Choice(NAMES), "What else."))
        .properties(&[Slot::new("provider", Kind::Choice(&["openai", "azure", "together", "fireworks"]), "By whose rules.").or(Fallback::Text("openai"))]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Fix::from(block))));

/// Mends a list of messages; tells whether it changed anything.
type Mend = fn(&Rules, &mut Vec<Value>) -> bool;

/// What can be mended in messages, in the order in which it is done.
const FIXES: &[(&str, Mend)] = &[
    ("roles", |rules, messages| roles(rules, messages)),
    ("parts", |rules, messages| parts(rules, messages)),
    ("weights", |rules, messages| weights(rules, messages)),
    ("tools", |rules, messages| calls(rules, messages)),
    ("ending", ending),
    ("turns", turns),
];
const NAMES: &[&str] = &["roles", "parts", "weights", "tools", "ending", "turns"];

#[derive(Debug)]
struct Fix {
    names: Vec<String>,
    rules: &'static Rules,
}

impl From<&Block> for Fix {
    fn from(block: &Block) -> Self {
        let further = block.rest.iter().filter_map(|name| match &name.value {
            crate::config::Value::Text(name) => Some(name.clone()),
            _ => None,
        });
        Self { names: std::iter::once(block.text("what").to_owned()).chain(further).collect(), rules: rules::of(block.text("provider")) }
    }
}

impl Fix {
    fn wants(&self, name: &str) -> bool {
        self.names.iter().any(|wanted| wanted == name)
    }

    fn row(&self, row: &mut Map<String, Value>) -> bool {
        let mut changed = false;
        if self.wants("roles")
            && !row.contains_key("messages")
            && row.get("conversations").is_some_and(Value::is_array)
            && let Some(conversations) = row.shift_remove("conversations")
        {
            row.shift_insert(0, "messages".into(), conversations);
            changed = true;
        }
        if self.wants("parts") && self.rules.name == "together" && row.contains_key("messages") {
            changed |= ["text", "prompt"].into_iter().filter(|other| row.shift_remove(*other).is_some()).count() > 0;
        }
        changed |= self.wants("tools") && row.get_mut("tools").is_some_and(tools);
        for name in ["messages", "preferred_output", "non_preferred_output"] {
            changed |= row.get_mut(name).and_then(Value::as_array_mut).is_some_and(|messages| self.messages(messages, name == "messages"));
        }
        if let Some(input) = row.get_mut("input").and_then(Value::as_object_mut) {
            changed |= self.wants("tools") && input.get_mut("tools").is_some_and(tools);
            changed |= input.get_mut("messages").and_then(Value::as_array_mut).is_some_and(|messages| self.messages(messages, false));
        }
        changed
    }

    /// Mends messages; `whole` where they are a conversation that ends in an answer.
    fn messages(&self, messages: &mut Vec<Value>, whole: bool) -> bool {
        let wanted = FIXES.iter().filter(|(name, _)| self.wants(name) && (whole || *name != "ending"));
        wanted.fold(false, |changed, (_, mend)| mend(self.rules, messages) | changed)
    }
}

impl Operator for Fix {
    fn is_by_row(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        Ok(flow.change("fix", rows, |item| {
            // What cannot be read as a conversation is for whoever makes examples to tell.
            if item.row.fields.change(|fields| self.row(fields)) { Verdict::Changed } else { Verdict::Keep }
        }))
    }
}

/// Every message of a list, by itself.
fn each(messages: &mut [Value], mend: impl Fn(&mut Map<String, Value>) -> bool) -> bool {
    messages.iter_mut().filter_map(Value::as_object_mut).fold(false, |changed, message| mend(message) | changed)
}

/// Names that others give to roles, and `from` and `value` in the place of `role` and `content`.
fn roles(rules: &Rules, messages: &mut [Value]) -> bool {
    each(messages, |message| {
        let mut changed = false;
        for (own, theirs) in [("content", "value"), ("role", "from")] {
            if !message.contains_key(own)
                && let Some(value) = message.shift_remove(theirs)
            {
                message.shift_insert(0, own.into(), value);
                changed = true;
            }
        }
        let role = message.get("role").and_then(Value::as_str).filter(|role| !rules.roles.contains(role));
        if let Some(known) = role.and_then(rules::known_as).filter(|known| rules.roles.contains(known)) {
            message.insert("role".into(), known.into());
            changed = true;
        }
        changed
    })
}

/// Parts of messages that the provider does not know.
fn parts(rules: &Rules, messages: &mut [Value]) -> bool {
    each(messages, |message| {
        let before = message.len();
        message.retain(|name, _| rules.parts.contains(&name.as_str()));
        message.len() < before
    })
}

/// Weights that are written in another way, or stand where none may be.
fn weights(_: &Rules, messages: &mut [Value]) -> bool {
    each(messages, |message| {
        let Some(weight) = message.get("weight") else {
            return false;
        };
        if message.get("role").is_none_or(|role| role != "assistant") {
            return message.shift_remove("weight").is_some();
        }
        let number = match weight {
            Value::Bool(flag) => Some(i64::from(*flag)),
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) if !number.is_i64() => [0, 1].into_iter().find(|whole| number.as_f64() == Some(f64::from(*whole))).map(i64::from),
            _ => None,
        };
        number.map(|number| message.insert("weight".into(), number.into())).is_some()
    })
}

/// Calls without their type, and arguments that are an object and no text.
fn calls(_: &Rules, messages: &mut [Value]) -> bool {
    each(messages, |message| {
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        calls.into_iter().flatten().filter_map(Value::as_object_mut).fold(false, |changed, call| {
            let typed = !call.contains_key("type") && call.insert("type".into(), "function".into()).is_none();
            let arguments = call.get_mut("function").and_then(|function| function.get_mut("arguments")).filter(|arguments| arguments.is_object());
            let written = arguments.map(|arguments| *arguments = arguments.to_string().into()).is_some();
            changed | typed | written
        })
    })
}

/// Tools without their type, and such as stand there without `function` around them.
fn tools(tools: &mut Value) -> bool {
    tools.as_array_mut().into_iter().flatten().fold(false, |changed, tool| {
        let bare = tool.get("type").is_none();
        if bare && tool["function"].is_object() {
            tool["type"] = "function".into();
        } else if bare && tool["name"].is_string() {
            *tool = json!({ "type": "function", "function": tool.take() });
        } else {
            return changed;
        }
        true
    })
}

/// What comes after the last answer.
fn ending(_: &Rules, messages: &mut Vec<Value>) -> bool {
    let last = messages.iter().rposition(|message| message["role"] == "assistant");
    let before = messages.len();
    if let Some(last) = last {
        messages.truncate(last + 1);
    }
    messages.len() < before
}

/// Messages of the same one in a row become one, where both are plain texts.
fn turns(_: &Rules, messages: &mut Vec<Value>) -> bool {
    let before = messages.len();
    messages.dedup_by(|next, first| {
        let plain = |message: &Value| message["content"].is_string() && message.get("tool_calls").is_none() && message.get("weight").is_none();
        let same = first["role"] == next["role"] && matches!(first["role"].as_str(), Some("user" | "assistant"));
        if !same || !plain(first) || !plain(next) {
            return false;
        }
        let text = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
        first["content"] = format!("{}\n\n{}", text(first), text(next)).into();
        true
    });
    messages.len() < before
}

#[cfg(test)]
mod tests {
    use super::super::super::Form;
    use super::*;

    /// What is found in a row, what is found when all of that is mended, and the row then.
    fn mended(provider: &str, row: &Value) -> (Vec<&'static str>, usize, Value) {
        let rules = rules::of(provider);
        let found = rules.look(Form::Chat, row.to_string().as_bytes());
        let fixes: Vec<&'static str> = found.iter().filter_map(|finding| finding.fix).collect();
        let fix = Fix { names: fixes.iter().map(|name| (*name).to_owned()).collect(), rules };
        let mut row = row.as_object().cloned().expect("an object");
        fix.row(&mut row);
        let row = Value::Object(row);
        (fixes, rules.look(Form::Chat, row.to_string().as_bytes()).len(), row)
    }

    #[test]
    fn what_is_found_to_be_mendable_is_mended_by_the_fix_that_is_named() {
        let rows = [
            ("openai", json!({ "conversations": [{ "from": "human", "value": "a" }, { "from": "gpt", "value": "b" }] })),
            ("openai", json!({ "messages": [{ "role": "User", "content": "a" }, { "role": "bot", "content": "b" }] })),
            (
                "fireworks",
                json!({ "messages": [{ "role": "developer", "content": "s" }, { "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }] }),
            ),
            ("openai", json!({ "messages": [{ "role": "user", "content": "a", "time": 3 }, { "role": "assistant", "content": "b" }] })),
            ("openai", json!({ "messages": [{ "role": "user", "content": "a", "weight": 1 }, { "role": "assistant", "content": "b", "weight": true }] })),
            ("openai", json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b", "weight": 1.0 }] })),
            (
                "openai",
                json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }, { "role": "user", "content": "c" }] }),
            ),
            (
                "together",
                json!({ "text": "x", "messages": [{ "role": "user", "content": "a" }, { "role": "user", "content": "b" }, { "role": "assistant", "content": "c" }] }),
            ),
            (
                "openai",
                json!({
                    "tools": [{ "name": "find", "parameters": {} }],
                    "messages": [
                        { "role": "user", "content": "a" },
                        { "role": "assistant", "content": null, "tool_calls": [{ "id": "1", "function": { "name": "find", "arguments": { "q": 1 } } }] },
                    ],
                }),
            ),
        ];
        for (provider, row) in rows {
            let (fixes, left, after) = mended(provider, &row);
            assert!(!fixes.is_empty(), "{row}");
            assert_eq!(left, 0, "{row} became {after}");
        }
    }

    #[test]
    fn what_is_right_is_left_as_it_is() {
        let row = json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b", "weight": 0 }, { "role": "user", "content": "a" }, { "role": "assistant", "content": "c", "weight": 1 }], "note": 1 });
        let fix = Fix { names: NAMES.iter().map(|name| (*name).to_owned()).collect(), rules: rules::of("openai") };
        let mut after = row.as_object().cloned().expect("an object");
        assert!(!fix.row(&mut after));
        assert_eq!(Value::Object(after), row);
    }
}
