//! The settings of how a model is tuned.

use std::path::Path;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Value};
use crate::data::Form;
use crate::provider::{Alarm, Care, Decay, Hyperparameters, Longest, Lora, Method, Overflow, ProviderError, Report, Search, Taught};

use super::super::StageError;

pub static SETTING: Setting = Setting::new("method", "How it is tuned.")
    .once()
    .arguments(&[Slot::new(
        "name",
        Kind::Choice(&["supervised", "dpo", "reinforcement"]),
        "`supervised`: the model learns to say what the assistant says; `dpo`: from pairs of a better and a worse answer; `reinforcement`: from the score of a grader.",
    )])
    .children(|| vec![&EPOCHS, &BATCH_SIZE, &LEARNING_RATE, &RATE_MULTIPLIER, &WARMUP, &DECAY, &WEIGHT_DECAY, &CLIP, &LORA, &TARGETS, &MAX_LENGTH, &GRADIENT_CHECKPOINTING, &TRAIN_ON_INPUTS, &FROM_SCRATCH, &BETA, &GRADER, &EFFORT, &COMPUTE, &INTERVAL, &SAMPLES]);
static EPOCHS: Setting = Setting::new("epochs", "Passes over the examples; `\"auto\"` lets the provider choose (locally 3).").once().arguments(&[Slot::new(
    "count",
    Kind::OrAuto(&Kind::Integer(1, 10_000)),
    "How many.",
)]);
static BATCH_SIZE: Setting = Setting::new("batch-size", "Examples in one step; where it is not given, or `\"auto\"`, the provider chooses (locally 16).")
    .arguments(&[Slot::new("count", Kind::OrAuto(&Kind::Integer(1, 4096)), "How many.")]);
static LEARNING_RATE: Setting = Setting::new(
    "learning-rate",
    "The highest learning rate; where it is not given locally 0.003 for `builtin:tiny` and from scratch, else 0.0002 for adapters and 0.00002 for all weights.",
)
.arguments(&[Slot::new("rate", Kind::Positive(1.0), "The rate.")]);
static RATE_MULTIPLIER: Setting = Setting::new("rate-multiplier", "The learning rate as a multiple of what the provider would take by itself.")
    .arguments(&[Slot::new("factor", Kind::OrAuto(&Kind::Positive(1000.0)), "The factor.")]);
static WARMUP: Setting = Setting::new("warmup", "The share of the steps in which the rate rises; locally 0.05 where it is not given.").arguments(&[Slot::new(
    "share",
    Kind::Share,
    "The share.",
)]);
static WEIGHT_DECAY: Setting =
    Setting::new("weight-decay", "How fast weights shrink by themselves; 0 where it is not given.").arguments(&[Slot::new("rate", Kind::Share, "The rate.")]);
static DECAY: Setting = Setting::new("decay", "How the rate falls after the warm-up; locally `cosine`, down to a tenth, where it is not given.")
    .arguments(&[Slot::new("how", Kind::Choice(&["cosine", "linear", "constant"]), "The curve.")]);
static CLIP: Setting = Setting::new("clip", "Gradients longer than this are cut to it; locally 1 where it is not given.").arguments(&[Slot::new(
    "length",
    Kind::Positive(1e6),
    "The length.",
)]);
static LORA: Setting = Setting::new("lora", "Trains a small adapter in place of all weights.").properties(&[
    Slot::new("rank", Kind::Integer(1, 256), "The width of the adapter.").or(Fallback::Integer(8)),
    Slot::new("alpha", Kind::Positive(4096.0), "The adapter's part is multiplied by alpha / rank.").or(Fallback::Number(16.0)),
    Slot::new("dropout", Kind::Number(0.0, 0.9), "The share of the adapter's inputs that is left out at random.").or(Fallback::Number(0.0)),
    Slot::new("rslora", Kind::Flag, "Whether its part is multiplied by alpha / sqrt(rank), as high ranks want it.").or(Fallback::Flag(false)),
    Slot::new("dora", Kind::Flag, "Whether lengths of weights are learnt apart from their directions.").or(Fallback::Flag(false)),
]);
/// The matrices of a layer, by the names that PEFT has for them.
const MATRICES: &[&str] = &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
static TARGETS: Setting = Setting::new("targets", "The matrices that get an adapter; locally all seven of a layer where it is not given.")
    .arguments(&[Slot::new("matrix", Kind::Choice(MATRICES), "One.")])
    .rest(&Slot::new("more", Kind::Choice(MATRICES), "Another."));
