//! Graders as OpenAI's API describes them, from a file.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::data::{Example, write_lines};
use crate::fingerprint::{Preimage, Tree};
use crate::grade::count;
use crate::grade::openai::{Asking as Asked, OpenAiGrader, Sample};
use crate::provider::{Declared, ProviderError, Question};
use crate::store::RecordOutcome;

use super::super::{Context, StageError, Work, train};
use super::ask::{Asking, place_of_answers};
use super::outside::Said;
use super::rows::rows;

/// Grades by such a file.
#[derive(Debug)]
pub struct Described {
    /// What its output is called.
    pub output: String,
    /// The file.
    pub file: String,
    /// Who has the models that it asks, where it asks any.
    pub declared: Option<Declared>,
}

/// Enough for a word or a number, of a model that thinks before too.
const MAX_TOKENS: usize = 1024;

#[async_trait]
impl Work for Described {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let place = context.file(&self.file)?;
        let bytes = std::fs::read(&place).map_err(|source| StageError::Io { doing: "read", path: place, source })?;
        let grader = OpenAiGrader::parse(&bytes).map_err(|problem| self.wrong(problem))?;
        let rows = rows(context)?;
        let (mut samples, mut lengths) = (Vec::new(), Vec::new());
        for row in &rows {
            let item = item(&row.example);
            samples.extend(row.answers.iter().chain(&row.baseline).map(|said| Sample::new(item.clone(), &said.text)));
            lengths.push((row.answers.len(), row.baseline.len()));
        }
        let (mut scores, mut metrics) = (vec![Vec::with_capacity(grader.leaves.len()); samples.len()], BTreeMap::new());
        for leaf in &grader.leaves {
            let said = match leaf.asking() {
                Some(asked) => {
                    let (said, took) = self.ask(asked, &samples, context).await?;
                    took.into_iter().for_each(|(figure, value)| *metrics.entry(figure).or_default() += value);
                    said
                }
                None => {
                    let scored = samples.iter().map(|sample| leaf.score(sample).map(Option::unwrap_or_default));
                    scored.collect::<Result<Vec<f64>, String>>().map_err(|problem| self.wrong(problem))?
                }
            };
            scores.iter_mut().zip(said).for_each(|(scores, score)| scores.push(score));
        }
        let together = scores.iter().map(|scores| grader.together(scores)).collect::<Result<Vec<f64>, String>>().map_err(|problem| self.wrong(problem))?;
        let mut left = together.as_slice();
        let mut mean = |answers: usize| {
            let (some, rest) = left.split_at(answers);
            left = rest;
            (answers > 0).then(|| some.iter().sum::<f64>() / count(answers))
        };
        let lines: Vec<Said> = lengths
            .into_iter()
            .map(|(ours, theirs)| {
                let score = mean(ours).unwrap_or_default();
                Said { score, baseline: mean(theirs), ..Said::default() }
            })
            .collect();
        let outputs = BTreeMap::from([(self.output.clone(), context.store.put_bytes(&write_lines(&lines))?)]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }
}

impl Described {
    fn wrong(&self, reason: String) -> StageError {
        ProviderError::UnreadableFile { path: self.file.clone().into(), reason }.into()
    }

    /// What a model says of each sample, and what that took.
    async fn ask(&self, asked: &Asked, samples: &[Sample], context: &Context<'_>) -> Result<(Vec<f64>, BTreeMap<String, f64>), StageError> {
        let declared = self.declared.as_ref().ok_or_else(|| self.wrong(format!("it asks `{}`: say who has it, by `provider=` of the grader", asked.model)))?;
        let model = train::untuned(declared, &asked.model)?;
        let questions = samples.iter().map(|sample| asked.question(sample).map(Question::from)).collect::<Result<Vec<Question>, String>>();
        let questions = questions.map_err(|problem| self.wrong(problem))?;
        // Whatever the file says besides, the same model is asked the same in the same way.
        let way = Tree::map([("model", Tree::text(&asked.model)), ("temperature", Tree::text(asked.temperature.to_string()))]);
        let mut preimage = Preimage { settings: way, ..context.preimage.clone() };
        preimage.inputs.retain(|name, _| *name != self.file);
        let place = place_of_answers(context.store, &preimage);
        let temperature = asked.temperature;
        let asking = Asking { declared, model: &model, max_tokens: MAX_TOKENS, setting: None, temperature, batch: None, place, timed: false };
        let (said, took) = asking.ask_for(context, &questions, 1, |text| asked.score(text)).await?;
        Ok((said.into_iter().flatten().collect(), took))
    }
}

/// What graders call `item`: the row as it is written, and what was asked and wanted where it has no such fields.
fn item(example: &Example) -> Value {
    let mut item: Value = serde_json::from_str(&example.as_line()).unwrap_or_default();
    let last = example.prompt().last().map_or("", |message| message.content.as_str());
    for (name, text) in [("asked", last), ("wanted", &example.wanted())] {
        if item.get(name).is_none() {
            item[name] = json!(text);
        }
    }
    item
}
