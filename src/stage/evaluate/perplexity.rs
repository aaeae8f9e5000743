//! How well a local model foresees the answers that were wanted.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::data::{parse_examples, write_lines};
use crate::model::LocalEngine;
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::generate::Asked;
use super::said::Said;

/// The inputs with the two models, where stages make them.
pub const MODELS: [&str; 2] = ["model", "baseline-model"];

/// Measures the perplexity of the wanted answers.
#[derive(Debug)]
pub struct Perplexity {
    /// What its output is called.
    pub output: String,
    pub model: Asked,
    pub baseline: Option<Asked>,
}

#[async_trait]
impl Work for Perplexity {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let examples = parse_examples(&context.read("data")?)?;
        let measured = async |asked: &Asked, role: &str| -> Result<Vec<f64>, StageError> {
            let (_, model) = asked.find(role, context)?;
            Ok(LocalEngine::new(context.workspace).perplexities(&model, &examples, context.watch).await?)
        };
        let ours = measured(&self.model, MODELS[0]).await?;
        let theirs = match &self.baseline {
            Some(baseline) => measured(baseline, MODELS[1]).await?,
            None => Vec::new(),
        };
        let mut theirs = theirs.into_iter();
        let lines: Vec<Said> = ours.into_iter().map(|score| Said { score, baseline: theirs.next(), ..Said::default() }).collect();
        let outputs = BTreeMap::from([(self.output.clone(), context.store.put_bytes(&write_lines(&lines))?)]);
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}