static MAX_LENGTH: Setting = Setting::new("max-length", "How long an example may be.").properties(&[
    Slot::new("tokens", Kind::Integer(2, 10_000_000), "The most tokens."),
    Slot::new("overflow", Kind::Choice(&["error", "drop", "truncate"]), "What becomes of longer ones.").or(Fallback::Text("error")),
]);
static GRADIENT_CHECKPOINTING: Setting =
    Setting::new("gradient-checkpointing", "Computes layers a second time on the way back in place of keeping all of them in memory; the model is the same.")
        .without_effect();
static TRAIN_ON_INPUTS: Setting =
    Setting::new("train-on-inputs", "Of `supervised`: the model learns to say whole conversations, what it is asked too, as a base model does.");
pub static FROM_SCRATCH: Setting = Setting::new(
    "from-scratch",
    "Of `supervised`: begins with random weights, drawn from the seed, in place of those of the model: its folder needs none. Not with `lora`.",
);
static BETA: Setting = Setting::new("beta", "Of `dpo`: the higher, the closer it stays to the model before.").arguments(&[Slot::new(
    "beta",
    Kind::OrAuto(&Kind::Positive(2.0)),
    "Beta.",
)]);
static GRADER: Setting = Setting::new("grader", "Of `reinforcement`: what gives answers their score.").arguments(&[Slot::new(
    "path",
    Kind::Input,
    "A JSON file of the workspace with a grader as OpenAI's API describes it.",
)]);
static EFFORT: Setting = Setting::new("effort", "Of `reinforcement`: how hard the model thinks.").arguments(&[Slot::new(
    "effort",
    Kind::Choice(&["default", "low", "medium", "high"]),
    "The effort.",
)]);

static COMPUTE: Setting = Setting::new("compute-multiplier", "Of `reinforcement`: how much is computed for each step, as a multiple of what is usual.")
    .arguments(&[Slot::new("factor", Kind::OrAuto(&Kind::Positive(10.0)), "The factor.")]);
static INTERVAL: Setting =
    Setting::new("eval-interval", "The steps from one evaluation on the validation examples to the next; locally twice in an epoch where it is not given.")
        .arguments(&[Slot::new("steps", Kind::OrAuto(&Kind::Integer(1, 1_000_000)), "The steps.")]);
static SAMPLES: Setting = Setting::new("eval-samples", "Of `reinforcement`: the answers for each row of an evaluation.").arguments(&[Slot::new(
    "count",
    Kind::OrAuto(&Kind::Integer(1, 1000)),
    "How many.",
)]);

pub static EARLY_STOP: Setting = Setting::new("early-stop", "Stops when the validation loss gets no better, and keeps the best checkpoint.").properties(&[
    Slot::new("patience", Kind::Integer(1, 10_000), "Measurements without progress.").or(Fallback::Integer(3)),
    Slot::new("delta", Kind::Number(0.0, 100.0), "What counts as progress.").or(Fallback::Number(0.0)),
]);
pub static ALARM: Setting = Setting::new("alarm", "Looks out for losses that go wrong.")
    .many()
    .without_effect()
    .arguments(&[Slot::new(
        "what",
        Kind::Choice(&["loss", "gap"]),
        "`loss`: that of the training explodes; `gap`: that of the validation is so far over it, which is overfitting.",
    )])
    .properties(&[
        Slot::new("over", Kind::Positive(1e6), "The bound."),
        Slot::new("then", Kind::Choice(&["warn", "stop"]), "`stop`: the stage fails, and a remote job is cancelled.").or(Fallback::Text("warn")),
    ]);
