mod expectation;
mod report;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::data::flow::{Flow, Item};
use crate::data::operator::{OPERATORS, Operator};
use crate::data::{Example, Rejected, Row, Split, Splitter, parse_lines, write_examples, write_lines};
use crate::fingerprint::settings;
use crate::store::RecordOutcome;

use super::{Action, Compiler, Context, Input, StageError, StageKind, Work, collect, scheduling};
use expectation::Expectation;

static SETTING: Setting = Setting::new("prepare", "Makes training examples of rows: operators in the order written, then a split.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| {
        let own = [&FROM, &SPLIT, &expectation::SETTING];
        let all: Vec<&'static Setting> = own.into_iter().chain(OPERATORS.iter().map(|operator| operator.setting)).collect();
        scheduling::with(&all)
    });
static FROM: Setting =
    Setting::new("from", "The stage that the rows come from.").many().arguments(&[Slot::new("stage", Kind::Stage(&["collect"]), "A collect stage.")]);
static SPLIT: Setting = Setting::new("split", "Divides examples by a hash of a key, so that new rows never move old ones.").properties(&[
    Slot::new("train", Kind::Number(0.0, 1.0), "The share to learn from.").or(Fallback::Number(0.8)),
    Slot::new("validation", Kind::Number(0.0, 1.0), "The share that tells when to stop.").or(Fallback::Number(0.1)),
    Slot::new("test", Kind::Number(0.0, 1.0), "The share to be judged by.").or(Fallback::Number(0.1)),
    Slot::new("key", Kind::Text, "The field that decides; without it the prompt does. What has the same key stays together.").or(Fallback::Absent),
    Slot::new("seed", Kind::Integer(0, i64::MAX), "Another seed is another division.").or(Fallback::Integer(0)),
]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

const VERSION: u32 = 2;

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let mut inputs = Vec::new();
    for (number, from) in block.all("from").enumerate() {
        let stage = compiler.pipeline.stage(from.text("stage"));
        for output in [collect::ROWS, collect::REJECTED] {
            inputs.extend(stage.map(|stage| Input::output(format!("{output} {}", number + 1), &stage.name, output)));
        }
    }
    if block.child("from").is_none() {
        return Err(ConfigError::MissingNode {
            node: "prepare".into(),
            child: "from".into(),
            at: stage.name_span.into(),
            help: "say which collect stage the rows come from: `from \"name\"`".into(),
        });
    }
    let work = Prepare { operators: operators(stage)?, splitter: splitter(block)?, expectations: expectation::all(block)? };
    let mut outputs: Vec<String> = Split::ALL.iter().map(|split| split.name().to_owned()).collect();
    outputs.extend(["rejected".to_owned(), "report".to_owned()]);
    let action = Action {
        name: "prepare",
        version: VERSION,
        settings: settings(block, &compiler.pipeline.file),
        context: BTreeMap::new(),
        inputs,
        outputs,
        appears: false,
        builds_on_last: false,
        effect: false,
        work: Box::new(work),
    };
    Ok(vec![action])
}

/// The operators in the order written; exactly one makes examples, and those that need examples come after it.
fn operators(stage: &StageDecl) -> Result<Vec<Box<dyn Operator>>, ConfigError> {
    let mut ready = Vec::new();
    let mut maker: Option<&Block> = None;
    for block in stage.block.children.iter().filter(|child| child.setting.ordered) {
        let Some(kind) = OPERATORS.iter().find(|kind| kind.setting.name == block.setting.name) else {
            continue;
        };
        let name = kind.setting.name;
        if kind.makes_examples
            && let Some(first) = maker.replace(block)
        {
            return Err(ConfigError::Repeated { name: name.into(), place: "`prepare`".into(), first: first.name_span.into(), at: block.name_span.into() });
        }
        if kind.needs_examples && maker.is_none() {
            return Err(ConfigError::Contradiction {
                problem: format!("`{name}` works on examples, and there are none yet"),
                label: "too early".into(),
                at: block.name_span.into(),
                help: "operators run in the order written: move it below `chat`".into(),
            });
        }
        ready.push((kind.prepare)(block)?);
    }
    if maker.is_none() {
        return Err(ConfigError::MissingNode {
            node: "prepare".into(),
            child: "chat".into(),
            at: stage.name_span.into(),
            help: "say how a row becomes a conversation: `chat { user \"{{ question }}\"; assistant \"{{ answer }}\" }`".into(),
        });
    }
    Ok(ready)
}

