use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fingerprint::{ActionKey, Digest};

use super::answers::AnswerLog;
use super::hyperparameters::Hyperparameters;
use super::tuning::Care;

/// What a training learns from.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Examples of what to say.
    Supervised,
    /// Pairs of a better and a worse answer. A higher beta keeps closer to the model before.
    Dpo {
        /// Where it is not given, the provider chooses.
        beta: Option<f64>,
    },
    /// Answers that a grader gives a score.
    Reinforcement {
        /// The grader, as OpenAI's API describes it.
        grader: serde_json::Value,
        /// How it searches.
        search: Search,
    },
}

impl Method {
    /// Its name in the pipeline and in OpenAI's protocol.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Supervised => "supervised",
            Self::Dpo { .. } => "dpo",
            Self::Reinforcement { .. } => "reinforcement",
        }
    }
}

/// How a reinforcement looks for better answers. What is absent the provider chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// How hard the model thinks (`low`, `medium`, `high`).
    pub effort: Option<String>,
    /// How much is computed for each step, as a multiple of what is usual.
    pub compute: Option<f64>,
    /// Steps from one evaluation to the next.
    pub interval: Option<usize>,
    /// Answers for each row of an evaluation.
    pub samples: Option<usize>,
}

/// Where a provider reports a training to, besides us: a project at Weights & Biases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The project.
    pub project: String,
    /// The team or user.
    pub entity: Option<String>,
}

/// One fine-tuning to be done.
#[derive(Debug)]
pub struct TuningRequest {
    /// The action's key, by which a remote job is found again.
    pub key: ActionKey,
    /// The stage, for lists of jobs.
    pub stage: String,
    /// The base model that it is made from in the end.
    pub base: String,
    /// What another training made of that base, where this one begins with it.
    pub start: Option<ModelHandle>,
    /// Training examples, as JSON Lines.
    pub train: PathBuf,
    /// Validation examples, where there are any.
    pub validation: Option<PathBuf>,
    /// What it learns from.
    pub method: Method,
    /// How.
    pub hyperparameters: Hyperparameters,
    /// A short name to show in the provider's lists.
    pub suffix: String,
    /// Whether it is trained although its base is shut down soon.
    pub may_retire: bool,
    /// Whether all that is learnt from is shown to the provider's moderation first.
    pub moderate: bool,
    /// Where the provider reports to.
    pub report: Option<Report>,
    /// What is watched while it goes on.
    pub care: Care,
    /// The tokens that it is expected to be billed for.
    pub expected_tokens: Option<f64>,
    /// What it is expected to cost, in US dollars.
    pub estimate: Option<f64>,
    /// Where to leave the record of the steps when the training fails.
    pub left: Option<PathBuf>,
    /// A folder to keep the training's state in, and the steps from one time to the next, where the user wants that.
    pub checkpoints: Option<(PathBuf, usize)>,
}

impl TuningRequest {
    /// What it begins with, by its name at the provider.
    #[must_use]
    pub fn begins_with(&self) -> &str {
        self.start.as_ref().map_or(&self.base, |start| &start.card.name)
    }
}

/// What came of a fine-tuning.
#[derive(Debug)]
pub struct TuningResult {
    /// The model, in a form that goes into `model.json`.
    pub model: ModelCard,
    /// Files that make up the model (an adapter), by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The losses over the steps, as CSV.
    pub losses: Vec<u8>,
    /// What made up each step, a step a line of JSON; empty where the provider does not tell.
    pub flight: Vec<u8>,
    /// Figures: tokens trained, validation loss, and so on.
    pub metrics: BTreeMap<String, f64>,
}

/// What a tuned model is: enough to ask it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelCard {
    /// The provider that has it.
    pub provider: String,
    /// The model that it was made from.
    pub base: String,
    /// Its name at the provider, or the kind of local files (`adapter`, `weights`).
    pub name: String,
    /// The content of a base of the local engine that lies in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// How answers are generated.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The most tokens in an answer.
    pub max_tokens: usize,
    /// How freely a hosted model chooses; 0 for the likeliest token each time, which is what others do in any case.
    pub temperature: f64,
    /// Where answers are kept as they come, so that a killed run asks no question twice.
    pub kept: Option<Arc<AnswerLog>>,
    /// Where all questions go to the provider in one batch: answered within a day, at a lower price.
    pub batch: Option<Batch>,
}

/// What a batch needs besides its questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The key of the action, by which it is found again.
    pub key: String,
    /// A folder for the file that is sent.
    pub folder: PathBuf,
    /// Where it is kept what was begun, so that it is not begun again.
    pub state: PathBuf,
}

impl Batch {
    /// Whether it was begun before, so that following it costs nothing more.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.state.join(&self.key).is_file()
    }
}

/// A model that can be asked.
#[derive(Clone, Debug)]
pub struct ModelHandle {
    /// Its card.
    pub card: ModelCard,
    /// Its files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}
