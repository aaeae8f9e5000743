use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::config::Block;
use crate::data::{DataError, parse_examples, write_lines};
use crate::provider::{Declared, Generation};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work, providers, train};

pub const ANSWERS: &str = "answers";
pub const BASELINE_ANSWERS: &str = "baseline-answers";

/// What a model said to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub answer: String,
}

/// The model that is asked.
#[derive(Debug)]
pub enum Asked {
    /// The one given in the role `model`.
    Made { declarations: Vec<Block> },
    /// One that a provider has.
    Named { declared: Declared, name: String },
}

/// Asks a model every question.
#[derive(Debug)]
pub struct Generate {
    pub asked: Asked,
    pub how: Generation,
    /// What the answers are called.
    pub output: &'static str,
}

#[async_trait]
impl Work for Generate {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let examples = parse_examples(&context.read("data")?)?;
        if examples.is_empty() {
            return Err(DataError::NoExamples.into());
        }
        let (declared, model) = match &self.asked {
            Asked::Made { declarations } => {
                let model = train::load(context.store, context.artifact("model")?)?;
                (providers::find(&model.card.provider, declarations)?, model)
            }
            Asked::Named { declared, name } => (declared.clone(), train::untuned(declared, name)?),
        };
        let prompts = examples.iter().map(|example| example.prompt().to_vec()).collect();
        let answers = providers::answerer(&declared).answer(&model, prompts, self.how, context.watch).await?;
        let answers: Vec<Answer> = answers.into_iter().map(|answer| Answer { answer }).collect();
        let outputs = BTreeMap::from([(self.output.to_owned(), context.store.put_bytes(&write_lines(&answers))?)]);
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}
