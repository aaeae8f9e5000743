use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;

use crate::config::Block;
use crate::data::{DataError, Example, parse_examples, write_lines};
use crate::fingerprint::Digest;
use crate::grade::Took;
use crate::grade::grader::Measured;
use crate::provider::{Answered, Api, Batch, Declared, ModelHandle, Price, ProviderError, Question};
use crate::store::{RecordOutcome, Store};

use super::super::action::given;
use super::super::{Context, Estimate, Given, StageError, Work, providers, train};
use super::ask::{Asking, discounted, estimate, place_of_answers, price_of};
use super::rows::Answer;

/// Rows of the training data that are asked to see whether the model learnt them by heart, at most.
pub const SAMPLE: usize = 200;

/// A sample of rows: it changes little where rows come or go.
#[must_use]
pub fn sample(examples: &[Example]) -> Vec<&Example> {
    let whole = |example: &Example| Question::from(example.messages.clone()).digest();
    let mut sampled: Vec<(Digest, &Example)> = examples.iter().map(|example| (whole(example), example)).collect();
    sampled.sort_by_key(|(digest, _)| *digest);
    sampled.into_iter().take(SAMPLE).map(|(_, example)| example).collect()
}

/// The model that is asked.
#[derive(Debug)]
pub enum Asked {
    /// The one given in a role.
    Made { declarations: Vec<Block> },
    /// One that a provider has.
    Named { declared: Box<Declared>, name: String },
}

impl Asked {
    /// Who has the model, and the model; its files where it is a local one.
    pub fn find(&self, role: &str, context: &Context<'_>) -> Result<(Declared, ModelHandle), StageError> {
        match self {
            Self::Made { declarations } => {
                let artifact = context.artifact(role)?;
                let card = train::card(context.store, artifact)?;
                let declared = providers::of_card(&card, declarations)?;
                // A program finds the files in a folder.
                let model = if declared.api == Api::Local { train::load(context.store, artifact)? } else { ModelHandle { card, files: BTreeMap::new() } };
                Ok((declared, model))
            }
            Self::Named { declared, name } => Ok((Declared::clone(declared), train::untuned(declared, name)?)),
        }
    }
}

/// Asks a model every question.
#[derive(Debug)]
pub struct Generate {
    pub asked: Asked,
    pub max_tokens: usize,
    /// 0 for the likeliest token each time.
    pub temperature: f64,
    /// How often each question is asked.
    pub samples: usize,
    /// What is told of each answer besides what it says.
    pub measured: Measured,
    /// Whether a hosted model is asked in one batch.
    pub batch: bool,
    /// What the answers are called.
    pub output: String,
    /// Whether only a sample of the rows is asked.
    pub is_sample: bool,
}

#[async_trait]
impl Work for Generate {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let examples = parse_examples(&context.read("data")?)?;
        if examples.is_empty() {
            return Err(DataError::NoExamples.into());
        }
        let (declared, model) = self.asked.find("model", context)?;
        let asking = Asking {
            declared: &declared,
            model: &model,
            max_tokens: self.max_tokens,
            setting: Some("generate max-tokens"),
            temperature: self.temperature,
            batch: self.batch.then(|| Batch {
                key: context.key.to_string(),
                folder: context.folder.to_owned(),
                state: context.store.root().join("jobs").join("batches"),
            }),
            place: place_of_answers(context.store, context.preimage),
            timed: self.measured.seconds,
        };
        let (all, metrics) = asking.ask(context, self.questions(&examples).into_iter()).await?;
        let price = if self.measured.usd { price_of(&declared, &model.card, context.workspace)?.map(|price| discounted(price, self.batch)) } else { None };
        self.hold(&all, &declared, &model, price)?;
        let answers: Vec<Answer> = all
            .chunks(self.samples)
            .map(|said| {
                let mut texts = said.iter().map(|answered| answered.text.clone());
                let took = if self.measured.any() { said.iter().map(|answered| took(answered, &declared, price)).collect() } else { Vec::new() };
                Answer { answer: texts.next().unwrap_or_default(), again: texts.collect(), took }
            })
            .collect();
        let outputs = BTreeMap::from([(self.output.clone(), context.store.put_bytes(&write_lines(&answers))?)]);
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
        let questions = data.map(|examples| self.questions(&examples));
        estimate(&declared, &card, workspace, self.max_tokens, self.batch, questions.as_deref())
    }
}

impl Generate {
    /// Makes sure that what is to be told of the answers is known.
    fn hold(&self, answers: &[Answered], declared: &Declared, model: &ModelHandle, price: Option<Price>) -> Result<(), StageError> {
        let lacks = |lack: String| Err(ProviderError::Cannot { provider: declared.name.clone(), lack }.into());
        if self.measured.seconds && answers.iter().any(|answered| answered.milliseconds.is_none()) {
            return lacks("does not tell how long its answers took: they come from a recording".into());
        }
        let is_priced = price.is_some_and(|price| price.input.is_some() && price.output.is_some());
        if self.measured.usd && declared.api != Api::Local && !is_priced {
            return lacks(format!("has no price for answers of `{}`: tell it in prices.kdl", model.card.base));
        }
        if self.measured.usd
            && declared.api != Api::Local
            && answers.iter().any(|answered| !answered.text.is_empty() && answered.tokens_in + answered.tokens_out == 0)
        {
            return lacks("does not tell how many tokens its answers took".into());
        }
        Ok(())
    }

    /// Each question as often as it is asked.
    fn questions(&self, examples: &[Example]) -> Vec<Question> {
        let asked: Vec<&Example> = if self.is_sample { sample(examples) } else { examples.iter().collect() };
        let numbers = 0..u32::try_from(self.samples).unwrap_or(u32::MAX);
        asked.into_iter().map(Question::from).flat_map(|question| numbers.clone().map(move |number| question.again(number))).collect()
    }
}

/// What an answer took. One of the local engine costs nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens and milliseconds are far below 2^52")]
fn took(answered: &Answered, declared: &Declared, price: Option<Price>) -> Took {
    let usd = price.and_then(|price| Some((answered.tokens_in as f64).mul_add(price.input?, answered.tokens_out as f64 * price.output?) / 1e6));
    Took { seconds: answered.milliseconds.map(|milliseconds| milliseconds as f64 / 1000.0), usd: usd.or((declared.api == Api::Local).then_some(0.0)) }
}
