//! The local engine as a provider.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::data::{parse_examples, parse_preferences};
use crate::ledger::JobJournal;
use crate::model::answering::generate::{Generated, Prompt, generate};
use crate::model::answering::sampling::Sampling;
use crate::model::builtin::TINY;
use crate::model::error::ModelError;
use crate::model::files::{save_adapter, save_weights};
use crate::model::network::adapter::{Adapter, Fitted, LoraShape, Targets};
use crate::model::network::layout::Matrix;
use crate::model::network::weights::Weights;
use crate::model::source::{Base, base, fetch};
use crate::model::training::checkpoint::CheckpointPlace;
use crate::model::training::examples::{Encoded, lessons, preferences};
use crate::model::training::flight::Step;
use crate::model::training::trained::{LossPoint, Trained};
use crate::model::training::trainer::{Recorded, tune};
use crate::model::training::tuning::{Tuning, TuningMethod};
use crate::model::tuned::Model;
use crate::provider::{
    Answered, Decay, Generation, Infer, Longest, Lora, Method, ModelCard, ModelHandle, Overflow, ProviderError, Question, Tune, TuningRequest, TuningResult,
    Watch,
};

/// The version of the engine: raised when the same inputs would give other bytes.
pub const ENGINE_VERSION: u32 = 4;

/// Tunes and asks models on this machine.
#[derive(Clone, Debug)]
pub struct LocalEngine {
    workspace: PathBuf,
}

impl LocalEngine {
    /// The engine, with the folder that paths of models go from.
    #[must_use]
    pub fn new(workspace: &Path) -> Self {
        Self { workspace: workspace.to_owned() }
    }

    pub(super) fn workspace(&self) -> &Path {
        &self.workspace
    }
}

/// Sizes where the pipeline does not say.
const BATCH_SIZE: usize = 16;
const EPOCHS: usize = 3;
const WARMUP: f64 = 0.05;
const BETA: f64 = 0.1;
/// The peak of the learning rate for `builtin:tiny`, and from scratch, where nobody says another.
pub const LEARNING_RATE: f64 = 3e-3;
/// The same for larger models: of an adapter, and of all weights.
const OF_ADAPTERS: f64 = 2e-4;
const OF_WEIGHTS: f64 = 2e-5;

fn read(path: &Path) -> Result<Vec<u8>, ProviderError> {
    std::fs::read(path).map_err(|error| ProviderError::UnreadableFile { path: path.to_owned(), reason: error.to_string() })
}

#[async_trait]
impl Tune for LocalEngine {
    async fn tune(&self, request: TuningRequest, _: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        fetch(&request.base, &self.workspace, watch).await?;
        tokio::task::block_in_place(|| self.tune_here(&request, watch))
    }
}

/// What is wrong with the validation examples, said as such.
fn of_validation(inner: ModelError) -> ModelError {
    ModelError::Validation { inner: Box::new(inner) }
}

/// The adapter that is asked for.
fn shape(lora: &Lora) -> Result<LoraShape, ModelError> {
    let named = |name: &String| {
        let found = Matrix::ALL.into_iter().find(|matrix| matrix.target() == name);
        found.ok_or_else(|| ModelError::Misfit { problem: format!("there is no matrix `{name}`") })
    };
    let targets = lora.targets.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    Ok(LoraShape {
        rank: lora.rank,
        alpha: lora.alpha,
        is_rank_stabilised: lora.is_rank_stabilised,
        is_dora: lora.is_dora,
        dropout: lora.dropout,
        targets: if targets.is_empty() { Targets::ALL } else { Targets::of(targets) },
    })
}

/// A file of examples as lessons, by the method.
fn encoded(base: &Base, request: &TuningRequest, path: Option<&Path>, longest: Longest, of: fn(ModelError) -> ModelError) -> Result<Encoded, ProviderError> {
    let bytes = path.map(read).transpose()?.unwrap_or_default();
    let taught = request.hyperparameters.taught;
    Ok(match &request.method {
        Method::Dpo { beta } => preferences(&base.chat, &parse_preferences(&bytes)?, beta.unwrap_or(BETA), longest).map_err(of)?,
        Method::Supervised | Method::Reinforcement { .. } => lessons(&base.chat, &parse_examples(&bytes)?, taught, longest).map_err(of)?,
    })
}

