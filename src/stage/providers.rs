//! Which code stands behind a declared provider. A protocol is one line in each function.

use std::collections::BTreeMap;

use crate::config::Block;
use crate::fingerprint::{Leaf, Tree};
use crate::model::{ENGINE_VERSION, LocalEngine, builtin_digest};
use crate::provider::openai::{EXPRESSES, OpenAi};
use crate::provider::{Api, Declared, Infer, ProviderError, Tune, declared};

/// The provider of this name.
pub fn find(name: &str, declarations: &[Block]) -> Result<Declared, ProviderError> {
    declared(name, declarations).ok_or_else(|| ProviderError::Cannot { provider: name.to_owned(), lack: "is not declared in the pipeline".into() })
}

/// What tunes models there.
pub fn tuner(declared: &Declared) -> Box<dyn Tune> {
    match &declared.api {
        Api::Local => Box::new(LocalEngine),
        Api::OpenAi { base_url } => Box::new(OpenAi::new(declared, base_url)),
    }
}

/// What answers there.
pub fn answerer(declared: &Declared) -> Box<dyn Infer> {
    match &declared.api {
        Api::Local => Box::new(LocalEngine),
        Api::OpenAi { base_url } => Box::new(OpenAi::new(declared, base_url)),
    }
}

/// Whether it has a way to honour a setting of supervised training.
pub fn expresses(declared: &Declared, setting: &str) -> bool {
    match &declared.api {
        Api::Local => true,
        Api::OpenAi { .. } => EXPRESSES.contains(&setting),
    }
}

/// What a result made there depends on: the provider itself.
pub fn provider_tree(declared: &Declared) -> Tree {
    let name = ("name", Tree::text(&declared.name));
    match &declared.api {
        Api::Local => Tree::map([name, ("engine", Tree::leaf(Leaf::Integer(ENGINE_VERSION.into())))]),
        Api::OpenAi { base_url } => Tree::map([name, ("api", Tree::text("openai")), ("base-url", Tree::text(base_url))]),
    }
}

/// What a result made with a named model depends on: the name, and for local models the content.
pub fn model_tree(declared: &Declared, model: &str) -> Tree {
    let mut parts = BTreeMap::from([("name".to_owned(), Tree::text(model))]);
    if let (Api::Local, Ok(digest)) = (&declared.api, builtin_digest(model)) {
        parts.insert("content".to_owned(), Tree::leaf(Leaf::Content(digest)));
    }
    Tree::Map(parts)
}
