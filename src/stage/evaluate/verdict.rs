use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::grade::{Gate, Metrics, Verdict};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::{METRICS, VERDICT};

pub const VERSION: u32 = 1;

/// Holds metrics against gates.
#[derive(Debug)]
pub struct Decide {
    pub gates: Vec<Gate>,
}

#[async_trait]
impl Work for Decide {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let metrics: Metrics =
            serde_json::from_slice(&context.read(METRICS)?).map_err(|error| StageError::Unreadable { what: "the metrics", problem: error.to_string() })?;
        let verdict = Verdict::of(&self.gates, &metrics);
        for gate in verdict.gates.iter().filter(|gate| !gate.passed) {
            context.watch.note(&format!("gate not met: {}: {}", gate.gate, gate.reason));
        }
        let text = serde_json::to_string_pretty(&verdict).unwrap_or_default();
        let outputs = BTreeMap::from([(VERDICT.to_owned(), context.store.put_bytes(format!("{text}\n").as_bytes())?)]);
        Ok(RecordOutcome { outputs, metrics, passed: Some(verdict.passed), ..RecordOutcome::default() })
    }
}
