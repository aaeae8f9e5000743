use std::sync::Arc;

use crate::model::Model;

/// Tokens as text that can be told while they come: no half character, and nothing of a text at which the answer stops.
#[derive(Debug)]
pub struct Teller {
    model: Arc<Model>,
    stops: Vec<String>,
    /// Bytes that end in the middle of a character.
    pending: Vec<u8>,
    /// What may yet become a text at which it stops.
    held: String,
    stopped: bool,
    /// Whether a space that comes next is none of the answer's own.
    strips: bool,
}

impl Teller {
    pub fn new(model: Arc<Model>, stops: Vec<String>) -> Self {
        let strips = model.chat().has_prefix();
        Self { model, stops, pending: Vec::new(), held: String::new(), stopped: false, strips }
    }

    /// Whether a text came at which the answer stops.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a token in, and gives what can be told now.
    pub fn take(&mut self, token: u32) -> String {
        let bytes = self.model.chat().bytes(token);
        let own = if std::mem::take(&mut self.strips) { bytes.strip_prefix(b" ").unwrap_or(&bytes) } else { &bytes };
        self.pending.extend_from_slice(own);
        loop {
            let (told, is_last) = match std::str::from_utf8(&self.pending) {
                Ok(_) => (self.pending.len(), true),
                Err(error) => match error.error_len() {
                    Some(broken) => (error.valid_up_to() + broken, false),
                    // The rest of a character may yet come.
                    None => (error.valid_up_to(), true),
                },
            };
            let rest = self.pending.split_off(told);
            let text = std::mem::replace(&mut self.pending, rest);
            self.held.push_str(&String::from_utf8_lossy(&text));
            if is_last {
                return self.tell(false);
            }
        }
    }

    /// What is left when the model has ended.
    pub fn rest(&mut self) -> String {
        self.held.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.pending)));
        self.tell(true)
    }

    fn tell(&mut self, all: bool) -> String {
        if self.stopped {
            return String::new();
        }
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = if all { 0 } else { self.stops.iter().map(|stop| begun(&self.held, stop)).max().unwrap_or(0) };
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }
}

/// How many bytes at the end of a text are the beginning of another.
fn begun(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).rev();
    ends.filter(|&at| text.ends_with(&stop[..at])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::data::Tokenizer;
    use crate::model::TINY;
    use crate::provider::{ModelCard, ModelHandle};

    fn tiny() -> Arc<Model> {
        let card = ModelCard { provider: "local".into(), base: TINY.into(), name: String::new(), digest: None };
        Arc::new(Model::open(&ModelHandle { card, files: BTreeMap::new() }, Path::new("")).expect("it is built in"))
    }

    fn told(text: &str, stops: &[&str]) -> (Vec<String>, bool) {
        let mut tokens = Vec::new();
        Tokenizer::tiny().encode(text, &mut tokens);
        let mut teller = Teller::new(tiny(), stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut parts: Vec<String> = tokens.into_iter().map(|token| teller.take(token)).collect();
        parts.push(teller.rest());
        (parts, teller.stopped())
    }

    #[test]
    fn what_is_told_is_the_text_and_never_half_a_character() {
        for text in ["plain words", "Grüße, 世界 🦀!", "a\u{fffd}", "\u{fffd}"] {
            let (parts, stopped) = told(text, &["nowhere"]);
            assert_eq!(parts.concat(), text);
            assert!(!stopped);
        }
    }

    #[test]
    fn an_answer_stops_before_the_text_at_which_it_stops() {
        for (stops, wanted) in [(&["two"][..], "one "), (&["three", "wo"], "one t"), (&["one two three"], ""), (&["x", "e t"], "on")] {
            let (parts, stopped) = told("one two three", stops);
            assert_eq!(parts.concat(), wanted);
            assert!(stopped);
        }
        let (parts, stopped) = told("one two thre", &["three"]);
        assert_eq!(parts.concat(), "one two thre", "what only began like it is told in the end");
        assert!(!stopped);
    }
}
