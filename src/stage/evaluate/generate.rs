use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::config::Block;
use crate::data::{DataError, Example, Message, parse_examples, write_lines};
use crate::fingerprint::{Digest, Preimage};
use crate::provider::{AnswerLog, Answered, Api, Batch, Declared, Generation, ModelCard, ModelHandle, Price, ProviderError, declared, price, question_digest};
use crate::store::{RecordOutcome, Store};

use super::super::action::given;
use super::super::{Context, Estimate, Given, StageError, Work, providers, train};

/// The output with the answers, and the folder in which they are kept.
pub const ANSWERS: &str = "answers";
pub const BASELINE_ANSWERS: &str = "baseline-answers";
pub const TRAINING_ANSWERS: &str = "training-answers";

/// Rows of the training data that are asked to see whether the model learnt them by heart, at most.
pub const SAMPLE: usize = 200;

/// A sample of rows: it changes little where rows come or go.
#[must_use]
pub fn sample(examples: &[Example]) -> Vec<&Example> {
    let mut sampled: Vec<(Digest, &Example)> = examples.iter().map(|example| (question_digest(&example.messages), example)).collect();
    sampled.sort_by_key(|(digest, _)| *digest);
    sampled.into_iter().take(SAMPLE).map(|(_, example)| example).collect()
}

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
    /// Whether only a sample is asked.
    pub is_sample: bool,
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
        let wanted: Vec<&Example> = if self.is_sample { sample(&examples) } else { examples.iter().collect() };
        let asked = Questions::of(wanted.into_iter().map(|example| example.prompt().to_vec()));
        let price = price_of(&declared, &model.card, context.workspace)?.map(|price| self.discounted(price));
        let batch = self.batch.then(|| Batch {
            key: context.key.to_string(),
            folder: context.folder.to_owned(),
            state: context.store.root().join("jobs").join("batches"),
        });
        let is_begun = batch.as_ref().is_some_and(Batch::is_begun);
        // What is replayed comes from the tape alone.
        let log = (!context.network.replays()).then(|| self.log(context)).transpose()?;
        let mut found: HashMap<Digest, Answered> =
            log.iter().flat_map(|log| asked.each().filter_map(|question| Some((question, log.find(question)?)))).collect();
        if batch.is_some() && (is_begun || found.len() < asked.unlike()) {
            // A batch is found again by all of its questions.
            found.clear();
        }
        if !found.is_empty() {
            let lacks = if context.network.tape().is_some() { ", and not in the recording: `--force` of the stage asks for all of them" } else { "" };
            context.watch.note(&format!("{} of {} answers are there from before{lacks}", found.len(), asked.unlike()));
        }
        let open: Vec<(Digest, Vec<Message>)> = asked.open(&found);
        let prompts: Vec<Vec<Message>> = open.iter().map(|(_, messages)| messages.clone()).collect();
        let expected = price.filter(|_| !is_begun).and_then(|price| self.expected(&declared, &model.card, &prompts, price));
        if matches!(declared.api, Api::Hosted(_)) && !open.is_empty() && !is_begun {
            context.watch.spend(&declared.name, expected)?;
        }
        let how = Generation { max_tokens: self.max_tokens, kept: log.clone(), batch: batch.clone() };
        let answers = match &declared.api {
            _ if open.is_empty() => Ok(Vec::new()),
            Api::Command(program) => train::answer(program, &declared.name, &model, &prompts, how, context).await,
            Api::Local | Api::Hosted(_) => {
                providers::answerer(&declared, context.network).answer(&model, prompts, how, context.watch).await.map_err(StageError::from)
            }
        };
        let answers = answers.inspect_err(|_| {
            // What was not answered costs nothing; a batch goes on, and will.
            if !batch.as_ref().is_some_and(Batch::is_begun) {
                let come = log.iter().map(|log| open.iter().filter(|(question, _)| log.find(*question).is_some()).count()).sum::<usize>();
                context.watch.billed(expected.unwrap_or_default() * come as f64 / open.len().max(1) as f64);
            }
        })?;
        let new = figures(answers.iter(), price);
        if let Some(usd) = new.get("usd") {
            context.watch.billed(*usd);
        }
        for ((question, _), answered) in open.into_iter().zip(answers) {
            log.iter().for_each(|log| log.keep(question, &answered));
            found.insert(question, answered);
        }
        let all: Vec<Answered> = asked.all.iter().filter_map(|(question, _)| found.get(question).cloned()).collect();
        let cut = all.iter().filter(|answered| answered.cut).count();
        if cut > 0 {
            let (all, most) = (all.len(), self.max_tokens);
            context.watch.note(&format!(
                "warning: {cut} of {all} answers were cut off at {most} tokens, and are graded as they are: `generate max-tokens={most}` may be too few"
            ));
        }
        // What the rows cost, whenever it was paid: a figure of the evaluation, and not of the run.
        let metrics = figures(found.values(), price);
        let answers: Vec<Answer> = all.into_iter().map(|answered| Answer { answer: answered.text }).collect();
        let outputs = BTreeMap::from([(self.output.to_owned(), context.store.put_bytes(&write_lines(&answers))?)]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }

    fn forget(&self, store: &Store, preimage: &Preimage) {
        let _ = std::fs::remove_file(place_of_answers(store, preimage));
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
        let prompts = data.map(|examples| {
            let asked: Vec<&Example> = if self.is_sample { sample(&examples) } else { examples.iter().collect() };
            asked.into_iter().map(|example| example.prompt().to_vec()).collect::<Vec<_>>()
        });
        let usd = prompts.and_then(|prompts| self.expected(&declared, &card, &prompts, price?));
        let known = price.is_some_and(|price| price.input.is_some() && price.output.is_some());
        let note = || format!("what answers of `{}` cost at `{}` is not known: tell it in prices.kdl", card.base, declared.name);
        let is_unpriced = !known && unread.is_none();
        let notes = unread.or_else(|| (!known).then(note)).into_iter().collect();
        Estimate { tokens: None, usd, notes, is_unpriced }
    }
}

