//! The model card of a version: what it is, what it was made of, how it was judged, and what whoever deploys it declares of its use.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::config::{Kind, Setting, Slot, StageDecl};
use crate::fingerprint::{Leaf, Tree, settings};
use crate::grade::{Metrics, Verdict, loss_gap};
use crate::ledger::Version;

use super::super::made::{MadeBy, trainings};
use super::super::{Compiler, Context, Input, StageError, evaluate, train};
use super::Required;

pub static SETTING: Setting =
    Setting::new("card", "Writes a model card (Markdown) for each version, beside the alias.").children(|| vec![&INTENDED, &LIMITS, &LICENSE, &CONTACT]);
static INTENDED: Setting = Setting::new("intended-use", "What the model is for.").many().arguments(TEXT);
static LIMITS: Setting = Setting::new("limits", "What it is not for, and what is known to go wrong.").many().arguments(TEXT);
static LICENSE: Setting = Setting::new("license", "Under which terms it may be used.").arguments(TEXT);
static CONTACT: Setting = Setting::new("contact", "Whom to ask about it.").arguments(TEXT);
const TEXT: &[Slot] = &[Slot::new("text", Kind::Text, "In words.")];

/// What a card is made of besides what the alias knows.
#[derive(Debug)]
pub struct Card {
    declared: Vec<(&'static str, Vec<String>)>,
    /// The settings of the training, as they are written.
    training: Vec<(String, String)>,
    /// The stage that prepared what it learnt from.
    data: Option<String>,
}

const LOSSES: &str = "losses";
const REPORT: &str = "report";

/// The card of a stage, and what it needs.
pub fn card(stage: &StageDecl, made_by: Option<MadeBy<'_>>, compiler: &Compiler<'_>) -> Option<(Card, Vec<Input>)> {
    let block = stage.block.child(SETTING.name)?;
    let texts = |setting: &Setting| block.all(setting.name).map(|node| node.text("text").to_owned()).collect::<Vec<_>>();
    let declared = [("Intended use", &INTENDED), ("Limits", &LIMITS), ("License", &LICENSE), ("Contact", &CONTACT)];
    let declared = declared.into_iter().map(|(title, setting)| (title, texts(setting))).collect();
    // Of one that is frozen, the file and its data may say something else by now.
    let made_by = made_by.filter(|made_by| made_by.trained.iter().all(|trained| trained.block.child("frozen").is_none()));
    let data = made_by.as_ref().and_then(|made_by| compiler.pipeline.stage(made_by.agreed("data")?)).map(|data| data.name.clone());
    let mut inputs: Vec<Input> = made_by.iter().map(|made_by| Input::output(LOSSES, &made_by.stage.name, train::LOSSES_OUTPUT)).collect();
    inputs.extend(data.as_ref().map(|data| Input::output(REPORT, data, REPORT)));
    let mut training = Vec::new();
    if let Some(made_by) = made_by {
        // Of several, of which one is chosen when it shows, what holds for all.
        let all = made_by.trained.iter().map(|trained| {
            let mut said = Vec::new();
            flatten(&settings(&trained.block, &compiler.pipeline.file), "", &mut said);
            said
        });
        training = all.reduce(|same, said| same.into_iter().filter(|row| said.contains(row)).collect()).unwrap_or_default();
        for before in trainings(made_by.stage.name.as_str(), compiler).into_iter().skip(1) {
            flatten(&settings(&before.block, &compiler.pipeline.file), &format!("before that, {}", before.name), &mut training);
        }
        if made_by.trained.len() > 1 {
            training.push(("chosen by".to_owned(), format!("{} among {} trainings", made_by.stage.name, made_by.trained.len())));
        }
    }
    Some((Card { declared, training, data: data.map(|data| data.to_string()) }, inputs))
}

/// The leaves of a tree, by the path to them.
fn flatten(tree: &Tree, above: &str, out: &mut Vec<(String, String)>) {
    let below = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    match tree {
        Tree::Leaf { value, .. } => out.push((above.to_owned(), in_words(value))),
        Tree::Map(parts) => parts.iter().for_each(|(name, part)| flatten(part, &below(name), out)),
        Tree::List(parts) => parts.iter().enumerate().for_each(|(at, part)| flatten(part, &below(&(at + 1).to_string()), out)),
    }
}

fn in_words(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Text(text) => text.clone(),
        Leaf::Integer(number) => number.to_string(),
        Leaf::Number(number) => number.to_string(),
        Leaf::Flag(flag) => flag.to_string(),
        Leaf::Content(digest) => digest.to_string(),
    }
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Card {
    /// The card of a version of an alias.
    pub fn render(&self, alias: &str, number: u32, version: &Version, required: &[Required], context: &Context<'_>) -> Result<String, StageError> {
        let unreadable = |what: &'static str| move |error: serde_json::Error| StageError::Unreadable { what, problem: error.to_string() };
        let mut out = format!("# {alias}, version {number}\n\n");
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(out, "| {name} | {} |", cell(value));
        };
        row("", "");
        row("---", "---");
        row("Model", &version.model);
        if let Some(served) = &version.served {
            row("Made from", &served.base);
            row("Provider", &served.provider);
        }
        row("Deployed", &version.deployed.to_string());
        row("Files (BLAKE3)", &version.artifact.to_string());
        row("Fingerprint", &version.fingerprint.to_string());
        for (title, texts) in self.declared.iter().filter(|(_, texts)| !texts.is_empty()) {
            let _ = writeln!(out, "\n## {title}\n");
            texts.iter().for_each(|text| {
                let _ = writeln!(out, "- {}", text.replace('\n', " "));
            });
        }
        self.data(&mut out, context, unreadable("the report of the data"))?;
        self.training(&mut out, context)?;
        for required in required {
            let (stage, role) = (required.stage.as_str(), format!("{} {}", evaluate::VERDICT, required.stage));
            let passed_by = version.verdicts.get(stage);
            if passed_by.is_some_and(|verdict| context.artifact(&role).is_ok_and(|now| now.digest() != *verdict)) {
                // The version was deployed on an earlier one.
                let _ = writeln!(out, "\n## Verdict of `{stage}`\n\nIt was deployed on another verdict than the one that there is now.");
                continue;
            }
            let verdict: Verdict = serde_json::from_slice(&context.read(&role)?).map_err(unreadable("the verdict"))?;
            judged(&mut out, stage, &verdict, &required.metrics(context.store, context.inputs)?);
        }
        out.push_str("\nWritten by retune from the data, the training and the verdicts of this version.\n");
        Ok(out)
    }

