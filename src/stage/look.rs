//! Looks at what goes into a stage, and what is asked of them.

use std::path::Path;

use serde::Serialize;

use crate::data::Counter;
use crate::data::rules::Checked;
use crate::fingerprint::ActionKey;
use crate::store::{Artifact, Store};

/// What is asked of a look at examples.
#[derive(Debug)]
pub struct DataAsked<'a> {
    /// The top of the workspace.
    pub workspace: &'a Path,
    /// Where results lie.
    pub store: &'a Store,
    /// The provider by whose rules, where it is not the stage's own.
    pub provider: Option<&'a str>,
    /// How many findings of each file are wanted.
    pub shown: usize,
}

/// What a look at a file of examples found.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct DataCheck {
    /// The split or file.
    pub file: String,
    /// By whose rules.
    pub provider: &'static str,
    /// What was found.
    pub checked: Checked,
}

/// Which row is looked at.
#[derive(Clone, Copy, Debug)]
pub struct RowAsked<'a> {
    /// The workspace.
    pub workspace: &'a Path,
    /// Its store.
    pub store: &'a Store,
    /// The row, from 1.
    pub row: usize,
    /// The model whose tokens are shown.
    pub model: (&'a str, &'a Counter),
}

/// Which step of a training is looked at.
#[derive(Clone, Copy, Debug)]
pub struct StepAsked<'a> {
    /// The workspace.
    pub workspace: &'a Path,
    /// Its store.
    pub store: &'a Store,
    /// The stage.
    pub stage: &'a str,
    /// The key of the training.
    pub key: ActionKey,
    /// Its flight record, where it is done.
    pub flight: Option<Artifact>,
    /// The step, from 1.
    pub step: usize,
}

/// A row at one step of its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Look {
    /// Which step.
    pub step: String,
    /// What it is there.
    pub text: String,
}
