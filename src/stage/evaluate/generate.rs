use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::config::Block;
use crate::data::{DataError, Message, parse_examples, write_lines};
use crate::provider::{Answers, Api, Batch, Declared, Generation, ModelCard, ModelHandle, Price, ProviderError, answered_places, declared, price};
use crate::store::{RecordOutcome, Store};

use super::super::action::given;
use super::super::checkpoints::Checkpoints;
use super::super::{Context, Estimate, Given, StageError, Work, providers, train};

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
}

#[async_trait]
impl Work for Generate {
    #[expect(clippy::cast_precision_loss, reason = "counts of questions are far below 2^52")]
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let examples = parse_examples(&context.read("data")?)?;
        if examples.is_empty() {
            return Err(DataError::NoExamples.into());
        }
        let (declared, model) = match &self.asked {
            Asked::Made { declarations } => {
                let artifact = context.artifact("model")?;
                let card = train::card(context.store, artifact)?;
                let declared = found(&card.provider, declarations)?;
                // A program finds the files in a folder.
                let model = if declared.api == Api::Local { train::load(context.store, artifact)? } else { ModelHandle { card, files: BTreeMap::new() } };
                (declared, model)
            }
            Asked::Named { declared, name } => (Declared::clone(declared), train::untuned(declared, name)?),
        };
        let prompts: Vec<_> = examples.iter().map(|example| example.prompt().to_vec()).collect();
        let price = price_of(&declared, &model.card, context.workspace)?.map(|price| self.discounted(price));
        let batch = self.batch.then(|| Batch {
            key: context.key.to_string(),
            folder: context.folder.to_owned(),
            state: context.store.root().join("jobs").join("batches"),
        });
        let kept = matches!(declared.api, Api::Hosted(_)) && !context.network.replays();
        let kept = kept.then(|| Checkpoints::take(context, "answers")).transpose()?;
        let kept = kept.as_ref().map(|kept| kept.place().join("answers.jsonl"));
        // What was paid for before is not paid for again.
        let there = kept.as_deref().map(answered_places).unwrap_or_default();
        let is_begun = batch.as_ref().is_some_and(Batch::is_begun);
        let open: Vec<_> = prompts.iter().enumerate().filter(|(place, _)| !is_begun && !there.contains(place)).map(|(_, prompt)| prompt.clone()).collect();
        let expected = price.and_then(|price| self.expected(&declared, &model.card, &open, price));
        if matches!(declared.api, Api::Hosted(_)) && !open.is_empty() {
            context.watch.spend(&declared.name, expected)?;
        }
        let prompts_asked = prompts.len();
        let how = Generation { max_tokens: self.max_tokens, kept: kept.clone(), batch: batch.clone() };
        let answers = match &declared.api {
            Api::Command(program) => train::answer(program, &declared.name, &model, &prompts, how, context).await,
            Api::Local | Api::Hosted(_) => {
                providers::answerer(&declared, context.network).answer(&model, prompts, how, context.watch).await.map_err(StageError::from)
            }
        };
        let answers = answers.inspect_err(|_| {
            // What was not answered costs nothing; a batch goes on, and will.
            if !batch.as_ref().is_some_and(Batch::is_begun) {
                let come = kept.as_deref().map(answered_places).unwrap_or_default().difference(&there).count();
                context.watch.billed(expected.unwrap_or_default() * come as f64 / open.len().max(1) as f64);
            }
        })?;
        if answers.cut > 0 {
            let (cut, all, most) = (answers.cut, answers.texts.len(), self.max_tokens);
            context.watch.note(&format!(
                "warning: {cut} of {all} answers were cut off at {most} tokens, and are graded as they are: `generate max-tokens={most}` may be too few"
            ));
        }
        let metrics = figures(&answers, price);
        if let Some(usd) = metrics.get("usd") {
            // Of answers that were there before, an earlier attempt told.
            context.watch.billed(usd * open.len() as f64 / prompts_asked.max(1) as f64);
        }
        let answers: Vec<Answer> = answers.texts.into_iter().map(|answer| Answer { answer }).collect();
        let outputs = BTreeMap::from([(self.output.to_owned(), context.store.put_bytes(&write_lines(&answers))?)]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }

