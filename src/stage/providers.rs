//! Which code stands behind a declared provider: the local engine, a server, or a program.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::config::{Block, ConfigError, Span};
use crate::fingerprint::{Leaf, Tree};
use crate::model::{ENGINE_VERSION, LocalEngine, Source, builtin_digest};
use crate::provider::{
    self, Api, Asks, Declared, Endpoint, Hosted, Infer, ModelCard, Network, Protocol, ProviderError, Tune, declared, rules, shut_down, today, wire,
};

use crate::store::Reading;

use super::exec::environment;
use super::{Compiler, Context, Input, StageError};

/// The provider of this name; `at` is where it is named.
pub fn find(name: &str, declarations: &[Block], at: Span) -> Result<Declared, ConfigError> {
    declared(name, declarations)?.ok_or_else(|| ConfigError::Contradiction {
        problem: format!("there is no provider `{name}` to be had"),
        label: "not declared, or its declaration has mistakes".into(),
        at: at.into(),
        help: "declare it at the top level: `provider \"name\" { ... }`; where it is declared, see the other points".into(),
    })
}

/// The provider of a model that was made, which the pipeline declared when it was.
pub fn of_card(card: &ModelCard, declarations: &[Block]) -> Result<Declared, StageError> {
    let lack = |lack: String| ProviderError::Cannot { provider: card.provider.clone(), lack };
    let declared = declared(&card.provider, declarations).map_err(|error| lack(error.to_string()))?;
    Ok(declared.ok_or_else(|| lack("is not declared in the pipeline".into()))?)
}

/// What tunes models there. A program is run by its stage.
pub fn tuner(declared: &Declared, context: &Context<'_>) -> Box<dyn Tune> {
    match &declared.api {
        Api::Hosted(endpoint) => Box::new(Hosted::new(wire(declared, endpoint, context.network))),
        Api::Local | Api::Command(_) => Box::new(LocalEngine::new(context.workspace)),
    }
}

/// What answers there. A program is run by its stage.
pub fn answerer(declared: &Declared, context: &Context<'_>) -> Box<dyn Infer> {
    match &declared.api {
        Api::Hosted(endpoint) => Box::new(Asks::new(declared, endpoint, context.network)),
        Api::Local | Api::Command(_) => Box::new(LocalEngine::new(context.workspace)),
    }
}

/// The methods that it trains by.
pub fn methods(declared: &Declared) -> &'static [&'static str] {
    match &declared.api {
        Api::Local => &["supervised", "dpo"],
        Api::Hosted(endpoint) => provider::methods(endpoint),
        Api::Command(_) => &["supervised", "dpo", "reinforcement"],
    }
}

/// Whether it has a way to honour a setting of a train stage.
pub fn expresses(declared: &Declared, method: &str, setting: &str) -> bool {
    match (&declared.api, setting) {
        (Api::Local | Api::Command(_), "suffix") => false,
        (Api::Hosted(_), "suffix") => true,
        (Api::Local, "rate-multiplier" | "report" | "report.entity" | "moderate") => false,
        (Api::Local, _) => true,
        (Api::Hosted(endpoint), "early-stop" | "alarm" | "seed" | "lora.alpha") => endpoint.api() != "fireworks",
        (Api::Hosted(endpoint), "report") => endpoint.refuses("integrations").is_none(),
        (Api::Hosted(endpoint), "report.entity") => endpoint.protocol() != Protocol::Together,
        (Api::Hosted(endpoint), "moderate") => matches!(endpoint.protocol(), Protocol::OpenAi(dialect) if dialect.moderates),
        (Api::Hosted(endpoint), setting) => provider::expresses(endpoint, method, setting),
        (Api::Command(_), "checkpoints" | "early-stop" | "alarm" | "report" | "report.entity" | "rate-multiplier" | "moderate") => false,
        (Api::Command(_), _) => true,
    }
}

/// The files that a program is made of, as inputs of what it does.
pub fn files(declared: &Declared, compiler: &Compiler<'_>) -> Vec<Input> {
    match &declared.api {
        Api::Command(program) => program.inputs.iter().flat_map(|path| compiler.files(path, Reading::Program, None)).collect(),
        Api::Local | Api::Hosted(_) => Vec::new(),
    }
}

/// What is wanted of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// That it tunes.
    Tuning,
    /// That it answers.
    Asking,
}