pub static ALLOW_RETIRING: Setting = Setting::new("allow-retiring", "Trains from a hosted model although it is shut down within 30 days.").without_effect();
pub static MODERATE: Setting =
    Setting::new("moderate", "Shows all examples to the provider's moderation before they are uploaded, and refuses what it flags.").without_effect();
pub static REPORT: Setting = Setting::new("report", "Where the provider reports the training to, besides us.")
    .without_effect()
    .arguments(&[Slot::new("service", Kind::Choice(&["wandb"]), "Weights & Biases.")])
    .properties(&[Slot::new("project", Kind::Text, "The project there."), Slot::new("entity", Kind::Text, "The team or user.").or(Fallback::Absent)]);

/// The settings that only one method reads.
const OF_METHODS: &[(&str, &str)] = &[
    ("train-on-inputs", "supervised"),
    ("from-scratch", "supervised"),
    ("beta", "dpo"),
    ("grader", "reinforcement"),
    ("effort", "reinforcement"),
    ("compute-multiplier", "reinforcement"),
    ("eval-samples", "reinforcement"),
];

/// The name of the method of a train stage.
pub fn name(stage: &Block) -> &str {
    stage.child("method").map_or("supervised", |method| method.text("name"))
}

/// Makes sure that the settings of the method are those that it reads.
pub fn check(stage: &Block) -> Result<(), ConfigError> {
    let Some(method) = stage.child("method") else {
        return Ok(());
    };
    let name = method.text("name");
    let stray = |child: &&Block| OF_METHODS.iter().any(|(setting, of)| child.setting.name == *setting && *of != name);
    if let Some(child) = method.children.iter().find(stray) {
        return Err(ConfigError::Contradiction {
            problem: format!("`{}` is no setting of `{name}`", child.setting.name),
            label: "nothing reads it".into(),
            at: child.name_span.into(),
            help: "take it out, or name another method".into(),
        });
    }
    if let Some(targets) = method.child(TARGETS.name).filter(|_| method.child(LORA.name).is_none()) {
        return Err(ConfigError::Contradiction {
            problem: "`targets` are those of an adapter, and there is none".into(),
            label: "nothing reads it".into(),
            at: targets.name_span.into(),
            help: "write `lora` beside it, or take it out".into(),
        });
    }
    if let (Some(scratch), Some(_)) = (method.child(FROM_SCRATCH.name), method.child(LORA.name)) {
        return Err(ConfigError::Contradiction {
            problem: "an adapter changes a model that knows something, and `from-scratch` begins with one that knows nothing".into(),
            label: "goes with all weights alone".into(),
            at: scratch.name_span.into(),
            help: "take `lora` out, or this".into(),
        });
    }
    if name == "reinforcement" && method.child("grader").is_none() {
        return Err(ConfigError::MissingNode {
            node: "method".into(),
            child: "grader".into(),
            at: method.name_span.into(),
            help: "a JSON file with what gives answers their score".into(),
        });
    }
    Ok(())
}

/// The form of the examples that a method learns from, and the operator that makes them.
pub fn takes(method: &str) -> (Form, &'static str) {
    match method {
        "dpo" => (Form::Preference, "preference"),
        "reinforcement" => (Form::Reinforcement, "reinforcement"),
        _ => (Form::Chat, "chat"),
    }
}

/// The file with the grader, where the method has one.
pub fn grader(stage: &Block) -> Option<&str> {
    stage.child("method")?.child_text("grader")
}

