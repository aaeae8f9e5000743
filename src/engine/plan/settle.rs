//! How all actions stand before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fingerprint::ActionKey;
use crate::graph::NodeId;
use crate::ledger::LockFile;
use crate::stage::{Effect, Refresh, Rerun, StageError};
use crate::store::{Artifact, FileState, Known, RecordOutcome, StoreIdentity};

use super::super::EngineError;
use super::super::recipe::{ActionNode, NodeInput, Recipe};
use super::super::workspace::Workspace;
use super::resolve::{Ready, Seen, ready};

/// Where an action stands.
#[derive(Debug)]
pub enum Stand<'a> {
    /// Its result is there.
    Found(Found),
    /// Its key is known, and there is no result under it.
    Stale(Ready<'a>),
    /// It depends on what these stages make first.
    Waits(BTreeSet<usize>),
    /// The gates of this stage say no, to it or to what it needs.
    Barred(usize),
    /// It cannot begin.
    Broken(StageError),
    /// It was not asked about.
    Unasked,
}

/// A result that is there.
#[derive(Clone, Debug)]
pub struct Found {
    /// The key that it is there under.
    pub key: ActionKey,
    /// What it is.
    pub outcome: Arc<RecordOutcome>,
    /// What there is to say about it.
    pub note: Option<String>,
    /// Whether all outputs that appear in the workspace lie there.
    pub placed: bool,
    /// How long it took to make, in seconds.
    pub took: f32,
}

/// What is remembered of the results that a pipeline had before.
#[derive(Debug)]
pub struct History {
    /// The index of results; a help only.
    pub known: Known,
    /// The lock file, unless the index says the same.
    lock: Option<LockFile>,
    /// Whether stages that run every time are held to their last results.
    pub held: bool,
}

