//! A tokenizer together with how conversations are written for its model: training, asking and serving all go by it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use serde_json::Value;

use super::super::{Message, Role};
use super::exported::letters;
use super::template::{ChatTemplate, TemplateError};
use super::{Special, Tokenizer};

/// How a model reads and writes conversations.
#[derive(Debug)]
pub enum ChatTokenizer {
    /// That of `builtin:tiny`.
    Tiny(&'static Tokenizer),
    /// One of Hugging Face's library, and a template.
    Templated(Box<Templated>),
}

/// A tokenizer of Hugging Face's library, and a template.
#[derive(Debug)]
pub struct Templated {
    /// The tokenizer.
    pub tokenizer: tokenizers::Tokenizer,
    /// The template.
    pub template: ChatTemplate,
    /// Tokens that end what the model says.
    pub ends: Vec<u32>,
    /// How tokens are written as text.
    pub spelling: Spelling,
}

/// The byte that each letter of GPT-2's alphabet stands for.
static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| letters().into_iter().zip(0..=u8::MAX).collect());

/// How the tokens of a vocabulary are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// A letter for each byte (GPT-2).
    Bytes,
    /// As they are, with `\u{2581}` for a space and `<0x0A>` for single bytes (SentencePiece).
    Pieces {
        /// Whether a space at the beginning of a text is none of its own, since texts are given one before they are cut.
        has_prefix: bool,
    },
}

/// A conversation as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// For each, whether the model should learn to say it.
    pub learned: Vec<bool>,
}

impl ChatTokenizer {
    /// A conversation as tokens, and for each token whether the model should learn to say it: what an assistant says, and the token that
    /// ends it.
    ///
    /// # Errors
    /// When the template refuses it, or does not let see where the model speaks.
    pub fn conversation(&self, messages: &[Message]) -> Result<Encoded, TemplateError> {
        match self {
            Self::Tiny(tokenizer) => {
                let (tokens, learned) = tokenizer.conversation(messages);
                Ok(Encoded { tokens, learned })
            }
            Self::Templated(templated) => templated.conversation(messages),
        }
    }

    /// A conversation as tokens, all of which the model should learn to say.
    ///
    /// # Errors
    /// When the template refuses it.
    pub fn everything(&self, messages: &[Message]) -> Result<Encoded, TemplateError> {
        let tokens = match self {
            Self::Tiny(tokenizer) => tokenizer.conversation(messages).0,
            Self::Templated(templated) => templated.encode(&templated.template.whole(messages)?)?.get_ids().to_vec(),
        };
        let learned = vec![true; tokens.len()];
        Ok(Encoded { tokens, learned })
    }

    /// A conversation with the assistant's message opened, as tokens.
    ///
    /// # Errors
    /// When the template refuses it.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, TemplateError> {
        match self {
            Self::Tiny(tokenizer) => Ok(tokenizer.prompt(messages)),
            Self::Templated(templated) => Ok(templated.encode(&templated.template.prompt(messages)?)?.get_ids().to_vec()),
        }
    }

    /// The tokens that end what the model says.
    #[must_use]
    pub fn ends(&self) -> Vec<u32> {
        match self {
            Self::Tiny(tokenizer) => vec![tokenizer.special(Special::End)],
            Self::Templated(templated) => templated.ends.clone(),
        }
    }

    /// The bytes of a token; none of a special one.
    #[must_use]
    pub fn bytes(&self, token: u32) -> Cow<'_, [u8]> {
        match self {
            Self::Tiny(tokenizer) => Cow::Borrowed(tokenizer.bytes(token)),
            Self::Templated(templated) => Cow::Owned(templated.bytes(token)),
        }
    }

    /// A token as people read it: what it stands for, or the name of a special one.
    #[must_use]
    pub fn text(&self, token: u32) -> String {
        let bytes = self.bytes(token);
        let name = match self {
            Self::Tiny(tokenizer) => tokenizer.special_text(token).map(str::to_owned),
            Self::Templated(templated) if bytes.is_empty() => templated.tokenizer.id_to_token(token),
            Self::Templated(_) => None,
        };
        name.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The token with the highest number.
    #[must_use]
    pub fn last_token(&self) -> u32 {
        match self {
            Self::Tiny(tokenizer) => u32::try_from(tokenizer.vocabulary()).unwrap_or(u32::MAX) - 1,
            Self::Templated(templated) => templated.tokenizer.get_vocab(true).into_values().max().unwrap_or(0),
        }
    }

    /// The bytes of the longest token.
    #[must_use]
    pub fn longest(&self) -> usize {
        match self {
            Self::Tiny(tokenizer) => tokenizer.longest(),
            // Nothing is refused for its length in bytes that a few long tokens could make fit.
            Self::Templated(_) => 64,
        }
    }

    /// The text of tokens. Special ones are left out, broken UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.bytes(token).into_owned()).collect();
        let text = String::from_utf8_lossy(&bytes);
        if self.has_prefix() { text.strip_prefix(' ').unwrap_or(&text).to_owned() } else { text.into_owned() }
    }

    /// Whether a space at the beginning of what is said is none of its own.
    #[must_use]
    pub fn has_prefix(&self) -> bool {
        matches!(self, Self::Templated(templated) if templated.spelling == Spelling::Pieces { has_prefix: true })
    }
}

