//! What a model is asked.

use serde_json::{Map, Value};

use crate::data::{Example, Message, Role};
use crate::fingerprint::Digest;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The conversation so far, as texts.
    pub messages: Vec<Message>,
    /// The same as it is written, in `messages`, and the tools that may be called, where there is more to it than texts: an object in
    /// the form of OpenAI's chat completions.
    pub written: Option<Box<Map<String, Value>>>,
    /// Which of several answers to it is meant, from 0.
    pub sample: u32,
}

/// What may stand beside the messages.
const BESIDE: [&str; 3] = ["tools", "parallel_tool_calls", "functions"];

impl From<Vec<Message>> for Question {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, written: None, sample: 0 }
    }
}

impl From<&Example> for Question {
    fn from(example: &Example) -> Self {
        let written = example.written.as_deref().and_then(written);
        Self { messages: example.prompt().to_vec(), written: written.map(Box::new), sample: 0 }
    }
}

/// What of a row as it is written goes into a question; nothing where it holds no messages, or only texts.
fn written(row: &str) -> Option<Map<String, Value>> {
    let row: Value = serde_json::from_str(row).ok()?;
    // A preference has them in its input.
    let row = if row["input"].is_object() { &row["input"] } else { &row };
    let mut messages = row["messages"].as_array()?.clone();
    messages.pop_if(|last| last["role"] == Role::Assistant.name());
    for message in &mut messages {
        // It says what is learnt of it.
        message.as_object_mut()?.remove("weight");
    }
    // An empty list is refused by some, and says nothing.
    let says = |value: &&Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let beside = BESIDE.iter().filter_map(|name| Some(((*name).to_owned(), row.get(*name).filter(says)?.clone())));
    let mut question: Map<String, Value> = beside.collect();
    if !question.contains_key("tools") {
        question.remove("parallel_tool_calls");
    }
    let is_text = |message: &Value| message["content"].is_string() && message.as_object().is_some_and(|message| message.len() == 2);
    if question.is_empty() && messages.iter().all(is_text) {
        return None;
    }
    question.insert("messages".to_owned(), Value::Array(messages));
    Some(question)
}

impl Question {
    /// The same question, of which another answer is meant.
    #[must_use]
    pub fn again(&self, sample: u32) -> Self {
        Self { sample, ..self.clone() }
    }

    /// About how many tokens go to the model besides the texts: a token has about four letters.
    #[must_use]
    pub fn beside(&self) -> usize {
        let texts: usize = self.messages.iter().map(|message| message.content.len()).sum();
        self.letters().saturating_sub(texts) / 4
    }

    /// About how many letters go to the model.
    #[must_use]
    pub fn letters(&self) -> usize {
        match &self.written {
            Some(written) => written.values().map(|value| value.to_string().len()).sum(),
            None => self.messages.iter().map(|message| message.content.len()).sum(),
        }
    }

    /// What tells it from every other that the same model is asked in the same way.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("retune question v1");
        let mut part = |name: &str, text: &str| {
            hasher.update(name.as_bytes()).update(&[0]).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        for Message { role, content, .. } in &self.messages {
            part(role.name(), content);
        }
        // No role is called so.
        if let Some(written) = &self.written {
            part("written", &Value::Object(Map::clone(written)).to_string());
        }
        if self.sample > 0 {
            part("sample", &self.sample.to_string());
        }
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart_by_who_says_what_and_by_all_that_is_asked() {
        let of = |messages: &[(Role, &str)]| {
            let messages: Vec<Message> = messages.iter().map(|(role, text)| Message::new(*role, (*text).to_owned())).collect();
            Question::from(messages)
        };
        let one = of(&[(Role::User, "a")]);
        assert_ne!(of(&[(Role::User, "a"), (Role::User, "b")]).digest(), of(&[(Role::User, "ab")]).digest());
        assert_ne!(one.digest(), of(&[(Role::System, "a")]).digest());
        assert_eq!(one.digest(), of(&[(Role::User, "a")]).digest());
        assert_eq!(one.digest(), one.again(0).digest());
        assert_ne!(one.digest(), one.again(1).digest());
        let with = |written: &str| Example { messages: vec![Message::new(Role::User, "a".into())], written: Some(written.into()) };
        let tools = Question::from(&with(r#"{"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}"#));
        assert!(tools.written.is_some() && tools.digest() != one.digest());
        let weighed = Question::from(&with(r#"{"messages": [{"role": "user", "content": "a", "weight": 0}, {"role": "assistant", "content": "b"}]}"#));
        assert_eq!(weighed, one, "what is learnt is no part of a question");
        let input =
            Question::from(&with(r#"{"input": {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}, "preferred_output": []}"#));
        assert_eq!(input.written.expect("it has tools")["messages"][0]["content"], "a");
    }
}
