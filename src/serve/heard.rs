//! What is heard of an answer as it goes by: its text, whole or in the parts of a stream.

use serde::Deserialize;

/// More of an answer than this is not listened to.
const MOST: usize = 1 << 20;

/// The bytes of an answer.
#[derive(Debug, Default)]
pub struct Heard {
    bytes: Vec<u8>,
    is_too_much: bool,
}

#[derive(Deserialize)]
struct Part {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: usize,
    #[serde(alias = "delta")]
    message: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
}

impl Heard {
    /// Takes in a part.
    pub fn take(&mut self, part: &[u8]) {
        self.is_too_much |= self.bytes.len() + part.len() > MOST;
        if !self.is_too_much {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Whether nothing was said yet: a stream begins with a part that only says who speaks.
    pub fn is_nothing(&self) -> bool {
        !self.is_too_much && self.bytes.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"data:")).count() < 2
    }

    /// The text of the first answer, if all of it was heard and it is a chat completion.
    pub fn text(&self) -> Option<String> {
        if self.is_too_much {
            return None;
        }
        let first = |part: Part| part.choices.into_iter().find(|choice| choice.index == 0)?.message?.content;
        if let Ok(whole) = serde_json::from_slice::<Part>(&self.bytes) {
            return first(whole);
        }
        let text = std::str::from_utf8(&self.bytes).ok()?;
        let parts = text.lines().filter_map(|line| serde_json::from_str::<Part>(line.strip_prefix("data:")?.trim_start()).ok());
        let said: Vec<String> = parts.filter_map(first).collect();
        (!said.is_empty()).then(|| said.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[&str]) -> Option<String> {
        let mut heard = Heard::default();
        parts.iter().for_each(|part| heard.take(part.as_bytes()));
        heard.text()
    }

    #[test]
    fn an_answer_is_heard_whole_or_in_parts() {
        let whole = r#"{"choices":[{"index":1,"message":{"content":"b"}},{"index":0,"message":{"role":"assistant","content":"a"}}]}"#;
        assert_eq!(text(&[&whole[..20], &whole[20..]]).as_deref(), Some("a"));
        let stream = [
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"}}]}\n\nda",
            "ta: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\ndata: [DONE]\n\n",
        ];
        assert_eq!(text(&stream).as_deref(), Some("one two"));
        let mut begun = Heard::default();
        begun.take(b"data: {}\n\n");
        assert!(begun.is_nothing());
        begun.take(b"data: {}\n\n");
        assert!(!begun.is_nothing());
        assert_eq!((text(&["no"]), text(&["{\"choices\":[{\"message\":{\"content\":null}}]}"]), text(&[&"x".repeat(MOST + 1)])), (None, None, None));
    }
}
