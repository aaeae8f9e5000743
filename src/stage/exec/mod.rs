//! Any command as a stage.

mod command;
mod delta;
mod environment;
mod fence;
mod guard;
mod layout;
mod parent;
mod process;
mod spawn;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Block, ConfigError, Kind, Setting, Slot, StageDecl, Value};
use crate::fingerprint::{Tree, settings_of};
use crate::store::Reading;

use super::checkpoints::{self, CHECKPOINTS};
use super::{Action, Compiler, StageKind, scheduling};
use command::Exec;
pub use command::figures;
use delta::DELTAS;
pub use environment::{has_program, of_key as environment};
pub use guard::{Guard, guard};
pub use layout::{files, lay};
pub use process::{Launch, Program, Sandbox, run as launch};

static SETTING: Setting = Setting::new("exec", "Runs any command as a stage.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&RUN, &INPUT, &OUTPUT, &METRICS, &ENV, &KNOB, &DIRECTORY, &SANDBOX, &CHECKPOINTS, &DELTAS]));
static RUN: Setting = Setting::new("run", "The command: one string for `sh -c`, or a program and each of its arguments.")
    .once()
    .arguments(&[Slot::new("command", Kind::Text, "It begins in a folder with only the declared inputs.")])
    .rest(&Slot::new("arguments", Kind::Text, "An argument, as it is: no shell reads it."));
static INPUT: Setting =
    Setting::new("input", "What the command reads.").many().arguments(&[Slot::new("path", Kind::Input, "A file, folder or glob of the workspace.")]);
static OUTPUT: Setting =
    Setting::new("output", "What the command writes.").many().arguments(&[Slot::new("path", Kind::Output, "A file or folder of the workspace.")]);
static METRICS: Setting = Setting::new("metrics", "A JSON file of numbers that the command writes; they become the stage's metrics.")
    .many()
    .arguments(&[Slot::new("path", Kind::Output, "A file of the workspace.")]);
static ENV: Setting = Setting::new("env", "An environment variable that the command sees. Its value is part of the fingerprint.")
    .many()
    .arguments(&[Slot::new("name", Kind::Variable, "Its name.")]);
static KNOB: Setting =
    Setting::new("knob", "An environment variable that the command sees and that cannot change its result: a log level, a number of threads.")
        .without_effect()
        .many()
        .arguments(&[Slot::new("variable", Kind::Variable, "Its name.")]);
static DIRECTORY: Setting = Setting::new("directory", "Where the command begins; the top of the workspace where it is not given.").arguments(&[Slot::new(
    "path",
    Kind::Folder,
    "A folder of the workspace.",
)]);
static SANDBOX: Setting = Setting::new("sandbox", "Whether the command works in a folder of its own, where nothing else is found than what it declares.")
    .arguments(&[Slot::new(
        "mode",
        Kind::Choice(&["on", "strict", "off"]),
        "`strict`: the system also refuses what it writes elsewhere in the workspace. `off`: in the workspace itself.",
    )]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: true };

const VERSION: u32 = 1;

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let inputs = block.all("input").flat_map(|input| compiler.files(input.text("path"), Reading::Program, None)).collect();
    let paths = |node: &'static str| block.all(node).map(|output| output.text("path").trim_end_matches('/').to_owned());
    let metrics: Vec<String> = paths("metrics").collect();
    let outputs: Vec<String> = paths("output").chain(metrics.iter().cloned()).collect();
    sound(stage)?;
    let (seen, knobs) = (set(block, "env", "name")?, set(block, "knob", "variable")?);
    let fingerprinted = seen.iter().map(|(name, value)| (name.clone(), Tree::text(value)));
    let mut context = BTreeMap::from([("environment".to_owned(), environment())]);
    if !seen.is_empty() {
        context.insert("env".to_owned(), Tree::map(fingerprinted));
    }
    let sandbox = match block.child_text("sandbox") {
        Some("off") => Sandbox::Off,
        Some("strict") => Sandbox::Strict,
        _ => Sandbox::On,
    };
    if let Some(opted_out) = block.child("sandbox").filter(|_| sandbox == Sandbox::Off) {
        compiler.warnings.push(ConfigError::Unguarded { stage: stage.name.to_string(), at: opted_out.name_span.into() });
    }
    let action = Action {
        name: "exec".to_owned(),
        version: VERSION,
        settings: settings_of(block, &compiler.pipeline.file, |name| name != SANDBOX.name || sandbox == Sandbox::Off),
        context,
        inputs,
        outputs: outputs.clone(),
        appears: true,
        builds_on_last: block.child(DELTAS.name).is_some(),
        refresh: None,
        effect: false,
        work: Box::new(Exec {
            program: program(block),
            outputs,
            metrics,
            environment: seen.into_iter().chain(knobs).collect(),
            directory: block.child_text("directory").map(str::to_owned),
            sandbox,
            checkpoints: checkpoints::folder(block),
            deltas: delta::wanted(block),
        }),
    };
    Ok(vec![action])
}

