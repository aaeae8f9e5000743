//! What a command prints: `command:LINE`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::config::{Block, ConfigError};

use super::super::super::exec::{Launch, Program, Sandbox, launch};
use super::super::super::{Compiler, StageError};
use super::{About, Fetched, Fetching, Source, SourceKind, below};

pub const KIND: SourceKind = SourceKind { schemes: &["command"], reads: &["env"], prepare };

fn prepare(source: &Block, _compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    let address = source.text("path").to_owned();
    let line = address.trim_start_matches("command:").trim().to_owned();
    let missing = |what: &str, help: &str| ConfigError::Contradiction {
        problem: format!("`{address}` {what}"),
        label: "not enough".into(),
        at: source.span_of("path").into(),
        help: help.into(),
    };
    if line.is_empty() {
        return Err(missing("runs nothing", "write the command after the colon"));
    }
    let Some(format) = source.find_text("format") else {
        return Err(missing("does not say what it prints", "say it: `format=\"jsonl\"`"));
    };
    let variables = source.all("env").map(|variable| variable.text("name").to_owned()).collect();
    Ok(Box::new(Command { name: format!("output.{format}"), line, variables, address }))
}

#[derive(Debug)]
struct Command {
    address: String,
    line: String,
    /// The name of the file that holds what it prints.
    name: String,
    /// Variables that it sees.
    variables: Vec<String>,
}

#[async_trait]
impl Source for Command {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let place = below(fetching, &self.address, &self.name)?;
        let program = Program::Shell(format!("{{ {}\n}} > \"$RETUNE_OUTPUT\"", self.line));
        let mut environment: BTreeMap<String, String> = self.variables.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect();
        environment.insert("RETUNE_OUTPUT".into(), place.display().to_string());
        let begun = Launch { program: &program, folder: fetching.context.workspace, environment: &environment, sandbox: Sandbox::Off, checkpoints: None };
        launch(begun, fetching.context).await?;
        Ok(Fetched::New(About::default()))
    }
}
