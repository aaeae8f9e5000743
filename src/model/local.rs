use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use async_trait::async_trait;

use crate::data::{Special, Tokenizer, parse_examples};
use crate::ledger::JobJournal;
use crate::provider::{Answered, Generation, Infer, ModelCard, ModelHandle, ProviderError, Question, Tune, TuningRequest, TuningResult, Watch};

use super::adapter::{Adapter, LoraShape};
use super::batch::samples;
use super::builtin::base;
use super::checkpoint::CheckpointPlace;
use super::error::ModelError;
use super::files::{load_adapter, load_weights, save_adapter, save_weights};
use super::generate::{Generated, Prompt, generate};
use super::sampling::Sampling;
use super::trained::{LossPoint, Trained};
use super::trainer::{Tuning, TuningMethod, tune};
use super::weights::Weights;

/// The version of the engine: raised when the same inputs would give other bytes.
pub const ENGINE_VERSION: u32 = 3;

/// Tunes and asks models on this machine.
#[derive(Clone, Copy, Debug)]
pub struct LocalEngine;

/// Sizes where the pipeline does not say.
const BATCH_SIZE: usize = 16;
const EPOCHS: usize = 3;
const WARMUP: f64 = 0.05;
/// The peak of the learning rate where nobody says another.
pub const LEARNING_RATE: f64 = 3e-3;

fn read(path: &Path) -> Result<Vec<u8>, ProviderError> {
    std::fs::read(path).map_err(|error| ProviderError::UnreadableFile { path: path.to_owned(), reason: error.to_string() })
}

#[async_trait]
impl Tune for LocalEngine {
    async fn tune(&self, request: TuningRequest, _: &mut JobJournal, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
        tokio::task::block_in_place(|| tune_here(&request, watch))
    }
}

fn tune_here(request: &TuningRequest, watch: &dyn Watch) -> Result<TuningResult, ProviderError> {
    let weights = base(&request.base)?;
    let tokenizer = Tokenizer::tiny();
    let context = weights.architecture.context;
    let train = samples(tokenizer, &parse_examples(&read(&request.train)?)?, context)?;
    let validation = request.validation.as_deref().map(read).transpose()?.unwrap_or_default();
    let validation = samples(tokenizer, &parse_examples(&validation)?, context)?;
    let sizes = &request.hyperparameters;
    let method = match sizes.lora {
        Some((rank, alpha)) => TuningMethod::Lora(LoraShape { rank, alpha }),
        None => TuningMethod::Full,
    };
    let tuning = Tuning {
        method,
        epochs: sizes.epochs.unwrap_or(EPOCHS),
        batch_size: sizes.batch_size.unwrap_or(BATCH_SIZE),
        learning_rate: sizes.learning_rate.unwrap_or(LEARNING_RATE),
        warmup: sizes.warmup.unwrap_or(WARMUP),
        weight_decay: sizes.weight_decay.unwrap_or(0.0),
        seed: sizes.seed,
        care: request.care,
    };
    let checkpoints = request.checkpoints.clone().map(|(folder, every)| CheckpointPlace { folder, every });
    let trained = tune(weights, &train, &validation, &tuning, checkpoints.as_ref(), watch)?;
    let metrics = figures(&trained);
    let (name, files) = match method {
        TuningMethod::Lora(shape) => {
            let adapter = Adapter { architecture: weights.architecture, shape, values: trained.values };
            ("adapter", save_adapter(&adapter, &request.base)?)
        }
        TuningMethod::Full => {
            let tuned = Weights { architecture: weights.architecture, values: trained.values };
            ("weights", BTreeMap::from([("model.safetensors".to_owned(), save_weights(&tuned, false)?)]))
        }
    };
    let model = ModelCard { provider: "local".into(), base: request.base.clone(), name: name.into() };
    Ok(TuningResult { model, files, losses: losses(&trained.points), metrics })
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
        Ok(tokio::task::block_in_place(|| answer_here(model, &questions, &how, watch))?)
    }
}

/// The weights of a model: those of its base, with what was learnt.
///
/// # Errors
/// When its base is not known, or its files do not fit it.
pub fn weights(model: &ModelHandle) -> Result<Cow<'static, Weights>, ModelError> {
    let base = base(&model.card.base)?;
    Ok(match model.card.name.as_str() {
        "adapter" => Cow::Owned(load_adapter(base.architecture, &model.files)?.merged(base)),
        "weights" => {
            let file = model.files.get("model.safetensors").ok_or_else(|| ModelError::Misfit { problem: "model.safetensors is missing".into() })?;
            Cow::Owned(load_weights(base.architecture, file)?)
        }
        _ => Cow::Borrowed(base),
    })
}

fn answer_here(model: &ModelHandle, questions: &[Question], how: &Generation, watch: &dyn Watch) -> Result<Vec<Answered>, ModelError> {
    let weights = weights(model)?;
    let tokenizer = Tokenizer::tiny();
    let prompt = |question: &Question| Prompt {
        tokens: tokenizer.prompt(&question.messages),
        // The same question has the same answer, and of several samples each its own.
        sampling: Sampling { temperature: how.temperature, top_p: 1.0, seed: question.digest().seed() },
    };
    let prompts: Vec<Prompt> = questions.iter().map(prompt).collect();
    let answers = generate(&weights, &prompts, how.max_tokens, tokenizer.special(Special::End), watch)?;
    let answered =
        |said: Generated| Answered { text: tokenizer.decode(&said.tokens), milliseconds: u64::try_from(said.took.as_millis()).ok(), ..Answered::default() };
    Ok(answers.into_iter().map(answered).collect())
}
