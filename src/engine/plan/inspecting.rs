//! What becomes of one row of a stage.

use std::collections::BTreeSet;

use crate::graph::NodeId;
use crate::stage::{Look, StageError};

use super::super::EngineError;
use super::super::recipe::Recipe;
use super::super::workspace::Workspace;
use super::resolve::{Seen, ready};
use super::settle::{History, Stand, made, settle};

/// Follows a row (from 1) of what goes into a stage through all that the stage does with it. None where the stage works on no rows.
///
/// # Errors
/// When there is no such row, or what goes in is not made yet.
pub fn inspect(recipe: &Recipe, workspace: &Workspace, stage: usize, row: usize) -> Result<Option<Vec<Look>>, EngineError> {
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
        if let Some(looks) = works[node.place].work.inspect(&workspace.root, &workspace.store, &ready.given(), row)? {
            return Ok(Some(looks));
        }
    }
    Ok(None)
}
