//! A tuned model in the forms in which other programs run it.

mod described;
mod gguf;
mod hugging_face;
mod proof;

use std::collections::BTreeMap;
use std::path::Path;

use gguf::{Precision, gguf};
pub use hugging_face::describe;

use crate::provider::ModelHandle;

use super::error::ModelError;
use super::tuned::Model;

/// A form of a model outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A LoRA adapter as PEFT has it: a folder.
    Peft,
    /// All weights with what was learnt in them, as Hugging Face's libraries have them: a folder.
    Safetensors,
    /// The same in half the bytes: bfloat16, as most open weights are.
    SafetensorsBf16,
    /// One file for llama.cpp and what is built on it, in half precision.
    Gguf,
    /// The same in eight bits.
    GgufEight,
}

impl ExportFormat {
    /// Their names in pipelines.
    pub const NAMES: &[&str] = &["peft", "safetensors", "safetensors-bf16", "gguf", "gguf-q8_0"];

    /// The form of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "peft" => Some(Self::Peft),
            "safetensors" => Some(Self::Safetensors),
            "safetensors-bf16" => Some(Self::SafetensorsBf16),
            "gguf" => Some(Self::Gguf),
            "gguf-q8_0" => Some(Self::GgufEight),
            _ => None,
        }
    }

    /// The files of a model of the local engine, by their paths below the folder; a GGUF file has no path.
    ///
    /// # Errors
    /// When the model cannot be read, or has no adapter of its own where that is wanted.
    pub fn files(self, handle: &ModelHandle, workspace: &Path) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
        match self {
            Self::Peft if handle.card.name == "adapter" => {
                Ok(handle.files.iter().filter(|(name, _)| name.starts_with("adapter_")).map(|(name, bytes)| (name.clone(), bytes.clone())).collect())
            }
            Self::Peft => {
                Err(ModelError::Misfit { problem: "all of its weights were trained, so that there is no adapter: export it as `safetensors` or `gguf`".into() })
            }
            Self::Safetensors | Self::SafetensorsBf16 => hugging_face::folder(&Model::open(handle, workspace)?, self == Self::SafetensorsBf16),
            Self::Gguf | Self::GgufEight => {
                let precision = if self == Self::Gguf { Precision::F16 } else { Precision::Q8_0 };
                Ok(BTreeMap::from([(String::new(), gguf(&Model::open(handle, workspace)?, &handle.card.base, precision)?)]))
            }
        }
    }
}