/// What it learns from; the grader is read from its file.
pub fn method(stage: &Block, grader: Option<&Path>) -> Result<Method, StageError> {
    let inside = stage.child("method");
    let child = |name: &str| inside.and_then(|method| method.child(name));
    Ok(match name(stage) {
        "dpo" => Method::Dpo { beta: child("beta").and_then(|beta| beta.find_number("beta")) },
        "reinforcement" => {
            let path = grader.unwrap_or(Path::new(""));
            let wrong = |reason: String| ProviderError::UnreadableFile { path: path.to_owned(), reason };
            let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let grader: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
            if !grader["type"].is_string() {
                return Err(wrong("it is no grader: an object with a `type`, such as `string_check` or `score_model`".into()).into());
            }
            let whole = |name: &str, slot: &str| child(name).and_then(|child| child.find_integer(slot)).and_then(|count| usize::try_from(count).ok());
            let search = Search {
                effort: child("effort").map(|effort| effort.text("effort").to_owned()),
                compute: child("compute-multiplier").and_then(|compute| compute.find_number("factor")),
                interval: whole("eval-interval", "steps"),
                samples: whole("eval-samples", "count"),
            };
            Method::Reinforcement { grader, search }
        }
        _ => Method::Supervised,
    })
}

/// The sizes of a training.
pub fn hyperparameters(stage: &Block) -> Hyperparameters {
    let method = stage.child("method");
    let setting = |name: &str| method.and_then(|method| method.child(name));
    let count = |name: &str| setting(name).and_then(|setting| setting.find_integer("count")).and_then(|count| usize::try_from(count).ok());
    let number = |name: &str, slot: &str| setting(name).and_then(|setting| setting.find_number(slot));
    Hyperparameters {
        epochs: count("epochs"),
        batch_size: count("batch-size"),
        learning_rate: number("learning-rate", "rate"),
        rate_multiplier: number("rate-multiplier", "factor"),
        warmup: number("warmup", "share"),
        weight_decay: number("weight-decay", "rate"),
        decay: setting("decay").map(|decay| match decay.text("how") {
            "linear" => Decay::Linear,
            "constant" => Decay::Constant,
            _ => Decay::Cosine,
        }),
        clip: number("clip", "length"),
        eval_interval: setting("eval-interval").and_then(|interval| interval.find_integer("steps")).and_then(|steps| usize::try_from(steps).ok()),
        longest: setting("max-length").map(|longest| Longest {
            tokens: longest.count("tokens"),
            overflow: match longest.text("overflow") {
                "drop" => Overflow::Drop,
                "truncate" => Overflow::Truncate,
                _ => Overflow::Error,
            },
        }),
        recompute: setting("gradient-checkpointing").is_some(),
        taught: if setting(TRAIN_ON_INPUTS.name).is_some() { Taught::Everything } else { Taught::Answers },
        from_scratch: setting(FROM_SCRATCH.name).is_some(),
        lora: setting("lora").map(|lora| Lora {
            rank: lora.count("rank"),
            alpha: lora.number("alpha"),
            dropout: lora.number("dropout"),
            is_rank_stabilised: lora.flag("rslora"),
            is_dora: lora.flag("dora"),
            targets: setting("targets").map(targets).unwrap_or_default(),
        }),
        seed: stage.child("seed").map_or(0, |seed| seed.integer("seed").unsigned_abs()),
    }
}

fn targets(targets: &Block) -> Vec<String> {
    let more = targets.rest.iter().filter_map(|more| if let Value::Text(text) = &more.value { Some(text.as_str()) } else { None });
    std::iter::once(targets.text("matrix")).chain(more).map(str::to_owned).collect()
}

/// What is watched while it goes on.
pub fn care(stage: &Block) -> Care {
    let alarm = |what: &str| {
        let found = stage.all(ALARM.name).find(|alarm| alarm.text("what") == what)?;
        Some(Alarm { over: found.number("over"), stop: found.text("then") == "stop" })
    };
    let patience = stage.child(EARLY_STOP.name).map(|stop| (stop.count("patience"), stop.number("delta")));
    Care { patience, loss: alarm("loss"), gap: alarm("gap") }
}

/// Where the provider reports to.
pub fn report(stage: &Block) -> Option<Report> {
    let report = stage.child(REPORT.name)?;
    Some(Report { project: report.text("project").to_owned(), entity: report.find_text("entity").map(str::to_owned) })
}
