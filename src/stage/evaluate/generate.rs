use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;

use crate::config::Block;
use crate::data::{DataError, Example, parse_examples, write_lines};
use crate::fingerprint::Digest;
use crate::provider::{Api, Batch, Declared, ModelHandle, question_digest};
use crate::store::{RecordOutcome, Store};

use super::super::action::given;
use super::super::{Context, Estimate, Given, StageError, Work, providers, train};
use super::ask::{Asking, estimate, place_of_answers};
use super::rows::Answer;

/// Rows of the training data that are asked to see whether the model learnt them by heart, at most.
pub const SAMPLE: usize = 200;

/// A sample of rows: it changes little where rows come or go.
#[must_use]
pub fn sample(examples: &[Example]) -> Vec<&Example> {
    let mut sampled: Vec<(Digest, &Example)> = examples.iter().map(|example| (question_digest(&example.messages), example)).collect();
    sampled.sort_by_key(|(digest, _)| *digest);
    sampled.into_iter().take(SAMPLE).map(|(_, example)| example).collect()
}

/// The model that is asked.
#[derive(Debug)]
pub enum Asked {
    /// The one given in the role `model`.
    Made { declarations: Vec<Block> },
    /// One that a provider has.
    Named { declared: Box<Declared>, name: String },
}

/// Asks a model every question.
#[derive(Debug)]
pub struct Generate {
    pub asked: Asked,
    pub max_tokens: usize,
    /// Whether a hosted model is asked in one batch.
    pub batch: bool,
    /// What the answers are called.
    pub output: &'static str,
    /// Whether only a sample is asked.
    pub is_sample: bool,
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
                let artifact = context.artifact("model")?;
                let card = train::card(context.store, artifact)?;
                let declared = providers::of_card(&card, declarations)?;
                // A program finds the files in a folder.
                let model = if declared.api == Api::Local { train::load(context.store, artifact)? } else { ModelHandle { card, files: BTreeMap::new() } };
                (declared, model)
            }
            Asked::Named { declared, name } => (Declared::clone(declared), train::untuned(declared, name)?),
        };
        let wanted: Vec<&Example> = if self.is_sample { sample(&examples) } else { examples.iter().collect() };
        let asking = Asking {
            declared: &declared,
            model: &model,
            max_tokens: self.max_tokens,
            setting: Some("generate max-tokens"),
            temperature: 0.0,
            batch: self.batch.then(|| Batch {
                key: context.key.to_string(),
                folder: context.folder.to_owned(),
                state: context.store.root().join("jobs").join("batches"),
            }),
            place: place_of_answers(context.store, context.preimage),
        };
        let (all, metrics) = asking.ask(context, wanted.into_iter().map(|example| example.prompt().to_vec())).await?;
        let answers: Vec<Answer> = all.into_iter().map(|answered| Answer { answer: answered.text }).collect();
        let outputs = BTreeMap::from([(self.output.to_owned(), context.store.put_bytes(&write_lines(&answers))?)]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }

    fn estimate(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Estimate {
        let card = || train::card(store, given(inputs, "model").ok()?).ok();
        let asked = match &self.asked {
            Asked::Made { declarations } => card().and_then(|card| Some((providers::of_card(&card, declarations).ok()?, card))),
            Asked::Named { declared, name } => train::untuned(declared, name).ok().map(|model| (Declared::clone(declared), model.card)),
        };
        let Some((declared, card)) = asked.filter(|(declared, _)| matches!(declared.api, Api::Hosted(_))) else {
            return Estimate::default();
        };
        let data = given(inputs, "data").ok().and_then(|data| parse_examples(&store.read(data).ok()?).ok());
        let prompts = data.map(|examples| {
            let asked: Vec<&Example> = if self.is_sample { sample(&examples) } else { examples.iter().collect() };
            asked.into_iter().map(|example| example.prompt().to_vec()).collect::<Vec<_>>()
        });
        estimate(&declared, &card, workspace, self.max_tokens, self.batch, prompts.as_deref())
    }
}
