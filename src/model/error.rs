use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::data::TemplateError;

/// What can go wrong with the local engine.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum ModelError {
    /// A model that the local engine does not have.
    #[error("there is no local model `{name}`")]
    #[diagnostic(
        code(model::unknown),
        help(
            "the local engine has `builtin:tiny`, folders of models (`models/NAME`), GGUF files (`models/NAME.gguf`) and models of the hub (`hf:OWNER/NAME@COMMIT`); other models need another provider"
        )
    )]
    Unknown { name: String },

    /// A model that is not where it should be.
    #[error("{} is no model that can be used here: {lack}", path.display())]
    #[diagnostic(
        code(model::no_model),
        help(
            "a model is a folder with config.json, tokenizer.json and safetensors as Hugging Face's libraries write it, or a GGUF file, of the families Llama, Qwen 2, Qwen 3 and Gemma 3"
        )
    )]
    NoModel { path: PathBuf, lack: String },

    /// A model of the hub that was not downloaded yet.
    #[error("{model} is not on this machine yet")]
    #[diagnostic(code(model::not_here), help("`retune run` downloads it when a stage needs it"))]
    NotHere { model: String },

    /// A model of the hub whose files were changed here.
    #[error("the files of {model} are not those that were downloaded")]
    #[diagnostic(code(model::changed), help("something changed or damaged them: delete {}, and the next run downloads them again", folder.display()))]
    Changed { model: String, folder: PathBuf },

    /// A model that the hub does not give away.
    #[error("{model} cannot be had: {problem}")]
    #[diagnostic(
        code(model::hub_refused),
        help("look at its page: the owner, the name and the commit must be as there; where a licence has to be accepted, do so and set HF_TOKEN")
    )]
    HubRefused { model: String, problem: String },

    /// A hub that does not answer.
    #[error("cannot reach {url}: {problem}")]
    #[diagnostic(code(model::hub_unreachable), help("run again: what came of it is kept, and the rest is asked for; HF_ENDPOINT names another hub"))]
    HubUnreachable { url: String, problem: String },

    /// A file that is not what it should be.
    #[error("{file} of {model} has the digest {found}, and the hub says {expected}")]
    #[diagnostic(
        code(model::other_content),
        help("it was downloaded twice, and is not used: something between here and the hub changes it, or the hub is wrong")
    )]
    OtherContent { model: String, file: String, expected: String, found: String },

    /// A model without weights that would have to have some.
    #[error("{} has no weights", path.display())]
    #[diagnostic(
        code(model::no_weights),
        help("put its model.safetensors there; where it is to be trained from random weights, say `from-scratch` in the method")
    )]
    NoWeights { path: PathBuf },

    /// A model that was not made for conversations.
    #[error("{} has no chat template", path.display())]
    #[diagnostic(
        code(model::no_template),
        help("put the template of the model's kin into it as chat_template.jinja: training, evaluation and serving go by it")
    )]
    NoTemplate { path: PathBuf },

    /// A file of a model that cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    #[diagnostic(code(model::unreadable), help("see that the file is there, whole, and may be read"))]
    Unreadable { path: PathBuf, reason: String },

    /// A file of a model that cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    #[diagnostic(code(model::unwritable), help("see that the disk has room, and that you may write there; what came of it is kept"))]
    Unwritable { path: PathBuf, reason: String },

    /// The base of a tuned model is not what it was.
    #[error("`{base}` is not the model any more that this one was tuned from")]
    #[diagnostic(code(model::other_base), help("put the former files back, or run the train stage again"))]
    OtherBase { base: String },

    /// A conversation that the model's template does not take.
    #[error("example {index}: {source}")]
    #[diagnostic(
        code(model::template),
        help(
            "look at it with `retune inspect STAGE --row {index}`; a template for which no loss mask can be found would teach the model to speak as the user"
        )
    )]
    Template { index: usize, source: TemplateError },

    /// A message that is not to be learnt where all of them are.
    #[error("example {index} gives a message the weight 0, and `train-on-inputs` learns whole conversations")]
    #[diagnostic(code(model::weighed), help("take `train-on-inputs` out, or the weights: `fix \"weights\"` in the prepare stage does it"))]
    Weighed { index: usize },

    /// Nothing to learn from.
    #[error("there is nothing to learn: {problem}")]
    #[diagnostic(
        code(model::nothing_to_learn),
        help("look at the report of the prepare stage: `retune show STAGE`; where `max-length` cuts examples, `overflow=\"drop\"` leaves them out")
    )]
    NothingToLearn { problem: String },

    /// An example that the model cannot hold.
    #[error("example {index} has {tokens} tokens, more than the {limit} that the model holds")]
    #[diagnostic(
        code(model::too_long),
        help("add `limit tokens={limit}` to the prepare stage, or `max-length tokens={limit} overflow=\"drop\"` (or \"truncate\") to the method")
    )]
    TooLong { index: usize, tokens: usize, limit: usize },

    /// A question that leaves no room for an answer.
    #[error("question {index} has {tokens} tokens, and the model holds {limit} with its answer")]
    #[diagnostic(code(model::no_room), help("keep it out with `limit tokens={limit}` in the prepare stage, which counts question and answer"))]
    NoRoom { index: usize, tokens: usize, limit: usize },

    /// Something of the examples that are not learnt from.
    #[error("of the validation examples: {inner}")]
    #[diagnostic(
        code(model::validation),
        help("they are the validation split of the prepare stage, or the file that `validation` names, and rows are counted in it")
    )]
    Validation { inner: Box<Self> },

    /// Training went off the rails.
    #[error("the loss is not a number any more at step {step}, made of {blame}")]
    #[diagnostic(
        code(model::diverged),
        help("lower `learning-rate`, which is {rate} there, or look at those rows; with `checkpoints` the state before that step is kept")
    )]
    Diverged { step: usize, rate: f64, blame: String },

    /// An alarm of the stage.
    #[error("stopped by an alarm: {why}")]
    #[diagnostic(code(model::alarm), help("change the learning rate or the data, or the `alarm`"))]
    Alarm { why: String },

    /// A copy that is none.
    #[error("the copy was opened again and does not say what the model says: {away:.4} of the chances lie elsewhere, and {slack} may")]
    #[diagnostic(code(model::other_copy), help("nothing was put in its place; another format may do, and this is worth a report"))]
    OtherCopy { away: f64, slack: f64 },

    /// A model that learnt nothing.
    #[error("the model says what its base says: nothing was learnt that a copy could hold")]
    #[diagnostic(code(model::nothing_learnt), help("look at the learning rate and the losses of its train stage"))]
    NothingLearnt,

    /// A copy in which what was learnt is lost.
    #[error(
        "the copy was opened again, and is as far from the model as from its base: {away:.6} of the chances lie elsewhere than the model's, {left:.6} elsewhere than the base's"
    )]
    #[diagnostic(code(model::lost), help("what was learnt is less than this format rounds away: take one of more precision, or train further"))]
    Lost { away: f64, left: f64 },

    /// Weights that do not fit the model.
    #[error("the weights do not fit: {problem}")]
    #[diagnostic(code(model::misfit), help("the files are not what retune wrote for this base; run the train stage again"))]
    Misfit { problem: String },

    /// The user stopped it.
    #[error("stopped")]
    #[diagnostic(code(model::stopped), help("run again: with `checkpoints` it goes on where it was, else from the beginning"))]
    Stopped,
}

impl ModelError {
    /// A file that cannot be read.
    pub fn unreadable(path: &Path, reason: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: reason.to_string() }
    }

    /// A file that cannot be written.
    pub fn unwritable(path: &Path, reason: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self::Unwritable { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl From<ModelError> for crate::provider::ProviderError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Stopped => Self::Stopped,
            error => Self::Local(Box::new(error)),
        }
    }
}
