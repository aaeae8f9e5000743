mod ask;
mod gates;
mod generate;
mod grade;
mod judge;
mod mistakes;
mod program;
mod rows;
mod verdict;

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::fingerprint::{Leaf, Tree, settings_of};
use crate::grade::grader::{self, Named};
use crate::grade::{Gate, OVERFIT_GAP};
use crate::provider::{Api, Declared};
use crate::store::Reading;

use super::exec::environment;
use super::{Action, Compiler, Input, StageKind, Work, prepare, providers, scheduling, train};
use generate::{Asked, Generate};
use rows::{BASELINE_ANSWERS, TRAINING_ANSWERS};

static SETTING: Setting = Setting::new("evaluate", "Asks a model questions that it was not trained on, grades the answers and holds them against gates.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&MODEL, &BASELINE, &DATA, &PROVIDER, &GENERATE, &grader::SETTING, &SLICE, &CLUSTER, &gates::SETTING]));
static MODEL: Setting =
    Setting::new("model", "The model that is judged.").once().arguments(&[Slot::new("name", Kind::Model, "A train stage, or the name of a model.")]);
static BASELINE: Setting = Setting::new("baseline", "The model that it is compared with on the same rows.").arguments(&[Slot::new(
    "name",
    Kind::Model,
    "A train stage, or the name of a model.",
)]);
static DATA: Setting = Setting::new("data", "The questions.")
    .once()
    .arguments(&[Slot::new("stage", Kind::Stage(&["prepare"]), "A prepare stage.")])
    .properties(&[Slot::new("split", Kind::Choice(&["train", "validation", "test"]), "Which part of it.").or(Fallback::Text("test")).without_effect()]);
static PROVIDER: Setting = Setting::new("provider", "Who answers for a model that no stage makes; that of the judged train stage where it is not given.")
    .arguments(&[Slot::new("name", Kind::Provider, "A built-in or declared provider.")]);
static GENERATE: Setting = Setting::new("generate", "How answers are generated: the likeliest token each time.").properties(&[
    Slot::new("max-tokens", Kind::Integer(1, 16_384), "The most tokens in an answer.").or(Fallback::Integer(MAX_TOKENS)),
    Slot::new("batch", Kind::Flag, "Whether a hosted model is asked in one batch: within a day, at a lower price.").or(Fallback::Flag(false)).without_effect(),
]);

static SLICE: Setting = Setting::new("slice", "A field by which classes of rows are compared.").many().properties(&[Slot::new(
    "by",
    Kind::Text,
    "The field, which the prepare stage carries through by its own `slice`.",
)]);
static CLUSTER: Setting = Setting::new("cluster", "Which rows belong together and tell less than as many others: those of one customer, say.")
    .properties(&[Slot::new("by", Kind::Text, "The field, which the prepare stage carries through by its own `slice`.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

const MAX_TOKENS: i64 = 32;
/// The version of grading; raised when the same answers would be graded or measured in another way.
const GRADE_VERSION: u32 = 3;
/// The version of generating; raised when the same model would be asked in another way.
const GENERATE_VERSION: u32 = 1;
/// The version of asking graders that are not of this program.
const JUDGE_VERSION: u32 = 1;
/// What the deploy stage calls the verdict, and the figures that it rests on.
pub const VERDICT: &str = "verdict";
pub use ask::{ANSWERS, answers_of};
pub use grade::METRICS;

/// Which model an evaluate stage judges: the name that is written.
pub fn judged(block: &Block) -> &str {
    block.child_text("model").unwrap_or_default()
}

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let mut actions = vec![asking(stage, "generate", "model", compiler)?];
    let baseline = block.child("baseline").is_some();
    if baseline {
        actions.push(asking(stage, "generate-baseline", "baseline", compiler)?);
    }
    let graders = grader::all(block)?;
    let gates = gates::all(block, &graders, baseline)?;
    carried(block, compiler)?;
    let overfit = gates.iter().any(|gate| gate.metric.starts_with(OVERFIT_GAP));
    if overfit {
        actions.push(asking(stage, "generate-training", "training", compiler)?);
    }
    if overfit {
        learnt(block, compiler)?;
    }
    if overfit && graders.first().is_some_and(|first| first.grader.is_outside()) {
        return Err(outside_first(block));
    }
    for judging in block.all(grader::SETTING.name).filter(|grader| grader::is_outside(grader)) {
        actions.push(outside(stage, judging, compiler, baseline)?);
    }
    actions.push(grading(stage, compiler, [baseline, overfit], graders));
    actions.push(deciding(stage, compiler, gates));
    Ok(actions)
}

fn questions(block: &Block, compiler: &Compiler<'_>) -> Option<Input> {
    from_data("data", block.child("data")?.text("split"), block, compiler)
}

/// An output of the stage that prepared the questions, in a role.
fn from_data(role: &str, output: &str, block: &Block, compiler: &Compiler<'_>) -> Option<Input> {
    let stage = compiler.pipeline.stage(block.child("data")?.text("stage"))?;
    Some(Input::output(role, &stage.name, output))
}

/// The fields of rows that a stage looks at, with the nodes that name them.
fn fields(block: &Block) -> impl Iterator<Item = (&Block, &str)> {
    block.all(SLICE.name).chain(block.all(CLUSTER.name)).map(|node| (node, node.text("by")))
}

/// Makes sure that the fields which are looked at come through the preparation.
fn carried(block: &Block, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
    let Some(data) = block.child("data").and_then(|data| compiler.pipeline.stage(data.text("stage"))) else {
        return Ok(());
    };
    match fields(block).find(|(_, field)| !prepare::slices(&data.block).any(|carried| carried == *field)) {
        None => Ok(()),
        Some((node, field)) => Err(ConfigError::Contradiction {
            problem: format!("`{}` does not carry the field `{field}` through", data.name),
            label: "is not known of its examples".into(),
            at: node.span_of("by").into(),
            help: format!("write `slice by={field:?}` in `{}` too", data.name),
        }),
    }
}

/// The action that asks one of the two models.
fn asking(stage: &StageDecl, name: &'static str, role: &str, compiler: &Compiler<'_>) -> Result<Action, ConfigError> {
    let block = &stage.block;
    let limit = block.child("generate").map_or(MAX_TOKENS, |generate| generate.integer("max-tokens"));
    let max_tokens = usize::try_from(limit).unwrap_or(usize::MAX);
    let batch = block.child("generate").is_some_and(|generate| generate.flag("batch"));
    let output = match role {
        "baseline" => BASELINE_ANSWERS,
        "training" => TRAINING_ANSWERS,
        _ => ANSWERS,
    };
    let is_sample = role == "training";
    let asked = if is_sample { from_data("data", "train", block, compiler) } else { questions(block, compiler) };
    let mut inputs: Vec<Input> = asked.into_iter().collect();
    let role = if is_sample { "model" } else { role };
    let written = block.child_text(role).unwrap_or_default();
    let declarations = &compiler.pipeline.providers;
    let mut context = BTreeMap::new();
    let asked = if let Some(made_by) = train_stage(written, compiler) {
        inputs.push(Input::output("model", &made_by.name, train::MODEL_OUTPUT));
        let declared = provider(train::provider_name(&made_by.block), block, compiler)?;
        context.insert("provider".to_owned(), providers::provider_tree(&declared, providers::Purpose::Asking));
        inputs.extend(providers::files(&declared, compiler));
        Asked::Made { declarations: declarations.clone() }
    } else {
        let judged = train_stage(judged(block), compiler).map(|judged| train::provider_name(&judged.block));
        let named = block.child_text("provider").or(judged).unwrap_or("local");
        let declared = provider(named, block, compiler)?;
        check_named(block, role, written, &declared, compiler)?;
        context.insert("provider".to_owned(), providers::provider_tree(&declared, providers::Purpose::Asking));
        inputs.extend(providers::files(&declared, compiler));
        context.insert("model".to_owned(), providers::model_tree(&declared, written));
        Asked::Named { declared: Box::new(declared), name: written.to_owned() }
    };
    Ok(Action {
        name: name.to_owned(),
        version: GENERATE_VERSION,
        settings: Tree::map([("max-tokens", Tree::leaf(Leaf::Integer(limit)))]),
        context,
        inputs,
        outputs: vec![output.to_owned()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(Generate { asked, max_tokens, batch, output, is_sample }),
    })
}

fn train_stage<'a>(name: &str, compiler: &Compiler<'a>) -> Option<&'a StageDecl> {
    compiler.pipeline.stage(name).filter(|stage| stage.kind == "train")
}

fn provider(name: &str, block: &Block, compiler: &Compiler<'_>) -> Result<Declared, ConfigError> {
    providers::find(name, &compiler.pipeline.providers, block.child("provider").map_or(block.name_span, |child| child.span_of("name")))
}

/// A local model must be one that there is: otherwise the name of a stage was mistyped, most likely.
fn check_named(block: &Block, role: &str, name: &str, declared: &Declared, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
    // A train stage that is there and has a mistake of its own is no second mistake.
    let broken = compiler.pipeline.declared.get(name) == Some(&"train");
    if broken || declared.api != Api::Local || train::untuned(declared, name).is_ok() {
        return Ok(());
    }
    let stages = compiler.pipeline.stages.iter().filter(|stage| stage.kind == "train").map(|stage| stage.name.as_str());
    let known: Vec<&str> = stages.chain([crate::model::TINY]).collect();
    let help = crate::config::nearest(name, known.iter().copied())
        .map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
    Err(ConfigError::DanglingReference {
        name: name.to_owned(),
        wanted: "train".into(),
        at: block.child(role).map_or(block.name_span, |child| child.span_of("name")).into(),
        help,
    })
}

fn grading(stage: &StageDecl, compiler: &Compiler<'_>, [baseline, overfit]: [bool; 2], graders: Vec<Named>) -> Action {
    let block = &stage.block;
    let mut inputs: Vec<Input> = questions(block, compiler).into_iter().collect();
    inputs.push(Input::output(ANSWERS, &stage.name, ANSWERS));
    if baseline {
        inputs.push(Input::output(BASELINE_ANSWERS, &stage.name, BASELINE_ANSWERS));
    }
    if overfit {
        inputs.extend(from_data(grade::TRAINING, "train", block, compiler));
        inputs.push(Input::output(TRAINING_ANSWERS, &stage.name, TRAINING_ANSWERS));
    }
    if let Some(data) = block.child("data").filter(|_| fields(block).next().is_some()) {
        inputs.extend(from_data(grade::SLICES, &prepare::sliced_output(data.text("split")), block, compiler));
    }
    for judging in graders.iter().filter(|named| named.grader.is_outside()) {
        inputs.push(Input::output(judge::output(&judging.name), &stage.name, judge::output(&judging.name)));
    }
    let mut settings = settings_of(block, &compiler.pipeline.file, |name| matches!(name, "grader" | "slice" | "cluster"));
    if let (Tree::Map(settings), Some(first)) = (&mut settings, graders.first()) {
        // Rows are right or wrong by the first.
        settings.insert("first".to_owned(), Tree::text(&first.name));
    }
    let slices = block.all(SLICE.name).map(|slice| slice.text("by").to_owned()).collect();
    let cluster = block.child(CLUSTER.name).map(|cluster| cluster.text("by").to_owned());
    Action {
        name: "grade".to_owned(),
        version: GRADE_VERSION,
        settings,
        context: BTreeMap::new(),
        inputs,
        outputs: [grade::SCORES, METRICS, grade::MISTAKES].map(str::to_owned).to_vec(),
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(grade::Grade { graders, slices, cluster }),
    }
}

/// Makes sure that what the model learnt is known, and is not what it is judged by.
fn learnt(block: &Block, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
    let Some(data) = block.child("data") else {
        return Ok(());
    };
    let from = train_stage(judged(block), compiler).and_then(|made_by| made_by.block.child_text("data"));
    let problem = if from != Some(data.text("stage")) {
        format!("`overfit-gap` compares with what `{}` learnt, and that is not `{}`", judged(block), data.text("stage"))
    } else if data.text("split") == "train" {
        "`overfit-gap` compares with what was learnt, and so is this".to_owned()
    } else {
        return Ok(());
    };
    let help = "judge a train stage by another split of the data that it learns from: `data \"chat\" split=\"test\"`".into();
    Err(ConfigError::Contradiction { problem, label: "cannot be compared".into(), at: data.name_span.into(), help })
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

/// The action of a grader that is another model, or a command.
fn outside(stage: &StageDecl, declared: &Block, compiler: &mut Compiler<'_>, baseline: bool) -> Result<Action, ConfigError> {
    let block = &stage.block;
    let name = grader::metric(declared).to_owned();
    let mut inputs: Vec<Input> = questions(block, compiler).into_iter().collect();
    inputs.push(Input::output(ANSWERS, &stage.name, ANSWERS));
    if baseline {
        inputs.push(Input::output(BASELINE_ANSWERS, &stage.name, BASELINE_ANSWERS));
    }
    let mut context = BTreeMap::new();
    let mut settings = BTreeMap::from([("name".to_owned(), Tree::text(&name))]);
    let work: Box<dyn Work> = if let Some(line) = declared.find_text("run") {
        let path = declared.find_text("input");
        if let Some(path) = path.filter(|path| ask::QUESTIONS.contains(path)) {
            return Err(ConfigError::Contradiction {
                problem: format!("`{path}` is what the input with the rows is called"),
                label: "would hide them".into(),
                at: declared.span_of("input").into(),
                help: format!("write it as `./{path}`"),
            });
        }
        inputs.extend(path.iter().flat_map(|path| compiler.files(path, Reading::Program, None)));
        context.insert("environment".to_owned(), environment());
        settings.insert("run".to_owned(), Tree::text(line));
        Box::new(program::Graders { name: name.clone(), line: line.to_owned(), inputs: path.map(str::to_owned).into_iter().collect() })
    } else {
        let text = |slot: &str| declared.find_text(slot).unwrap_or_default().to_owned();
        let (model, rubric, votes) = (text("model"), text("rubric"), declared.find_integer("votes").unwrap_or(1));
        let provider = providers::find(&text("provider"), &compiler.pipeline.providers, declared.span_of("provider"))?;
        inputs.extend(providers::files(&provider, compiler));
        context.insert("provider".to_owned(), providers::provider_tree(&provider, providers::Purpose::Asking));
        context.insert("model".to_owned(), providers::model_tree(&provider, &model));
        settings.extend([("rubric".to_owned(), Tree::text(&rubric)), ("votes".to_owned(), Tree::leaf(Leaf::Integer(votes)))]);
        Box::new(judge::Judge { name: name.clone(), declared: provider, model, rubric, votes: usize::try_from(votes).unwrap_or(1) })
    };
    Ok(Action {
        name: format!("judge {name}"),
        version: JUDGE_VERSION,
        settings: Tree::Map(settings),
        context,
        inputs,
        outputs: vec![judge::output(&name)],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work,
    })
}

fn deciding(stage: &StageDecl, compiler: &Compiler<'_>, gates: Vec<Gate>) -> Action {
    Action {
        name: "verdict".to_owned(),
        version: verdict::VERSION,
        settings: settings_of(&stage.block, &compiler.pipeline.file, |name| name == "gate"),
        context: BTreeMap::new(),
        inputs: [METRICS, grade::SCORES].map(|output| Input::output(output, &stage.name, output)).to_vec(),
        outputs: vec![VERDICT.to_owned()],
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(verdict::Decide { gates }),
    }
}
