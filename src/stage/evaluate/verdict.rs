use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::data::parse_lines;
use crate::grade::{Gate, GateResult, Metrics, Outcome, Scores, Verdict};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::VERDICT;

pub const VERSION: u32 = 4;
/// The input with the model, where a stage makes it.
pub const MODEL: &str = "model";

/// Holds what was measured against gates.
#[derive(Debug)]
pub struct Decide {
    pub parts: Vec<Judged>,
}

/// A part of the stage, and its gates.
#[derive(Debug)]
pub struct Judged {
    /// The suite, where it is one.
    pub suite: Option<String>,
    /// The inputs with its metrics and its scores.
    pub metrics: String,
    pub scores: String,
    pub gates: Vec<Gate>,
}

#[async_trait]
impl Work for Decide {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let unreadable = |what| move |error: serde_json::Error| StageError::Unreadable { what, problem: error.to_string() };
        let (mut all, mut gates) = (Metrics::new(), Vec::<GateResult>::new());
        for part in &self.parts {
            let metrics: Metrics = serde_json::from_slice(&context.read(&part.metrics)?).map_err(unreadable("the metrics"))?;
            let rows: Vec<Scores> = parse_lines(&context.read(&part.scores)?).map_err(unreadable("the scores"))?;
            let judged = tokio::task::block_in_place(|| part.gates.iter().map(|gate| gate.judge(&metrics, &rows)).collect::<Vec<_>>());
            let named = |text: String| part.suite.as_ref().map_or_else(|| text.clone(), |suite| format!("{suite}.{text}"));
            gates.extend(judged.into_iter().map(|judged| GateResult { gate: named(judged.gate), ..judged }));
            all.extend(metrics.into_iter().map(|(metric, value)| (named(metric), value)));
        }
        let model = context.inputs.contains_key(MODEL).then(|| context.artifact(MODEL)).transpose()?.map(|model| model.digest().to_string());
        let verdict = Verdict { model, ..Verdict::of(gates) };
        for gate in verdict.gates.iter().filter(|gate| !gate.passed) {
            let how = if gate.outcome == Outcome::Inconclusive { "inconclusive" } else { "not met" };
            context.watch.note(&format!("gate {how}: {}: {}", gate.gate, gate.reason));
        }
        let text = serde_json::to_string_pretty(&verdict).unwrap_or_default();
        let outputs = BTreeMap::from([(VERDICT.to_owned(), context.store.put_bytes(format!("{text}\n").as_bytes())?)]);
        Ok(RecordOutcome { outputs, metrics: all, passed: Some(verdict.passed), ..RecordOutcome::default() })
    }
}