impl Generate {
    /// What this model was asked before in this way.
    fn log(&self, context: &Context<'_>) -> Result<Arc<AnswerLog>, StageError> {
        let place = place_of_answers(context.store, context.preimage);
        AnswerLog::open(&place).map(Arc::new).map_err(|source| StageError::Io { doing: "open", path: place, source })
    }

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
fn figures<'a>(answers: impl Iterator<Item = &'a Answered>, price: Option<Price>) -> BTreeMap<String, f64> {
    let (mut asked, mut answered, mut cut) = (0.0, 0.0, 0.0);
    for answer in answers {
        asked += answer.tokens_in as f64;
        answered += answer.tokens_out as f64;
        cut += f64::from(u8::from(answer.cut));
    }
    let mut figures = BTreeMap::new();
    if cut > 0.0 {
        figures.insert("cut-off".to_owned(), cut);
    }
    if asked + answered == 0.0 {
        return figures;
    }
    let usd = price.and_then(|price| Some(f64::mul_add(asked, price.input?, answered * price.output?) / 1e6));
    figures.extend([("tokens-in".to_owned(), asked), ("tokens-out".to_owned(), answered)]);
    figures.extend(usd.map(|usd| ("usd".to_owned(), usd)));
    figures
}

/// The questions of an evaluation, in its order; the same one may stand there again, and is asked once.
struct Questions {
    all: Vec<(Digest, Vec<Message>)>,
}

impl Questions {
    fn of(prompts: impl Iterator<Item = Vec<Message>>) -> Self {
        Self { all: prompts.map(|messages| (question_digest(&messages), messages)).collect() }
    }

    fn each(&self) -> impl Iterator<Item = Digest> {
        self.all.iter().map(|(question, _)| *question)
    }

    /// How many there are that are not the same.
    fn unlike(&self) -> usize {
        self.each().collect::<BTreeSet<_>>().len()
    }

    /// Those that are not answered, each once.
    fn open(&self, found: &HashMap<Digest, Answered>) -> Vec<(Digest, Vec<Message>)> {
        let mut seen = BTreeSet::new();
        self.all.iter().filter(|(question, _)| !found.contains_key(question) && seen.insert(*question)).cloned().collect()
    }
}

/// Where the answers are kept of a model that is asked in one way, whatever it is asked.
#[must_use]
pub fn place_of_answers(store: &Store, preimage: &Preimage) -> PathBuf {
    let mut way = preimage.clone();
    way.inputs.remove("data");
    way.kind = ANSWERS.to_owned();
    store.root().join(ANSWERS).join(format!("{}.jsonl", way.key()))
}