/// What a result made there depends on: the provider itself, as far as it matters for that.
pub fn provider_tree(declared: &Declared, purpose: Purpose) -> Tree {
    let name = ("name", Tree::text(&declared.name));
    match &declared.api {
        Api::Local => Tree::map([name, ("engine", Tree::leaf(Leaf::Integer(ENGINE_VERSION.into())))]),
        Api::Hosted(endpoint) => {
            let mut parts = vec![name, ("api", Tree::text(endpoint.api())), ("base-url", Tree::text(&endpoint.base_url))];
            // How a model is asked says nothing of how it is made, and the other way round.
            let deployments: &[_] = if purpose == Purpose::Asking { &endpoint.deployments } else { &[] };
            for (what, pairs) in [("header", &*endpoint.headers), ("query", &*endpoint.query), ("deployment", deployments)] {
                if !pairs.is_empty() {
                    parts.push((what, Tree::map(pairs.iter().map(|(name, value)| (name.clone(), Tree::text(value))))));
                }
            }
            if purpose == Purpose::Tuning && !endpoint.fields.is_empty() {
                parts.push(("field", Tree::map(endpoint.fields.iter().map(|(name, value)| (name.clone(), Tree::leaf(leaf(value)))))));
            }
            parts.extend(endpoint.account.as_ref().map(|account| ("account", Tree::text(account))));
            Tree::map(parts)
        }
        Api::Command(program) => {
            let line = match purpose {
                Purpose::Tuning => ("train", Tree::text(&program.train)),
                Purpose::Asking => ("answer", Tree::text(program.answer.as_deref().unwrap_or_default())),
            };
            let set = program.variables.iter().filter_map(|name| Some((name.clone(), Tree::text(&std::env::var(name).ok()?))));
            let env = Tree::map(set);
            Tree::map([name, ("version", Tree::text(&program.version)), line, ("environment", environment()), ("env", env)])
        }
    }
}

/// A field of a new job as a part of a key.
fn leaf(value: &Value) -> Leaf {
    match value {
        Value::String(text) => Leaf::Text(text.clone()),
        Value::Bool(flag) => Leaf::Flag(*flag),
        number => number.as_i64().map_or_else(|| Leaf::Number(number.as_f64().unwrap_or_default()), Leaf::Integer),
    }
}

/// What a result made with a named model depends on: the name, and for local models the content.
pub fn model_tree(declared: &Declared, model: &str) -> Tree {
    let mut parts = BTreeMap::from([("name".to_owned(), Tree::text(model))]);
    if let (Api::Local, Some(digest)) = (&declared.api, builtin_digest(model)) {
        parts.insert("content".to_owned(), Tree::leaf(Leaf::Content(digest)));
    }
    Tree::Map(parts)
}

/// The files of a named model, where it is one of the local engine that lies in files.
pub fn model_files(declared: &Declared, model: &str, compiler: &Compiler<'_>) -> Vec<Input> {
    let source = Source::of(model).filter(|_| declared.api == Api::Local);
    let path = source.as_ref().and_then(Source::path).and_then(Path::to_str);
    path.into_iter().flat_map(|path| compiler.files(path, Reading::Bytes, None)).collect()
}

/// What there is to know of a hosted base model before money is spent on it, without asking anybody: what the provider told last.
pub fn outlook(declared: &Declared, endpoint: &Endpoint, base: &str, folder: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(last) = rules(declared, endpoint).ends {
        notes.push(format!("`{}` takes new fine-tuning jobs up to {last}; another provider takes the same recipe: `provider` is one line", declared.name));
    }
    let profile = Network::new(folder, None).profile(&declared.name);
    if let Some(shutdown) = shut_down(&profile.models, base) {
        let word = if shutdown <= today() { "was shut down" } else { "is shut down" };
        notes.push(format!("`{base}` {word} on {shutdown}, and what is tuned from it most likely with it"));
    }
    let limits = [(profile.requests, "requests"), (profile.tokens, "tokens")];
    let limits: Vec<String> = limits.iter().filter_map(|(limit, what)| Some(format!("{} {what} a minute", (*limit)?))).collect();
    if !limits.is_empty() {
        notes.push(format!("the account at `{}` may use {}", declared.name, limits.join(" and ")));
    }
    notes
}
