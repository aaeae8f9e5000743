//! How a model reads and writes, as files for other programs tell it.

use serde_json::Value;

use crate::data::{CHAT_TEMPLATE, ChatTokenizer, Special, Tokenizer};
use crate::model::error::ModelError;

/// A tokenizer and a template, as files have them.
#[derive(Debug)]
pub struct Described {
    /// `tokenizer.json`.
    pub tokenizer: Value,
    /// The chat template.
    pub template: String,
    /// The special tokens that it names.
    pub bos: Option<String>,
    pub eos: String,
    pub bos_id: Option<u32>,
    /// The tokens that end an answer, the usual one first.
    pub ends: Vec<u32>,
}

impl Described {
    /// Of a tokenizer with its template.
    pub fn of(chat: &ChatTokenizer) -> Result<Self, ModelError> {
        match chat {
            ChatTokenizer::Tiny(tokenizer) => Ok(Self::tiny(tokenizer)),
            ChatTokenizer::Templated(templated) => {
                let misfit = |problem: String| ModelError::Misfit { problem };
                let text = templated.tokenizer.to_string(false).map_err(|error| misfit(error.to_string()))?;
                let tokenizer = serde_json::from_str(&text).map_err(|error| misfit(error.to_string()))?;
                let (bos, eos) = (templated.template.bos(), templated.template.eos());
                let id = |text: &str| templated.tokenizer.token_to_id(text);
                let mut ends = templated.ends.clone();
                ends.sort_by_key(|end| Some(*end) != id(eos));
                Ok(Self {
                    tokenizer,
                    template: templated.template.source().to_owned(),
                    bos: Some(bos.to_owned()).filter(|bos| !bos.is_empty()),
                    eos: eos.to_owned(),
                    bos_id: id(bos),
                    ends,
                })
            }
        }
    }

    fn tiny(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.hugging_face(),
            template: CHAT_TEMPLATE.to_owned(),
            bos: None,
            eos: Special::End.text().to_owned(),
            bos_id: None,
            ends: vec![tokenizer.special(Special::End)],
        }
    }
}
