//! Trying a version beside the current one before it may be all that the alias stands for.

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::fingerprint::Digest;
use crate::grade::grader::{self, Grader};
use crate::ledger::{Limits, Trial, TrialWay};

pub static CANARY: Setting =
    Setting::new("canary", "Lets a gateway try a new version on a share of the requests, and takes it or goes back by what comes of it.")
        .children(|| vec![&grader::SETTING])
        .properties(&[
            Slot::new("percent", Kind::Number(0.01, 99.0), "How many of a hundred requests it answers."),
            Slot::new("errors", Kind::Number(0.0001, 1.0), "How much more of its answers may be errors, as a share.").or(Fallback::Number(0.02)),
            Slot::new("slower", Kind::Number(1.01, 100.0), "How many times as long its answers may take.").or(Fallback::Number(1.5)),
            Slot::new("worse", Kind::Number(0.0001, 1.0), "How much lower its grades may be, as a share.").or(Fallback::Number(0.05)),
            Slot::new("confidence", Kind::Number(0.5, 0.9999), "How sure it must be, either way.").or(Fallback::Number(0.95)),
            Slot::new("answers", Kind::Integer(100, 1_000_000_000), "After so many of its answers it goes back where nothing is decided.")
                .or(Fallback::Integer(10_000)),
        ]);

pub static SHADOW: Setting = Setting::new("shadow", "Lets a gateway ask a new version what the current one is asked, while nobody hears its answers.")
    .children(|| vec![&grader::SETTING])
    .properties(&[Slot::new("percent", Kind::Number(0.01, 100.0), "How many of a hundred requests it gets.").or(Fallback::Number(100.0))]);

fn declared(stage: &Block) -> Option<&Block> {
    stage.child(CANARY.name).or_else(|| stage.child(SHADOW.name))
}

/// How a stage wants its version tried. The number of the version is not known yet.
///
/// # Errors
/// When it wants both ways, or a grader that cannot grade answers while they are given.
pub fn trial(stage: &StageDecl) -> Result<Option<Trial>, ConfigError> {
    let Some(block) = declared(&stage.block) else {
        return Ok(None);
    };
    if let (Some(_), Some(shadow)) = (stage.block.child(CANARY.name), stage.block.child(SHADOW.name)) {
        return Err(ConfigError::Contradiction {
            problem: "a version is tried as a canary or as a shadow".into(),
            label: "and not as both".into(),
            at: shadow.name_span.into(),
            help: "begin with `shadow`, and write `canary` when it has shown that it works".into(),
        });
    }
    let graders = (!grader::unaided(block)?.is_empty()).then(|| digest(block));
    let share = block.number("percent") / 100.0;
    let way = if block.setting.name == CANARY.name {
        TrialWay::Canary(Limits {
            errors: block.number("errors"),
            slower: block.number("slower"),
            worse: block.number("worse"),
            confidence: block.number("confidence"),
            answers: block.integer("answers").unsigned_abs(),
        })
    } else {
        TrialWay::Shadow
    };
    Ok(Some(Trial { version: 0, share, way, graders }))
}

/// What grades the answers to an alias while they are given, by the stages that deploy it, with its digest.
#[must_use]
pub fn live_graders(stages: &[StageDecl], alias: &str) -> Option<(String, Vec<Box<dyn Grader>>)> {
    let stage = stages.iter().find(|stage| stage.kind == "deploy" && stage.block.child_text("alias") == Some(alias))?;
    let block = declared(&stage.block)?;
    let graders = grader::unaided(block).ok().filter(|graders| !graders.is_empty())?;
    Some((digest(block), graders))
}

/// A digest of the graders of a trial, whatever else is written there.
fn digest(block: &Block) -> String {
    fn describe(block: &Block, out: &mut String) {
        block.slots.iter().for_each(|(name, slot)| out.push_str(&format!("{name}\0{:?}\0", slot.value)));
        block.children.iter().for_each(|child| {
            out.push('(');
            describe(child, out);
            out.push(')');
        });
    }
    let mut described = String::new();
    block.all(grader::SETTING.name).for_each(|grader| describe(grader, &mut described));
    Digest::of(described.as_bytes()).short()
}
