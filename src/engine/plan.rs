use std::collections::BTreeSet;

use crate::fingerprint::{ActionKey, Change};
use crate::graph::NodeId;
use crate::ledger::LockFile;
use crate::store::Record;

use super::EngineError;
use super::explain::{Reasons, reasons};
use super::recipe::Recipe;
use super::resolve::{Made, ready};
use super::summary::{PlanSummary, PlannedActionSummary, PlannedStageSummary};
use super::workspace::{Workspace, lock_path};

/// Where an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its result is there.
    Cached,
    /// It depends on what is made first.
    Unknown,
    /// It would be done.
    Run,
}

impl Standing {
    /// The word for it in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Unknown => "unknown",
            Self::Run => "run",
        }
    }
}

/// What would become of an action.
#[derive(Clone, Debug)]
pub struct PlannedAction {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub standing: Standing,
    /// Its key, where all that it covers is known.
    pub key: Option<ActionKey>,
    /// What changed since its last result.
    pub changes: Vec<Change>,
    /// Why it stands there, as lines.
    pub reasons: Vec<String>,
    /// Its record, where its result is there.
    pub record: Option<Record>,
}

/// What would become of a stage.
#[derive(Clone, Debug)]
pub struct PlannedStage {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its actions.
    pub actions: Vec<PlannedAction>,
}

impl PlannedStage {
    /// Where the stage stands: where the action stands that is furthest from done.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.actions.iter().map(|action| action.standing).max().unwrap_or(Standing::Cached)
    }

    /// Why it stands there: the reasons of its actions, each once.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let several = self.actions.len() > 1;
        let all = self.actions.iter().flat_map(|action| {
            let reasons = action.reasons.iter();
            reasons.map(move |reason| if several { format!("{}: {reason}", action.name) } else { reason.clone() })
        });
        all.collect()
    }
}

/// What a run would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its stages, in the order of the file.
    pub stages: Vec<PlannedStage>,
}

/// Finds out what a run would do, and does nothing.
///
/// # Errors
/// When the lock file cannot be read.
pub fn plan(recipe: &Recipe, workspace: &Workspace) -> Result<Plan, EngineError> {
    let lock = LockFile::read(&lock_path(&recipe.pipeline))?;
    let stages = recipe.pipeline.stages.iter();
    let mut plan = Plan {
        pipeline: recipe.pipeline.name.clone(),
        stages: stages.map(|stage| PlannedStage { name: stage.name.to_string(), kind: stage.kind, actions: Vec::new() }).collect(),
    };
    let mut made = Made::new();
    let mut open: BTreeSet<NodeId> = BTreeSet::new();
    for &id in &recipe.order {
        let node = recipe.actions.node(id);
        let waits: BTreeSet<&str> =
            recipe.actions.needs(id).filter(|need| open.contains(need)).map(|need| recipe.stage_name(recipe.actions.node(need)).as_str()).collect();
        let planned = if waits.is_empty() { look(recipe, workspace, &lock, id, &made) } else { waiting(node.action.name, &waits) };
        if planned.standing == Standing::Cached {
            let outputs = planned.record.iter().flat_map(|record| &record.outcome.outputs);
            made.extend(outputs.map(|(name, artifact)| ((recipe.stage_name(node).clone(), name.clone()), *artifact)));
        } else {
            open.insert(id);
        }
        plan.stages[node.stage].actions.push(planned);
    }
    workspace.files.save();
    Ok(plan)
}

fn waiting(action: &str, waits: &BTreeSet<&str>) -> PlannedAction {
    let names: Vec<String> = waits.iter().map(|name| format!("`{name}`")).collect();
    PlannedAction {
        name: action.to_owned(),
        standing: Standing::Unknown,
        key: None,
        changes: Vec::new(),
        reasons: vec![format!("decided once {} is done", names.join(" and "))],
        record: None,
    }
}

fn look(recipe: &Recipe, workspace: &Workspace, lock: &LockFile, id: NodeId, made: &Made) -> PlannedAction {
    let node = recipe.actions.node(id);
    let planned = |standing, key, why: Reasons, record| PlannedAction {
        name: node.action.name.to_owned(),
        standing,
        key,
        reasons: why.lines(),
        changes: why.changes,
        record,
    };
    let ready = match ready(recipe, workspace, node, made) {
        Ok(ready) => ready,
        Err(error) => {
            return planned(Standing::Run, None, Reasons::words(format!("it cannot begin: {error}")), None);
        }
    };
    let why = || reasons(&workspace.store, lock, recipe.stage_name(node).as_str(), node.action.name, &ready);
    if node.action.effect {
        return match node.action.work.settled(&workspace.root, ready.key) {
            Ok(Some(settled)) => planned(Standing::Cached, Some(ready.key), Reasons { words: settled.note.into_iter().collect(), ..Reasons::default() }, None),
            Ok(None) => planned(Standing::Run, Some(ready.key), effect_reasons(why()), None),
            Err(error) => planned(Standing::Run, Some(ready.key), Reasons::words(error.to_string()), None),
        };
    }
    match workspace.store.find(ready.key) {
        Some(record) => planned(Standing::Cached, Some(ready.key), Reasons::default(), Some(record)),
        None => planned(Standing::Run, Some(ready.key), why(), None),
    }
}

/// An effect that is not there although its fingerprint did not change was undone from outside.
fn effect_reasons(why: Reasons) -> Reasons {
    if why.changes.is_empty() && why.words.iter().any(|word| word.contains("not in this store")) {
        return Reasons::words("its effect is not there");
    }
    why
}

impl Plan {
    /// The form that is printed as JSON.
    #[must_use]
    pub fn summary(&self) -> PlanSummary {
        let action = |action: &PlannedAction| PlannedActionSummary {
            name: action.name.clone(),
            action: action.standing.word().to_owned(),
            fingerprint: action.key.map(|key| key.to_string()),
            reasons: action.reasons.clone(),
        };
        let stage = |stage: &PlannedStage| PlannedStageSummary {
            name: stage.name.clone(),
            kind: stage.kind.to_owned(),
            action: stage.standing().word().to_owned(),
            fingerprint: stage_fingerprint(stage.actions.iter().map(|action| action.key)),
            reasons: stage.reasons(),
            actions: stage.actions.iter().map(action).collect(),
        };
        PlanSummary { pipeline: self.pipeline.clone(), stages: self.stages.iter().map(stage).collect() }
    }
}

/// The fingerprint of a stage: that of its action, or one over those of all its actions; none where one is not known.
pub(super) fn stage_fingerprint(keys: impl Iterator<Item = Option<ActionKey>>) -> Option<String> {
    let keys: Vec<ActionKey> = keys.collect::<Option<_>>()?;
    if let [only] = keys.as_slice() {
        return Some(only.to_string());
    }
    let mut hasher = blake3::Hasher::new_derive_key("retune stage v1");
    for key in keys {
        hasher.update(key.0.as_bytes());
    }
    Some(hasher.finalize().to_string())
}
