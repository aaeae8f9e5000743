//! What models said, beside what they were asked.

use serde::{Deserialize, Serialize};

use crate::data::{Example, parse_examples, parse_lines};

use super::super::{Context, StageError};
use super::ask::ANSWERS;

pub const BASELINE_ANSWERS: &str = "baseline-answers";
pub const TRAINING_ANSWERS: &str = "training-answers";

/// What a model said to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub answer: String,
}

/// A question, and what was said to it.
#[derive(Clone, Debug)]
pub struct Row {
    pub example: Example,
    pub answer: String,
    /// What the baseline said, where there is one.
    pub baseline: Option<String>,
}

/// The rows of an evaluation.
///
/// # Errors
/// When they cannot be read, or there is not one answer for each question.
pub fn rows(context: &Context<'_>) -> Result<Vec<Row>, StageError> {
    let examples = parse_examples(&context.read("data")?)?;
    let answers = answers(context, ANSWERS, examples.len())?;
    let baseline = context.inputs.contains_key(BASELINE_ANSWERS).then(|| self::answers(context, BASELINE_ANSWERS, examples.len())).transpose()?;
    let mut baseline = baseline.into_iter().flatten();
    let row = |(example, answer)| Row { example, answer, baseline: baseline.next() };
    Ok(examples.into_iter().zip(answers).map(row).collect())
}

/// What was said to so many questions.
///
/// # Errors
/// When it cannot be read, or is not as much.
pub fn answers(context: &Context<'_>, role: &str, questions: usize) -> Result<Vec<String>, StageError> {
    let unreadable = |problem: String| StageError::Unreadable { what: "the answers", problem };
    let answers: Vec<Answer> = parse_lines(&context.read(role)?).map_err(|error| unreadable(error.to_string()))?;
    if answers.len() == questions {
        Ok(answers.into_iter().map(|answer| answer.answer).collect())
    } else {
        Err(unreadable(format!("there are {} for {questions} questions", answers.len())))
    }
}
