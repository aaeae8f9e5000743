use std::collections::BTreeMap;

use crate::fingerprint::{ActionKey, Change};
use crate::graph::NodeId;
use crate::stage::{Estimate, Given};

use super::super::recipe::{Recipe, StageNode};
use super::super::summary::{PlanSummary, PlannedActionSummary, PlannedStageSummary};
use super::super::workspace::Workspace;
use super::super::{EngineError, past};
use super::explain::{Reasons, again_since, already, reasons};
use super::settle::{History, Stand, settle};

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
    /// How long it took when it was last done, in seconds; none where it is not to be done, or never was.
    pub seconds: Option<f64>,
    /// What else it will take.
    pub estimate: Estimate,
}

/// What would become of a stage.
#[derive(Clone, Debug)]
pub struct PlannedStage {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its actions.
    pub actions: Vec<PlannedAction>,
}

impl PlannedStage {
    /// Where the stage stands: where the action stands that is furthest from done.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.actions.iter().map(|action| action.standing).max().unwrap_or(Standing::Cached)
    }

    /// How long it will take, by how long it took, in seconds.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        sum(self.actions.iter().map(|action| action.seconds))
    }

    /// The tokens that it will train a model on.
    #[must_use]
    pub fn tokens(&self) -> Option<f64> {
        sum(self.actions.iter().map(|action| action.estimate.tokens))
    }

    /// What it will cost, in US dollars.
    #[must_use]
    pub fn usd(&self) -> Option<f64> {
        sum(self.actions.iter().map(|action| action.estimate.usd))
    }

    /// What else there is to know before it begins.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.actions.iter().flat_map(|action| action.estimate.notes.clone()).collect()
    }

    /// Whether its gates said no.
    #[must_use]
    pub fn gated(&self) -> bool {
        self.actions.iter().any(|action| action.reasons.iter().any(|reason| reason == GATED))
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

/// Finds out what a run of some stages (all where none is named) would do, and does nothing.
///
/// # Errors
/// When a stage is named that is not there, or the lock file cannot be read.
pub fn plan(recipe: &Recipe, workspace: &Workspace, stages: &[String]) -> Result<Plan, EngineError> {
    let history = History::read(recipe, workspace)?;
    let wanted = recipe.selection(stages, |id| history.frozen(recipe, workspace, id).is_some())?;
    let stands = settle(recipe, workspace, &history, Some(&wanted));
    workspace.files.save();
    let stage = |(index, stage): (usize, &StageNode)| {
        let actions = recipe.actions_of(index).map(|id| planned(recipe, workspace, &history, id, &stands[id.index()]));
        PlannedStage { name: stage.name.to_string(), kind: stage.kind.clone(), actions: actions.collect() }
    };
    let asked = |(index, _): &(usize, &StageNode)| stages.is_empty() || recipe.actions_of(*index).any(|id| wanted.contains(&id));
    Ok(Plan { pipeline: recipe.name.clone(), stages: recipe.stages.iter().enumerate().filter(asked).map(stage).collect() })
}

/// Some names in one sentence; of many the first ones, and how many more there are.
fn together(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len().saturating_sub(SHOWN) {
        0 | 1 => names.join(" and "),
        more => format!("{} and {more} others", names[..SHOWN].join(", ")),
    }
}

fn sum(parts: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    parts.flatten().fold(None, |sum, part| Some(sum.unwrap_or(0.0) + part))
}

/// What is said of a verdict that lets nothing pass.
const GATED: &str = "its gates say no";

fn planned(recipe: &Recipe, workspace: &Workspace, history: &History, id: NodeId, stand: &Stand<'_>) -> PlannedAction {
    let node = recipe.actions.node(id);
    let (standing, key, why) = match stand {
        Stand::Found(found) => {
            let moved = (!found.placed && !node.effect).then(|| "its outputs are not as they were made: a run puts them back".to_owned());
            let gate = (found.outcome.passed == Some(false)).then(|| GATED.to_owned());
            (Standing::Cached, Some(found.key), Reasons { words: found.note.iter().cloned().chain(gate).chain(moved).collect(), ..Reasons::default() })
        }
        Stand::Stale(ready) => {
            let again = history.runs_always(recipe, workspace, node, ready.key) && workspace.store.remembered(ready.key).is_some();
            let mut why = if again { Reasons::words(again_since(recipe, node)) } else { reasons(&workspace.store, history.last(recipe, id), ready) };
            why.words.extend(history.cannot_keep(recipe, id).map(str::to_owned));
            (Standing::Run, Some(ready.key), if node.effect { effect_reasons(why) } else { why })
        }
        Stand::Waits(stages) => {
            let names: Vec<String> = stages.iter().map(|&stage| format!("`{}`", recipe.stages[stage].name)).collect();
            let words = vec![format!("decided once {} {} done", together(&names), if names.len() == 1 { "is" } else { "are" })];
            (Standing::Unknown, None, Reasons { changes: already(recipe, &workspace.store, history.last(recipe, id), node), words })
        }
        Stand::Barred(stage) => (Standing::Unknown, None, Reasons::words(format!("the gates of `{}` say no", recipe.stages[*stage].name))),
        Stand::Broken(error) => (Standing::Run, None, Reasons::words(format!("it cannot begin: {error}"))),
        Stand::Unasked => (Standing::Unknown, None, Reasons::default()),
    };
    let took = (standing != Standing::Cached).then(|| history.took(recipe, workspace, id));
    let seconds = took.filter(|&took| took > 0.0).map(f64::from);
    let expected =
        |given: &BTreeMap<String, Given>| recipe.works(node.stage).map(|works| works[node.place].work.estimate(&workspace.root, &workspace.store, given));
    let estimate = match stand {
        Stand::Stale(ready) => match past::jobs::begun(workspace, ready.key) {
            Some(job) => Ok(Estimate { notes: vec![format!("job {job} was begun for it, and is followed: nothing more is paid")], ..Estimate::default() }),
            None => expected(&ready.given()),
        },
        // Some can be told before its inputs are made.
        Stand::Waits(_) => expected(&BTreeMap::new()),
        _ => Ok(Estimate::default()),
    };
    PlannedAction { name: node.name.clone(), standing, key, reasons: why.lines(), changes: why.changes, seconds, estimate: estimate.unwrap_or_default() }
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
            kind: stage.kind.clone(),
            action: stage.standing().word().to_owned(),
            fingerprint: stage_fingerprint(stage.actions.iter().map(|action| action.key)),
            reasons: stage.reasons(),
            seconds: stage.seconds(),
            tokens: stage.tokens(),
            usd: stage.usd(),
            notes: stage.notes(),
            actions: stage.actions.iter().map(action).collect(),
        };
        PlanSummary { pipeline: self.pipeline.clone(), stages: self.stages.iter().map(stage).collect() }
    }
}

/// The fingerprint of a stage: that of its action, or one over those of all its actions; none where one is not known.
pub fn stage_fingerprint(keys: impl Iterator<Item = Option<ActionKey>>) -> Option<String> {
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
