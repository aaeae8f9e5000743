//! Who tunes and answers, and what is missing for it on this machine.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Block, Pipeline};
use crate::model::Source;
use crate::provider::{Api, BUILT_IN, Declared, Program, declared};
use crate::stage::{StageError, has_program};

use super::super::EngineError;
use super::Recipe;

/// A provider, as it stands on this machine.
#[derive(Debug)]
pub struct ProviderState {
    /// Its name.
    pub name: String,
    /// Where it is, and what of it is there.
    pub place: String,
    /// What is missing, and how to get it.
    pub lacks: Vec<String>,
}

impl Recipe {
    /// The providers that its stages name, or use without naming them.
    ///
    /// # Errors
    /// When the file has changed into something else meanwhile.
    pub fn needed(&self) -> Result<Vec<ProviderState>, EngineError> {
        let pipeline = self.decoded()?;
        let mut names = BTreeSet::new();
        for stage in &pipeline.stages {
            if stage.kind == "train" && stage.block.child("provider").is_none() {
                names.insert("local");
            }
            named(&stage.block, &mut names);
        }
        let wrong = |error: crate::config::ConfigError| StageError::Unreadable { what: "a provider", problem: error.to_string() };
        let found = names.into_iter().map(|name| declared(name, &pipeline.providers).map_err(|error| wrong(error).into()));
        let found: Vec<Option<Declared>> = found.collect::<Result<_, EngineError>>()?;
        Ok(found.into_iter().flatten().map(|declared| state(&declared, &models(&pipeline, &declared), &pipeline.root)).collect())
    }
}

/// The providers that need no declaration.
#[must_use]
pub fn built_in() -> Vec<ProviderState> {
    BUILT_IN.iter().filter_map(|name| declared(name, &[]).ok().flatten()).map(|declared| state(&declared, &[], Path::new(""))).collect()
}

/// The names of providers in a stage: of its own, and of its graders.
fn named<'a>(block: &'a Block, names: &mut BTreeSet<&'a str>) {
    names.extend(block.find_text("provider"));
    for child in &block.children {
        if child.setting.name == "provider" {
            names.extend(child.find_text("name"));
        }
        named(child, names);
    }
}

/// The base models that train stages want of a provider.
fn models<'a>(pipeline: &'a Pipeline, provider: &Declared) -> Vec<&'a str> {
    let own = pipeline.stages.iter().filter(|stage| stage.kind == "train" && stage.block.child_text("provider").unwrap_or("local") == provider.name);
    own.filter_map(|stage| stage.block.child_text("model")).filter(|name| pipeline.stage(name).is_none()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn state(declared: &Declared, models: &[&str], root: &Path) -> ProviderState {
    let (place, lacks) = match &declared.api {
        Api::Local => ("this machine, with the engine that comes with the program".to_owned(), missing_models(models, root)),
        Api::Hosted(endpoint) => hosted(&endpoint.base_url, declared),
        Api::Command(program) => (format!("the program `{}`", first_word(&program.train)), missing_programs(program)),
    };
    ProviderState { name: declared.name.clone(), place, lacks }
}

fn missing_models(models: &[&str], root: &Path) -> Vec<String> {
    let missing = |name: &&&str| Source::of(name).as_ref().and_then(Source::path).is_some_and(|path| !root.join(path).exists());
    let told = |name: &&str| {
        format!(
            "there is no `{name}`: put the model there, as a folder with config.json, tokenizer.json and safetensors or as a GGUF file, or name it by the hub: \
             `hf:OWNER/NAME@COMMIT` is downloaded"
        )
    };
    models.iter().filter(missing).map(told).collect()
}

fn hosted(base_url: &str, declared: &Declared) -> (String, Vec<String>) {
    if declared.key.is_set() {
        return (format!("{base_url}, its key is set ({})", declared.key), Vec::new());
    }
    let how = match declared.key.named() {
        Some(variable) => format!("`export {variable}=...` with a key of your account there, or let `key-command` ask your password manager"),
        None => "it has to print the key, and nothing else".to_owned(),
    };
    (base_url.to_owned(), vec![format!("its key is not set ({}): {how}", declared.key)])
}

fn missing_programs(program: &Program) -> Vec<String> {
    let sees_path = program.variables.iter().chain(&program.knobs).any(|name| name == "PATH");
    let names: BTreeSet<&str> = [Some(&program.train), program.answer.as_ref()].into_iter().flatten().map(|line| first_word(line)).collect();
    let missing =
        names.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+')) && !has_program(name, sees_path));
    let how = if sees_path { "install it" } else { "install it for all users, or let it be found in your own `PATH` by `knob \"PATH\"`" };
    missing.map(|name| format!("there is no program `{name}`: {how}")).collect()
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}
