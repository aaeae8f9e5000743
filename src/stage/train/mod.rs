mod card;
mod check;
mod command;
mod files;
mod inspect;
mod method;
mod start;
mod tokens;
mod work;

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Kind, Pipeline, Setting, Slot, StageDecl, stem};
use crate::data::Form;
use crate::fingerprint::{Leaf, Tree, settings_of};
use crate::model::{HUB_SCHEME, Source};
use crate::provider::{Api, Declared, Protocol, Sizes, longest_suffix};
use crate::store::Reading;

use super::made::{bases, made_by};
use super::providers::Purpose;
use super::{Action, Compiler, Input, StageKind, checkpoints, prepare, providers, scheduling};
pub use card::{card, described, load, untuned};
pub use command::answer;
pub use tokens::chat_tokens;
use work::{Examples, Train};

static SETTING: Setting = Setting::new("train", "Tunes a model on examples.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| {
        scheduling::with(&[
            &DATA,
            &EXAMPLES,
            &VALIDATION,
            &PROVIDER,
            &MODEL,
            &method::SETTING,
            &SEED,
            &SUFFIX,
            &method::EARLY_STOP,
            &method::ALARM,
            &method::ALLOW_RETIRING,
            &method::MODERATE,
            &method::REPORT,
            &checkpoints::EVERY,
        ])
    });
static DATA: Setting = Setting::new("data", "The examples.").arguments(&[Slot::new(
    "stage",
    Kind::Stage(&["prepare"]),
    "A prepare stage; its train and validation splits are used.",
)]);
static EXAMPLES: Setting = Setting::new("examples", "The examples, where they are there already in the form that the method wants, as JSON Lines.")
    .arguments(&[Slot::new("path", Kind::Input, "A file of the workspace.")]);
static VALIDATION: Setting =
    Setting::new("validation", "Those of the validation, beside `examples`.").arguments(&[Slot::new("path", Kind::Input, "A file of the workspace.")]);
static PROVIDER: Setting = Setting::new("provider", "Where the model is tuned; `local` is this machine.").arguments(&[Slot::new(
    "name",
    Kind::Provider,
    "A built-in or declared provider.",
)]);
static MODEL: Setting = Setting::new("model", "The model to start from.").once().arguments(&[Slot::new(
    "name",
    Kind::Model(&["train", "select"]),
    "A train or select stage whose model is tuned further, or a base model: its name at the provider; locally `builtin:tiny`, a folder as Hugging \
     Face's libraries write it, a GGUF file, or `hf:OWNER/NAME@COMMIT`.",
)]);
static SEED: Setting =
    Setting::new("seed", "The seed of all that is random; 0 where it is not given.").arguments(&[Slot::new("seed", Kind::Integer(0, i64::MAX), "The seed.")]);
