//! `check --data`: what providers would say to training rows, before anything is uploaded.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::data::rules::Checked;
use crate::data::{Form, format, rules};
use crate::engine::{self, Recipe, Workspace};
use crate::stage::{DataCheck, StageError};

use super::super::counted::CountedBy;
use super::super::exit::Exit;
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{complain, say};

#[derive(Debug, Args)]
pub struct DataArguments {
    /// Check what the train stages would upload
    #[arg(long)]
    pub data: bool,
    /// Check a file of rows, without a pipeline
    #[arg(long, value_name = "FILE", conflicts_with = "pipeline", requires = "data")]
    pub file: Option<PathBuf>,
    /// By whose rules; without it by those of each stage's provider, and by OpenAI's for a file
    #[arg(long, value_name = "NAME", requires = "data", value_parser = ["openai", "azure", "together", "fireworks"])]
    provider: Option<String>,
    /// What the rows of the file are
    #[arg(long, value_enum, default_value_t, requires = "file")]
    form: RowForm,
    /// Count the tokens of the file's rows as this model does: `builtin:tiny`, one of OpenAI, or the path of a `tokenizer.json`
    #[arg(long, value_name = "NAME", requires = "file")]
    model: Option<CountedBy>,
    /// How many findings are shown
    #[arg(long, value_name = "N", default_value_t = 20, requires = "data")]
    show: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a look at a file of examples found, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StageCheck {
    /// The stage; empty where a file alone was checked.
    stage: String,
    /// The split or file.
    file: String,
    /// By whose rules.
    provider: &'static str,
    checked: Checked,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum RowForm {
    #[default]
    Chat,
    Preference,
    Reinforcement,
    Completion,
}

impl From<RowForm> for Form {
    fn from(form: RowForm) -> Self {
        match form {
            RowForm::Chat => Self::Chat,
            RowForm::Preference => Self::Preference,
            RowForm::Reinforcement => Self::Reinforcement,
            RowForm::Completion => Self::Completion,
        }
    }
}

/// Checks a file.
pub fn file(path: &Path, arguments: &DataArguments) -> Result<Exit, Problem> {
    let rules = rules::of(arguments.provider.as_deref().unwrap_or("openai"));
    let failed = |error: std::io::Error| Problem::from(StageError::Io { doing: "read", path: path.to_owned(), source: error });
    let mut content = File::open(path).map_err(failed)?;
    let size = content.metadata().map_or(0, |file| file.len());
    let content = format::unpacked(&path.to_string_lossy(), &mut content, size).map_err(StageError::from)?;
    let counter = arguments.model.as_ref().map(|by| (&by.counter, by.name.as_str()));
    let checked = rules.check(arguments.form.into(), content, counter, arguments.show).map_err(failed)?;
    tell(&[(String::new(), vec![DataCheck { file: path.display().to_string(), provider: rules.name, checked }])], arguments)
}

/// Checks what the train stages of a pipeline would upload.
pub fn stages(recipe: &Recipe, arguments: &DataArguments) -> Result<Exit, Problem> {
    let workspace = Workspace::look(&recipe.file.path);
    let mut all = Vec::new();
    for (number, stage) in recipe.stages.iter().enumerate().filter(|(_, stage)| stage.kind == "train") {
        match engine::check_data(recipe, &workspace, number, arguments.provider.as_deref(), arguments.show)? {
            Some(checks) => all.push((stage.name.to_string(), checks)),
            None => complain!("`{}` trains here: nothing is uploaded; name a provider to see what it would say: `--provider openai`", stage.name),
        }
    }
    tell(&all, arguments)
}

fn tell(all: &[(String, Vec<DataCheck>)], arguments: &DataArguments) -> Result<Exit, Problem> {
    let wrong = all.iter().flat_map(|(_, checks)| checks).any(|check| check.checked.findings > 0 || !check.checked.whole.is_empty());
    if arguments.json {
        let checks = all.iter().flat_map(|(stage, checks)| {
            checks.iter().map(move |check| StageCheck {
                stage: stage.clone(),
                file: check.file.clone(),
                provider: check.provider,
                checked: check.checked.clone(),
            })
        });
        print_json(&checks.collect::<Vec<_>>());
    } else {
        for (stage, checks) in all {
            checks.iter().for_each(|check| shown(stage, check));
        }
    }
    Ok(if wrong { Exit::Wrong } else { Exit::Done })
}

fn shown(stage: &str, DataCheck { file, provider, checked }: &DataCheck) {
    let name = if stage.is_empty() { file.clone() } else { format!("{stage} {file}") };
    let tokens = checked.tokens.map_or_else(String::new, |tokens| format!(", {tokens} tokens"));
    let verdict = if checked.findings == 0 { "nothing wrong".to_owned() } else { format!("{} findings in {} rows", checked.findings, checked.wrong) };
    say!("{name}: {} rows{tokens} by the rules of {provider}: {verdict}", checked.rows);
    checked.whole.iter().for_each(|problem| say!("  {problem}"));
    for found in &checked.first {
        let place = if found.what.field.is_empty() { String::new() } else { format!("{}: ", found.what.field) };
        let fix = found.what.fix.map_or_else(String::new, |fix| format!("; `fix \"{fix}\"` in prepare mends it"));
        say!("  line {}: {place}{}{fix}", found.line, found.what.reason);
    }
    if checked.findings > checked.first.len() {
        say!("  and {} more; `--show N` shows them", checked.findings - checked.first.len());
    }
}
