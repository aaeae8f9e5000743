//! A tuned model as a stage keeps it: its files, and a card that says whose it is.

use std::collections::BTreeMap;

use crate::model::{ModelError, Source};
use crate::provider::{Api, Declared, ModelCard, ModelHandle, ProviderError};
use crate::store::{Artifact, Store, TreeEntry};

use super::super::StageError;

/// The name of the card among the files.
pub const CARD: &str = "model.json";
const LOCAL: &str = "local";

/// A model in a few words.
pub fn described(card: &ModelCard) -> String {
    match (card.provider.as_str(), card.name.as_str()) {
        (LOCAL, "adapter") => format!("{} with adapter", card.base),
        (LOCAL, _) => format!("{}, all weights tuned", card.base),
        (provider, name) => format!("{provider} {name}"),
    }
}

/// Keeps the files of a model.
pub fn keep(store: &Store, files: BTreeMap<String, Vec<u8>>) -> Result<Artifact, StageError> {
    let mut entries = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        if let Artifact::File { digest, size } = store.put_bytes(&bytes)? {
            entries.push(TreeEntry { path, digest, size, executable: false });
        }
    }
    Ok(store.put_tree(entries)?)
}

/// The card of a tuned model, without its files.
pub fn card(store: &Store, artifact: Artifact) -> Result<ModelCard, StageError> {
    let unreadable = |problem: String| StageError::Unreadable { what: "the model", problem };
    let entry = store.tree(artifact)?.into_iter().find(|entry| entry.path == CARD);
    let entry = entry.ok_or_else(|| unreadable(format!("{CARD} is missing")))?;
    serde_json::from_slice(&store.read(Artifact::File { digest: entry.digest, size: entry.size })?).map_err(|error| unreadable(error.to_string()))
}

/// A tuned model from its artifact.
pub fn load(store: &Store, artifact: Artifact) -> Result<ModelHandle, StageError> {
    let card = card(store, artifact)?;
    let mut files = BTreeMap::new();
    for entry in store.tree(artifact)?.into_iter().filter(|entry| entry.path != CARD) {
        files.insert(entry.path, store.read(Artifact::File { digest: entry.digest, size: entry.size })?);
    }
    Ok(ModelHandle { card, files })
}

/// A model that nobody tuned.
pub fn untuned(declared: &Declared, name: &str) -> Result<ModelHandle, ProviderError> {
    if declared.api == Api::Local && Source::of(name).is_none() {
        return Err(ModelError::Unknown { name: name.to_owned() }.into());
    }
    let card = ModelCard { provider: declared.name.clone(), base: name.to_owned(), name: String::new(), digest: None };
    Ok(ModelHandle { card, files: BTreeMap::new() })
}
