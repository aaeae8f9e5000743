use std::sync::Arc;

use super::super::{Message, Role};
use super::Tokenizer;

/// How the tokens of a conversation are counted for a model.
#[derive(Clone, Debug)]
pub enum Counter {
    /// Exactly, for `builtin:tiny`.
    Tiny,
    /// Exactly, for models of OpenAI since GPT-4o: the encoding `o200k_base`.
    O200k,
    /// Exactly, for models of OpenAI before: the encoding `cl100k_base`.
    Cl100k,
    /// Exactly, by a `tokenizer.json` as the Hugging Face libraries write it.
    File(Arc<tokenizers::Tokenizer>),
    /// By letters, four to a token, where nothing better is known.
    Letters,
}

impl Counter {
    /// The exact way for a model, if there is one.
    #[must_use]
    pub fn exact(model: &str) -> Option<Self> {
        let name = model.trim_start_matches("ft:");
        let is =
            |family: &[&str]| family.iter().any(|family| name == *family || name.starts_with(&format!("{family}-")) || name.starts_with(&format!("{family}:")));
        if name == "builtin:tiny" {
            Some(Self::Tiny)
        } else if name.starts_with("gpt-3.5") || is(&["gpt-4", "cl100k_base"]) {
            Some(Self::Cl100k)
        } else if name.starts_with("gpt-") || is(&["o1", "o3", "o4-mini", "o200k_base"]) {
            Some(Self::O200k)
        } else {
            None
        }
    }

    /// By the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_file(bytes: &[u8]) -> Result<Self, String> {
        tokenizers::Tokenizer::from_bytes(bytes).map(|tokenizer| Self::File(Arc::new(tokenizer))).map_err(|error| error.to_string())
    }

    /// Tokens of a conversation. OpenAI's rule for chat rows: three tokens a message besides its role and content, and three for
    /// the beginning of an answer.
    #[must_use]
    pub fn count(&self, messages: &[Message]) -> usize {
        match self {
            Self::Tiny => Tokenizer::tiny().count(messages),
            Self::O200k => openai(bpe_openai::o200k_base(), messages),
            Self::Cl100k => openai(bpe_openai::cl100k_base(), messages),
            // What a chat template adds is about four tokens a message.
            Self::File(tokenizer) => {
                messages.iter().map(|message| tokenizer.encode_fast(message.content.as_str(), false).map_or(0, |found| found.len()) + 4).sum()
            }
            Self::Letters => messages.iter().map(|message| message.content.len().div_ceil(4) + 4).sum(),
        }
    }
}

impl Counter {
    /// The tokens of a conversation as texts, and which are learnt. What frames a message stands in pointed brackets: only its own model
    /// knows how. None where tokens are not known.
    #[must_use]
    pub fn pieces(&self, messages: &[Message]) -> Option<Vec<(String, bool)>> {
        if matches!(self, Self::Tiny) {
            let tokenizer = Tokenizer::tiny();
            let (tokens, learned) = tokenizer.conversation(messages);
            let piece = |token: u32| Some(tokenizer.decode(&[token])).filter(|text| !text.is_empty());
            return Some(tokens.iter().zip(learned).map(|(&token, learned)| (piece(token).unwrap_or_else(|| format!("<{token}>")), learned)).collect());
        }
        let mut pieces = Vec::new();
        for message in messages {
            let learned = message.role == Role::Assistant && message.learned;
            pieces.push((format!("<{}>", message.role.name()), false));
            let texts: Vec<String> = match self {
                Self::O200k => said(bpe_openai::o200k_base(), &message.content),
                Self::Cl100k => said(bpe_openai::cl100k_base(), &message.content),
                Self::File(tokenizer) => {
                    let found = tokenizer.encode_fast(message.content.as_str(), false).ok()?;
                    found.get_ids().iter().map(|&token| tokenizer.decode(&[token], false).unwrap_or_else(|_| format!("<{token}>"))).collect()
                }
                Self::Tiny | Self::Letters => return None,
            };
            pieces.extend(texts.into_iter().map(|text| (text, learned)));
            pieces.push(("<end>".into(), learned));
        }
        Some(pieces)
    }
}

fn said(encoding: &bpe_openai::Tokenizer, text: &str) -> Vec<String> {
    encoding.encode(text).into_iter().map(|token| encoding.decode(&[token]).unwrap_or_else(|| format!("<{token}>"))).collect()
}

fn openai(encoding: &bpe_openai::Tokenizer, messages: &[Message]) -> usize {
    // The name of each role is one token.
    messages.iter().map(|message| 4 + encoding.count(message.content.as_str())).sum::<usize>() + 3
}

#[cfg(test)]
mod tests {
    use super::super::super::Role;
    use super::*;

    #[test]
    fn openai_models_are_counted_by_their_own_encoding() {
        let message = |role, content: &str| Message::new(role, content.to_owned());
        let messages = [message(Role::System, "You are a helpful assistant."), message(Role::User, "hello world"), message(Role::Assistant, "hi")];
        let count = |model: &str| Counter::exact(model).map(|counter| counter.count(&messages));
        assert_eq!(count("gpt-4.1-nano"), Some(3 * 4 + 6 + 2 + 1 + 3));
        assert_eq!(count("gpt-3.5-turbo"), count("ft:gpt-4o:org::1"));
        assert!(matches!((Counter::exact("gpt-4-0613"), Counter::exact("gpt-4o")), (Some(Counter::Cl100k), Some(Counter::O200k))));
        assert_eq!(count("llama-3"), None);
    }
}
