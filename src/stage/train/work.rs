use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::config::Block;
use crate::ledger::JobJournal;
use crate::provider::{Api, Cost, Declared, Price, ProviderError, TuningRequest, dollars, price};
use crate::store::{RecordOutcome, Store};

use super::super::action::given;
use super::super::checkpoints::Checkpoints;
use super::super::{Context, DataAsked, DataCheck, Estimate, Given, Look, RowAsked, StageError, StepAsked, Work, providers};
use super::card::{CARD, described, keep};
use super::{FLIGHT_OUTPUT, LOSSES_OUTPUT, MODEL_OUTPUT, command, inspect, method, start, tokens};

/// Where the examples come from.
#[derive(Clone, Debug)]
pub enum Examples {
    /// The splits of a prepare stage.
    Prepared,
    /// Files of ready rows, by the names of the inputs.
    Files { train: String, validation: Option<String> },
}

/// A training to be done, wherever.
#[derive(Debug)]
pub struct Train {
    pub block: Block,
    pub declared: Declared,
    /// The base models that it may be made from in the end: one, or several where a select stage chooses.
    pub bases: Vec<String>,
    pub examples: Examples,
    pub suffix: String,
    /// The folder for checkpoints, and the steps from one to the next.
    pub checkpoints: Option<(String, usize)>,
}

