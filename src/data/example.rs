use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::called::{self, spoken};
use super::row::rewritten;
use super::{DataError, Identifying, Identity};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The frame of the conversation.
    #[serde(alias = "developer")]
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// What a tool gave back.
    #[serde(alias = "function")]
    Tool,
}

impl Role {
    /// Its name in a conversation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. Of a content in parts, the text.
    #[serde(default, deserialize_with = "text")]
    pub content: String,
    /// Whether it is learnt where the model says it: OpenAI's `weight` of 0 says that it is not.
    #[serde(default = "learned", rename = "weight", deserialize_with = "weighs", skip_serializing)]
    pub learned: bool,
}

impl Message {
    /// A message that is learnt where the model says it.
    #[must_use]
    pub const fn new(role: Role, content: String) -> Self {
        Self { role, content, learned: true }
    }
}

const fn learned() -> bool {
    true
}

fn weighs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(true),
        weight if weight.as_f64() == Some(0.0) => Ok(false),
        weight if weight.as_f64() == Some(1.0) => Ok(true),
        weight => Err(serde::de::Error::custom(format!("`weight` is 0 or 1, and not {weight}"))),
    }
}

/// A content as text: of parts, those that are text; nothing where a message only calls tools.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(called::text(&Value::deserialize(deserializer)?))
}

/// What rows train a model to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// To say what the assistant says.
    Chat,
    /// To prefer one answer to another.
    Preference,
    /// To give answers that a grader likes.
    Reinforcement,
    /// To go on with a text.
    Completion,
}

/// One training row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Example {
    /// The conversation. The last message is the assistant's; of a preference it is the better answer.
    pub messages: Vec<Message>,
    /// The row as it is written, where it holds more than the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Box<str>>,
}

impl Example {
    /// A plain conversation.
    #[must_use]
    pub const fn chat(messages: Vec<Message>) -> Self {
        Self { messages, written: None }
    }

    /// The messages that a model is asked with: all before the last answer.
    #[must_use]
    pub fn prompt(&self) -> &[Message] {
        match self.messages.split_last() {
            Some((last, before)) if last.role == Role::Assistant => before,
            _ => &self.messages,
        }
    }

    /// The answer that is wanted.
    #[must_use]
    pub fn answer(&self) -> &str {
        self.messages.last().filter(|last| last.role == Role::Assistant).map_or("", |last| &last.content)
    }

    /// The same with the tools that it calls, as [`spoken`] writes them.
    #[must_use]
    pub fn wanted(&self) -> Cow<'_, str> {
        let written = self.written.as_deref().filter(|written| written.contains("_call"));
        let last = written.and_then(|written| {
            let row: Value = serde_json::from_str(written).ok()?;
            let said = row["messages"].as_array().or_else(|| row["preferred_output"].as_array())?;
            said.last().filter(|last| last["role"] == Role::Assistant.name()).cloned()
        });
        last.map_or(Cow::Borrowed(self.answer()), |last| Cow::Owned(spoken(&last)))
    }

    /// Changes every string in it. Tells whether any was changed. JSON text that `may` not hold anything to change is not taken apart.
    pub fn rewrite(&mut self, may: impl Fn(&str) -> bool, change: &mut impl FnMut(&str) -> Option<String>) -> bool {
        let mut changed = false;
        for message in &mut self.messages {
            if let Some(content) = change(&message.content) {
                message.content = content;
                changed = true;
            }
        }
        if let Some(mut written) = self.written.as_deref().filter(|json| may(json)).and_then(|written| serde_json::from_str::<Value>(written).ok())
            && rewritten(&mut written, change)
        {
            self.written = Some(written.to_string().into());
            changed = true;
        }
        changed
    }

    /// What tells it from every other example.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut identity = Identifying::default();
        match &self.written {
            Some(written) => identity.part(written),
            None => self.messages.iter().for_each(|message| {
                identity.part(message.role.name());
                identity.part(&message.content);
            }),
        }
        identity.end()
    }

    /// The row as it goes to a provider, without a line break.
    #[must_use]
    pub fn line(&self) -> String {
        self.as_line().into_owned()
    }

    /// The same, borrowed where it is there.
    #[must_use]
    pub fn as_line(&self) -> Cow<'_, str> {
        match &self.written {
            Some(written) => Cow::Borrowed(written),
            None => {
                let mut line = Vec::new();
                self.write(&mut line);
                Cow::Owned(String::from_utf8(line).unwrap_or_default())
            }
        }
    }

    /// Appends the same.
    pub fn write(&self, out: &mut Vec<u8>) {
        match &self.written {
            Some(written) => out.extend(written.as_bytes()),
            None => {
                for (number, message) in self.messages.iter().enumerate() {
                    out.extend_from_slice(if number == 0 { b"{\"messages\":[{\"role\":\"" } else { b",{\"role\":\"" });
                    out.extend_from_slice(message.role.name().as_bytes());
                    out.extend_from_slice(b"\",\"content\":");
                    write_text(&message.content, out);
                    out.push(b'}');
                }
                out.extend_from_slice(if self.messages.is_empty() { b"{\"messages\":[]}" } else { b"]}" });
            }
        }
    }
}

/// Appends a text as JSON. Most need no escapes, which is seen at a glance.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let odd = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, |any, byte| any | odd(byte)) {
        // What is written to memory is written.
        return serde_json::to_writer(out, text).unwrap_or_default();
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Reads chat examples, one a line.
///
/// # Errors
/// When a line is not an example; the first such line is named.
pub fn parse_examples(bytes: &[u8]) -> Result<Vec<Example>, DataError> {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(index, line)| parse(line).map_err(|error| DataError::MalformedExample { line: index + 1, problem: error.to_string() })).collect()
}

/// One of them: a conversation, or a preference, whose conversation ends with the better answer.
fn parse(line: &[u8]) -> Result<Example, serde_json::Error> {
    #[derive(Deserialize)]
    struct Chat {
        messages: Vec<Message>,
    }
    #[derive(Deserialize)]
    struct Preference {
        input: Chat,
        preferred_output: Vec<Message>,
    }
    let chat: Chat = match serde_json::from_slice(line) {
        Ok(chat) => chat,
        Err(error) => {
            let Preference { mut input, preferred_output } = serde_json::from_slice(line).map_err(|_| error)?;
            input.messages.extend(preferred_output);
            input
        }
    };
    let plain = Example::chat(chat.messages);
    // A plain conversation needs no second copy of itself.
    if plain.as_line().as_bytes() == line {
        return Ok(plain);
    }
    let written = std::str::from_utf8(line).ok().map(Into::into);
    Ok(Example { written, ..plain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct Chat<'a> {
        messages: &'a [Message],
    }

    proptest! {
        #[test]
        fn a_conversation_is_written_as_serde_writes_it(texts in prop::collection::vec((0..4_usize, any::<String>()), 0..4)) {
            let role = |number: usize| [Role::System, Role::User, Role::Assistant, Role::Tool][number];
            let messages: Vec<Message> = texts.into_iter().map(|(number, content)| Message::new(role(number), content)).collect();
            let wanted = serde_json::to_string(&Chat { messages: &messages }).expect("texts are JSON");
            prop_assert_eq!(Example::chat(messages).line(), wanted);
        }
    }
}
