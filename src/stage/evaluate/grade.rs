use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::data::{parse_examples, parse_lines, write_lines};
use crate::grade::grader::Grader;
use crate::grade::{Scores, measure};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::generate::{ANSWERS, Answer, BASELINE_ANSWERS};

pub const SCORES: &str = "scores";
pub const METRICS: &str = "metrics";

/// Grades answers, and measures what the grades say.
#[derive(Debug)]
pub struct Grade {
    pub grader: Box<dyn Grader>,
}

#[async_trait]
impl Work for Grade {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let examples = parse_examples(&context.read("data")?)?;
        let answers = answers_in(context, ANSWERS)?;
        let baseline = context.inputs.contains_key(BASELINE_ANSWERS).then(|| answers_in(context, BASELINE_ANSWERS)).transpose()?;
        if answers.len() != examples.len() || baseline.as_ref().is_some_and(|baseline| baseline.len() != examples.len()) {
            return Err(StageError::Unreadable { what: "the answers", problem: "there is not one for each question".into() });
        }
        let scores: Vec<Scores> = examples
            .iter()
            .zip(answers)
            .enumerate()
            .map(|(row, (example, Answer { answer }))| {
                let baseline_answer = baseline.as_ref().map(|baseline| baseline[row].answer.clone());
                Scores {
                    asked: example.prompt().last().map_or_else(String::new, |message| message.content.clone()),
                    wanted: example.answer().to_owned(),
                    score: self.grader.score(example.answer(), &answer),
                    answer,
                    baseline_score: baseline_answer.as_ref().map(|answer| self.grader.score(example.answer(), answer)),
                    baseline_answer,
                }
            })
            .collect();
        let metrics = measure(&scores);
        let text = serde_json::to_string_pretty(&metrics).unwrap_or_default();
        let outputs = BTreeMap::from([
            (SCORES.to_owned(), context.store.put_bytes(&write_lines(&scores))?),
            (METRICS.to_owned(), context.store.put_bytes(format!("{text}\n").as_bytes())?),
        ]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }
}

fn answers_in(context: &Context<'_>, role: &str) -> Result<Vec<Answer>, StageError> {
    parse_lines(&context.read(role)?).map_err(|error| StageError::Unreadable { what: "the answers", problem: error.to_string() })
}
