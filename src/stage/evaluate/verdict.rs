use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::data::parse_lines;
use crate::grade::{Gate, Metrics, Outcome, Scores, Verdict};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::grade::SCORES;
use super::{METRICS, VERDICT};

pub const VERSION: u32 = 2;

/// Holds what was measured against gates.
#[derive(Debug)]
pub struct Decide {
    pub gates: Vec<Gate>,
}

#[async_trait]
impl Work for Decide {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let unreadable = |what| move |error: serde_json::Error| StageError::Unreadable { what, problem: error.to_string() };
        let metrics: Metrics = serde_json::from_slice(&context.read(METRICS)?).map_err(unreadable("the metrics"))?;
        let rows: Vec<Scores> = parse_lines(&context.read(SCORES)?).map_err(unreadable("the scores"))?;
        let verdict = tokio::task::block_in_place(|| Verdict::of(&self.gates, &metrics, &rows));
        for gate in verdict.gates.iter().filter(|gate| !gate.passed) {
            let how = if gate.outcome == Outcome::Inconclusive { "inconclusive" } else { "not met" };
            context.watch.note(&format!("gate {how}: {}: {}", gate.gate, gate.reason));
        }
        let text = serde_json::to_string_pretty(&verdict).unwrap_or_default();
        let outputs = BTreeMap::from([(VERDICT.to_owned(), context.store.put_bytes(format!("{text}\n").as_bytes())?)]);
        Ok(RecordOutcome { outputs, metrics, passed: Some(verdict.passed), ..RecordOutcome::default() })
    }
}
