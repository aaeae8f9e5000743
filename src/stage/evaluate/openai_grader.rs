//! Graders as OpenAI's API describes them, from a file.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::data::{Example, parse_examples, write_lines};
use crate::fingerprint::{Preimage, Tree};
use crate::grade::count;
use crate::grade::openai::{Asking as Asked, OpenAiGrader, Sample};
use crate::provider::{Api, Declared, ProviderError, Question};
use crate::store::{RecordOutcome, Store};

use super::super::action::given;
use super::super::{Context, Estimate, Given, StageError, Work, train};
use super::ask::{Asking, estimate, place_of_answers};
use super::rows::{BASELINE_ANSWERS, rows};
use super::said::Said;

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
        let grader = self.read(&context.file(&self.file)?)?;
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

    fn estimate(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Estimate {
        let declared = self.declared.as_ref().filter(|declared| matches!(declared.api, Api::Hosted(_)));
        let Some((declared, grader)) = declared.and_then(|declared| Some((declared, self.read(&workspace.join(&self.file)).ok()?))) else {
            return Estimate::default();
        };
        let examples = given(inputs, "data").ok().and_then(|data| parse_examples(&store.read(data).ok()?).ok()).unwrap_or_default();
        let models = if inputs.contains_key(BASELINE_ANSWERS) { 2 } else { 1 };
        let mut all = Estimate::default();
        for asked in grader.leaves.iter().filter_map(|leaf| leaf.asking()) {
            // What will be said is not known yet; what was wanted is about as long.
            let samples = examples.iter().map(|example| Sample::new(item(example), &example.wanted()));
            let questions: Vec<Question> = samples.filter_map(|sample| asked.question(&sample).ok()?).map(Question::from).collect();
            let Ok(model) = train::untuned(declared, &asked.model) else { continue };
            let one = estimate(declared, &model.card, workspace, MAX_TOKENS, false, Some(&questions));
            all.usd = one.usd.map(|usd| usd.mul_add(f64::from(models), all.usd.unwrap_or_default())).or(all.usd);
            all.is_unpriced |= one.is_unpriced;
            all.notes.extend(one.notes);
        }
        all
    }
}

impl Described {
    /// The grader as the file has it.
    fn read(&self, place: &Path) -> Result<OpenAiGrader, StageError> {
        let bytes = std::fs::read(place).map_err(|source| StageError::Io { doing: "read", path: place.to_owned(), source })?;
        OpenAiGrader::parse(&bytes).map_err(|problem| self.wrong(problem))
    }

    fn wrong(&self, reason: String) -> StageError {
        ProviderError::UnreadableFile { path: self.file.clone().into(), reason }.into()
    }

    /// What a model says of each sample, and what that took.
    async fn ask(&self, asked: &Asked, samples: &[Sample], context: &Context<'_>) -> Result<(Vec<f64>, BTreeMap<String, f64>), StageError> {
        let declared = self.declared.as_ref().ok_or_else(|| self.wrong(format!("it asks `{}`: say who has it, by `provider=` of the grader", asked.model)))?;
        let model = train::untuned(declared, &asked.model)?;
        let all = samples.iter().map(|sample| asked.question(sample)).collect::<Result<Vec<_>, String>>().map_err(|problem| self.wrong(problem))?;
        let is_asked: Vec<bool> = all.iter().map(Option::is_some).collect();
        let questions: Vec<Question> = all.into_iter().flatten().map(Question::from).collect();
        // Whatever the file says besides, the same model is asked the same in the same way.
        let way = Tree::map([("model", Tree::text(&asked.model)), ("temperature", Tree::text(asked.temperature.to_string()))]);
        let mut preimage = Preimage { settings: way, ..context.preimage.clone() };
        preimage.inputs.retain(|name, _| *name != self.file);
        let place = place_of_answers(context.store, &preimage);
        let temperature = asked.temperature;
        let asking = Asking { declared, model: &model, max_tokens: MAX_TOKENS, setting: None, temperature, batch: None, place, timed: false };
        let (said, took) = asking.ask_for(context, &questions, 1, |text| asked.score(text)).await?;
        let mut said = said.into_iter().flatten();
        Ok((is_asked.into_iter().map(|is| if is { said.next().unwrap_or_default() } else { 0.0 }).collect(), took))
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
