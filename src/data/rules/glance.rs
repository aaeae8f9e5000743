use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};

use super::Rules;

/// A conversation of texts. What is not quite so is looked at with care.
#[derive(Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    messages: Vec<PlainMessage<'a>>,
    #[serde(default, rename = "tools", alias = "functions", alias = "parallel_tool_calls", alias = "text", alias = "prompt", alias = "weight")]
    _more: Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    role: &'a str,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Default)]
struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Err(D::Error::custom("it is there"))
    }
}

/// Whether a row is a conversation in which nothing can be wrong: most rows are, and this is several times faster than to look at
/// each part.
pub fn is_plain(rules: &Rules, row: &[u8]) -> bool {
    let Ok(Plain { messages, .. }) = serde_json::from_slice(row) else {
        return false;
    };
    let mut before = "";
    let sound = messages.iter().enumerate().all(|(at, message)| {
        let sound = match message.role {
            "system" => at == 0,
            "user" => before != "user",
            "assistant" => before == "user" && !message.content.trim_ascii_start().is_empty(),
            _ => false,
        };
        before = message.role;
        sound
    });
    sound && before == "assistant" && rules.roles.contains(&"system")
}
