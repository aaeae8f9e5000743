//! A look at a training of the local engine: an example as its model reads it, or what made up a step.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::{parse_examples, parse_preferences};
use crate::model::{ModelError, base, fetch_now};
use crate::provider::{Api, ProviderError, Taught};
use crate::store::Store;

use super::super::{Given, Look, RowAsked, StageError, StepAsked};
use super::files::open;
use super::method;
use super::work::{Examples, Train};

/// Where the flight record of a training that failed is left.
pub fn left_at(store: &Store, key: &str) -> PathBuf {
    store.root().join("flights").join(format!("{key}.jsonl"))
}

/// One example as text, tokens and loss mask.
pub fn row(train: &Train, asked: &RowAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
    if train.declared.api != Api::Local {
        return Ok(None);
    }
    let line = Rows { train, asked: (asked.workspace, asked.store), inputs }.lines(&[asked.row])?.pop().unwrap_or_default();
    let base = fetch_now(train.base(), asked.workspace).and_then(|()| base(train.base(), asked.workspace)).map_err(ProviderError::from)?;
    let refused = |source| StageError::from(ProviderError::from(ModelError::Template { index: asked.row, source }));
    let mut looks = vec![Look { step: format!("row {}", asked.row), text: line.clone() }];
    let answers: Vec<(&str, Vec<_>)> = if method::name(&train.block) == "dpo" {
        let pairs = parse_preferences(line.as_bytes()).map_err(ProviderError::from)?;
        pairs.first().map(|pair| vec![("better", pair.with(&pair.better)), ("worse", pair.with(&pair.worse))]).unwrap_or_default()
    } else {
        let examples = parse_examples(line.as_bytes()).map_err(ProviderError::from)?;
        examples.into_iter().map(|example| ("learnt", example.messages)).collect()
    };
    for (what, messages) in answers {
        let encoded = match method::hyperparameters(&train.block).taught {
            Taught::Answers => base.chat.conversation(&messages),
            Taught::Everything => base.chat.everything(&messages),
        };
        let encoded = encoded.map_err(refused)?;
        let piece = |(&token, learned): (&u32, &bool)| {
            let text = base.chat.text(token).replace('\n', "\\n");
            if *learned { format!("[{text}]") } else { text }
        };
        let learned = encoded.learned.iter().filter(|learned| **learned).count();
        let pieces: Vec<String> = encoded.tokens.iter().zip(&encoded.learned).map(piece).collect();
        let step = format!("as tokens of `{}`, those that are {what} in brackets", train.base());
        looks.push(Look { step, text: format!("{} tokens, {learned} of them: {}", pieces.len(), pieces.join("|")) });
    }
    Ok(Some(looks))
}

/// What made up a step.
pub fn step(train: &Train, asked: &StepAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
    if train.declared.api != Api::Local {
        return Ok(None);
    }
    let record = match asked.flight {
        Some(artifact) => asked.store.read(artifact)?,
        None => std::fs::read(left_at(asked.store, &asked.key.to_string())).map_err(|_| StageError::NotMade { stage: asked.stage.to_owned() })?,
    };
    let lines = record.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let steps: Vec<Value> = lines.collect();
    let found = steps.iter().find(|step| step["step"].as_u64() == Some(asked.step as u64));
    let found = found.ok_or_else(|| StageError::NoStep { step: asked.step, steps: steps.len() })?;
    let figure = |value: &Value| value.as_f64().map_or_else(|| "no number".to_owned(), |value| format!("{value:.4}"));
    let rate = found["rate"].as_f64().unwrap_or_default();
    let text = format!("loss {}, learning rate {rate:.3e}, length of the gradient {}", figure(&found["loss"]), figure(&found["gradient"]));
    let mut looks = vec![Look { step: format!("step {} of {}", asked.step, steps.len()), text }];
    let whole = |value: &Value| value.as_u64().and_then(|row| usize::try_from(row).ok());
    let rows: Vec<usize> = found["rows"].as_array().into_iter().flatten().filter_map(whole).collect();
    let texts = Rows { train, asked: (asked.workspace, asked.store), inputs }.lines(&rows)?;
    let mut all: Vec<(usize, &Value, String)> =
        rows.iter().zip(found["losses"].as_array().into_iter().flatten()).zip(texts).map(|((row, loss), text)| (*row, loss, text)).collect();
    // What is no number first, then the largest.
    all.sort_by(|a, b| b.1.as_f64().unwrap_or(f64::INFINITY).total_cmp(&a.1.as_f64().unwrap_or(f64::INFINITY)).then(a.0.cmp(&b.0)));
    looks.extend(all.into_iter().map(|(row, loss, text)| Look { step: format!("row {row}, loss {}", figure(loss)), text }));
    Ok(Some(looks))
}

/// The examples of a training.
struct Rows<'a> {
    train: &'a Train,
    asked: (&'a Path, &'a Store),
    inputs: &'a BTreeMap<String, Given>,
}

impl Rows<'_> {
    fn name(&self) -> &str {
        match &self.train.examples {
            Examples::Prepared => "train",
            Examples::Files { train, .. } => train,
        }
    }

    /// Some lines of the file, from 1, in the order asked for.
    fn lines(&self, wanted: &[usize]) -> Result<Vec<String>, StageError> {
        let last = wanted.iter().copied().max().unwrap_or(0);
        let mut found: BTreeMap<usize, String> = BTreeMap::new();
        let filled = BufReader::new(open(self.asked, self.inputs, self.name())?).lines().map_while(Result::ok).filter(|line| !line.trim().is_empty());
        let mut rows = 0;
        for (number, line) in (1..=last).zip(filled) {
            rows = number;
            if wanted.contains(&number) {
                found.insert(number, line);
            }
        }
        let line = |row: &usize| found.get(row).cloned().ok_or_else(|| StageError::NoRow { number: *row, rows });
        wanted.iter().map(line).collect()
    }
}
