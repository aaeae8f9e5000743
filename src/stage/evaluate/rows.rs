//! What models said, beside what they were asked.

use serde::{Deserialize, Serialize};

use crate::data::{Example, parse_examples, parse_lines};
use crate::grade::{Reply, Took};

use super::super::{Context, StageError};
use super::ask::ANSWERS;

pub const BASELINE_ANSWERS: &str = "baseline-answers";
pub const TRAINING_ANSWERS: &str = "training-answers";

/// What a model said to one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub answer: String,
    /// What it said when it was asked again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
    /// What each of them took, where somebody wants to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub took: Vec<Took>,
}

impl Answer {
    /// All that it said, and what each answer took.
    fn replies(self) -> Vec<Reply> {
        let mut took = self.took.into_iter();
        let texts = std::iter::once(self.answer).chain(self.again);
        texts.map(|text| Reply { text, took: took.next().unwrap_or_default() }).collect()
    }
}

/// A question, and what was said to it: once, or as often as it was asked.
#[derive(Clone, Debug)]
pub struct Row {
    pub example: Example,
    pub answers: Vec<Reply>,
    /// What the baseline said; nothing where there is none.
    pub baseline: Vec<Reply>,
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
    let row = |(example, answers)| Row { example, answers, baseline: baseline.next().unwrap_or_default() };
    Ok(examples.into_iter().zip(answers).map(row).collect())
}

/// What was said to so many questions.
///
/// # Errors
/// When it cannot be read, or is not as much.
pub fn answers(context: &Context<'_>, role: &str, questions: usize) -> Result<Vec<Vec<Reply>>, StageError> {
    let unreadable = |problem: String| StageError::Unreadable { what: "the answers", problem };
    let answers: Vec<Answer> = parse_lines(&context.read(role)?).map_err(|error| unreadable(error.to_string()))?;
    if answers.len() == questions {
        Ok(answers.into_iter().map(Answer::replies).collect())
    } else {
        Err(unreadable(format!("there are {} for {questions} questions", answers.len())))
    }
}
