//! A command that says how good answers are.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde::Serialize;

use crate::data::{Message, write_lines};
use crate::graph::plain;
use crate::store::RecordOutcome;

use super::super::exec::{Launch, Program, Sandbox, launch, lay};
use super::super::{Context, StageError, Work};
use super::ask::ANSWERS;
use super::judge::{Said, output};
use super::rows::{BASELINE_ANSWERS, Row, rows};

/// What the command finds in its folder, and leaves there.
const ROWS: &str = "rows.jsonl";
const SCORES: &str = "scores.jsonl";

/// Lets a command grade.
#[derive(Debug)]
pub struct Graders {
    pub name: String,
    pub line: String,
    /// The files that it is made of.
    pub inputs: Vec<String>,
}

/// An answer as the command finds it.
#[derive(Serialize)]
struct Given<'a> {
    messages: &'a [Message],
    wanted: &'a str,
    answer: &'a str,
}

impl<'a> Given<'a> {
    fn of(row: &'a Row, answer: &'a str) -> Self {
        Self { messages: row.example.prompt(), wanted: row.example.answer(), answer }
    }
}

#[async_trait]
impl Work for Graders {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let rows = rows(context)?;
        let said = self.grade(ANSWERS, &rows.iter().map(|row| Given::of(row, &row.answer)).collect::<Vec<_>>(), context).await?;
        let baseline: Vec<Given<'_>> = rows.iter().filter_map(|row| Some(Given::of(row, row.baseline.as_deref()?))).collect();
        let baseline = if baseline.is_empty() { None } else { Some(self.grade(BASELINE_ANSWERS, &baseline, context).await?) };
        let score = |row: usize| baseline.as_ref().and_then(|baseline| baseline.get(row)).map(|said: &Said| said.score);
        let lines: Vec<Said> = said.into_iter().enumerate().map(|(row, said)| Said { baseline: score(row), ..said }).collect();
        let outputs = BTreeMap::from([(output(&self.name), context.store.put_bytes(&write_lines(&lines))?)]);
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}

impl Graders {
    /// What the command says of some answers, in a folder of their own.
    async fn grade(&self, role: &str, answers: &[Given<'_>], context: &Context<'_>) -> Result<Vec<Said>, StageError> {
        let folder = context.folder.join(role);
        let io = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| StageError::Io { doing, path, source }
        };
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let place = folder.join(ROWS);
        std::fs::write(&place, write_lines(answers)).map_err(io("write", &place))?;
        let is_own = |path: &str| self.inputs.iter().any(|input| input == path || plain(input) == path);
        lay(context, context.inputs.iter().filter(|(name, _)| is_own(name)).map(|(_, given)| given), &folder)?;
        let line = Program::Shell(self.line.clone());
        launch(Launch { program: &line, folder: &folder, environment: &BTreeMap::new(), sandbox: Sandbox::On, checkpoints: None }, context).await?;
        let text = std::fs::read_to_string(folder.join(SCORES)).map_err(|_| StageError::MissingOutput { path: SCORES.into() })?;
        let wrong = |problem: String| StageError::Unreadable { what: SCORES, problem };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let said = lines.map(|(at, line)| {
            let said: Said = serde_json::from_str(line).map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
            if (0.0..=1.0).contains(&said.score) { Ok(said) } else { Err(wrong(format!("line {}: the score {} is not from 0 to 1", at + 1, said.score))) }
        });
        let said: Vec<Said> = said.collect::<Result<_, _>>()?;
        if said.len() == answers.len() { Ok(said) } else { Err(wrong(format!("it holds {} scores for {} answers", said.len(), answers.len()))) }
    }
}