static SUFFIX: Setting = Setting::new("suffix", "What is put into the name of a hosted model; the stage's name where it is not given.")
    .without_effect()
    .arguments(&[Slot::new("text", Kind::Text, "Letters, digits and dashes: as many as the provider takes, at most 64.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: false };

const VERSION: u32 = 2;
/// What later stages call the model.
pub const MODEL_OUTPUT: &str = "model";
/// The output with what made up each step, a line of JSON each.
pub const FLIGHT_OUTPUT: &str = "flight";
/// The output with the losses of each step, as CSV.
pub const LOSSES_OUTPUT: &str = "losses";
const LOCAL: &str = "local";

/// The name of the provider that a train stage uses.
pub fn provider_name(block: &Block) -> &str {
    block.child_text("provider").unwrap_or(LOCAL)
}

/// Whether a provider has a field for everything that a train stage says.
#[must_use]
pub fn takes(declared: &Declared, stage: &StageDecl) -> bool {
    let method = method::name(&stage.block);
    let of_method = stage.block.child("method").into_iter().flat_map(|method| &method.children);
    // Where losses are reported to, what is kept on the way, and what it is called are no part of the recipe.
    let beside = |name: &str| matches!(name, "report" | "checkpoints" | "suffix");
    let of_stage = stage.block.children.iter().filter(|child| TOLD.contains(&child.setting.name) && !beside(child.setting.name));
    let settings = of_method.chain(of_stage);
    providers::methods(declared).contains(&method)
        && settings.map(|setting| setting.setting.name).all(|setting| providers::expresses(declared, method, setting))
}

/// Whether a train stage has rows that tell how well it learns.
pub fn has_validation(block: &Block, pipeline: &Pipeline) -> bool {
    match block.child("data") {
        Some(data) => {
            let split = pipeline.stage(data.text("stage")).and_then(|stage| stage.block.child("split"));
            split.and_then(|split| split.find_number("validation")).is_none_or(|share| share > 0.0)
        }
        None => block.child("validation").is_some(),
    }
}

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let at = block.child("provider").map_or(stage.name_span, |child| child.span_of("name"));
    let declared = providers::find(provider_name(block), &compiler.pipeline.providers, at)?;
    let named = block.child_text("model").unwrap_or_default();
    let earlier = made_by(named, compiler);
    let bases = bases(named, compiler);
    match &earlier {
        Some(made_by) => start::check(block, &declared, made_by)?,
        None => check_model(block, &declared, named, compiler.pipeline.declared.get(stem(named)).copied())?,
    }
    method::check(block)?;
    check_method(block, &declared)?;
    start::check_scratch(block, &declared)?;
    check_sizes(block, &declared)?;
    check_suffix(block, &declared)?;
    let kept = block.child(checkpoints::EVERY.name).map(|kept| (kept.text("folder").to_owned(), kept.count("every")));
    let kept = kept.filter(|_| declared.api == Api::Local);
    let unsent = unsent(block, &declared, compiler);
    let (examples, mut inputs) = examples(stage, compiler)?;
    let mut settings = settings_of(block, &compiler.pipeline.file, |name| name != "model" && name != "provider");
    for name in &unsent {
        forget(&mut settings, name);
    }
    defaults(&mut settings);
    for path in method::grader(block).into_iter().chain(template(&declared)) {
        inputs.extend(compiler.files(path, Reading::Bytes, None));
    }
    inputs.extend(providers::files(&declared, compiler));
    inputs.extend(earlier.map(|made_by| Input::output(start::MODEL, &made_by.stage.name, MODEL_OUTPUT)));
    inputs.extend(bases.iter().flat_map(|base| providers::model_files(&declared, base, compiler)));
    let action = Action {
        name: "train".to_owned(),
        version: VERSION,
        settings,
        context: BTreeMap::from([
            ("provider".to_owned(), providers::provider_tree(&declared, Purpose::Tuning)),
            ("model".to_owned(), start::tree(&declared, &bases)),
        ]),
        inputs,
        outputs: if declared.api == Api::Local { vec![MODEL_OUTPUT, LOSSES_OUTPUT, FLIGHT_OUTPUT] } else { vec![MODEL_OUTPUT, LOSSES_OUTPUT] }
            .into_iter()
            .map(str::to_owned)
            .collect(),
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(Train {
            block: block.clone(),
            bases: bases.into_iter().map(str::to_owned).collect(),
            declared,
            examples,
            suffix: suffix(stage),
            checkpoints: kept,
        }),
    };
    Ok(vec![action])
}

/// The template of a program's config file.
fn template(declared: &Declared) -> Option<&str> {
    match &declared.api {
        Api::Command(program) => program.config.as_deref(),
        Api::Local | Api::Hosted(_) => None,
    }
}

/// Where the examples come from, and the inputs that they are.
fn examples(stage: &StageDecl, compiler: &Compiler<'_>) -> Result<(Examples, Vec<Input>), ConfigError> {
    let block = &stage.block;
    let wrong = |at: &Block, problem: String, label: &str, help: &str| ConfigError::Contradiction {
        problem,
        label: label.into(),
        at: at.name_span.into(),
        help: help.into(),
    };
    let (path, validation) = (block.child_text("examples"), block.child_text("validation"));
    match (block.child("data"), path) {
        (Some(_), Some(_)) => Err(wrong(
            block.child("examples").unwrap_or(block),
            format!("`{}` has examples from two places", stage.name),
            "`data` is given too",
            "keep one of the two",
        )),
        (None, None) => Err(ConfigError::MissingNode {
            node: "train".into(),
            child: "data".into(),
            at: block.name_span.into(),
            help: "name a prepare stage, or a file of ready rows by `examples`".into(),
        }),
        (Some(data), None) => {
            if let Some(validation) = block.child("validation") {
                return Err(wrong(validation, "`validation` goes with `examples`".into(), "`data` has a validation split of its own", "take it out"));
            }
            let made = compiler.pipeline.stage(data.text("stage")).map_or(Form::Chat, |stage| prepare::form(&stage.block));
            let (wanted, by) = method::takes(method::name(block));
            if made != wanted {
                let at = block.child("method").unwrap_or(block);
                let problem = format!("`{}` does not learn from what `{}` makes", method::name(block), data.text("stage"));
                return Err(wrong(at, problem, "needs rows of another form", &format!("let that stage make them by `{by}`, or take another method")));
            }
            let inputs = compiler.pipeline.stage(data.text("stage"));
            let inputs = inputs.into_iter().flat_map(|data| ["train", "validation"].map(|split| Input::output(split, &data.name, split)));
            Ok((Examples::Prepared, inputs.collect()))
        }
        (None, Some(path)) => {
            let inputs = [Some(path), validation].into_iter().flatten().flat_map(|path| compiler.files(path, Reading::Bytes, None));
            Ok((Examples::Files { train: path.to_owned(), validation: validation.map(str::to_owned) }, inputs.collect()))
        }
    }
}

fn check_model(block: &Block, declared: &Declared, base: &str, stage: Option<&str>) -> Result<(), ConfigError> {
    // What is wrong with a stage that should make a model is told there.
    let is_told = matches!(stage, Some("train" | "select"));
    let is_known = declared.api != Api::Local || Source::of(base).is_some();
    if is_told || is_known {
        return Ok(());
    }
    Err(ConfigError::UnknownChoice {
        name: "model".into(),
        found: format!("{base:?}"),
        at: block.child("model").map_or(block.name_span, |model| model.span_of("name")).into(),
        help: if base.starts_with(HUB_SCHEME) {
            "a model of the hub is `hf:OWNER/NAME@` and a whole commit of 40 digits: a branch or tag may be another model tomorrow; `git ls-remote` of its \
             page tells the commit of `main`"
                .into()
        } else if let Some(kind) = stage {
            format!("`{base}` is a stage of the kind `{kind}`, and makes no model: name a train or select stage, or a base model")
        } else {
            "the local engine has `builtin:tiny`, folders (`models/NAME`), GGUF files (`models/NAME.gguf`) and models of the hub \
             (`hf:OWNER/NAME@COMMIT`); for a hosted model name its `provider`"
                .into()
        },
    })
}

fn check_method(block: &Block, declared: &Declared) -> Result<(), ConfigError> {
    let (name, known) = (method::name(block), providers::methods(declared));
    if known.contains(&name) {
        return Ok(());
    }
    Err(ConfigError::UnknownChoice {
        name: "method".into(),
        found: format!("{name:?} at `{}`", declared.name),
        at: block.child("method").map_or(block.name_span, |method| method.span_of("name")).into(),
        help: format!("it has: {}", known.join(", ")),
    })
}

/// Makes sure of what OpenAI's description bounds: whoever speaks as it does refuses more, after the uploads.
fn check_sizes(block: &Block, declared: &Declared) -> Result<(), ConfigError> {
    let bounded = matches!(&declared.api, Api::Hosted(endpoint) if matches!(endpoint.protocol(), Protocol::OpenAi(dialect) if dialect.sizes == Sizes::Method));
    let of_method =
        [("epochs", 50), ("batch-size", 256)].map(|(name, most)| (block.child("method").and_then(|method| method.child(name)), name, "count", most));
    let all = of_method.into_iter().chain([(block.child("seed"), "seed", "seed", i64::from(i32::MAX))]).filter(|_| bounded);
    let over = all.into_iter().find_map(|(setting, name, slot, most)| {
        let given = setting?.find_integer(slot).filter(|given| *given > most)?;
        Some((setting?, name, most, given))
    });
    over.map_or(Ok(()), |(setting, name, most, given)| {
        Err(ConfigError::Contradiction {
            problem: format!("`{}` takes at most {most} for `{name}`, and this is {given}", declared.name),
            label: "would be refused".into(),
            at: setting.name_span.into(),
            help: "write less".into(),
        })
    })
}

/// Makes sure that a suffix that is written down comes to the provider as it is.
fn check_suffix(block: &Block, declared: &Declared) -> Result<(), ConfigError> {
    let (Some(setting), Api::Hosted(endpoint)) = (block.child("suffix"), &declared.api) else {
        return Ok(());
    };
    let (text, most) = (setting.text("text"), longest_suffix(endpoint));
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_plain && !text.is_empty() && text.len() <= most {
        return Ok(());
    }
    Err(ConfigError::Contradiction {
        problem: format!("`{}` takes a suffix of 1 to {most} letters, digits and dashes", declared.name),
        label: "would not come there as it is".into(),
        at: setting.span_of("text").into(),
        help: "shorten it; beside it stands the key by which the job is found again, where it has to".into(),
    })
}

/// Settings of the stage itself that not every provider can be told.
const TOLD: &[&str] = &["early-stop", "alarm", "moderate", "report", "checkpoints", "seed", "suffix"];

/// Settings that the provider cannot be told, so that they are no part of the result; each that is written gets a warning.
fn unsent(block: &Block, declared: &Declared, compiler: &mut Compiler<'_>) -> Vec<&'static str> {
    let method = method::name(block);
    let of_method = block.child("method").into_iter().flat_map(|method| &method.children);
    let of_stage = block.children.iter().filter(|child| TOLD.contains(&child.setting.name));
    let lost: Vec<&Block> = of_method.chain(of_stage).filter(|setting| !providers::expresses(declared, method, setting.setting.name)).collect();
    let mut names: Vec<(&'static str, &Block)> = lost.into_iter().map(|setting| (setting.setting.name, setting)).collect();
    if let Some(lora) = block.child("method").and_then(|method| method.child("lora")).filter(|_| !providers::expresses(declared, method, "lora.alpha")) {
        names.push(("lora.alpha", lora));
    }
    // What is written as it would be anyway is nothing lost.
    let written = |lora: &Block| [("lora.dropout", lora.number("dropout") > 0.0), ("lora.rslora", lora.flag("rslora")), ("lora.dora", lora.flag("dora"))];
    let parts = block.child("method").and_then(|method| method.child("lora")).map(|lora| (lora, written(lora)));
    let mut usual = Vec::new();
    for (lora, (name, is_written)) in parts.into_iter().flat_map(|(lora, parts)| parts.map(|part| (lora, part))) {
        if !providers::expresses(declared, method, name) {
            if is_written { names.push((name, lora)) } else { usual.push(name) }
        }
    }
    let report = block.child("report").filter(|report| report.find_text("entity").is_some() && !names.iter().any(|(name, _)| *name == "report"));
    if let Some(report) = report.filter(|_| !providers::expresses(declared, method, "report.entity")) {
        names.push(("report.entity", report));
    }
    compiler.warnings.extend(names.iter().map(|(name, setting)| ConfigError::Inexpressible {
        provider: declared.name.clone(),
        setting: (*name).to_owned(),
        at: setting.name_span.into(),
        help: "nothing there reads it, and it is no part of the fingerprint; it holds again where another provider knows it".into(),
    }));
    names.into_iter().map(|(name, _)| name).chain(usual).collect()
}

fn forget(settings: &mut Tree, name: &str) {
    let Tree::Map(parts) = settings else {
        return;
    };
    parts.remove(name);
    if let Some(Tree::Map(method)) = parts.get_mut("method") {
        match name.split_once('.') {
            None => drop(method.remove(name)),
            Some((setting, inside)) => {
                if let Some(Tree::Map(setting)) = method.get_mut(setting) {
                    setting.remove(inside);
                }
            }
        }
    }
}

/// What is written and says the same as if it were not is no other training.
fn defaults(settings: &mut Tree) {
    /// Whether all that a setting says is this.
    fn says(tree: &Tree, value: &Leaf) -> bool {
        match tree {
            Tree::Leaf { value: found, .. } => found == value,
            Tree::Map(parts) => !parts.is_empty() && parts.values().all(|part| says(part, value)),
            Tree::List(parts) => !parts.is_empty() && parts.iter().all(|part| says(part, value)),
        }
    }
    let auto = |tree: &Tree| says(tree, &Leaf::Text("auto".into()));
    let zero = |tree: &Tree| says(tree, &Leaf::Integer(0));
    if let Tree::Map(parts) = settings {
        if parts.get("seed").is_some_and(zero) {
            parts.remove("seed");
        }
        if let Some(Tree::Map(method)) = parts.get_mut("method") {
            method.retain(|name, part| name == "epochs" || !auto(part));
        }
    }
}

/// A suffix as providers take it: letters, digits and dashes, at most 64.
fn suffix(stage: &StageDecl) -> String {
    let wanted = stage.block.child_text("suffix").unwrap_or(stage.name.as_str());
    let kept: String = wanted.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    if kept.is_empty() { "retune".into() } else { kept }
}