impl History {
    /// Reads what is remembered of a pipeline.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn read(recipe: &Recipe, workspace: &Workspace) -> Result<Self, EngineError> {
        let path = recipe.lock_path();
        let known = Known::load(&Known::place(workspace.store.root(), &workspace.name_of(&path)), recipe.layout, StoreIdentity::of(&workspace.store));
        let same = known.locked.as_ref().is_some_and(|(_, state)| FileState::of(&path).ok() == Some(*state));
        let lock = if same { None } else { Some(LockFile::read(&path)?) };
        Ok(Self { known, lock, held: false })
    }

    /// The key that an action was last done under.
    pub fn last(&self, recipe: &Recipe, id: NodeId) -> Option<ActionKey> {
        let node = recipe.actions.node(id);
        match &self.lock {
            Some(lock) => lock.fingerprint(recipe.stage_name(node).as_str(), &node.name),
            None => self.known.actions.get(id.index())?.as_ref().map(|(key, _)| *key),
        }
    }

    /// What there is to say of an action that should be kept and cannot be.
    pub fn cannot_keep(&self, recipe: &Recipe, id: NodeId) -> Option<&'static str> {
        match (recipe.scheduling(recipe.actions.node(id)).rerun, self.last(recipe, id)) {
            (Rerun::Never, Some(_)) => Some("it is frozen, but its last result is gone or lacks an output"),
            (Rerun::Never, None) => Some("it is frozen, and has no result under this name yet"),
            _ => None,
        }
    }

    /// Whether an action is done again whatever is there.
    pub fn runs_always(&self, recipe: &Recipe, workspace: &Workspace, node: &ActionNode, key: ActionKey) -> bool {
        let is_due = |refresh: Refresh| workspace.store.remembered(key).is_none_or(|last| refresh.is_due(last.finished));
        !self.held && (recipe.scheduling(node).rerun == Rerun::Always || node.refresh.is_some_and(is_due))
    }

    /// The stages that only the lock file has.
    pub fn strays(&self, recipe: &Recipe) -> Vec<String> {
        let known = |name: &String| recipe.stages.iter().any(|stage| stage.name.as_str() == name);
        self.lock.iter().flat_map(|lock| lock.stages.keys()).filter(|name| !known(name)).cloned().collect()
    }

    /// Whether the lock file says of an action what was found.
    pub fn agrees(&self, recipe: &Recipe, id: NodeId, found: &Found) -> bool {
        let node = recipe.actions.node(id);
        let Some(lock) = &self.lock else {
            // The index says what the lock file says.
            return self.known.get(id.index(), found.key).is_some_and(|known| known.outputs == found.outcome.outputs);
        };
        let locked = lock.stages.get(recipe.stage_name(node).as_str()).and_then(|stage| stage.actions.get(&node.name));
        locked.is_some_and(|locked| {
            let outputs = found.outcome.outputs.iter().map(|(name, artifact)| (name, artifact.digest()));
            locked.fingerprint == found.key && locked.outputs.iter().map(|(name, digest)| (name, *digest)).eq(outputs)
        })
    }

    /// Whether the lock file is as the last run of this workspace left it.
    pub fn lock_stands(&self) -> bool {
        self.lock.is_none()
    }

    /// How long an action took when it was last done, in seconds; 0 where that is not known.
    pub fn took(&self, recipe: &Recipe, workspace: &Workspace, id: NodeId) -> f32 {
        let indexed = self.known.took(id.index());
        if indexed > 0.0 {
            return indexed;
        }
        #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
        let recorded = |seconds: f64| seconds as f32;
        self.last(recipe, id).and_then(|key| workspace.store.remembered(key)).map_or(0.0, |record| recorded(record.seconds))
    }

    /// The run that left the lock file as it is, if that is known.
    pub fn locked_by(&self) -> Option<&str> {
        self.known.locked.as_ref().filter(|_| self.lock_stands()).map(|(run, _)| run.as_str())
    }

    /// The result that a frozen action keeps, whatever changed, if it has one.
    pub fn frozen(&self, recipe: &Recipe, workspace: &Workspace, id: NodeId) -> Option<Found> {
        let node = recipe.actions.node(id);
        if recipe.scheduling(node).rerun != Rerun::Never {
            return None;
        }
        // Where the lock file is gone, the index still says what there was.
        let indexed = || self.known.actions.get(id.index())?.as_ref().map(|(key, _)| *key);
        let key = self.last(recipe, id).or_else(indexed)?;
        let (outcome, took) = match workspace.find(key, node.appears) {
            Some((record, _)) => (Arc::new(record.outcome), record.seconds),
            None => (self.standing(recipe, workspace, id, key)?, 0.0),
        };
        if node.outputs.iter().any(|output| !outcome.outputs.contains_key(output)) {
            return None;
        }
        let mut outcome = outcome;
        if outcome.outputs.len() > node.outputs.len() {
            // What is no output of it any more is not its to lay out: another stage may write there.
            Arc::make_mut(&mut outcome).outputs.retain(|name, _| node.outputs.contains(name));
        }
        let placed = !node.appears || (workspace.all_stand(&outcome) && outcome.outputs.values().all(|artifact| workspace.store.has(*artifact)));
        let note = Some("frozen: kept whatever changed".to_owned());
        #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
        let took = took as f32;
        Some(Found { key, outcome, note, placed, took })
    }

    /// What an action made under a key, by the index or by the lock file and the workspace together, where the store has no
    /// account of it any more.
    fn standing(&self, recipe: &Recipe, workspace: &Workspace, id: NodeId, key: ActionKey) -> Option<Arc<RecordOutcome>> {
        let node = recipe.actions.node(id);
        if let Some(outcome) = self.known.get(id.index(), key) {
            return workspace.all_stand(outcome).then(|| Arc::clone(outcome));
        }
        let locked = self.lock.as_ref()?.stages.get(recipe.stage_name(node).as_str())?.actions.get(&node.name)?;
        let outputs = locked.outputs.iter().filter(|_| node.appears);
        let outputs = outputs.map(|(path, digest)| Some((path.clone(), workspace.recognize(path, *digest)?))).collect::<Option<BTreeMap<_, _>>>()?;
        (!outputs.is_empty()).then(|| Arc::new(RecordOutcome { outputs, ..RecordOutcome::default() }))
    }
}

