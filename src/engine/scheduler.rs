//! Which action goes next: each as soon as all that it needs is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::graph::NodeId;
use crate::stage::StageError;

use super::resolve::Made;
use super::worker::{Done, Shared};

/// What became of each action that was wanted.
#[derive(Debug, Default)]
pub struct Progress {
    pub done: BTreeMap<NodeId, Done>,
    pub failed: BTreeMap<NodeId, StageError>,
    /// Actions whose gates said no.
    pub gated: BTreeSet<NodeId>,
}

/// Told of every action as it ends.
pub type OnEnd<'a> = &'a mut dyn FnMut(&Progress, NodeId);

/// Does the wanted actions. After a failure nothing new begins, unless `keep_going` says that all goes on that does not need what failed.
pub async fn schedule(shared: &Arc<Shared>, wanted: &BTreeSet<NodeId>, keep_going: bool, on_end: OnEnd<'_>) -> Progress {
    let actions = &shared.recipe.actions;
    let mut missing: BTreeMap<NodeId, usize> = wanted.iter().map(|&id| (id, actions.needs(id).filter(|need| wanted.contains(need)).count())).collect();
    let mut progress = Progress::default();
    let mut made = Made::new();
    let mut running: JoinSet<(NodeId, Result<Done, StageError>)> = JoinSet::new();
    let mut open: Vec<NodeId> = shared.recipe.order.iter().copied().filter(|id| missing.get(id) == Some(&0)).collect();
    loop {
        let halted = shared.stop.is_cancelled() || (!keep_going && !progress.failed.is_empty());
        for id in open.drain(..).filter(|_| !halted) {
            let (shared, made) = (Arc::clone(shared), inputs(shared, id, &made));
            running.spawn(async move { (id, shared.act(id, &made).await) });
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        // A panic in an action is a mistake in the program and must not pass for a result.
        let (id, result) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match result {
            Ok(done) => {
                let node = actions.node(id);
                let stage = shared.recipe.stage_name(node);
                made.extend(done.outcome.outputs.iter().map(|(name, artifact)| ((stage.clone(), name.clone()), *artifact)));
                if done.outcome.passed == Some(false) {
                    progress.gated.insert(id);
                } else {
                    for user in actions.needed_by(id).filter(|user| wanted.contains(user)) {
                        let left = missing.entry(user).or_default();
                        *left = left.saturating_sub(1);
                        if *left == 0 {
                            open.push(user);
                        }
                    }
                }
                progress.done.insert(id, done);
            }
            Err(error) => {
                progress.failed.insert(id, error);
            }
        }
        on_end(&progress, id);
    }
    progress
}

/// The artifacts that an action needs, out of all that were made.
fn inputs(shared: &Shared, id: NodeId, made: &Made) -> Made {
    use crate::stage::Source;
    let wanted = shared.recipe.actions.node(id).action.inputs.iter();
    let sources = wanted.filter_map(|input| match &input.source {
        Source::Output { stage, output } => Some((stage.clone(), output.clone())),
        Source::Files { .. } => None,
    });
    sources.filter_map(|source| made.get(&source).map(|artifact| (source, *artifact))).collect()
}
