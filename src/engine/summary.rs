use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::StageStatus;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// All that was wanted is there.
    Ok,
    /// A stage failed.
    Failed,
    /// A gate said no.
    Gated,
    /// The user stopped it.
    Interrupted,
}

impl RunStatus {
    /// The word for it in JSON and in the ledger.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Gated => "gated",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What became of a stage. This is the form that `run --json` prints.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StageSummary {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What became of it.
    pub status: StageStatus,
    /// Its fingerprint, where it got as far as having one.
    pub fingerprint: Option<String>,
    /// How long its actions took.
    pub seconds: f64,
    /// Why it ran.
    pub reasons: Vec<String>,
    /// Its figures.
    pub metrics: BTreeMap<String, f64>,
    /// What it made: digests by name.
    pub outputs: BTreeMap<String, String>,
    /// What was said about it: an error, a gate that is not met.
    pub notes: Vec<String>,
}

/// What became of a run. This is the form that `run --json` prints.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunSummary {
    /// The run.
    pub run: String,
    /// How it ended.
    pub status: RunStatus,
    /// How long it took.
    pub seconds: f64,
    /// Its stages, in the order of the file.
    pub stages: Vec<StageSummary>,
}

/// A plan. This is the form that `plan --json` and `status --json` print.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanSummary {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its stages, in the order of the file.
    pub stages: Vec<PlannedStageSummary>,
}

/// What would become of a stage.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedStageSummary {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// `run`, `cached` or `unknown`.
    pub action: String,
    /// Its fingerprint, where it is known already.
    pub fingerprint: Option<String>,
    /// Why.
    pub reasons: Vec<String>,
    /// How long it will take, by how long it took before; in seconds.
    pub seconds: Option<f64>,
    /// The tokens that a model will be trained on.
    pub tokens: Option<f64>,
    /// What it will cost, in US dollars.
    pub usd: Option<f64>,
    /// What else there is to know before it begins: models that retire, limits, what deploying costs.
    pub notes: Vec<String>,
    /// The actions under it.
    pub actions: Vec<PlannedActionSummary>,
}

/// What would become of an action.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedActionSummary {
    /// Its name.
    pub name: String,
    /// `run`, `cached` or `unknown`.
    pub action: String,
    /// Its key, where it is known already.
    pub fingerprint: Option<String>,
    /// Why.
    pub reasons: Vec<String>,
}
