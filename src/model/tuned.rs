//! A model that runs: a base with what was learnt.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::data::ChatTokenizer;
use crate::model::error::ModelError;
use crate::model::files::{load_adapter, load_weights};
use crate::model::network::adapter::Adapter;
use crate::model::network::weights::Weights;
use crate::model::source::{Base, base};
use crate::provider::ModelHandle;

/// What was learnt on top of a base.
#[derive(Debug)]
enum Learnt {
    Nothing,
    Adapter(Adapter),
    Weights(Weights),
}

/// A base model with what was learnt. Several of one base share it in memory.
#[derive(Debug)]
pub struct Model {
    base: Arc<Base>,
    learnt: Learnt,
}

impl Model {
    /// Opens a model of the local engine; paths of base models are those of the workspace.
    ///
    /// # Errors
    /// When its base is not known or is another than it was tuned from, or its files do not fit it.
    pub fn open(handle: &ModelHandle, workspace: &Path) -> Result<Self, ModelError> {
        let base = base(&handle.card.base, workspace)?;
        if handle.card.digest.is_some() && handle.card.digest != base.digest {
            return Err(ModelError::OtherBase { base: handle.card.base.clone() });
        }
        let learnt = match handle.card.name.as_str() {
            "adapter" => Learnt::Adapter(load_adapter(base.weights.architecture, &handle.files)?),
            "weights" => {
                let file = handle.files.get("model.safetensors").ok_or_else(|| ModelError::Misfit { problem: "model.safetensors is missing".into() })?;
                Learnt::Weights(load_weights(base.weights.architecture, &[file])?)
            }
            _ => Learnt::Nothing,
        };
        Ok(Self { base, learnt })
    }

    /// The weights that it runs with, besides those of the adapter.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        if let Learnt::Weights(weights) = &self.learnt { weights } else { &self.base.weights }
    }

    /// The adapter, if it has one.
    #[must_use]
    pub const fn adapter(&self) -> Option<&Adapter> {
        if let Learnt::Adapter(adapter) = &self.learnt { Some(adapter) } else { None }
    }

    /// How it reads and writes.
    #[must_use]
    pub fn chat(&self) -> &ChatTokenizer {
        &self.base.chat
    }

    /// All weights with the adapter in them.
    #[must_use]
    pub fn merged(&self) -> Cow<'_, Weights> {
        self.adapter().map_or(Cow::Borrowed(self.weights()), |adapter| Cow::Owned(adapter.merged(&self.base.weights)))
    }
}
