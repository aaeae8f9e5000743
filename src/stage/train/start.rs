//! What a training begins with.

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError};
use crate::fingerprint::Tree;
use crate::provider::{Api, Declared, ModelHandle};

use super::super::made::MadeBy;
use super::super::{Context, StageError, providers};
use super::card::{card, load};
use super::{method, provider_name};

/// What a train stage calls the model that it tunes further. No file can be called so.
pub const MODEL: &str = "/start";
/// The folder in which a program finds that model.
pub const FOLDER: &str = "start";

/// The model that a training begins with, where another stage made it.
pub fn model(declared: &Declared, context: &Context<'_>) -> Result<Option<ModelHandle>, StageError> {
    let Ok(artifact) = context.artifact(MODEL) else {
        return Ok(None);
    };
    match &declared.api {
        // A program finds the files in its folder: they may be larger than the memory.
        Api::Command(_) => Ok(Some(ModelHandle { card: card(context.store, artifact)?, files: BTreeMap::new() })),
        Api::Local | Api::Hosted(_) => load(context.store, artifact).map(Some),
    }
}

/// What a result depends on of the base models: of the only one, or of each that it may have been.
pub fn tree(declared: &Declared, bases: &[&str]) -> Tree {
    match bases {
        [only] => providers::model_tree(declared, only),
        several => Tree::List(several.iter().map(|base| providers::model_tree(declared, base)).collect()),
    }
}

/// Makes sure that a model of another stage can be tuned further there.
pub fn check(block: &Block, declared: &Declared, made_by: &MadeBy<'_>) -> Result<(), ConfigError> {
    let (model, name) = (block.child("model").unwrap_or(block), &made_by.stage.name);
    let wrong = |problem: String, label: &str, help: &str| {
        Err(ConfigError::Contradiction { problem, label: label.into(), at: model.span_of("name").into(), help: help.into() })
    };
    if let Some(other) = made_by.trained.iter().map(|trained| provider_name(&trained.block)).find(|other| *other != declared.name) {
        let problem = format!("`{}` cannot tune further what `{name}` made at `{other}`", declared.name);
        return wrong(problem, "lies with another provider", "let both stages name one provider");
    }
    if let Some(scratch) = block.child("method").and_then(|method| method.child(method::FROM_SCRATCH.name)) {
        let problem = format!("this begins with the model of `{name}`, and `{}` with none", scratch.setting.name);
        return wrong(problem, "begins with a model", "take one of the two out");
    }
    Ok(())
}

/// Makes sure that a training that begins with nothing is not made one that begins with a model of a provider.
pub fn check_scratch(block: &Block, declared: &Declared) -> Result<(), ConfigError> {
    let scratch = block.child("method").and_then(|method| method.child(method::FROM_SCRATCH.name));
    match (scratch, &declared.api) {
        (Some(scratch), Api::Hosted(_)) => Err(ConfigError::Contradiction {
            problem: format!("`{}` tunes models that it has, and `from-scratch` begins with none", declared.name),
            label: "would be another training there".into(),
            at: scratch.name_span.into(),
            help: "train it on this machine (`provider \"local\"`), or take it out".into(),
        }),
        _ => Ok(()),
    }
}
