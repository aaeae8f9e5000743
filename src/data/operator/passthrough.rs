use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::flow::{Flow, Item, Stream, Verdict};
use super::super::{DataError, Example, Form, Message, Role};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("passthrough", "Takes rows that are examples already, with tools, weights and images as they are.")
    .operator(1)
    .properties(&[Slot::new("form", Kind::Choice(&["chat", "preference", "reinforcement", "completion"]), "What they are.").or(Fallback::Text("chat"))]);

pub const KIND: OperatorKind =
    OperatorKind { makes: |block| Some(form(block)), ..OperatorKind::new(&SETTING, |block| Ok(Box::new(Passthrough { form: form(block) }))) };

fn form(block: &Block) -> Form {
    match block.text("form") {
        "preference" => Form::Preference,
        "reinforcement" => Form::Reinforcement,
        "completion" => Form::Completion,
        _ => Form::Chat,
    }
}

/// The fields of a row that are the example; what else there is goes with the row and not to a provider.
const PARTS: &[(Form, &[&str])] = &[
    (Form::Chat, &["messages", "tools", "parallel_tool_calls", "functions"]),
    (Form::Preference, &["input", "preferred_output", "non_preferred_output"]),
    (Form::Completion, &["prompt", "completion"]),
];

#[derive(Debug)]
struct Passthrough {
    form: Form,
}

impl Passthrough {
    fn example(&self, item: &Item) -> Result<Example, String> {
        if let (Form::Chat, Some(text)) = (self.form, item.row.fields.as_written())
            && let Ok(Plain { messages, .. }) = serde_json::from_str(text)
            && !messages.is_empty()
        {
            return ended(messages.into_iter().map(Message::from).collect()).map(Example::chat);
        }
        let fields = &item.row.fields;
        let field = |name: &str| fields.get(name).ok_or_else(|| format!("the row has no `{name}` (it has: {})", names(fields)));
        let messages = match self.form {
            Form::Chat => ended(messages(field("messages")?, "messages")?)?,
            Form::Reinforcement => messages(field("messages")?, "messages")?,
            Form::Preference => {
                let asked = field("input")?.get("messages").ok_or("`input` has no `messages`")?;
                let better = messages(field("preferred_output")?, "preferred_output")?;
                messages(field("non_preferred_output")?, "non_preferred_output")?;
                ended([messages(asked, "input.messages")?, better].concat())?
            }
            Form::Completion => {
                let text = |name: &str| field(name).and_then(|value| value.as_str().map(str::to_owned).ok_or_else(|| format!("`{name}` is no text")));
                vec![Message::new(Role::User, text("prompt")?), Message::new(Role::Assistant, text("completion")?)]
            }
        };
        let parts = PARTS.iter().find(|(form, _)| *form == self.form).map(|(_, parts)| *parts);
        let own: Map<String, Value> = fields
            .iter()
            .filter(|(name, _)| parts.is_none_or(|parts| parts.contains(&name.as_str())))
            .map(|(name, value)| (name.clone(), structured(value)))
            .collect();
        let written = serde_json::to_string(&own).map_err(|error| error.to_string())?;
        let plain = Example::chat(messages);
        // A plain conversation needs no second copy of itself.
        Ok(if plain.as_line() == written { plain } else { Example { messages: plain.messages, written: Some(written.into()) } })
    }
}

/// A conversation of texts and nothing else. Most are, and need not be taken apart field by field.
#[derive(Deserialize)]
struct Plain {
    messages: Vec<PlainMessage>,
    #[serde(default, rename = "tools", alias = "parallel_tool_calls", alias = "functions")]
    _more: Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage {
    role: PlainRole,
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PlainRole {
    System,
    User,
    Assistant,
}

impl From<PlainMessage> for Message {
    fn from(PlainMessage { role, content }: PlainMessage) -> Self {
        let role = match role {
            PlainRole::System => Role::System,
            PlainRole::User => Role::User,
            PlainRole::Assistant => Role::Assistant,
        };
        Self::new(role, content)
    }
}

/// What must not be there.
#[derive(Default)]
struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("it is there"))
    }
}

/// A list that an export holds as text, as a list.
fn structured(value: &Value) -> Value {
    let list = value.as_str().filter(|text| text.starts_with('[')).and_then(|text| serde_json::from_str::<Value>(text).ok());
    list.unwrap_or_else(|| value.clone())
}

fn names(fields: &Map<String, Value>) -> String {
    fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn messages(value: &Value, name: &str) -> Result<Vec<Message>, String> {
    // Exports to CSV hold the list as text.
    let read: Result<Vec<Message>, _> = match value {
        Value::String(text) => serde_json::from_str(text),
        other => Vec::deserialize(other),
    };
    let messages = read.map_err(|error| format!("`{name}` is no list of messages: {error}"))?;
    if messages.is_empty() { Err(format!("`{name}` is empty")) } else { Ok(messages) }
}

fn ended(messages: Vec<Message>) -> Result<Vec<Message>, String> {
    match messages.last() {
        Some(last) if last.role == Role::Assistant => Ok(messages),
        _ => Err("the last message is not the assistant's, so that there is nothing to learn".into()),
    }
}

impl Operator for Passthrough {
    fn is_by_row(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        Ok(flow.each("passthrough", rows, |item| match self.example(item) {
            Ok(example) => {
                item.example = Some(example);
                Verdict::Keep
            }
            Err(reason) => Verdict::Reject(reason),
        }))
    }
}
