use std::collections::BTreeMap;

use async_trait::async_trait;
use rayon::prelude::*;
use serde::Serialize;

use crate::data::{parse_examples, parse_lines, write_lines};
use crate::grade::grader::{Graded, Named};
use crate::grade::{Scores, measure, overfit_gap, slice_gap, slices};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::generate::sample;
use super::judge::{Said, output};
use super::mistakes::mistakes;
use super::rows::{Row, TRAINING_ANSWERS, answers, rows};

pub const SCORES: &str = "scores";
pub const METRICS: &str = "metrics";
pub const MISTAKES: &str = "mistakes";
/// The inputs with the fields of the rows, and with the rows that were learnt.
pub const SLICES: &str = "slices";
pub const TRAINING: &str = "training";

/// Grades answers, and measures what the grades say.
#[derive(Debug)]
pub struct Grade {
    pub graders: Vec<Named>,
    /// The fields by which classes of rows are looked at.
    pub slices: Vec<String>,
    /// The field that says which rows belong together.
    pub cluster: Option<String>,
}

#[async_trait]
impl Work for Grade {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let rows = rows(context)?;
        let mut scores: Vec<Scores> = tokio::task::block_in_place(|| {
            let scored = |Row { example, answer, baseline }: Row| {
                let asked = example.prompt().last().map_or("", |message| message.content.as_str());
                Scores::of(&self.graders, asked, example.answer(), answer, baseline)
            };
            rows.into_par_iter().map(scored).collect()
        });
        if context.inputs.contains_key(SLICES) {
            self.slice(&mut scores, &context.read(SLICES)?)?;
        }
        for named in self.graders.iter().filter(|named| named.grader.is_outside()) {
            let said: Vec<Said> = parse_lines(&context.read(&output(&named.name))?)
                .map_err(|error| StageError::Unreadable { what: "the judgements", problem: error.to_string() })?;
            for (row, said) in scores.iter_mut().zip(said) {
                row.take(&self.graders, &named.name, said.score, said.baseline, said.reason);
            }
        }
        let first = self.graders.first().map(|first| first.grader.as_ref());
        let sliced = first.map(|first| slices(&scores, first)).unwrap_or_default();
        let mut metrics = tokio::task::block_in_place(|| measure(&self.graders, &scores));
        metrics.extend(slice_gap(&sliced));
        if let Some(first) = first.filter(|_| context.inputs.contains_key(TRAINING)) {
            metrics.extend(overfit_gap(&self.learnt(context)?, &scores, first));
        }
        let outputs = BTreeMap::from([
            (SCORES.to_owned(), context.store.put_bytes(&write_lines(&scores))?),
            (METRICS.to_owned(), context.store.put_bytes(pretty(&metrics).as_bytes())?),
            (MISTAKES.to_owned(), context.store.put_bytes(pretty(&mistakes(&self.graders, &scores, &sliced)).as_bytes())?),
        ]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }
}

impl Grade {
    /// Tells each row the fields by which it is looked at.
    fn slice(&self, scores: &mut [Scores], fields: &[u8]) -> Result<(), StageError> {
        let unreadable = |problem: String| StageError::Unreadable { what: "the slices", problem };
        let fields: Vec<BTreeMap<String, String>> = parse_lines(fields).map_err(|error| unreadable(error.to_string()))?;
        if fields.len() != scores.len() {
            return Err(unreadable("there is not one line for each row".into()));
        }
        for (row, mut fields) in scores.iter_mut().zip(fields) {
            row.group = self.cluster.as_ref().and_then(|cluster| fields.get(cluster)).filter(|group| !group.is_empty()).cloned();
            fields.retain(|field, _| self.slices.contains(field));
            row.slices = fields;
        }
        Ok(())
    }

    /// The scores of a sample of the rows that were learnt, by the first grader.
    fn learnt(&self, context: &Context<'_>) -> Result<Vec<f64>, StageError> {
        let examples = parse_examples(&context.read(TRAINING)?)?;
        let sampled = sample(&examples);
        let answers = answers(context, TRAINING_ANSWERS, sampled.len())?;
        let scored = sampled.into_iter().zip(answers).filter_map(|(example, answer)| {
            let first = self.graders.first()?;
            Some(first.grader.score(Graded { wanted: example.answer(), answer: &answer }))
        });
        Ok(scored.collect())
    }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
