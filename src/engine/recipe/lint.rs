use std::collections::HashSet;

use crate::config::{ConfigError, Kind, Lint, Pipeline, Setting, Span};
use crate::stage::{KINDS, StageKind};

/// Stages whose result nothing takes, although there is a stage that could.
pub fn unused(pipeline: &Pipeline) -> Vec<ConfigError> {
    let mut used = vec![false; pipeline.stages.len()];
    pipeline.references.iter().for_each(|reference| used[reference.to] = true);
    let there: Vec<&StageKind> = KINDS.iter().filter(|kind| pipeline.stages.iter().any(|stage| stage.kind == kind.setting.name)).collect();
    // A training may be where a pipeline ends: that another could go on from it says nothing.
    let goes_on = |kind: &StageKind, made: &str| kind.setting.name == "train" && matches!(made, "train" | "select");
    let could_use = |made: &str| there.iter().any(|kind| takes(kind.setting, made, &mut Vec::new()) && !goes_on(kind, made));
    let waste: Vec<&str> = KINDS.iter().filter(|kind| !kind.is_end).map(|kind| kind.setting.name).filter(|made| could_use(made)).collect();
    // Instances of one stage have one text: it is used where one of them is.
    let texts: HashSet<Span> = pipeline.stages.iter().zip(&used).filter(|(_, used)| **used).map(|(stage, _)| stage.name_span).collect();
    let mut told = HashSet::new();
    let unused = pipeline.stages.iter().zip(used).filter(|(stage, used)| !used && waste.contains(&stage.kind) && !texts.contains(&stage.name_span));
    unused
        .filter(|(stage, _)| told.insert(stage.name_span))
        .map(|(stage, _)| Lint::UnusedStage { name: stage.name.to_string(), at: stage.name_span.into() }.into())
        .collect()
}

/// Whether a kind of stage, or a node inside it, can name a stage of another kind.
fn takes(setting: &'static Setting, made: &str, above: &mut Vec<&'static Setting>) -> bool {
    // A grader may hold graders.
    if above.iter().any(|known| std::ptr::eq(*known, setting)) {
        return false;
    }
    above.push(setting);
    let mut slots = setting.arguments.iter().chain(setting.properties).chain(setting.rest);
    let found = slots.any(|slot| matches!(slot.kind, Kind::Stage(kinds) | Kind::Model(kinds) if kinds.contains(&made)))
        || (setting.children)().into_iter().any(|child| takes(child, made, above));
    above.pop();
    found
}
