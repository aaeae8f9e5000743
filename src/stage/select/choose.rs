use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::grade::{Metrics, loss_figures};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work, train};

/// The output that tells all figures, the best first.
pub const CHOICE: &str = "choice";

/// A stage that is compared, and the inputs that are known of it.
#[derive(Debug)]
pub struct Candidate {
    stage: String,
    pub model: String,
    pub losses: String,
    pub metrics: String,
}

impl Candidate {
    /// The candidate that a stage of this name is.
    pub fn of(stage: &str) -> Self {
        let role = |what: &str| format!("{what} of {stage}");
        Self { stage: stage.to_owned(), model: role("model"), losses: role("losses"), metrics: role("metrics") }
    }
}

/// Where the figures come from.
#[derive(Clone, Copy, Debug)]
pub enum Figures {
    /// The losses of the training. Some trainers keep the state with the least validation loss, others the last one.
    Losses { keeps_best: bool },
    /// What an evaluate stage measured.
    Judged,
}

/// Chooses.
#[derive(Debug)]
pub struct Choose {
    pub candidates: Vec<Candidate>,
    pub figures: Figures,
    pub by: String,
    pub is_max: bool,
    /// Which of them is passed on: the best, the next, and so on, from 1.
    pub place: usize,
}

/// A candidate and its figure. A list of them, the best first, is the output `choice`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ranked {
    /// Its place, 1 for the best.
    pub place: usize,
    /// The stage.
    pub stage: String,
    /// Its figure.
    pub value: f64,
    /// Whether it is the one that is passed on.
    pub chosen: bool,
}

#[async_trait]
impl Work for Choose {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let mut ranked = self.candidates.iter().map(|candidate| Ok((self.figure(candidate, context)?, candidate))).collect::<Result<Vec<_>, StageError>>()?;
        // Of equals, the one whose name is first: in which order they are written is no part of the fingerprint.
        ranked.sort_by(|(one, a), (other, b)| {
            let by_figure = if self.is_max { other.total_cmp(one) } else { one.total_cmp(other) };
            by_figure.then_with(|| a.stage.cmp(&b.stage))
        });
        let Some((value, best)) = ranked.get(self.place - 1) else {
            return Err(StageError::NoInput { name: format!("place {}", self.place) });
        };
        let row = |(at, (value, candidate)): (usize, &(f64, &Candidate))| Ranked {
            place: at + 1,
            stage: candidate.stage.clone(),
            value: *value,
            chosen: at + 1 == self.place,
        };
        let rows: Vec<Ranked> = ranked.iter().enumerate().map(row).collect();
        let text = format!("{}\n", serde_json::to_string_pretty(&rows).unwrap_or_default());
        context.watch.note(&format!("place {} of {} is {}", self.place, ranked.len(), best.stage));
        let model = context.artifact(&best.model)?;
        let outputs = BTreeMap::from([
            (train::MODEL_OUTPUT.to_owned(), model),
            (train::LOSSES_OUTPUT.to_owned(), context.artifact(&best.losses)?),
            (CHOICE.to_owned(), context.store.put_bytes(text.as_bytes())?),
        ]);
        let described = train::described(&train::card(context.store, model)?);
        Ok(RecordOutcome {
            outputs,
            metrics: BTreeMap::from([(self.by.clone(), *value)]),
            model: Some(format!("{described}, of {}", best.stage)),
            ..RecordOutcome::default()
        })
    }
}

impl Choose {
    fn figure(&self, candidate: &Candidate, context: &Context<'_>) -> Result<f64, StageError> {
        let figures: Metrics = match self.figures {
            Figures::Losses { keeps_best } => loss_figures(&context.read(&candidate.losses)?, keeps_best),
            Figures::Judged => serde_json::from_slice(&context.read(&candidate.metrics)?)
                .map_err(|error| StageError::Unreadable { what: "the metrics", problem: error.to_string() })?,
        };
        let found = figures.get(&self.by).copied().filter(|value| value.is_finite());
        found.ok_or_else(|| StageError::NoFigure {
            stage: candidate.stage.clone(),
            metric: self.by.clone(),
            known: figures.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}
