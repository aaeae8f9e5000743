//! Who makes a model that a stage names.

use std::collections::{HashSet, VecDeque};

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
    let (mut open, mut seen) = (vec![stage], HashSet::new());
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

/// The trainings that a model went through, the latest first, as far back as each begins with what one other made.
pub fn trainings<'a>(name: &str, compiler: &Compiler<'a>) -> Vec<&'a StageDecl> {
    let mut all: Vec<&StageDecl> = Vec::new();
    let mut next = made_by(name, compiler);
    while let Some([only]) = next.as_ref().map(|made_by| made_by.trained.as_slice()) {
        let training: &'a StageDecl = only;
        if all.iter().any(|known| std::ptr::eq(*known, training)) {
            break;
        }
        all.push(training);
        next = made_by(training.block.child_text("model").unwrap_or_default(), compiler);
    }
    all
}

/// The base models that a name leads to: its own where no stage makes it, else those that its trainings began with in the end.
pub fn bases<'a>(name: &'a str, compiler: &Compiler<'a>) -> Vec<&'a str> {
    let (mut open, mut seen, mut found) = (VecDeque::from([name]), HashSet::new(), Vec::new());
    while let Some(name) = open.pop_front() {
        if !seen.insert(name) {
            continue;
        }
        match made_by(name, compiler) {
            Some(made_by) => open.extend(made_by.trained.into_iter().filter_map(|trained| trained.block.child_text("model"))),
            None => found.push(name),
        }
    }
    found
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
