//! Who makes a model that a stage names.

use crate::config::{Block, StageDecl};

use super::{Compiler, select};

/// The stage that has a model, and the train stages that it can come from: one, or those that a select stage compares.
#[derive(Clone, Debug)]
pub struct MadeBy<'a> {
    /// The stage whose output it is.
    pub stage: &'a StageDecl,
    /// The train stages; all of one provider.
    pub trained: Vec<&'a StageDecl>,
}

/// Who makes the model of this name, where a stage does.
pub fn made_by<'a>(name: &str, compiler: &Compiler<'a>) -> Option<MadeBy<'a>> {
    let stage = compiler.pipeline.stage(name)?;
    match stage.kind {
        "train" => Some(MadeBy { stage, trained: vec![stage] }),
        // Cycles are found before, in the graph of stages; one that is there all the same ends nowhere.
        "select" if !is_circular(stage, compiler) => {
            let trained: Vec<&StageDecl> = select::candidates(stage, compiler).into_iter().flat_map(|(_, made)| made.trained).collect();
            (!trained.is_empty()).then_some(MadeBy { stage, trained })
        }
        _ => None,
    }
}

/// Whether what a select stage compares leads back to it.
fn is_circular(stage: &StageDecl, compiler: &Compiler<'_>) -> bool {
    let (mut open, mut seen) = (vec![stage], std::collections::HashSet::new());
    while let Some(found) = open.pop() {
        let named = found.block.all("from").chain(found.block.all("model")).filter_map(|node| node.find_text("stage").or_else(|| node.find_text("name")));
        for next in named.filter_map(|name| compiler.pipeline.stage(name)) {
            if std::ptr::eq(next, stage) {
                return true;
            }
            if seen.insert(next.name.as_str()) {
                open.push(next);
            }
        }
    }
    false
}

impl MadeBy<'_> {
    /// What all of the train stages say in the only node of a name, where they say the same.
    pub fn agreed(&self, child: &str) -> Option<&str> {
        let first = self.block()?.child_text(child);
        first.filter(|_| self.trained.iter().all(|trained| trained.block.child_text(child) == first))
    }

    /// The settings of one of them, which hold for all as far as the provider goes.
    pub fn block(&self) -> Option<&Block> {
        self.trained.first().map(|trained| &trained.block)
    }
}
