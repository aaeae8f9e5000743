//! Base models: where they come from, and what they are once they are read.

mod bytes;
mod config;
pub mod folder;
pub mod gguf;
mod hub;
mod quantised;
mod vocabulary;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::SystemTime;

pub use config::architecture;
pub use hub::{HubModel, SCHEME, fetch, fetch_now};
pub use vocabulary::pre_tokenizer;

use crate::data::{ChatTokenizer, Tokenizer};
use crate::fingerprint::Digest;
use crate::model::network::architecture::Architecture;
use crate::model::network::parameters::{Numbers, Parameters};

use super::builtin::{TINY, tiny};
use super::error::ModelError;

/// A base model: its weights, and how it reads and writes.
#[derive(Debug)]
pub struct Base {
    /// The sizes.
    pub architecture: Architecture,
    /// The weights; a model that is only to be trained from scratch has none.
    numbers: Option<Numbers>,
    /// The tokenizer and the chat template.
    pub chat: ChatTokenizer,
    /// The content of its files, where it comes from files.
    pub digest: Option<Digest>,
    /// Where these are.
    place: PathBuf,
}

impl Base {
    /// Its weights as they are read.
    ///
    /// # Errors
    /// When it has none.
    pub fn parameters(&self) -> Result<Parameters<'_>, ModelError> {
        self.numbers.as_ref().map(|numbers| Parameters::new(&self.architecture, numbers)).ok_or_else(|| ModelError::NoWeights { path: self.place.clone() })
    }
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
    /// From the Hugging Face hub.
    Hub(HubModel),
}

impl Source {
    /// What a name of a model stands for; paths are those of the workspace. Nothing where it is none of the local engine.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        if name == TINY {
            return Some(Self::Builtin);
        }
        if name.starts_with(SCHEME) {
            return HubModel::of(name).map(Self::Hub);
        }
        let path = PathBuf::from(name);
        if path.extension().is_some_and(|ending| ending == "gguf") {
            return Some(Self::Gguf(path));
        }
        (name.contains('/') && !name.contains(':')).then_some(Self::Folder(path))
    }

    /// The path of its file or folder in the workspace, if the user put one there.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Builtin | Self::Hub(_) => None,
            Self::Folder(path) | Self::Gguf(path) => Some(path),
        }
    }

    /// Where its file or folder is, if it is none of the program itself.
    fn place(&self, workspace: &Path) -> Option<PathBuf> {
        match self {
            Self::Builtin => None,
            Self::Folder(path) | Self::Gguf(path) => Some(workspace.join(path)),
            Self::Hub(model) => Some(model.folder(workspace)),
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
    Ok(Arc::new(Base {
        architecture: weights.architecture,
        numbers: Some(Numbers::of(weights.values)),
        chat: ChatTokenizer::Tiny(Tokenizer::tiny()),
        digest: None,
        place: PathBuf::new(),
    }))
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
    let Some(path) = source.place(workspace) else {
        return BUILTIN.clone().map_err(|problem| ModelError::Misfit { problem });
    };
    if let (Source::Hub(model), false) = (&source, path.is_dir()) {
        return Err(ModelError::NotHere { model: model.to_string() });
    }
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
    let base = Arc::new(match &source {
        Source::Gguf(_) => gguf::read(&path)?,
        _ => folder::read(&path, &files)?,
    });
    if let Source::Hub(model) = &source {
        model.hold(&path, base.digest)?;
    }
    loaded.insert(path, (stamps, Arc::downgrade(&base)));
    Ok(base)
}
