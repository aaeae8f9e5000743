//! Which action goes next: each as soon as all that it needs is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::graph::NodeId;
use crate::stage::StageError;

use super::super::plan::settle::made;
use super::super::recipe::Recipe;
use super::pool::Rank;
use super::shared::{Done, Failure, Shared};

/// What became of each action that was wanted.
#[derive(Debug, Default)]
pub struct Progress {
    /// By the place of the action.
    done: Vec<Option<Done>>,
    pub failed: BTreeMap<NodeId, Failure>,
    /// Actions whose gates said no.
    pub gated: BTreeSet<NodeId>,
}

impl Progress {
    /// Notes that an action is done.
    pub fn end(&mut self, id: NodeId, done: Done) {
        if done.outcome.passed == Some(false) {
            self.gated.insert(id);
        }
        if self.done.len() <= id.index() {
            self.done.resize_with(id.index() + 1, || None);
        }
        self.done[id.index()] = Some(done);
    }

    /// An action that is done.
    pub fn get(&self, id: NodeId) -> Option<&Done> {
        self.done.get(id.index())?.as_ref()
    }

    /// An action that is done, to be changed.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Done> {
        self.done.get_mut(id.index())?.as_mut()
    }

    /// All actions that are done.
    pub fn done(&self) -> impl Iterator<Item = (NodeId, &Done)> {
        self.done.iter().enumerate().filter_map(|(index, done)| Some((NodeId::new(index), done.as_ref()?)))
    }

    /// All actions that were done just now.
    pub fn into_ran(self) -> impl Iterator<Item = (NodeId, Done)> {
        let done = self.done.into_iter().enumerate().filter_map(|(index, done)| Some((NodeId::new(index), done?)));
        done.filter(|(_, done)| done.ran)
    }

    /// Whether an action is done and what needs it may go on.
    pub fn passed(&self, id: NodeId) -> bool {
        self.get(id).is_some() && !self.gated.contains(&id)
    }
}

/// Told of every action as it ends.
pub type OnEnd<'a> = &'a mut dyn FnMut(&Progress, NodeId);

/// Does the wanted actions that are not done. After a failure nothing new begins, unless `keep_going` says that all goes on that does not need what failed.
pub async fn schedule(shared: &Arc<Shared>, wanted: &BTreeSet<NodeId>, mut progress: Progress, keep_going: bool, on_end: OnEnd<'_>) -> Progress {
    let actions = &shared.recipe.actions;
    let left = |progress: &Progress, id: NodeId| actions.needs(id).filter(|need| wanted.contains(need) && !progress.passed(*need)).count();
    let todo = wanted.iter().copied().filter(|id| progress.get(*id).is_none());
    let mut missing: BTreeMap<NodeId, usize> = todo.map(|id| (id, left(&progress, id))).collect();
    let mut running: JoinSet<(NodeId, Result<Done, Failure>)> = JoinSet::new();
    let mut open: Vec<NodeId> = shared.recipe.order.iter().copied().filter(|id| missing.get(id) == Some(&0)).collect();
    let halt = CancellationToken::new();
    loop {
        let halted = shared.interrupt.stopped() || halt.is_cancelled();
        for id in open.drain(..).filter(|_| !halted) {
            let made = made(actions.node(id), |maker| progress.get(NodeId::new(maker)).map(|done| done.outcome.as_ref()));
            let made = made.map_err(|makers| StageError::NoInput { name: names(shared, &makers) });
            let (shared, halt) = (Arc::clone(shared), halt.clone());
            running.spawn(async move { (id, shared.act(id, made, halt).await) });
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        // A panic in an action is a mistake in the program and must not pass for a result.
        let (id, result) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match result {
            Ok(done) => {
                progress.end(id, done);
                if progress.passed(id) {
                    for user in actions.needed_by(id) {
                        if let Some(left) = missing.get_mut(&user) {
                            *left = left.saturating_sub(1);
                            open.extend((*left == 0).then_some(user));
                        }
                    }
                }
            }
            Err(failure) => {
                if !keep_going {
                    halt.cancel();
                }
                progress.failed.insert(id, failure);
            }
        }
        on_end(&progress, id);
    }
    progress
}

/// How urgent each action is: the seconds on the longest way from its beginning to the end of the pipeline, by how long actions
/// took before.
pub fn ranks(recipe: &Recipe, took: impl Fn(NodeId) -> f32) -> Vec<Rank> {
    /// What an action takes that was never done.
    const UNKNOWN: f64 = 1.0;
    let mut ranks = vec![Rank::default(); recipe.order.len()];
    for &id in recipe.order.iter().rev() {
        let after = recipe.actions.needed_by(id).map(|user| ranks[user.index()].0).fold(0.0, f64::max);
        let own = f64::from(took(id));
        ranks[id.index()] = Rank(after + if own > 0.0 { own } else { UNKNOWN });
    }
    ranks
}

/// The stages of some actions, in words.
fn names(shared: &Shared, actions: &[u32]) -> String {
    let names: Vec<&str> = actions.iter().map(|&id| shared.recipe.stage_name(shared.recipe.actions.node(id.into())).as_str()).collect();
    names.join(", ")
}
