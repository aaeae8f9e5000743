use miette::Diagnostic;
use thiserror::Error;

/// What can go wrong with the local engine.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum ModelError {
    /// A model that the local engine does not have.
    #[error("there is no local model `{name}`")]
    #[diagnostic(code(model::unknown), help("the local engine has `builtin:tiny`; other models need another provider"))]
    Unknown { name: String },

    /// Nothing to learn from.
    #[error("there is nothing to learn: {problem}")]
    #[diagnostic(code(model::nothing_to_learn), help("look at the report of the prepare stage: `retune show STAGE`"))]
    NothingToLearn { problem: String },

    /// An example that the model cannot hold.
    #[error("example {index} has {tokens} tokens, more than the {limit} that the model holds")]
    #[diagnostic(code(model::too_long), help("add `limit tokens={limit}` to the prepare stage"))]
    TooLong { index: usize, tokens: usize, limit: usize },

    /// A question that leaves no room for an answer.
    #[error("question {index} has {tokens} tokens, and the model holds {limit} with its answer")]
    #[diagnostic(code(model::no_room), help("keep it out with `limit tokens={limit}` in the prepare stage, which counts question and answer"))]
    NoRoom { index: usize, tokens: usize, limit: usize },

    /// Training went off the rails.
    #[error("the loss is not a number any more at step {step}")]
    #[diagnostic(code(model::diverged), help("lower `learning-rate`; it is {rate} now"))]
    Diverged { step: usize, rate: f64 },

    /// An alarm of the stage.
    #[error("stopped by an alarm: {why}")]
    #[diagnostic(code(model::alarm), help("change the learning rate or the data, or the `alarm`"))]
    Alarm { why: String },

    /// Weights that do not fit the model.
    #[error("the weights do not fit: {problem}")]
    #[diagnostic(code(model::misfit), help("the files are not what retune wrote for this base; run the train stage again"))]
    Misfit { problem: String },

    /// The user stopped it.
    #[error("stopped")]
    #[diagnostic(code(model::stopped), help("run again to begin this stage anew"))]
    Stopped,
}

impl From<ModelError> for crate::provider::ProviderError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Stopped => Self::Stopped,
            error => Self::Local(Box::new(error)),
        }
    }
}