    fn estimate(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Estimate {
        let card = || train::card(store, given(inputs, "model").ok()?).ok();
        let asked = match &self.asked {
            Asked::Made { declarations } => card().and_then(|card| Some((found(&card.provider, declarations).ok()?, card))),
            Asked::Named { declared, name } => train::untuned(declared, name).ok().map(|model| (Declared::clone(declared), model.card)),
        };
        let Some((declared, card)) = asked.filter(|(declared, _)| matches!(declared.api, Api::Hosted(_))) else {
            return Estimate::default();
        };
        let price = price_of(&declared, &card, workspace);
        let unread = price.as_ref().err().map(ToString::to_string);
        let price = price.ok().flatten().map(|price| self.discounted(price));
        let data = given(inputs, "data").ok().and_then(|data| parse_examples(&store.read(data).ok()?).ok());
        let prompts = data.map(|examples| examples.iter().map(|example| example.prompt().to_vec()).collect::<Vec<_>>());
        let usd = prompts.and_then(|prompts| self.expected(&declared, &card, &prompts, price?));
        let known = price.is_some_and(|price| price.input.is_some() && price.output.is_some());
        let note = || format!("what answers of `{}` cost at `{}` is not known: tell it in prices.kdl", card.base, declared.name);
        let is_unpriced = !known && unread.is_none();
        let notes = unread.or_else(|| (!known).then(note)).into_iter().collect();
        Estimate { tokens: None, usd, notes, is_unpriced }
    }
}

impl Generate {
    /// A batch costs half.
    fn discounted(&self, price: Price) -> Price {
        let factor = if self.batch { 0.5 } else { 1.0 };
        Price { input: price.input.map(|usd| usd * factor), output: price.output.map(|usd| usd * factor), ..price }
    }

    /// What the answers will cost at most, in US dollars.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
    fn expected(&self, declared: &Declared, card: &ModelCard, prompts: &[Vec<Message>], price: Price) -> Option<f64> {
        let asked: usize = prompts.iter().map(|messages| train::chat_tokens(declared, &card.base, messages)).sum();
        let answered = prompts.len() * self.max_tokens;
        Some((asked as f64).mul_add(price.input?, answered as f64 * price.output?) / 1e6)
    }
}

/// The provider of a model that was made, which the pipeline declared when it was.
fn found(name: &str, declarations: &[Block]) -> Result<Declared, StageError> {
    let lack = |lack: String| ProviderError::Cannot { provider: name.to_owned(), lack };
    let declared = declared(name, declarations).map_err(|error| lack(error.to_string()))?;
    Ok(declared.ok_or_else(|| lack("is not declared in the pipeline".into()))?)
}

fn price_of(declared: &Declared, card: &ModelCard, workspace: &Path) -> Result<Option<Price>, ProviderError> {
    match &declared.api {
        Api::Hosted(endpoint) => price(workspace, &declared.name, endpoint.api(), &card.base),
        Api::Local | Api::Command(_) => Ok(None),
    }
}

/// What the answers took, where the provider told it.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
fn figures(answers: &Answers, price: Option<Price>) -> BTreeMap<String, f64> {
    let (asked, answered) = (answers.tokens_in as f64, answers.tokens_out as f64);
    let mut figures = BTreeMap::new();
    if answers.cut > 0 {
        figures.insert("cut-off".to_owned(), answers.cut as f64);
    }
    if asked + answered == 0.0 {
        return figures;
    }
    let usd = price.and_then(|price| Some(asked.mul_add(price.input?, answered * price.output?) / 1e6));
    figures.extend([("tokens-in".to_owned(), asked), ("tokens-out".to_owned(), answered)]);
    figures.extend(usd.map(|usd| ("usd".to_owned(), usd)));
    figures
}
