//! Base models: where they come from, and what they are once they are read.

mod bytes;
mod config;
mod folder;
mod gguf;
mod quantised;
mod vocabulary;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::SystemTime;

pub use config::architecture;
pub use vocabulary::pre_tokenizer;

use crate::data::{ChatTokenizer, Tokenizer};
use crate::fingerprint::Digest;
use crate::model::network::weights::Weights;

use super::builtin::{TINY, tiny};
use super::error::ModelError;

/// A base model: its weights, and how it reads and writes.
#[derive(Debug)]
pub struct Base {
    /// The weights.
    pub weights: Weights,
    /// The tokenizer and the chat template.
    pub chat: ChatTokenizer,
    /// The content of its files, where it comes from files.
    pub digest: Option<Digest>,
}

/// Where a base model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the program itself.
    Builtin,
    /// From a folder as Hugging Face's libraries write it.
    Folder(PathBuf),
    /// From a GGUF file.
    Gguf(PathBuf),
}

impl Source {
    /// What a name of a model stands for; paths are those of the workspace. Nothing where it is none of the local engine.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        if name == TINY {
            return Some(Self::Builtin);
        }
        let path = PathBuf::from(name);
        if path.extension().is_some_and(|ending| ending == "gguf") {
            return Some(Self::Gguf(path));
        }
        (name.contains('/') && !name.contains(':')).then_some(Self::Folder(path))
    }

    /// The path of its file or folder, if it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Builtin => None,
            Self::Folder(path) | Self::Gguf(path) => Some(path),
        }
    }
}

/// Makes sure that all tokens of a tokenizer have a row in the embedding.
fn fits(chat: &ChatTokenizer, vocabulary: usize) -> Result<(), String> {
    let last = chat.last_token() as usize;
    if last < vocabulary { Ok(()) } else { Err(format!("its tokenizer has the token {last}, and its embedding {vocabulary} rows")) }
}

static BUILTIN: LazyLock<Result<Arc<Base>, String>> = LazyLock::new(|| {
    let weights = tiny().map_err(|error| error.to_string())?;
    Ok(Arc::new(Base { weights, chat: ChatTokenizer::Tiny(Tokenizer::tiny()), digest: None }))
});

/// What is loaded: a model that several use at once is in memory once. Files that changed since are read anew.
type Loaded = HashMap<PathBuf, (Vec<(PathBuf, u64, SystemTime)>, Weak<Base>)>;
static LOADED: LazyLock<Mutex<Loaded>> = LazyLock::new(Mutex::default);

/// A base model of the local engine, by its name in the pipeline.
///
/// # Errors
/// When there is no such model, or its files cannot be read.
pub fn base(name: &str, workspace: &Path) -> Result<Arc<Base>, ModelError> {
    let source = Source::of(name).ok_or_else(|| ModelError::Unknown { name: name.to_owned() })?;
    let Some(path) = source.path().map(|path| workspace.join(path)) else {
        return BUILTIN.clone().map_err(|problem| ModelError::Misfit { problem });
    };
    let files = if matches!(source, Source::Gguf(_)) { vec![path.clone()] } else { folder::files(&path)? };
    let stamp = |file: &PathBuf| {
        let state = std::fs::metadata(file).and_then(|state| Ok((state.len(), state.modified()?)));
        state.map(|(size, time)| (file.clone(), size, time)).map_err(|error| ModelError::unreadable(file, &error))
    };
    let stamps: Vec<_> = files.iter().map(stamp).collect::<Result<_, _>>()?;
    // Who comes while it is loaded waits for it.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(base) = loaded.get(&path).filter(|(known, _)| *known == stamps).and_then(|(_, base)| base.upgrade()) {
        return Ok(base);
    }
    let base = Arc::new(match source {
        Source::Gguf(_) => gguf::read(&path)?,
        _ => folder::read(&path, &files)?,
    });
    loaded.insert(path, (stamps, Arc::downgrade(&base)));
    Ok(base)
}
