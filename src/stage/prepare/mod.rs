//! Rows to examples: operators in the order written, then a split.

mod expectation;
mod inspect;
mod kept;
mod page;
mod report;
mod work;

use std::collections::BTreeMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::data::operator::{Named, OPERATORS, OperatorKind};
use crate::data::{Form, Split, Splitter};
use crate::fingerprint::settings;
use crate::store::Reading;

use super::{Action, Compiler, Input, StageKind, collect, scheduling};
pub use kept::KEPT;
use page::PAGE;
pub use page::ROWS_TEMPLATES;
use work::Prepare;

static SETTING: Setting = Setting::new("prepare", "Makes training examples of rows: operators in the order written, then a split.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| {
        let own = [&FROM, &SPLIT, &SLICE, &expectation::SETTING];
        let all: Vec<&'static Setting> = own.into_iter().chain(OPERATORS.iter().map(|operator| operator.setting)).collect();
        scheduling::with(&all)
    });
static FROM: Setting =
    Setting::new("from", "The stage that the rows come from.").many().arguments(&[Slot::new("stage", Kind::Stage(&["collect"]), "A collect stage.")]);
static SPLIT: Setting = Setting::new("split", "Divides examples by a hash of a key, so that new rows never move old ones.").properties(&[
    Slot::new("train", Kind::Share, "The share to learn from.").or(Fallback::Number(0.8)),
    Slot::new("validation", Kind::Share, "The share that tells when to stop.").or(Fallback::Number(0.1)),
    Slot::new("test", Kind::Share, "The share to be judged by.").or(Fallback::Number(0.1)),
    Slot::new("key", Kind::Text, "The field that decides; without it the prompt does. What has the same key stays together.").or(Fallback::Absent),
    Slot::new("seed", Kind::Integer(0, i64::MAX), "Another seed is another division.").or(Fallback::Integer(0)),
    Slot::new("stratify", Kind::Text, "The field whose values get the same shares in every split.").or(Fallback::Absent),
    Slot::new("near", Kind::Number(0.1, 1.0), "Examples that are as similar as that stay together, such as 0.8.").or(Fallback::Absent),
]);
static SLICE: Setting = Setting::new("slice", "A field by which the report looks at classes, such as a language or a channel.")
    .many()
    .properties(&[Slot::new("by", Kind::Text, "The field.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: false };

const VERSION: u32 = 7;

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let mut inputs = Vec::new();
    let mut sources = 0;
    for from in block.all("from") {
        if let Some(first) = block.all("from").take(sources).find(|first| first.text("stage") == from.text("stage")) {
            let name = format!("from {:?}", from.text("stage"));
            return Err(ConfigError::Repeated { name, place: "`prepare`".into(), first: first.name_span.into(), at: from.name_span.into() });
        }
        sources += 1;
        let stage = compiler.pipeline.stage(from.text("stage"));
        for output in [collect::ROWS, collect::REJECTED] {
            inputs.extend(stage.map(|stage| Input::output(format!("{output} {sources}"), &stage.name, output)));
        }
    }
    if sources == 0 {
        return Err(ConfigError::MissingNode {
            node: "prepare".into(),
            child: "from".into(),
            at: stage.name_span.into(),
            help: "say which collect stage the rows come from: `from \"name\"`".into(),
        });
    }
    let mut beside = BTreeMap::new();
    let named = block.children.iter().filter_map(|child| child.find_text(kind(child)?.beside?));
    for path in named {
        let files = compiler.files(path, Reading::Text, None);
        beside.insert(path.to_owned(), files.iter().map(|input| input.name.clone()).collect());
        inputs.extend(files);
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    inputs.dedup_by(|a, b| a.name == b.name);
    // How many there are of a stage with a wrong matrix, nobody knows.
    if !block.all("from").any(|from| compiler.pipeline.is_broken(from.text("stage"))) {
        mixed(block, sources)?;
    }
    let slices = slices(block).map(str::to_owned).collect();
    let work = Prepare { sources, beside, operators: operators(stage)?, splitter: splitter(block)?, slices, expectations: expectation::all(block)? };
    let mut outputs: Vec<String> = Split::ALL.iter().map(|split| split.name().to_owned()).collect();
    outputs.extend(["rejected", "report", PAGE, KEPT].map(str::to_owned));
    if block.child("slice").is_some() {
        outputs.extend(Split::ALL.map(|split| sliced_output(split.name())));
    }
    let action = Action {
        name: "prepare".to_owned(),
        version: VERSION,
        settings: settings(block, &compiler.pipeline.file),
        context: BTreeMap::new(),
        inputs,
        outputs,
        appears: false,
        builds_on_last: true,
        refresh: None,
        effect: false,
        work: Box::new(work),
    };
    Ok(vec![action])
}

/// The output with the fields of `slice` for each example of a split.
pub fn sliced_output(split: &str) -> String {
    format!("{split}-slices")
}

/// The fields of `slice` of a prepare stage.
pub fn slices(stage: &Block) -> impl Iterator<Item = &str> {
    stage.all("slice").map(|slice| slice.text("by"))
}

/// The kind of an operator's node.
fn kind(block: &Block) -> Option<&'static OperatorKind> {
    OPERATORS.iter().find(|kind| kind.setting.name == block.setting.name).filter(|_| block.setting.ordered)
}

/// What examples a prepare stage makes.
pub fn form(stage: &Block) -> Form {
    stage.children.iter().find_map(|child| (kind(child)?.makes)(child)).unwrap_or(Form::Chat)
}

/// Makes sure that a mix has a weight for each stage that rows come from.
fn mixed(block: &Block, sources: usize) -> Result<(), ConfigError> {
    match block.all("mix").find(|mix| mix.rest.len() + 1 != sources) {
        None => Ok(()),
        Some(mix) => Err(ConfigError::Contradiction {
            problem: format!("a mix has a weight for each `from`, and there are {} for {sources}", mix.rest.len() + 1),
            label: "not as many as there are stages".into(),
            at: mix.name_span.into(),
            help: "write the weights in the order of the `from` nodes: `mix 3 1`".into(),
        }),
    }
}

/// The operators in the order written; exactly one makes examples, and those that need examples come after it.
fn operators(stage: &StageDecl) -> Result<Named, ConfigError> {
    let mut ready = Vec::new();
    let mut maker: Option<&Block> = None;
    for (block, kind) in stage.block.children.iter().filter_map(|child| Some((child, kind(child)?))) {
        let name = kind.setting.name;
        if (kind.makes)(block).is_some()
            && let Some(first) = maker.replace(block)
        {
            let name = if first.setting.name == name { name.to_owned() } else { format!("{} and {name}", first.setting.name) };
            return Err(ConfigError::Repeated { name, place: "`prepare`".into(), first: first.name_span.into(), at: block.name_span.into() });
        }
        if kind.needs_examples && maker.is_none() {
            return Err(ConfigError::Contradiction {
                problem: format!("`{name}` works on examples, and there are none yet"),
                label: "too early".into(),
                at: block.name_span.into(),
                help: "operators run in the order written: move it below `chat`".into(),
            });
        }
        ready.push((name, (kind.prepare)(block)?));
    }
    if maker.is_none() {
        return Err(ConfigError::MissingNode {
            node: "prepare".into(),
            child: "chat".into(),
            at: stage.name_span.into(),
            help: "say how a row becomes a conversation: `chat { user \"{{ question }}\"; assistant \"{{ answer }}\" }`, or `passthrough` for rows that are \
                   conversations already"
                .into(),
        });
    }
    Ok(ready)
}

fn splitter(block: &Block) -> Result<Splitter, ConfigError> {
    let Some(split) = block.child("split") else {
        return Ok(Splitter { shares: [1.0, 0.0, 0.0], ..Splitter::default() });
    };
    let shares = Split::ALL.map(|part| split.number(part.name()));
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() > 1e-6 {
        return Err(ConfigError::Contradiction {
            problem: format!("the shares of a split must add up to 1, and these add up to {}", (sum * 1e6).round() / 1e6),
            label: format!("train={} validation={} test={}", shares[0], shares[1], shares[2]),
            at: split.name_span.into(),
            help: "write all three shares: what is left out is 0.8, 0.1 and 0.1".into(),
        });
    }
    let field = |name: &str| split.find_text(name).map(str::to_owned);
    Ok(Splitter { shares, key: field("key"), seed: split.integer("seed"), stratify: field("stratify"), near: split.find_number("near") })
}
