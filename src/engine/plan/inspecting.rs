//! A look at what goes into a stage as it is now: one row on its way, or what a provider would say to all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::Counter;
use crate::fingerprint::ActionKey;
use crate::graph::NodeId;
use crate::stage::{DataAsked, DataCheck, FLIGHT_OUTPUT, Given, Look, RowAsked, StageError, StepAsked, Work};
use crate::store::Artifact;

use super::super::EngineError;
use super::super::recipe::Recipe;
use super::super::workspace::Workspace;
use super::resolve::{Seen, ready};
use super::settle::{History, Stand, made, settle};

/// Follows a row (from 1) of what goes into a stage through all that the stage does with it, to its tokens as a model has them. None
/// where the stage works on no rows.
///
/// # Errors
/// When there is no such row, or what goes in is not made yet.
pub fn inspect(recipe: &Recipe, workspace: &Workspace, stage: usize, row: usize, model: (&str, &Counter)) -> Result<Option<Vec<Look>>, EngineError> {
    let asked = RowAsked { workspace: &workspace.root, store: &workspace.store, row, model };
    look(recipe, workspace, stage, |seen| seen.work.inspect(&asked, &seen.given))
}

/// What made up a step (from 1) of a training of the local engine. None where the stage is no such training.
///
/// # Errors
/// When there is no such step, or the training is neither done nor failed as it stands now.
pub fn inspect_step(recipe: &Recipe, workspace: &Workspace, stage: usize, step: usize) -> Result<Option<Vec<Look>>, EngineError> {
    let name = recipe.stages[stage].name.as_str();
    look(recipe, workspace, stage, |seen| {
        let asked = StepAsked {
            workspace: &workspace.root,
            store: &workspace.store,
            stage: name,
            key: seen.key,
            flight: seen.outputs.get(FLIGHT_OUTPUT).copied(),
            step,
        };
        seen.work.inspect_step(&asked, &seen.given)
    })
}

/// What a provider would say to the examples of a stage: its own provider, or the one that is named. None where it trains on none,
/// or its own provider asks nothing of them.
///
/// # Errors
/// When the examples are not made yet, or cannot be read.
pub fn check_data(recipe: &Recipe, workspace: &Workspace, stage: usize, provider: Option<&str>, shown: usize) -> Result<Option<Vec<DataCheck>>, EngineError> {
    let asked = DataAsked { workspace: &workspace.root, store: &workspace.store, provider, shown };
    look(recipe, workspace, stage, |seen| seen.work.check_data(&asked, &seen.given))
}

/// An action as it is shown.
struct Shown<'a> {
    work: &'a dyn Work,
    key: ActionKey,
    given: BTreeMap<String, Given>,
    /// What it made, where it is done.
    outputs: BTreeMap<String, Artifact>,
}

/// Shows each action of a stage what goes into it, until one has something to tell.
fn look<T>(
    recipe: &Recipe,
    workspace: &Workspace,
    stage: usize,
    visit: impl Fn(&Shown<'_>) -> Result<Option<T>, StageError>,
) -> Result<Option<T>, EngineError> {
    let mut wanted: BTreeSet<NodeId> = BTreeSet::new();
    let mut open: Vec<NodeId> = recipe.actions_of(stage).collect();
    while let Some(id) = open.pop() {
        if wanted.insert(id) {
            open.extend(recipe.actions.needs(id));
        }
    }
    let history = History::read(recipe, workspace)?;
    let stands = settle(recipe, workspace, &history, Some(&wanted));
    for id in recipe.actions_of(stage) {
        let node = recipe.actions.node(id);
        let outcome = |maker: usize| match &stands[maker] {
            Stand::Found(found) => Some(found.outcome.as_ref()),
            _ => None,
        };
        let artifacts = made(node, outcome).map_err(|makers| {
            let first = makers.first().map(|maker| recipe.stage_name(recipe.actions.node((*maker).into())).to_string());
            StageError::NotMade { stage: first.unwrap_or_default() }
        })?;
        let ready = ready(recipe, workspace, node, &artifacts, &mut Seen::default())?;
        let works = recipe.works(stage)?;
        let outputs = if let Stand::Found(found) = &stands[id.index()] { found.outcome.outputs.clone() } else { BTreeMap::new() };
        let shown = Shown { work: works[node.place].work.as_ref(), key: ready.key, given: ready.given(), outputs };
        if let Some(found) = visit(&shown)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
