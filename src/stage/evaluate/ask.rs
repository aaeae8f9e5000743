//! Asking a model many questions, each once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::fingerprint::{ActionKey, Digest, Preimage, Tree};
use crate::grade::Metrics;
use crate::provider::{
    AnswerLog, Answered, Api, Batch, Cost, Declared, Generation, ModelCard, ModelHandle, Price, ProviderError, Question, price, until_stopped,
};
use crate::store::{Lock, Store, StoreError, write_atomically};

use super::super::{Context, Estimate, StageError, TOKENS_IN, TOKENS_OUT, USD, USD_PAID, providers, train};

/// The output with the answers, and the folder in which they are kept.
pub const ANSWERS: &str = "answers";

/// A model and how it is asked.
#[derive(Debug)]
pub struct Asking<'a> {
    pub declared: &'a Declared,
    pub model: &'a ModelHandle,
    pub max_tokens: usize,
    /// How the user sets that, where it can be set.
    pub setting: Option<&'static str>,
    /// 0 for the likeliest token each time.
    pub temperature: f64,
    /// Where a hosted model is asked in one batch.
    pub batch: Option<Batch>,
    /// The file in which its answers are kept.
    pub place: PathBuf,
    /// Whether it must be known how long each answer took: one of which it is not is asked for again.
    pub timed: bool,
}

impl Asking<'_> {
    /// The answers in the order of the questions, and what all of them took.
    #[expect(clippy::cast_precision_loss, reason = "counts of questions are far below 2^52")]
    pub async fn ask(&self, context: &Context<'_>, questions: impl Iterator<Item = Question>) -> Result<(Vec<Answered>, Metrics), StageError> {
        let (declared, model) = (self.declared, self.model);
        let asked = Questions::of(questions);
        let price = price_of(declared, &model.card, context.workspace)?.map(|price| discounted(price, self.batch.is_some()));
        let batch = &self.batch;
        let is_begun = batch.as_ref().is_some_and(Batch::is_begun);
        // Another part of the stage may ask the same in the same way, at the same time: it finds our answers.
        let turn = turn(&self.place);
        let stops = || context.watch.stopped();
        let mut anew = until_stopped(context.watch, stops, turn.lock()).await.ok_or(StageError::Stopped)?;
        // And so may another process.
        let _alone = until_stopped(context.watch, stops, alone(context.store, &self.place)).await.ok_or(StageError::Stopped)??;
        // What is replayed comes from the tape alone.
        let log = (!context.network.replays()).then(|| self.log(context)).transpose()?;
        if context.anew {
            // What another part has asked anew already is new.
            log.iter().for_each(|log| log.forget(asked.each().filter(|question| !anew.contains(question))));
        }
        let mut found: HashMap<Digest, Answered> =
            log.iter().flat_map(|log| asked.each().filter_map(|question| Some((question, log.find(question)?)))).collect();
        if self.timed {
            found.retain(|_, answered| answered.milliseconds.is_some());
        }
        if batch.is_some() && found.len() < asked.unlike() {
            // A batch is found again by all of its questions.
            found.clear();
        }
        if !found.is_empty() {
            let lacks = if context.network.tape().is_some() { ", and not in the recording: `--force` of the stage asks for all of them" } else { "" };
            context.watch.note(&format!("{} of {} answers are there from before{lacks}", found.len(), asked.unlike()));
        }
        let open: Vec<(Digest, Question)> = asked.open(&found);
        let questions: Vec<Question> = open.iter().map(|(_, question)| question.clone()).collect();
        let is_counted = matches!(declared.api, Api::Hosted(_)) || context.watch.bounds_tokens();
        let expected = if !is_counted || is_begun || open.is_empty() {
            Cost::default()
        } else {
            let expected = expected(declared, &model.card, &questions, self.max_tokens, price);
            context.watch.spend(&declared.name, expected)?;
            expected
        };
        let how = Generation { max_tokens: self.max_tokens, temperature: self.temperature, kept: log.clone(), batch: batch.clone() };
        let answers = match &declared.api {
            _ if open.is_empty() => Ok(Vec::new()),
            Api::Command(program) => train::answer(program, &declared.name, model, &questions, how, context).await,
            Api::Local | Api::Hosted(_) => providers::answerer(declared, context).answer(model, questions, how, context.watch).await.map_err(StageError::from),
        };
        let answers = answers.inspect_err(|_| {
            // What was not answered costs nothing; a batch goes on, and will.
            if !batch.as_ref().is_some_and(Batch::is_begun) {
                let come = log.iter().map(|log| open.iter().filter(|(question, _)| log.find(*question).is_some()).count()).sum::<usize>();
                let share = come as f64 / open.len().max(1) as f64;
                context.watch.billed(Cost { usd: Some(expected.usd.unwrap_or_default() * share), tokens: expected.tokens.map(|tokens| tokens * share) });
            }
        })?;
        let new = figures(answers.iter(), price);
        context.watch.billed(spent(&new));
        for ((question, _), answered) in open.into_iter().zip(answers) {
            log.iter().for_each(|log| log.keep(question, &answered));
            found.insert(question, answered);
        }
        if context.anew {
            anew.extend(asked.each());
        }
        let all: Vec<Answered> = asked.all.iter().filter_map(|(question, _)| found.get(question).cloned()).collect();
        let cut = all.iter().filter(|answered| answered.cut).count();
        if cut > 0 {
            let (all, most) = (all.len(), self.max_tokens);
            let advice = self.setting.map(|setting| format!(": `{setting}={most}` may be too few")).unwrap_or_default();
            context.watch.note(&format!("warning: {cut} of {all} answers were cut off at {most} tokens, and are taken as they are{advice}"));
        }
        // What the rows cost, whenever it was paid: a figure of the evaluation; beside it what was paid this time.
        let mut metrics = figures(found.values(), price);
        if metrics.contains_key(USD) {
            metrics.insert(USD_PAID.to_owned(), new.get(USD).copied().unwrap_or_default());
        }
        Ok((all, metrics))
    }

    /// Asks for something that must be read out of each answer, so many times for each thing that is asked. Answers of which nothing
    /// can be read are asked for again by the next run; now it is an error where all of those about one thing are so.
    pub async fn ask_for<T>(
        &self,
        context: &Context<'_>,
        questions: &[Question],
        times: usize,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<(Vec<Option<T>>, Metrics), StageError> {
        let (said, metrics) = self.ask(context, questions.iter().cloned()).await?;
        let found: Vec<Option<T>> = said.iter().map(|answered| read(&answered.text)).collect();
        let unread: Vec<usize> = (0..found.len()).filter(|&at| found[at].is_none()).collect();
        if let Some(&first) = unread.first() {
            self.forget(unread.iter().map(|&at| &questions[at]))?;
            let shown: String = said[first].text.chars().take(120).collect();
            let problem = format!("{} of {} judgements are no JSON with what was asked for, the first: {shown:?}", unread.len(), said.len());
            if found.chunks(times).any(|about| about.iter().all(Option::is_none)) {
                return Err(StageError::Unreadable { what: "the judgements", problem });
            }
            context.watch.note(&format!("warning: {problem}; the other votes count"));
        }
        Ok((found, metrics))
    }

    /// Lets go of answers that say nothing.
    fn forget<'a>(&self, questions: impl Iterator<Item = &'a Question>) -> Result<(), StageError> {
        let log = AnswerLog::open(&self.place).map_err(|source| StageError::Io { doing: "open", path: self.place.clone(), source })?;
        log.forget(questions.map(Question::digest));
        Ok(())
    }

    /// What this model was asked before in this way. Which action needs it is noted, so that it is not cleared away.
    fn log(&self, context: &Context<'_>) -> Result<Arc<AnswerLog>, StageError> {
        let failed = |source| StageError::Io { doing: "open", path: self.place.clone(), source };
        let log = AnswerLog::open(&self.place).map_err(failed)?;
        let note = noted(context.store, context.key);
        let name = self.place.file_name().unwrap_or_default();
        note.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        let name = name.to_string_lossy();
        let mut names = std::fs::read_to_string(&note).unwrap_or_default();
        if !names.lines().any(|known| known == name) {
            // One action may ask several models.
            names += &format!("{name}\n");
            write_atomically(&note, names.as_bytes())?;
        }
        Ok(Arc::new(log))
    }
}