#[async_trait]
impl Work for Train {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let (train, validation) = match &self.examples {
            Examples::Prepared => (context.file("train")?, Some(context.file("validation")?)),
            Examples::Files { train, validation } => (context.file(train)?, validation.as_ref().map(|name| context.file(name)).transpose()?),
        };
        // An empty split is none.
        let validation = validation.filter(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0));
        let grader = method::grader(&self.block).map(|name| context.file(name)).transpose()?;
        let kept = self.checkpoints.as_ref().map(|(folder, every)| Ok::<_, StageError>((Checkpoints::take(context, folder)?, *every))).transpose()?;
        let start = start::model(&self.declared, context)?;
        let hyperparameters = method::hyperparameters(&self.block);
        let base = start.as_ref().map_or_else(|| self.base(), |start| &start.card.base).to_owned();
        let price = self.price(context.workspace, &base)?.unwrap_or_default();
        let expected = self.expected(&base, price, Some(&train), hyperparameters.epochs);
        let request = TuningRequest {
            key: context.key,
            stage: context.stage.as_str().to_owned(),
            base,
            start,
            train,
            validation,
            method: method::method(&self.block, grader.as_deref())?,
            hyperparameters,
            suffix: self.suffix.clone(),
            may_retire: self.block.child(method::ALLOW_RETIRING.name).is_some(),
            moderate: self.block.child(method::MODERATE.name).is_some(),
            report: method::report(&self.block),
            care: method::care(&self.block),
            expected_tokens: expected.tokens.filter(|tokens| *tokens > 0.0),
            estimate: expected.usd,
            left: Some(inspect::left_at(context.store, &context.key.to_string())),
            checkpoints: kept.as_ref().map(|(kept, every)| (kept.place().to_owned(), *every)),
        };
        if !matches!(self.declared.api, Api::Hosted(_)) {
            context.watch.spend(&self.declared.name, Cost { usd: Some(0.0), tokens: request.expected_tokens })?;
        }
        let (tuned, folder) = match &self.declared.api {
            Api::Command(program) => {
                let (tuned, folder) = command::train(program, &self.declared.name, &request, context).await?;
                (tuned, Some(folder))
            }
            Api::Local | Api::Hosted(_) => {
                let folder = context.store.root().join("jobs");
                let replayed = context.network.replays();
                let mut journal = if replayed { JobJournal::unwritten(&folder, context.key) } else { JobJournal::open(&folder, context.key)? };
                let tuner = providers::tuner(&self.declared, context);
                (tuner.tune(request, &mut journal, context.watch).await?, None)
            }
        };
        let _ = std::fs::remove_file(inspect::left_at(context.store, &context.key.to_string()));
        let mut metrics = tuned.metrics;
        let paid = metrics.get("trained-tokens").zip(price.training).map(|(tokens, price)| tokens * price / 1e6);
        if let Some(paid) = paid {
            metrics.entry("usd".to_owned()).or_insert(paid);
        }
        let told = |name: &str| metrics.get(name).copied();
        context.watch.billed(Cost { usd: told("usd"), tokens: told("trained-tokens") });
        if matches!(self.declared.api, Api::Hosted(_)) {
            metrics.extend(expected.tokens.map(|tokens| ("estimated-tokens".to_owned(), tokens)));
            metrics.extend(expected.usd.map(|usd| ("estimated-usd".to_owned(), usd)));
        }
        let card = format!("{}\n", serde_json::to_string_pretty(&tuned.model).unwrap_or_default());
        let model = match folder {
            // What a program made goes into the store as it lies.
            Some(folder) => {
                let place = folder.join(CARD);
                // One that the program copied may be a link into the store.
                let _ = std::fs::remove_file(&place);
                std::fs::write(&place, card).map_err(|source| StageError::Io { doing: "write", path: place, source })?;
                context.store.take_path(&folder)?
            }
            None => {
                let mut files = tuned.files;
                files.insert(CARD.to_owned(), card.into_bytes());
                keep(context.store, files)?
            }
        };
        let mut outputs = BTreeMap::from([(MODEL_OUTPUT.to_owned(), model), (LOSSES_OUTPUT.to_owned(), context.store.put_bytes(&tuned.losses)?)]);
        if self.declared.api == Api::Local {
            outputs.insert(FLIGHT_OUTPUT.to_owned(), context.store.put_bytes(&tuned.flight)?);
        }
        Ok(RecordOutcome {
            outputs,
            metrics,
            model: Some(described(&tuned.model)),
            resumed: kept.as_ref().and_then(|(kept, _)| kept.resumed()),
            ..RecordOutcome::default()
        })
    }

    fn inspect(&self, asked: &RowAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
        inspect::row(self, asked, inputs)
    }

    fn inspect_step(&self, asked: &StepAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
        inspect::step(self, asked, inputs)
    }

    fn check_data(&self, asked: &DataAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<DataCheck>>, StageError> {
        super::check::check(self, asked, inputs)
    }

    fn estimate(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Estimate {
        let epochs = method::hyperparameters(&self.block).epochs;
        // Of several bases, of which one is chosen when it shows, the dearest.
        let dear = |base: &&String| self.price(workspace, base).ok().flatten().and_then(|price| price.training).unwrap_or_default();
        let base = self.bases.iter().max_by(|a, b| dear(a).total_cmp(&dear(b))).map_or_else(|| self.base(), String::as_str);
        let price = self.price(workspace, base);
        let known = price.as_ref().ok().copied().flatten().unwrap_or_default();
        let mut estimate = self.expected(base, known, self.examples_at(workspace, store, inputs).as_deref(), epochs);
        if let Api::Hosted(endpoint) = &self.declared.api {
            estimate.notes = providers::outlook(&self.declared, endpoint, base, &store.root().join("providers"));
            match price {
                Err(error) => estimate.notes.push(error.to_string()),
                Ok(_) if known.training.is_some() => {}
                Ok(_) if endpoint.quotes() => {
                    estimate.notes.push(format!("`{}` says what training `{base}` costs once the files are there, before it begins", self.declared.name));
                }
                Ok(_) => {
                    estimate.is_unpriced = true;
                    estimate.notes.push(format!("what training `{base}` costs at `{}` is not known: tell it in prices.kdl", self.declared.name));
                }
            }
            if let Some(hour) = known.hour {
                estimate.notes.push(format!(
                    "once deployed, `{}` bills about {} for every hour that the model is held ready",
                    self.declared.name,
                    dollars(hour)
                ));
            }
        }
        estimate
    }
}

impl Train {
    /// The base model, or the first of those that it may be.
    pub fn base(&self) -> &str {
        self.bases.first().map_or("", String::as_str)
    }

    fn price(&self, workspace: &Path, base: &str) -> Result<Option<Price>, ProviderError> {
        match &self.declared.api {
            Api::Hosted(endpoint) => price(workspace, &self.declared.name, endpoint.api(), base),
            Api::Local | Api::Command(_) => Ok(None),
        }
    }

    /// Tokens and money that it will take.
    fn expected(&self, base: &str, price: Price, train: Option<&Path>, epochs: Option<usize>) -> Estimate {
        let once = train.and_then(|train| tokens::file_tokens(&self.declared, base, train));
        #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
        let tokens = once.map(|(tokens, examples)| (tokens * epochs.unwrap_or_else(|| tokens::auto_epochs(&self.declared, examples))) as f64);
        Estimate { tokens, usd: tokens.zip(price.training).map(|(tokens, price)| tokens * price / 1e6), ..Estimate::default() }
    }

    fn examples_at(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Option<PathBuf> {
        match &self.examples {
            Examples::Prepared => store.place(given(inputs, "train").ok()?),
            Examples::Files { train, .. } => match inputs.get(train)? {
                Given::Artifact { artifact, .. } => store.place(*artifact),
                Given::Part(files) => store.place(files.first()?.1),
                Given::Files(files) => Some(workspace.join(&files.first()?.0)),
            },
        }
    }
}