fn splitter(block: &Block) -> Result<Splitter, ConfigError> {
    let Some(split) = block.child("split") else {
        return Ok(Splitter { shares: [1.0, 0.0, 0.0], key: None, seed: 0 });
    };
    let shares = Split::ALL.map(|part| split.number(part.name()));
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() > 1e-6 {
        return Err(ConfigError::Contradiction {
            problem: format!("the shares of a split must add up to 1, and these add up to {sum}"),
            label: format!("train={} validation={} test={}", shares[0], shares[1], shares[2]),
            at: split.name_span.into(),
            help: "write all three shares: what is left out is 0.8, 0.1 and 0.1".into(),
        });
    }
    Ok(Splitter { shares, key: split.find_text("key").map(str::to_owned), seed: split.integer("seed") })
}

#[derive(Debug)]
struct Prepare {
    operators: Vec<Box<dyn Operator>>,
    splitter: Splitter,
    expectations: Vec<Expectation>,
}

#[async_trait]
impl Work for Prepare {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        tokio::task::block_in_place(|| self.prepare(context))
    }
}

impl Prepare {
    fn prepare(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let (rows, rejected_before) = inputs(context)?;
        let rows_in = rows.len();
        let mut flow = Flow::new(rows);
        for operator in &self.operators {
            if context.watch.stopped() {
                return Err(StageError::Stopped);
            }
            operator.apply(&mut flow)?;
            if let Some(step) = flow.steps.last() {
                context.watch.progress(step.rows_out as u64, rows_in as u64, "rows", &step.operator);
            }
        }
        let places = self.splitter.divide(&mut flow)?;
        let mut parts: [Vec<&Item>; 3] = std::array::from_fn(|_| Vec::new());
        for (item, place) in flow.items.iter().zip(places) {
            parts[place as usize].push(item);
        }
        let account = report::Account { rows_in, rejected_before, flow: &flow, parts: &parts };
        for expectation in &self.expectations {
            expectation.check(&account)?;
        }
        let mut outputs = BTreeMap::new();
        for (split, items) in Split::ALL.into_iter().zip(&parts) {
            let examples: Vec<&Example> = items.iter().filter_map(|item| item.example.as_ref()).collect();
            outputs.insert(split.name().to_owned(), context.store.put_bytes(&write_examples(examples))?);
        }
        let aside: Vec<&Rejected> = flow.rejected.iter().chain(&flow.dropped).collect();
        outputs.insert("rejected".to_owned(), context.store.put_bytes(&write_lines(&aside))?);
        outputs.insert("report".to_owned(), context.store.put_bytes(format!("{:#}\n", account.report()).as_bytes())?);
        Ok(RecordOutcome { outputs, metrics: account.metrics(), ..RecordOutcome::default() })
    }
}

/// The rows of all `from` stages in the order written, and how many rows those stages rejected.
fn inputs(context: &Context<'_>) -> Result<(Vec<Row>, usize), StageError> {
    let unreadable = |error: serde_json::Error| StageError::Unreadable { what: "the collected rows", problem: error.to_string() };
    let (mut rows, mut rejected) = (Vec::new(), 0);
    for number in 1..=context.inputs.len() / 2 {
        rows.extend(parse_lines::<Row>(&context.read(&format!("{} {number}", collect::ROWS))?).map_err(unreadable)?);
        rejected += context.read(&format!("{} {number}", collect::REJECTED))?.iter().filter(|&&byte| byte == b'\n').count();
    }
    Ok((rows, rejected))
}