/// Looks at the wanted actions (all where nothing else is said), each after all that it needs.
pub fn settle<'a>(recipe: &'a Recipe, workspace: &Workspace, history: &History, wanted: Option<&BTreeSet<NodeId>>) -> Vec<Stand<'a>> {
    let mut stands: Vec<Stand<'a>> = recipe.order.iter().map(|_| Stand::Unasked).collect();
    let mut seen = Seen::default();
    for &id in recipe.order.iter().filter(|id| wanted.is_none_or(|wanted| wanted.contains(id))) {
        let node = recipe.actions.node(id);
        if let Some(found) = history.frozen(recipe, workspace, id) {
            stands[id.index()] = Stand::Found(found);
            continue;
        }
        let bar = recipe.actions.needs(id).find_map(|need| match &stands[need.index()] {
            Stand::Found(found) if found.outcome.passed == Some(false) => Some(recipe.actions.node(need).stage),
            Stand::Barred(stage) => Some(*stage),
            _ => None,
        });
        if let Some(stage) = bar {
            stands[id.index()] = Stand::Barred(stage);
            continue;
        }
        stands[id.index()] = match made(node, |maker| match &stands[maker] {
            Stand::Found(found) => Some(found.outcome.as_ref()),
            _ => None,
        }) {
            Ok(made) => match ready(recipe, workspace, node, &made, &mut seen) {
                Ok(ready) => look(recipe, workspace, history, id, ready),
                Err(error) => Stand::Broken(error),
            },
            Err(makers) => Stand::Waits(makers.into_iter().map(|maker| recipe.actions.node(maker.into()).stage).collect()),
        };
    }
    stands
}

/// The artifacts that go into an action, in the order of the inputs that stages make, or the makers that are not done.
pub fn made<'a>(node: &ActionNode, outcome: impl Fn(usize) -> Option<&'a RecordOutcome>) -> Result<Vec<Artifact>, Vec<u32>> {
    let (mut found, mut missing) = (Vec::with_capacity(node.inputs.len()), Vec::new());
    for input in &node.inputs {
        let NodeInput::Made { maker, output, .. } = input else {
            continue;
        };
        match outcome(*maker as usize).and_then(|outcome| outcome.outputs.get(output)) {
            Some(artifact) => found.push(*artifact),
            None => missing.push(*maker),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

fn look<'a>(recipe: &'a Recipe, workspace: &Workspace, history: &History, id: NodeId, ready: Ready<'a>) -> Stand<'a> {
    let (node, known) = (recipe.actions.node(id), &history.known);
    if history.runs_always(recipe, workspace, node, ready.key) {
        return Stand::Stale(ready);
    }
    if node.effect {
        return match effect(recipe, workspace, node, &ready) {
            Ok(Some(found)) => Stand::Found(found),
            Ok(None) => Stand::Stale(ready),
            Err(error) => Stand::Broken(error),
        };
    }
    let found = |outcome: Arc<RecordOutcome>, placed, took| {
        let note = outcome.kept();
        Stand::Found(Found { key: ready.key, outcome, note, placed, took })
    };
    let took = known.took(id.index());
    if let Some(outcome) = known.get(id.index(), ready.key) {
        // What lies in the workspace as it should need not be looked for in the store.
        if node.appears && workspace.all_stand(outcome) {
            return found(Arc::clone(outcome), true, took);
        }
        if !node.appears && outcome.outputs.values().all(|artifact| workspace.store.has(*artifact)) {
            return found(Arc::clone(outcome), true, took);
        }
    }
    match workspace.find(ready.key, node.appears) {
        Some((record, whole)) => {
            let placed = !node.appears || (whole && workspace.all_stand(&record.outcome));
            #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
            let took = record.seconds as f32;
            found(Arc::new(record.outcome), placed, took)
        }
        None => Stand::Stale(ready),
    }
}

/// The outside effect of an action, if it is there or can be brought back.
pub fn effect(recipe: &Recipe, workspace: &Workspace, node: &ActionNode, ready: &Ready<'_>) -> Result<Option<Found>, StageError> {
    let works = recipe.works(node.stage)?;
    let found = |outcome, note, placed| Some(Found { key: ready.key, outcome, note, placed, took: 0.0 });
    Ok(match works[node.place].work.effect(&workspace.root, &ready.given())? {
        Effect::There(note) => found(Arc::default(), note, true),
        Effect::Gone => workspace.store.find(ready.key).and_then(|record| found(Arc::new(record.outcome), None, false)),
        Effect::Absent => None,
    })
}