impl LocalEngine {
    fn tune_here(&self, request: &TuningRequest, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        let base = base(&request.base, &self.workspace)?;
        let sizes = &request.hyperparameters;
        let begun = match &request.start {
            Some(start) => Some(Model::open(start, &self.workspace)?.merged()),
            None => sizes.from_scratch.then(|| Weights::random(base.architecture, sizes.seed)),
        };
        let parameters = begun.as_ref().map_or_else(|| base.parameters(), |weights| Ok(weights.into()))?;
        let context = base.architecture.context;
        let longest = sizes.longest.unwrap_or(Longest { tokens: context, overflow: Overflow::Error });
        let longest = Longest { tokens: longest.tokens.min(context), ..longest };
        let train = encoded(&base, request, Some(&request.train), longest, |error| error)?;
        let validation = encoded(&base, request, request.validation.as_deref(), longest, of_validation)?;
        if request.care.patience.is_some() && validation.lessons.is_empty() {
            watch.note("warning: `early-stop` has nothing to go by: there are no validation examples");
        }
        for (encoded, of) in [(&train, "training"), (&validation, "validation")] {
            for (count, what) in [(encoded.dropped, "left out"), (encoded.cut, "cut")] {
                if count > 0 {
                    watch.note(&format!("{count} of the {of} examples have more than {} tokens and are {what}", longest.tokens));
                }
            }
        }
        let method = sizes.lora.as_ref().map_or(Ok(TuningMethod::Full), |lora| shape(lora).map(TuningMethod::Lora))?;
        let usual = match method {
            _ if request.base == TINY || sizes.from_scratch => LEARNING_RATE,
            TuningMethod::Lora(_) => OF_ADAPTERS,
            TuningMethod::Full => OF_WEIGHTS,
        };
        let plain = Tuning::plain(method, sizes.epochs.unwrap_or(EPOCHS), sizes.batch_size.unwrap_or(BATCH_SIZE), sizes.learning_rate.unwrap_or(usual));
        let tuning = Tuning {
            warmup: sizes.warmup.unwrap_or(WARMUP),
            decay: sizes.decay.unwrap_or(Decay::Cosine),
            weight_decay: sizes.weight_decay.unwrap_or(0.0),
            clip: sizes.clip.unwrap_or(plain.clip),
            evaluate_every: sizes.eval_interval,
            recompute: sizes.recompute,
            seed: sizes.seed,
            care: request.care,
            ..plain
        };
        let checkpoints = request.checkpoints.clone().map(|(folder, every)| CheckpointPlace { folder, every });
        let recorded = Recorded { rows: &train.rows, left: request.left.as_deref() };
        let trained = tune(parameters, &train.lessons, &validation.lessons, &tuning, recorded, checkpoints.as_ref(), watch)?;
        let (metrics, losses, flight) = (figures(&trained), losses(&trained.points), Step::lines(&trained.flight));
        let (name, files) = match method {
            TuningMethod::Lora(shape) => {
                let adapter = Adapter { architecture: base.architecture, shape, values: trained.values };
                if request.start.is_none() {
                    ("adapter", save_adapter(&adapter, &request.base)?)
                } else {
                    // An adapter to what was tuned before fits no base that others have: it goes into the weights.
                    ("weights", weights_file(&adapter.merged(parameters))?)
                }
            }
            TuningMethod::Full => ("weights", weights_file(&Weights { architecture: base.architecture, values: trained.values })?),
        };
        let model = ModelCard { provider: "local".into(), base: request.base.clone(), name: name.into(), digest: base.digest };
        Ok(TuningResult { model, files, losses, flight, metrics })
    }

    fn answer_here(&self, handle: &ModelHandle, questions: &[Question], how: &Generation, watch: &dyn Watch) -> Result<Vec<Answered>, ModelError> {
        let model = Model::open(handle, &self.workspace)?;
        let (parameters, chat) = (model.parameters(), model.chat());
        let fitted = model.adapter().map(|adapter| Fitted::new(adapter, parameters));
        let prompt = |(index, question): (usize, &Question)| {
            let tokens = chat.prompt(&question.messages).map_err(|source| ModelError::Template { index: index + 1, source })?;
            // The same question has the same answer, and of several samples each its own.
            Ok(Prompt { tokens, sampling: Sampling { seed: question.digest().seed(), ..Sampling::at(how.temperature) } })
        };
        let prompts: Vec<Prompt> = questions.iter().enumerate().map(prompt).collect::<Result<_, ModelError>>()?;
        let answers = generate(parameters, fitted.as_ref(), &prompts, how.max_tokens, &chat.ends(), watch)?;
        let answered =
            |said: Generated| Answered { text: chat.decode(&said.tokens), milliseconds: u64::try_from(said.took.as_millis()).ok(), ..Answered::default() };
        Ok(answers.into_iter().map(answered).collect())
    }
}

/// All weights as the files of a model.
fn weights_file(weights: &Weights) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    Ok(BTreeMap::from([("model.safetensors".to_owned(), save_weights(weights, false)?)]))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn figures(trained: &Trained) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::from([
        ("steps".to_owned(), trained.points.len() as f64),
        ("best-step".to_owned(), trained.best_step as f64),
        ("trained-tokens".to_owned(), trained.tokens as f64),
    ]);
    metrics.extend(trained.points.last().map(|point| ("train-loss".to_owned(), point.train)));
    metrics.extend(trained.best_validation.map(|loss| ("validation-loss".to_owned(), loss)));
    metrics
}

/// The columns of OpenAI's result files, and the loss of all validation rows where it was measured.
fn losses(points: &[LossPoint]) -> Vec<u8> {
    let mut text = String::from("step,train_loss,valid_loss,full_valid_loss\n");
    let figure = |loss: Option<f64>| loss.map_or(String::new(), |loss| format!("{loss:.6}"));
    for point in points {
        let _ = writeln!(text, "{},{:.6},{},{}", point.step, point.train, figure(point.validation), figure(point.full_validation));
    }
    text.into_bytes()
}

#[async_trait]
impl Infer for LocalEngine {
    async fn answer(&self, model: &ModelHandle, questions: Vec<Question>, how: Generation, watch: &dyn Watch) -> Result<Vec<Answered>, ProviderError> {
        fetch(&model.card.base, &self.workspace, watch).await?;
        Ok(tokio::task::block_in_place(|| self.answer_here(model, &questions, &how, watch))?)
    }
}