impl Templated {
    /// A tokenizer (`tokenizer.json`) with a template, and the tokens by which a model ends a text.
    ///
    /// # Errors
    /// When the tokenizer cannot be used.
    pub fn new(mut tokenizer: Value, template: ChatTemplate, ends: Vec<u32>, spelling: Spelling) -> Result<Self, String> {
        // What was set for a training elsewhere would cut or fill up texts.
        (tokenizer["truncation"], tokenizer["padding"]) = (Value::Null, Value::Null);
        keep_offsets(&mut tokenizer["post_processor"]);
        let tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer.to_string()).map_err(|error| error.to_string())?;
        let mut templated = Self { tokenizer, template, ends, spelling };
        // The token that ends an answer by the template is taught, and so it ends what is said as well.
        let talk = [Message::new(Role::User, "a".into()), Message::new(Role::Assistant, "b".into())];
        if let Ok(encoded) = templated.conversation(&talk)
            && let Some(at) = encoded.learned.iter().rposition(|learned| *learned)
        {
            templated.ends.push(encoded.tokens[at]);
        }
        templated.ends.sort_unstable();
        templated.ends.dedup();
        Ok(templated)
    }

    fn encode(&self, text: &str) -> Result<tokenizers::Encoding, TemplateError> {
        self.tokenizer.encode(text, false).map_err(|error| TemplateError::NotEncoded { problem: error.to_string() })
    }

    fn conversation(&self, messages: &[Message]) -> Result<Encoded, TemplateError> {
        let rendered = self.template.conversation(messages)?;
        let encoding = self.encode(&rendered.text)?;
        let (tokens, offsets) = (encoding.get_ids().to_vec(), encoding.get_offsets());
        let mut learned = vec![false; tokens.len()];
        let special: BTreeSet<u32> = self.tokenizer.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special).map(|(id, _)| id).collect();
        let spoken = messages.iter().enumerate().filter(|(_, message)| message.role == Role::Assistant);
        for (range, (number, message)) in rendered.said.iter().zip(spoken) {
            let from = offsets.partition_point(|offset| offset.1 <= range.start);
            let to = offsets.partition_point(|offset| offset.0 < range.end);
            let no_mask = |problem: &str| TemplateError::NoMask { problem: format!("{problem} (message {})", number + 1) };
            if (from..to).any(|at| special.contains(&tokens[at])) {
                return Err(no_mask("what it says holds the text of a special token"));
            }
            let asked = self.encode(&rendered.text[..range.start])?;
            if asked.get_ids() != &tokens[..from] {
                return Err(no_mask("the tokenizer joins the beginning of what it says with what stands before, as it does with white space there"));
            }
            if !tokens.get(to).is_some_and(|token| special.contains(token) || self.ends.contains(token)) {
                return Err(no_mask("no special token ends it"));
            }
            if message.learned {
                learned[from..=to].fill(true);
            }
        }
        Ok(Encoded { tokens, learned })
    }

    fn bytes(&self, token: u32) -> Vec<u8> {
        let Some(text) = self.tokenizer.id_to_token(token) else {
            return Vec::new();
        };
        if self.tokenizer.get_added_vocabulary().is_special_token(&text) {
            return Vec::new();
        }
        match self.spelling {
            Spelling::Bytes => {
                let byte = |c: char| BYTES.get(&c).copied();
                // A token that was added stands as it is.
                text.chars().map(byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| text.into_bytes())
            }
            Spelling::Pieces { .. } => {
                let byte = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                byte.map_or_else(|| text.replace('\u{2581}', " ").into_bytes(), |byte| vec![byte])
            }
        }
    }
}

/// Lets tokens keep the white space that belongs to them where they lie in a text.
fn keep_offsets(processor: &mut Value) {
    match processor {
        Value::Object(parts) => {
            if let Some(trims) = parts.get_mut("trim_offsets") {
                *trims = Value::Bool(false);
            }
            parts.values_mut().for_each(keep_offsets);
        }
        Value::Array(parts) => parts.iter_mut().for_each(keep_offsets),
        _ => {}
    }
}
