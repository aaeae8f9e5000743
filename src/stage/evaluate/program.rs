//! A command that says how good answers are.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde::Serialize;

use crate::data::{Message, parse_examples, write_lines};
use crate::graph::plain;
use crate::store::RecordOutcome;

use super::super::exec::{Launch, Program, Sandbox, launch, lay};
use super::super::{Context, StageError, Work};
use super::ask::ANSWERS;
use super::generate::BASELINE_ANSWERS;
use super::grade::answers_in;
use super::judge::{Said, output};

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

#[derive(Serialize)]
struct Row<'a> {
    messages: &'a [Message],
    wanted: &'a str,
    answer: &'a str,
}

#[async_trait]
impl Work for Graders {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let said = self.grade(ANSWERS, context).await?;
        let baseline = if context.inputs.contains_key(BASELINE_ANSWERS) { Some(self.grade(BASELINE_ANSWERS, context).await?) } else { None };
        let score = |row: usize| baseline.as_ref().and_then(|baseline| baseline.get(row)).map(|said: &Said| said.score);
        let lines: Vec<Said> = said.into_iter().enumerate().map(|(row, said)| Said { baseline: score(row), ..said }).collect();
        let outputs = BTreeMap::from([(output(&self.name), context.store.put_bytes(&write_lines(&lines))?)]);
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}

impl Graders {
    /// What the command says of the answers in a role.
    async fn grade(&self, role: &str, context: &Context<'_>) -> Result<Vec<Said>, StageError> {
        let examples = parse_examples(&context.read("data")?)?;
        let answers = answers_in(context, role)?;
        let folder = context.folder.join(role);
        let io = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| StageError::Io { doing, path, source }
        };
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let rows = examples.iter().zip(&answers).map(|(example, answer)| Row { messages: example.prompt(), wanted: example.answer(), answer: &answer.answer });
        let place = folder.join(ROWS);
        std::fs::write(&place, write_lines(&rows.collect::<Vec<_>>())).map_err(io("write", &place))?;
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
