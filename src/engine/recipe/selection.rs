use std::collections::BTreeSet;

use crate::graph::NodeId;

use super::super::EngineError;
use super::Recipe;

impl Recipe {
    /// The actions of the named stages and all that they need; all where none is named. `NAME+` also means all that needs it,
    /// however far. What an action needs that has `enough`, since it keeps what it has, is not wanted for its sake.
    ///
    /// # Errors
    /// When a stage is named that is not there.
    pub fn selection(&self, names: &[String], enough: impl Fn(NodeId) -> bool) -> Result<BTreeSet<NodeId>, EngineError> {
        if names.is_empty() {
            return Ok(self.order.iter().copied().collect());
        }
        let mut stages: BTreeSet<usize> = BTreeSet::new();
        for name in names {
            // All that a stage needs is wanted in any case, so that a plus before it says nothing new.
            let plain = name.strip_prefix('+').unwrap_or(name);
            match plain.strip_suffix('+') {
                Some(above) => stages.extend(self.all_named(above)?.into_iter().flat_map(|stage| self.downstream(stage))),
                None => stages.extend(self.all_named(plain)?),
            }
        }
        Ok(self.actions.with_needs(stages.into_iter().flat_map(|stage| self.actions_of(stage)), enough))
    }
}