/// A turn to ask a model in one way, and what it was asked anew in this process.
type Turn = Arc<tokio::sync::Mutex<BTreeSet<Digest>>>;

/// Who asks a model in one way, in this process: one after the other.
fn turn(place: &Path) -> Turn {
    static TURNS: LazyLock<Mutex<HashMap<PathBuf, Turn>>> = LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(turns.entry(place.to_owned()).or_default())
}

/// Waits until no other process asks a model in one way.
async fn alone(store: &Store, place: &Path) -> Result<Lock, StoreError> {
    let name = format!("{ANSWERS}/{}", place.file_name().unwrap_or_default().to_string_lossy());
    loop {
        if let Some(alone) = Lock::try_alone(store, &name)? {
            return Ok(alone);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Where it is noted which answers an action needs.
fn noted(store: &Store, key: ActionKey) -> PathBuf {
    store.root().join(ANSWERS).join("by-action").join(key.to_string())
}

/// The files with answers that some actions need, and the notes of which.
#[must_use]
pub fn answers_of(store: &Store, keys: &BTreeSet<ActionKey>) -> BTreeSet<PathBuf> {
    let folder = store.root().join(ANSWERS);
    let of = |key: &ActionKey| {
        let note = noted(store, *key);
        let names = std::fs::read_to_string(&note).ok()?;
        let files: Vec<PathBuf> = names.lines().map(|name| folder.join(name)).collect();
        Some(files.into_iter().chain([note]))
    };
    keys.iter().filter_map(of).flatten().collect()
}

/// What it will take to ask a hosted model, as far as that is known before.
pub fn estimate(declared: &Declared, card: &ModelCard, workspace: &Path, max_tokens: usize, batch: bool, questions: Option<&[Question]>) -> Estimate {
    let price = price_of(declared, card, workspace);
    let unread = price.as_ref().err().map(ToString::to_string);
    let price = price.ok().flatten().map(|price| discounted(price, batch));
    let usd = questions.and_then(|questions| expected(declared, card, questions, max_tokens, price).usd);
    let known = price.is_some_and(|price| price.input.is_some() && price.output.is_some());
    let note = || format!("what answers of `{}` cost at `{}` is not known: tell it in prices.kdl", card.base, declared.name);
    let is_unpriced = !known && unread.is_none();
    let notes = unread.or_else(|| (!known).then(note)).into_iter().collect();
    Estimate { tokens: None, usd, notes, is_unpriced }
}

/// What some questions will cost at most, in US dollars, where that is known.
///
/// # Errors
/// When the prices cannot be read.
pub fn expected_cost(declared: &Declared, card: &ModelCard, workspace: &Path, questions: &[Question], max_tokens: usize) -> Result<Cost, StageError> {
    Ok(expected(declared, card, questions, max_tokens, price_of(declared, card, workspace)?))
}

/// What some answers did cost, as far as that is known.
///
/// # Errors
/// When the prices cannot be read.
pub fn cost_of(declared: &Declared, card: &ModelCard, workspace: &Path, answers: &[Answered]) -> Result<Cost, StageError> {
    Ok(spent(&figures(answers.iter(), price_of(declared, card, workspace)?)))
}

fn spent(figures: &BTreeMap<String, f64>) -> Cost {
    let told = |name: &str| figures.get(name).copied();
    Cost { usd: told(USD), tokens: told(TOKENS_IN).zip(told(TOKENS_OUT)).map(|(read, written)| read + written) }
}

/// A batch costs half.
pub fn discounted(price: Price, batch: bool) -> Price {
    let factor = if batch { 0.5 } else { 1.0 };
    Price { input: price.input.map(|usd| usd * factor), output: price.output.map(|usd| usd * factor), ..price }
}

/// What the answers will cost at most. Nothing costs dollars here.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
fn expected(declared: &Declared, card: &ModelCard, questions: &[Question], max_tokens: usize, price: Option<Price>) -> Cost {
    let asked: usize = questions.iter().map(|question| train::chat_tokens(declared, &card.base, &question.messages) + question.beside()).sum();
    let answered = questions.len() * max_tokens;
    let usd = match (&declared.api, price) {
        (Api::Hosted(_), None) => None,
        (Api::Hosted(_), Some(price)) => price.input.zip(price.output).map(|(input, output)| (asked as f64).mul_add(input, answered as f64 * output) / 1e6),
        (Api::Local | Api::Command(_), _) => Some(0.0),
    };
    Cost { usd, tokens: Some((asked + answered) as f64) }
}

pub fn price_of(declared: &Declared, card: &ModelCard, workspace: &Path) -> Result<Option<Price>, ProviderError> {
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
    figures.extend([(TOKENS_IN.to_owned(), asked), (TOKENS_OUT.to_owned(), answered)]);
    figures.extend(usd.map(|usd| (USD.to_owned(), usd)));
    figures
}

/// The questions of an evaluation, in its order; the same one may stand there again, and is asked once.
struct Questions {
    all: Vec<(Digest, Question)>,
}

impl Questions {
    fn of(questions: impl Iterator<Item = Question>) -> Self {
        Self { all: questions.map(|question| (question.digest(), question)).collect() }
    }

    fn each(&self) -> impl Iterator<Item = Digest> {
        self.all.iter().map(|(question, _)| *question)
    }

    /// How many there are that are not the same.
    fn unlike(&self) -> usize {
        self.each().collect::<BTreeSet<_>>().len()
    }

    /// Those that are not answered, each once.
    fn open(&self, found: &HashMap<Digest, Answered>) -> Vec<(Digest, Question)> {
        let mut seen = BTreeSet::new();
        self.all.iter().filter(|(question, _)| !found.contains_key(question) && seen.insert(*question)).cloned().collect()
    }
}

/// Where the answers are kept of a model that is asked in one way, whatever it is asked.
#[must_use]
pub fn place_of_answers(store: &Store, preimage: &Preimage) -> PathBuf {
    let mut way = preimage.clone();
    for asked in QUESTIONS {
        way.inputs.remove(*asked);
    }
    if let Tree::Map(settings) = &mut way.settings {
        // How often, and what else is told of the answers, says nothing about any of them.
        [SAMPLES, TOOK, "suite"].iter().for_each(|setting| {
            settings.remove(*setting);
        });
    }
    way.kind = ANSWERS.to_owned();
    way.version = VERSION;
    store.root().join(ANSWERS).join(format!("{}.jsonl", way.key()))
}

/// The version of questions: raised when the same one would be asked in another way, so that what was answered says nothing any more.
const VERSION: u32 = 1;

/// The settings that say how often each question is asked, and whether it is told what answers took.
pub const SAMPLES: &str = "samples";
pub const TOOK: &str = "took";

/// The inputs that say what is asked, and not how.
pub const QUESTIONS: &[&str] = &["data", ANSWERS, "baseline-answers"];
