use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::data::{Example, Tokenizer, parse_examples};
use crate::fingerprint::{Tree, settings_of};
use crate::ledger::JobJournal;
use crate::model::builtin_digest;
use crate::provider::{Api, Declared, Hyperparameters, ModelCard, ModelHandle, ProviderError, TuningRequest, training_price};
use crate::store::{Artifact, RecordOutcome, Store, TreeEntry};

use super::action::given;
use super::checkpoints::{self, Checkpoints};
use super::{Action, Compiler, Context, Estimate, Given, Input, StageError, StageKind, Work, providers, scheduling};

static SETTING: Setting = Setting::new("train", "Tunes a model on examples.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&DATA, &PROVIDER, &MODEL, &METHOD, &SEED, &checkpoints::EVERY]));
static DATA: Setting = Setting::new("data", "The examples.").once().arguments(&[Slot::new(
    "stage",
    Kind::Stage(&["prepare"]),
    "A prepare stage; its train and validation splits are used.",
)]);
static PROVIDER: Setting = Setting::new("provider", "Where the model is tuned; `local` is this machine.").arguments(&[Slot::new(
    "name",
    Kind::Provider,
    "A built-in or declared provider.",
)]);
static MODEL: Setting =
    Setting::new("model", "The model to start from.")
        .once()
        .arguments(&[Slot::new("name", Kind::Text, "Its name at the provider; locally `builtin:tiny`.").without_effect()]);
static METHOD: Setting = Setting::new("method", "How it is tuned.")
    .once()
    .arguments(&[Slot::new("name", Kind::Choice(&["supervised"]), "`supervised`: the model learns to say what the assistant says.")])
    .children(|| vec![&EPOCHS, &BATCH_SIZE, &LEARNING_RATE, &WARMUP, &WEIGHT_DECAY, &LORA]);
static EPOCHS: Setting = Setting::new("epochs", "Passes over the examples.").once().arguments(&[Slot::new("count", Kind::Integer(1, 10_000), "How many.")]);
static BATCH_SIZE: Setting = Setting::new("batch-size", "Examples in one step; where it is not given the provider chooses (locally 16).")
    .arguments(&[Slot::new("count", Kind::Integer(1, 4096), "How many.")]);
static LEARNING_RATE: Setting =
    Setting::new("learning-rate", "The highest learning rate; 0.003 where it is not given.").arguments(&[Slot::new("rate", Kind::Positive(1.0), "The rate.")]);
static WARMUP: Setting = Setting::new("warmup", "The share of the steps in which the rate rises; 0.05 where it is not given.").arguments(&[Slot::new(
    "share",
    Kind::Number(0.0, 1.0),
    "The share.",
)]);
static WEIGHT_DECAY: Setting = Setting::new("weight-decay", "How fast weights shrink by themselves; 0 where it is not given.").arguments(&[Slot::new(
    "rate",
    Kind::Number(0.0, 1.0),
    "The rate.",
)]);
static LORA: Setting = Setting::new("lora", "Trains a small adapter in place of all weights.").properties(&[
    Slot::new("rank", Kind::Integer(1, 256), "The width of the adapter.").or(Fallback::Integer(8)),
    Slot::new("alpha", Kind::Positive(4096.0), "The adapter's part is multiplied by alpha / rank.").or(Fallback::Number(16.0)),
]);
static SEED: Setting =
    Setting::new("seed", "The seed of all that is random; 0 where it is not given.").arguments(&[Slot::new("seed", Kind::Integer(0, i64::MAX), "The seed.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

const VERSION: u32 = 1;
/// What later stages call the model.
pub const MODEL_OUTPUT: &str = "model";
const CARD: &str = "model.json";
const LOCAL: &str = "local";

/// The name of the provider that a train stage uses.
pub fn provider_name(block: &Block) -> &str {
    block.child_text("provider").unwrap_or(LOCAL)
}

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let provider = provider_name(block);
    let at = block.child("provider").map_or(stage.name_span, |child| child.span_of("name"));
    let declared = providers::find(provider, &compiler.pipeline.providers).map_err(|error| ConfigError::Contradiction {
        problem: error.to_string(),
        label: "not a provider".into(),
        at: at.into(),
        help: "declare it at the top level: `provider \"name\" { ... }`".into(),
    })?;
    let base = block.child_text("model").unwrap_or_default().to_owned();
    let kept = block.child(checkpoints::EVERY.name).map(|kept| (kept.text("folder").to_owned(), kept.count("every")));
    if let Some(kept) = block.child(checkpoints::EVERY.name).filter(|_| declared.api != Api::Local) {
        compiler.warnings.push(ConfigError::Inexpressible {
            provider: declared.name.clone(),
            setting: kept.setting.name.to_owned(),
            at: kept.name_span.into(),
            help: "a job there goes on whatever happens here, and is found again".into(),
        });
    }
    let kept = kept.filter(|_| declared.api == Api::Local);
    check_model(block, &declared, &base)?;
    let unsent = unsent(block, &declared, compiler);
    let data = block.child_text("data").and_then(|name| compiler.pipeline.stage(name));
    let inputs = data.into_iter().flat_map(|data| ["train", "validation"].map(|split| Input::output(split, &data.name, split)));
    let mut settings = settings_of(block, &compiler.pipeline.file, |name| name != "model" && name != "provider");
    for name in &unsent {
        forget(&mut settings, name);
    }
    let action = Action {
        name: "train",
        version: VERSION,
        settings,
        context: BTreeMap::from([("provider".to_owned(), providers::provider_tree(&declared)), ("model".to_owned(), providers::model_tree(&declared, &base))]),
        inputs: inputs.collect(),
        outputs: vec![MODEL_OUTPUT.to_owned(), "losses".to_owned()],
        appears: false,
        builds_on_last: false,
        effect: false,
        work: Box::new(Train { declared, base, hyperparameters: hyperparameters(block), checkpoints: kept }),
    };
    Ok(vec![action])
}

fn check_model(block: &Block, declared: &Declared, base: &str) -> Result<(), ConfigError> {
    let unknown = declared.api == Api::Local && builtin_digest(base).is_err();
    if !unknown {
        return Ok(());
    }
    Err(ConfigError::UnknownChoice {
        name: "model".into(),
        found: format!("{base:?}"),
        at: block.child("model").map_or(block.name_span, |model| model.span_of("name")).into(),
        help: "the local engine has `builtin:tiny`; for a hosted model name its `provider`".into(),
    })
}

/// Settings of the method that the provider cannot be told; each that is written gets a warning.
fn unsent(block: &Block, declared: &Declared, compiler: &mut Compiler<'_>) -> Vec<&'static str> {
    let written = block.child("method").into_iter().flat_map(|method| &method.children);
    let lost: Vec<&Block> = written.filter(|setting| !providers::expresses(declared, setting.setting.name)).collect();
    compiler.warnings.extend(lost.iter().map(|setting| ConfigError::Inexpressible {
        provider: declared.name.clone(),
        setting: setting.setting.name.to_owned(),
        at: setting.name_span.into(),
        help: "the provider chooses it by itself; the setting holds again when the stage goes back to `local`".into(),
    }));
    lost.iter().map(|setting| setting.setting.name).collect()
}

fn forget(settings: &mut Tree, name: &str) {
    if let Tree::Map(parts) = settings
        && let Some(Tree::Map(method)) = parts.get_mut("method")
    {
        method.remove(name);
    }
}

fn hyperparameters(block: &Block) -> Hyperparameters {
    let method = block.child("method");
    let setting = |name: &str| method.and_then(|method| method.child(name));
    let number = |name: &str, slot: &str, otherwise: f64| setting(name).map_or(otherwise, |setting| setting.number(slot));
    Hyperparameters {
        epochs: setting("epochs").map_or(1, |setting| setting.count("count")),
        batch_size: setting("batch-size").map(|setting| setting.count("count")),
        learning_rate: number("learning-rate", "rate", 3e-3),
        warmup: number("warmup", "share", 0.05),
        weight_decay: number("weight-decay", "rate", 0.0),
        lora: setting("lora").map(|lora| (lora.count("rank"), lora.number("alpha"))),
        seed: block.child("seed").map_or(0, |seed| seed.integer("seed").unsigned_abs()),
    }
}

#[derive(Debug)]
struct Train {
    declared: Declared,
    base: String,
    hyperparameters: Hyperparameters,
    /// The folder for checkpoints, and the steps from one to the next.
    checkpoints: Option<(String, usize)>,
}

#[async_trait]
impl Work for Train {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let kept = self.checkpoints.as_ref().map(|(folder, every)| Ok::<_, StageError>((Checkpoints::take(context, folder)?, *every))).transpose()?;
        let request = TuningRequest {
            key: context.key,
            base: self.base.clone(),
            train: context.read("train")?,
            validation: context.read("validation")?,
            hyperparameters: self.hyperparameters.clone(),
            suffix: suffix(context.stage.as_str()),
            checkpoints: kept.as_ref().map(|(kept, every)| (kept.place().to_owned(), *every)),
        };
        let mut journal = JobJournal::open(&context.store.root().join("jobs"), context.key)?;
        let tuned = providers::tuner(&self.declared).tune(request, &mut journal, context.watch).await?;
        let mut metrics = tuned.metrics;
        let price = training_price(context.workspace, &self.declared.name, &self.base);
        metrics.extend(metrics.get("trained-tokens").zip(price).map(|(tokens, price)| ("usd".to_owned(), tokens * price / 1e6)));
        let mut files = tuned.files;
        let card = serde_json::to_string_pretty(&tuned.model).unwrap_or_default();
        files.insert(CARD.to_owned(), format!("{card}\n").into_bytes());
        let outputs = BTreeMap::from([(MODEL_OUTPUT.to_owned(), keep(context.store, files)?), ("losses".to_owned(), context.store.put_bytes(&tuned.losses)?)]);
        Ok(RecordOutcome {
            outputs,
            metrics,
            model: Some(described(&tuned.model)),
            resumed: kept.as_ref().and_then(|(kept, _)| kept.resumed()),
            ..RecordOutcome::default()
        })
    }

    fn estimate(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Estimate {
        let train = given(inputs, "train").ok().and_then(|train| store.read(train).ok());
        let tokens = train.and_then(|train| tokens(&self.declared, &train, self.hyperparameters.epochs));
        let usd = tokens.zip(training_price(workspace, &self.declared.name, &self.base)).map(|(tokens, price)| tokens * price / 1e6);
        Estimate { tokens, usd }
    }
}

/// The tokens that a training goes through: exactly for a model that is here, and by its letters for one that is elsewhere.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
fn tokens(declared: &Declared, train: &[u8], epochs: usize) -> Option<f64> {
    let examples = parse_examples(train).ok()?;
    let count = |example: &Example| match declared.api {
        Api::Local => Tokenizer::tiny().count(&example.messages),
        Api::OpenAi { .. } => example.messages.iter().map(|message| message.content.len().div_ceil(4) + 4).sum(),
    };
    Some((examples.iter().map(count).sum::<usize>() * epochs) as f64)
}

/// A suffix as providers take it: letters, digits and dashes, at most 18.
fn suffix(stage: &str) -> String {
    let kept: String = stage.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(18).collect();
    if kept.is_empty() { "retune".into() } else { kept }
}

/// A model in a few words.
pub fn described(card: &ModelCard) -> String {
    match (card.provider.as_str(), card.name.as_str()) {
        (LOCAL, "adapter") => format!("{} with adapter", card.base),
        (LOCAL, _) => format!("{}, all weights tuned", card.base),
        (provider, name) => format!("{provider} {name}"),
    }
}

fn keep(store: &Store, files: BTreeMap<String, Vec<u8>>) -> Result<Artifact, StageError> {
    let mut entries = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        if let Artifact::File { digest, size } = store.put_bytes(&bytes)? {
            entries.push(TreeEntry { path, digest, size, executable: false });
        }
    }
    Ok(store.put_tree(entries)?)
}

/// A tuned model from its artifact.
pub fn load(store: &Store, artifact: Artifact) -> Result<ModelHandle, StageError> {
    let mut files = BTreeMap::new();
    for entry in store.tree(artifact)? {
        files.insert(entry.path, store.read(Artifact::File { digest: entry.digest, size: entry.size })?);
    }
    let card = files.remove(CARD).ok_or(StageError::Unreadable { what: "the model", problem: format!("{CARD} is missing") })?;
    let card = serde_json::from_slice(&card).map_err(|error| StageError::Unreadable { what: "the model", problem: error.to_string() })?;
    Ok(ModelHandle { card, files })
}

/// A model that nobody tuned.
pub fn untuned(declared: &Declared, name: &str) -> Result<ModelHandle, ProviderError> {
    if declared.api == Api::Local {
        builtin_digest(name)?;
    }
    let card = ModelCard { provider: declared.name.clone(), base: name.to_owned(), name: String::new() };
    Ok(ModelHandle { card, files: BTreeMap::new() })
}
