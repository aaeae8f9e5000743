//! A command that says how good answers are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde::Serialize;

use crate::config::plain;
use crate::data::{Message, write_lines};
use crate::grade::{Reply, count};
use crate::store::RecordOutcome;

use super::super::exec::{Launch, Program, Sandbox, launch, lay};
use super::super::{Context, StageError, Work};
use super::ask::ANSWERS;
use super::rows::{BASELINE_ANSWERS, Row, rows};
use super::said::Said;

/// What the command finds in its folder, and leaves there.
const ROWS: &str = "rows.jsonl";
const SCORES: &str = "scores.jsonl";

/// Lets a command grade.
#[derive(Debug)]
pub struct Graders {
    /// What its output is called.
    pub output: String,
    pub line: String,
    /// The files that it is made of.
    pub inputs: Vec<String>,
}

/// An answer as the command finds it.
#[derive(Serialize)]
struct Given<'a> {
    messages: &'a [Message],
    wanted: Cow<'a, str>,
    answer: &'a str,
}

impl<'a> Given<'a> {
    fn of(row: &'a Row, answer: &'a str) -> Self {
        Self { messages: row.example.prompt(), wanted: row.example.wanted(), answer }
    }
}

#[async_trait]
impl Work for Graders {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let rows = rows(context)?;
        let answers = |of: fn(&Row) -> &[Reply]| rows.iter().flat_map(move |row| of(row).iter().map(|said| Given::of(row, &said.text))).collect::<Vec<_>>();
        let ours = self.grade(ANSWERS, &answers(|row| &row.answers), context).await?;
        let theirs = answers(|row| &row.baseline);
        let theirs = if theirs.is_empty() { Vec::new() } else { self.grade(BASELINE_ANSWERS, &theirs, context).await? };
        let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
        // Of several answers to one question the mean.
        let mean = |said: &[Said]| said.iter().map(|said| said.score).sum::<f64>() / count(said.len().max(1));
        let lines: Vec<Said> = rows
            .iter()
            .map(|row| {
                let said: Vec<Said> = ours.by_ref().take(row.answers.len()).collect();
                let other: Vec<Said> = theirs.by_ref().take(row.baseline.len()).collect();
                let (score, baseline) = (mean(&said), (!other.is_empty()).then(|| mean(&other)));
                let reason = said.into_iter().next().unwrap_or_default().reason;
                Said { score, baseline, reason, ..Said::default() }
            })
            .collect();
        let outputs = BTreeMap::from([(self.output.clone(), context.store.put_bytes(&write_lines(&lines))?)]);
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
