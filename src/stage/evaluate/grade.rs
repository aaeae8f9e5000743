use std::collections::BTreeMap;

use async_trait::async_trait;
use rayon::prelude::*;
use serde::Serialize;

use crate::data::{parse_examples, parse_lines, write_lines};
use crate::grade::grader::{Graded, Named};
use crate::grade::{LOSS_GAP, Scores, count, loss_gap, measure, overfit_gap, slice_gap, slices};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work};
use super::generate::sample;
use super::mistakes::mistakes;
use super::rows::{Row, TRAINING_ANSWERS, answers, rows};
use super::said::Said;

pub const SCORES: &str = "scores";
pub const METRICS: &str = "metrics";
pub const MISTAKES: &str = "mistakes";
/// The inputs with the fields of the rows, and with the rows that were learnt.
pub const SLICES: &str = "slices";
pub const TRAINING: &str = "training";
/// The input with the losses of the training.
pub const LOSSES: &str = "losses";

/// Grades answers, and measures what the grades say.
#[derive(Debug)]
pub struct Grade {
    pub graders: Vec<Named>,
    /// The fields by which classes of rows are looked at.
    pub slices: Vec<String>,
    /// The field that says which rows belong together.
    pub cluster: Option<String>,
    /// The outputs of graders outside, by the names of their metrics.
    pub judged: BTreeMap<String, String>,
    /// The suite that it grades, where it is one.
    pub suite: Option<String>,
    /// What the outputs with scores, metrics and mistakes are called.
    pub outputs: [String; 3],
}

#[async_trait]
impl Work for Grade {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let rows = rows(context)?;
        let mut scores: Vec<Scores> = tokio::task::block_in_place(|| {
            let scored = |Row { example, answers, baseline }: Row| {
                let asked = example.prompt().last().map_or("", |message| message.content.as_str());
                Scores::of(&self.graders, asked, &example.wanted(), answers, &baseline)
            };
            rows.into_par_iter().map(scored).collect()
        });
        if context.inputs.contains_key(SLICES) {
            self.slice(&mut scores, &context.read(SLICES)?)?;
        }
        // Not every row has each figure.
        let mut figures: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for (name, output) in &self.judged {
            let unreadable = |problem: String| StageError::Unreadable { what: "the judgements", problem };
            let said: Vec<Said> = parse_lines(&context.read(output)?).map_err(|error| unreadable(error.to_string()))?;
            if said.len() != scores.len() {
                return Err(unreadable(format!("there are {} for {} rows", said.len(), scores.len())));
            }
            for (row, said) in scores.iter_mut().zip(said) {
                for (figure, value) in &said.figures {
                    let (sum, rows) = figures.entry(format!("{name}.{figure}")).or_default();
                    (*sum, *rows) = (*sum + value, *rows + 1);
                }
                row.take(&self.graders, name, said.score, said.baseline, said.reason);
            }
        }
        let first = self.graders.first().map(|first| first.grader.as_ref());
        let sliced = first.map(|first| slices(&scores, first)).unwrap_or_default();
        let mut metrics = tokio::task::block_in_place(|| measure(&self.graders, &scores));
        metrics.extend(figures.into_iter().map(|(name, (sum, rows))| (name, sum / count(rows))));
        metrics.extend(slice_gap(&sliced));
        if let Some(first) = first.filter(|_| context.inputs.contains_key(TRAINING)) {
            metrics.extend(overfit_gap(&self.learnt(context)?, &scores, first));
        }
        if context.inputs.contains_key(LOSSES) {
            metrics.extend(loss_gap(&context.read(LOSSES)?).map(|gap| (LOSS_GAP.to_owned(), gap)));
        }
        let written = [write_lines(&scores), pretty(&metrics).into_bytes(), pretty(&mistakes(&self.graders, &scores, &sliced)).into_bytes()];
        let mut outputs = BTreeMap::new();
        for (name, bytes) in self.outputs.iter().zip(written) {
            outputs.insert(name.clone(), context.store.put_bytes(&bytes)?);
        }
        let named = |name: String| self.suite.as_ref().map_or_else(|| name.clone(), |suite| format!("{suite}.{name}"));
        let metrics = metrics.into_iter().map(|(name, value)| (named(name), value)).collect();
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
            Some(first.grader.score(Graded::new(&example.wanted(), &answer.first()?.text)))
        });
        Ok(scored.collect())
    }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
