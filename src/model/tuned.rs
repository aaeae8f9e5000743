//! A model that runs: a base with what was learnt.

use std::path::Path;
use std::sync::Arc;

use crate::data::ChatTokenizer;
use crate::model::error::ModelError;
use crate::model::files::{load_adapter, load_weights};
use crate::model::network::adapter::Adapter;
use crate::model::network::parameters::{Numbers, Parameters};
use crate::model::network::weights::Weights;
use crate::model::source::{Base, base};
use crate::provider::ModelHandle;

/// What was learnt on top of a base.
#[derive(Debug)]
enum Learnt {
    Nothing,
    Adapter(Adapter),
    Numbers(Numbers),
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
            "adapter" => Learnt::Adapter(load_adapter(*base.parameters()?.architecture, &handle.files)?),
            "weights" => {
                let file = handle.files.get("model.safetensors").ok_or_else(|| ModelError::Misfit { problem: "model.safetensors is missing".into() })?;
                Learnt::Numbers(Numbers::of(load_weights(base.architecture, &[file])?.values))
            }
            _ => base.parameters().map(|_| Learnt::Nothing)?,
        };
        Ok(Self { base, learnt })
    }

    /// A base as it is.
    pub(super) const fn plain(base: Arc<Base>) -> Self {
        Self { base, learnt: Learnt::Nothing }
    }

    /// The base of this one with an adapter.
    pub(super) fn with(&self, adapter: Adapter) -> Self {
        Self { base: Arc::clone(&self.base), learnt: Learnt::Adapter(adapter) }
    }

    /// Its base, if it was tuned and the base can be asked.
    pub(super) fn untuned(&self) -> Option<Self> {
        let is_other = !matches!(self.learnt, Learnt::Nothing) && self.base.parameters().is_ok();
        is_other.then(|| Self::plain(Arc::clone(&self.base)))
    }

    /// What it runs with, besides the adapter.
    #[must_use]
    pub fn parameters(&self) -> Parameters<'_> {
        match &self.learnt {
            Learnt::Numbers(numbers) => Parameters::new(&self.base.architecture, numbers),
            Learnt::Nothing | Learnt::Adapter(_) => self.base.parameters().expect("who opened it saw them"),
        }
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
    pub fn merged(&self) -> Weights {
        self.adapter().map_or_else(|| self.parameters().to_weights(), |adapter| adapter.merged(self.parameters()))
    }
}