    fn data(&self, out: &mut String, context: &Context<'_>, unreadable: impl Fn(serde_json::Error) -> StageError) -> Result<(), StageError> {
        let Some(data) = self.data.as_ref().filter(|_| context.inputs.contains_key(REPORT)) else {
            return Ok(());
        };
        let report: Value = serde_json::from_slice(&context.read(REPORT)?).map_err(unreadable)?;
        let _ = writeln!(
            out,
            "\n## Data\n\nPrepared by `{data}` from {} rows.\n\n| step | rows in | rows out | changed |\n| --- | ---: | ---: | ---: |",
            report["rows-in"]
        );
        for step in report["operators"].as_array().into_iter().flatten() {
            let name = step["operator"].as_str().unwrap_or_default();
            let _ = writeln!(out, "| {} | {} | {} | {} |", cell(name), step["rows_in"], step["rows_out"], step["changed"]);
        }
        let share = |name: &str| report[name].as_f64().map_or_else(|| "unknown".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let _ = writeln!(out, "\nRejected as wrong: {}; let go as duplicates: {}.", share("rejected-share"), share("duplicate-share"));
        Ok(())
    }

    fn training(&self, out: &mut String, context: &Context<'_>) -> Result<(), StageError> {
        if self.training.is_empty() {
            return Ok(());
        }
        out.push_str("\n## Training\n\n| setting | value |\n| --- | --- |\n");
        for (name, value) in &self.training {
            let _ = writeln!(out, "| {} | {} |", cell(name), cell(value));
        }
        if context.inputs.contains_key(LOSSES)
            && let Some(gap) = loss_gap(&context.read(LOSSES)?)
        {
            let _ = writeln!(out, "\nThe loss of the validation rows was above that of the rows that were learnt by {gap:.3}.");
        }
        Ok(())
    }
}

/// What came of a verdict, and the figures with their intervals.
fn judged(out: &mut String, stage: &str, verdict: &Verdict, metrics: &Metrics) {
    let rows = metrics.get("rows").copied().unwrap_or_default();
    let _ = writeln!(out, "\n## Verdict of `{stage}`\n\nOn {rows} rows. {}.", if verdict.passed { "Passed" } else { "Not passed" });
    if !verdict.gates.is_empty() {
        out.push_str("\n| gate | outcome | figures |\n| --- | --- | --- |\n");
        for gate in &verdict.gates {
            let outcome = format!("{:?}", gate.outcome).to_lowercase();
            let _ = writeln!(out, "| {} | {outcome} | {} |", cell(&gate.gate), cell(&gate.reason));
        }
    }
    let figures: BTreeMap<&str, f64> =
        metrics.iter().filter(|(name, _)| !name.ends_with(".low") && !name.ends_with(".high")).map(|(name, value)| (name.as_str(), *value)).collect();
    out.push_str("\n| figure | value | 95 % interval |\n| --- | ---: | --- |\n");
    for (name, value) in figures {
        let end = |end: &str| metrics.get(&format!("{name}.{end}"));
        let interval = end("low").zip(end("high")).map_or_else(String::new, |(low, high)| format!("{low:.4} to {high:.4}"));
        let _ = writeln!(out, "| {} | {value:.4} | {interval} |", cell(name));
    }
}