fn program(block: &Block) -> Program {
    let Some(run) = block.child("run") else {
        return Program::Shell(String::new());
    };
    let first = run.text("command").to_owned();
    if run.rest.is_empty() {
        return Program::Shell(first);
    }
    let further = run.rest.iter().filter_map(|argument| match &argument.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    });
    Program::Arguments(std::iter::once(first).chain(further).collect())
}

/// The variables declared with this node that are set, with their values.
fn set(block: &Block, node: &'static str, slot: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut set = BTreeMap::new();
    for variable in block.all(node) {
        let name = variable.text(slot);
        let Some(value) = std::env::var_os(name) else {
            continue;
        };
        let value = value.into_string().map_err(|_| ConfigError::Contradiction {
            problem: format!("the value of the environment variable `{name}` is not UTF-8"),
            label: "cannot be part of a fingerprint".into(),
            at: variable.name_span.into(),
            help: "give it a value in UTF-8, or do not declare it".into(),
        })?;
        set.insert(name.to_owned(), value);
    }
    Ok(set)
}

/// Makes sure that settings which are fine one by one make sense together.
fn sound(stage: &StageDecl) -> Result<(), ConfigError> {
    let block = &stage.block;
    let wrong = |problem: String, at: &Block, label: &str, help: &str| {
        Err(ConfigError::Contradiction { problem, label: label.into(), at: at.name_span.into(), help: help.into() })
    };
    if let Some(run) = block.child("run").filter(|run| run.text("command").trim().is_empty()) {
        return wrong(format!("`{}` runs nothing", stage.name), run, "an empty command", "write the command, or its program and arguments");
    }
    let given = |variable: &&Block| variable.find_text("name").or(variable.find_text("variable")) == Some("TMPDIR");
    if let Some(at) = block.all("env").chain(block.all("knob")).find(given) {
        return wrong(
            "`TMPDIR` is a folder of each attempt".into(),
            at,
            "cannot be your own",
            "take it out: by that folder all that a command leaves running is found and ended",
        );
    }
    let env: BTreeSet<&str> = block.all("env").map(|variable| variable.text("name")).collect();
    if let Some(knob) = block.all("knob").find(|knob| env.contains(knob.text("variable"))) {
        let name = knob.text("variable");
        return wrong(
            format!("`{name}` is to be part of the fingerprint and not to be"),
            knob,
            "it is an `env` too",
            "keep `env` if it can change the result, else `knob`",
        );
    }
    let plain = |path: &str| path.trim_start_matches("./").trim_end_matches('/').to_owned();
    let within = |one: &str, other: &str| one == other || one.starts_with(&format!("{other}/"));
    if let (Some(folder), Some(at)) = (checkpoints::folder(block), block.child(CHECKPOINTS.name)) {
        let begin = block.child_text("directory").map(plain);
        let folder = begin.map_or_else(|| plain(&folder), |begin| format!("{begin}/{}", plain(&folder)));
        let shared = block
            .all("output")
            .chain(block.all("metrics"))
            .map(|output| plain(output.text("path")))
            .find(|path| within(path, &folder) || within(&folder, path));
        if let Some(path) = shared {
            return wrong(
                format!("`{}` keeps its checkpoints where its output `{path}` is", stage.name),
                at,
                "the output would be lost with them",
                "checkpoints are gone once the stage is done; give them a folder of their own",
            );
        }
    }
    Ok(())
}
