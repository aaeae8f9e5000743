mod ask;
mod asking;
mod gates;
mod generate;
mod grade;
mod judge;
mod mistakes;
mod moderation;
mod openai_grader;
mod outside;
mod pairwise;
mod part;
mod perplexity;
mod program;
mod rows;
mod said;
mod verdict;

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::data::parse_lines;
use crate::fingerprint::{Tree, settings_of};
use crate::grade::grader::{self, Measured, Named};
use crate::grade::{LOSS_GAP, OVERFIT_GAP, SLICE_GAP, Scores, names};

use super::made::made_by;
use super::{Action, Compiler, Input, StageError, StageKind, prepare, scheduling, train};
use asking::{Whom, asking, samples};
use outside::outside;
use part::Part;
use rows::{BASELINE_ANSWERS, TRAINING_ANSWERS};

static SETTING: Setting = Setting::new("evaluate", "Asks a model questions that it was not trained on, grades the answers and holds them against gates.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&MODEL, &BASELINE, &DATA, &PROVIDER, &asking::SETTING, &grader::SETTING, &SLICE, &CLUSTER, &gates::SETTING, &SUITE]));
const MODELS: Kind = Kind::Model(&["train", "select"]);
static MODEL: Setting =
    Setting::new("model", "The model that is judged.").once().arguments(&[Slot::new("name", MODELS, "A train or select stage, or the name of a model.")]);
static BASELINE: Setting = Setting::new("baseline", "The model that it is compared with on the same rows.").arguments(&[Slot::new(
    "name",
    MODELS,
    "A train or select stage, or the name of a model.",
)]);
static DATA: Setting = Setting::new("data", "The questions.")
    .once()
    .arguments(&[Slot::new("stage", Kind::Stage(&["prepare"]), "A prepare stage.")])
    .properties(&[Slot::new("split", Kind::Choice(&["train", "validation", "test"]), "Which part of it.").or(Fallback::Text("test")).without_effect()]);
static PROVIDER: Setting = Setting::new("provider", "Who answers for a model that no stage makes; that of the judged train stage where it is not given.")
    .arguments(&[Slot::new("name", Kind::Provider, "A built-in or declared provider.")]);
static SUITE: Setting =
    Setting::new("suite", "Other questions for the same model, with graders and gates of their own: what it must not forget, what it must refuse.")
        .many()
        .arguments(&[Slot::new("name", Kind::Text, "What its figures begin with.")])
        .children(|| vec![&DATA, &grader::SETTING, &SLICE, &CLUSTER, &gates::SETTING]);
static SLICE: Setting = Setting::new("slice", "A field by which classes of rows are compared.").many().properties(&[Slot::new(
    "by",
    Kind::Text,
    "The field, which the prepare stage carries through by its own `slice`.",
)]);
static CLUSTER: Setting = Setting::new("cluster", "Which rows belong together and tell less than as many others: those of one customer, say.")
    .properties(&[Slot::new("by", Kind::Text, "The field, which the prepare stage carries through by its own `slice`.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: true };

/// The version of grading; raised when the same answers would be graded or measured in another way.
const GRADE_VERSION: u32 = 4;
/// What the deploy stage calls the verdict, and the figures that it rests on.
pub const VERDICT: &str = "verdict";
pub use ask::{ANSWERS, answers_of, cost_of, expected_cost};
pub use grade::METRICS;
pub use mistakes::Mistakes;

/// What an evaluate stage asked.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The most tokens in an answer.
    pub max_tokens: usize,
    /// Whether the answers were drawn, so that the same model may say something else.
    pub is_drawn: bool,
    /// The questions, and the rows that were judged.
    pub inputs: Vec<Input>,
}

/// What an evaluate stage asked, with its questions and what it made of the answers as inputs in two roles.
pub fn asked(judge: &StageDecl, compiler: &Compiler<'_>, [data, scores]: [&str; 2]) -> Judged {
    let part = Part { stage: judge, block: &judge.block, suite: None };
    let mut inputs: Vec<Input> = part.prepared(data, part.split(), compiler).into_iter().collect();
    inputs.push(part.own(scores, grade::SCORES));
    let (max_tokens, temperature) = asking::sizes(&judge.block);
    Judged { max_tokens, is_drawn: temperature > 0.0, inputs }
}

/// Each row that was judged.
///
/// # Errors
/// When they cannot be read.
pub fn judged_rows(bytes: &[u8]) -> Result<Vec<Scores>, StageError> {
    parse_lines(bytes).map_err(|error| StageError::Unreadable { what: "the scores", problem: error.to_string() })
}

/// The outputs with figures of an evaluate stage: of itself, and of its suites with their names.
pub fn figures(judge: &Block) -> Vec<(Option<String>, String)> {
    let suites = judge.all(SUITE.name).map(|suite| suite.text("name").to_owned());
    let suites = suites.map(|suite| (Some(suite.clone()), format!("{METRICS} {suite}")));
    std::iter::once((None, METRICS.to_owned())).chain(suites).collect()
}

/// What an evaluate stage tells of a model: the metrics of its graders, and the gaps that it looks at.
///
/// # Errors
/// When a grader makes no sense.
pub fn metrics(judge: &Block) -> Result<Vec<String>, ConfigError> {
    let mut told = metrics_of(judge, judge)?;
    for suite in judge.all(SUITE.name) {
        let name = suite.text("name");
        told.extend(metrics_of(suite, judge)?.into_iter().map(|metric| format!("{name}.{metric}")));
    }
    Ok(told)
}

/// The same of the stage itself, or of one of its suites.
fn metrics_of(part: &Block, judge: &Block) -> Result<Vec<String>, ConfigError> {
    let has_baseline = judge.child("baseline").is_some();
    let graders = grader::all(part)?;
    let mut told = names(&graders, has_baseline, judge.child("generate").map_or(1, |how| how.count("samples")));
    let compared = graders.iter().filter(|named| has_baseline && !named.grader.compares());
    told.extend(compared.flat_map(|named| GAINS.map(|part| format!("{}.gain.{part}", named.name))));
    let gated = |gap: &str| part.all(gates::SETTING.name).any(|gate| gate.text("metric").starts_with(gap));
    let gaps = [(SLICE_GAP, part.child(SLICE.name).is_some()), (OVERFIT_GAP, gated(OVERFIT_GAP))].into_iter().filter(|(_, is_told)| *is_told);
    told.extend(gaps.flat_map(|(gap, _)| ["", ".low", ".high"].map(|end| format!("{gap}{end}"))));
    told.extend(gated(LOSS_GAP).then(|| LOSS_GAP.to_owned()));
    Ok(told)
}

/// What is told of a gain besides its interval.
const GAINS: [&str; 5] = ["p", "p-holm", "visible", "wins", "losses"];

/// Which model an evaluate stage judges: the name that is written.
pub fn judged(block: &Block) -> &str {
    block.child_text("model").unwrap_or_default()
}

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let (mut actions, mut parts) = (Vec::new(), Vec::new());
    for part in Part::all(stage)? {
        let judged = judging(part, compiler, &mut actions)?;
        parts.push(judged);
    }
    actions.push(deciding(stage, compiler, parts));
    Ok(actions)
}

/// The actions of a part of the stage up to its figures, and what its verdict goes by.
fn judging(part: Part<'_>, compiler: &mut Compiler<'_>, actions: &mut Vec<Action>) -> Result<verdict::Judged, ConfigError> {
    let (stage, block) = (&part.stage.block, part.block);
    let baseline = stage.child("baseline").is_some();
    let graders = grader::all(block)?;
    let measured = graders.iter().fold(Measured::default(), |all, named| all.or(named.grader.measures()));
    actions.push(asking(part, Whom::Model, measured, compiler)?);
    if baseline {
        actions.push(asking(part, Whom::Baseline, measured, compiler)?);
    }
    let gates = gates::all(block, &graders, baseline, samples(stage))?;
    compiler.warnings.extend(gates::idle(block, &graders).into_iter().map(ConfigError::from));
    part.carried(compiler)?;
    let overfit = gates.iter().any(|gate| gate.metric.starts_with(OVERFIT_GAP));
    let losses = gates.iter().any(|gate| gate.metric == LOSS_GAP).then(|| losses(part, compiler)).transpose()?;
    if overfit {
        learnt(part, compiler)?;
        if graders.first().is_some_and(|first| first.grader.is_outside()) {
            return Err(outside_first(block));
        }
        actions.push(asking(part, Whom::Training, measured, compiler)?);
    }
    for declared in block.all(grader::SETTING.name).filter(|grader| grader::is_outside(grader)) {
        actions.push(outside(part, declared, compiler)?);
    }
    let mut grading = grading(part, compiler, [baseline, overfit], graders);
    grading.inputs.extend(losses);
    actions.push(grading);
    let [metrics, scores] = [METRICS, grade::SCORES].map(|output| part.named(output));
    Ok(verdict::Judged { suite: part.suite.map(str::to_owned), metrics, scores, gates })
}

fn grading(part: Part<'_>, compiler: &Compiler<'_>, [baseline, overfit]: [bool; 2], graders: Vec<Named>) -> Action {
    let block = part.block;
    let mut inputs: Vec<Input> = part.questions(compiler).into_iter().collect();
    inputs.push(part.own(ANSWERS, ANSWERS));
    if baseline {
        inputs.push(part.own(BASELINE_ANSWERS, BASELINE_ANSWERS));
    }
    if overfit {
        inputs.extend(part.prepared(grade::TRAINING, "train", compiler));
        inputs.push(part.own(TRAINING_ANSWERS, TRAINING_ANSWERS));
    }
    if part.fields().next().is_some() {
        inputs.extend(part.prepared(grade::SLICES, &prepare::sliced_output(part.split()), compiler));
    }
    let outside = graders.iter().filter(|named| named.grader.is_outside());
    let judged: BTreeMap<String, String> = outside.map(|named| (named.name.clone(), outside::output(part, &named.name))).collect();
    inputs.extend(judged.values().map(|output| Input::output(output, &part.stage.name, output)));
    let mut settings = settings_of(block, &compiler.pipeline.file, |name| matches!(name, "grader" | "slice" | "cluster"));
    if let (Tree::Map(settings), Some(first)) = (&mut settings, graders.first()) {
        // Rows are right or wrong by the first.
        settings.insert("first".to_owned(), Tree::text(&first.name));
        settings.extend(part.setting());
    }
    let slices = block.all(SLICE.name).map(|slice| slice.text("by").to_owned()).collect();
    let cluster = block.child(CLUSTER.name).map(|cluster| cluster.text("by").to_owned());
    let outputs = [grade::SCORES, METRICS, grade::MISTAKES].map(|output| part.named(output));
    Action {
        name: part.named("grade"),
        version: GRADE_VERSION,
        settings,
        context: BTreeMap::new(),
        inputs,
        outputs: outputs.to_vec(),
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(grade::Grade { graders, slices, cluster, judged, suite: part.suite.map(str::to_owned), outputs }),
    }
}

/// Makes sure that what the model learnt is known, and is not what it is judged by.
fn learnt(part: Part<'_>, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
    let Some(data) = part.block.child(DATA.name) else {
        return Ok(());
    };
    let judged = judged(&part.stage.block);
    let from = made_by(judged, compiler);
    let problem = if from.and_then(|from| from.agreed("data").map(str::to_owned)).as_deref() != Some(data.text("stage")) {
        format!("`overfit-gap` compares with what `{judged}` learnt, and that is not `{}`", data.text("stage"))
    } else if data.text("split") == "train" {
        "`overfit-gap` compares with what was learnt, and so is this".to_owned()
    } else {
        return Ok(());
    };
    let help = "judge a train stage by another split of the data that it learns from: `data \"chat\" split=\"test\"`".into();
    Err(ConfigError::Contradiction { problem, label: "cannot be compared".into(), at: data.name_span.into(), help })
}

/// The losses of the training of the judged model.
fn losses(part: Part<'_>, compiler: &Compiler<'_>) -> Result<Input, ConfigError> {
    let judged = judged(&part.stage.block);
    let made_by = made_by(judged, compiler).ok_or_else(|| ConfigError::Contradiction {
        problem: format!("`{LOSS_GAP}` is about a training, and no stage trains `{judged}`"),
        label: "has no losses".into(),
        at: part.block.all(gates::SETTING.name).find(|gate| gate.text("metric") == LOSS_GAP).map_or(part.block.name_span, |gate| gate.span_of("metric")).into(),
        help: "judge a train stage, or take the gate out".into(),
    })?;
    Ok(Input::output(grade::LOSSES, &made_by.stage.name, train::LOSSES_OUTPUT))
}

/// An error where rows that were learnt would have to be judged by somebody else.
fn outside_first(block: &Block) -> ConfigError {
    let first = block.child(grader::SETTING.name);
    ConfigError::Contradiction {
        problem: "`overfit-gap` goes by the first grader, and that one is not of this program".into(),
        label: "would be asked for the rows that were learnt too".into(),
        at: first.map_or(block.name_span, |first| first.name_span).into(),
        help: "write another grader before it".into(),
    }
}

fn deciding(stage: &StageDecl, compiler: &Compiler<'_>, parts: Vec<verdict::Judged>) -> Action {
    let mut settings = settings_of(&stage.block, &compiler.pipeline.file, |name| name == "gate");
    if let Tree::Map(settings) = &mut settings {
        for suite in stage.block.all(SUITE.name) {
            settings.insert(format!("suite {}", suite.text("name")), settings_of(suite, &compiler.pipeline.file, |name| name == "gate"));
        }
    }
    let inputs = parts.iter().flat_map(|part| [&part.metrics, &part.scores]).map(|output| Input::output(output, &stage.name, output));
    // So that nobody deploys another model on this verdict.
    let model = made_by(judged(&stage.block), compiler).map(|made_by| Input::output(verdict::MODEL, &made_by.stage.name, train::MODEL_OUTPUT));
    let inputs = inputs.chain(model).collect();
    Action {
        name: "verdict".to_owned(),
        version: verdict::VERSION,
        settings,
        context: BTreeMap::new(),
        inputs,
        outputs: vec![VERDICT.to_owned()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(verdict::Decide { parts }),
    }
}
