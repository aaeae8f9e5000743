//! What is asked and how it is graded: the stage itself, or one of its suites.

use crate::config::{Block, ConfigError, StageDecl, StageName};
use crate::fingerprint::Tree;
use crate::grade::grader;

use super::super::{Compiler, Input, prepare};
use super::{CLUSTER, DATA, SLICE};

/// The stage, or a suite of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub stage: &'a StageDecl,
    /// Where its data, graders, slices and gates stand.
    pub block: &'a Block,
    /// The suite's name.
    pub suite: Option<&'a str>,
}

impl<'a> Part<'a> {
    /// The stage itself and then its suites.
    pub fn all(stage: &'a StageDecl) -> Result<Vec<Self>, ConfigError> {
        let mut parts = vec![Self { stage, block: &stage.block, suite: None }];
        for block in stage.block.all(super::SUITE.name) {
            let name = block.text("name");
            let contradiction = |problem: String, label: &str, help: &str| {
                Err(ConfigError::Contradiction { problem, label: label.into(), at: block.span_of("name").into(), help: help.into() })
            };
            if StageName::new(name).is_none() || name.contains('.') {
                return contradiction(format!("`{name}` cannot be the name of a suite"), "not a name", "use letters, digits, `-` and `_`");
            }
            if stage.block.all(grader::SETTING.name).any(|other| grader::metric(other) == name) || name == "baseline" {
                return contradiction(format!("`{name}` is the name of a metric too"), "its figures would go by the same names", "give it another name");
            }
            if let Some(first) = parts.iter().find(|part| part.suite == Some(name)) {
                let (first, at) = (first.block.name_span.into(), block.name_span.into());
                return Err(ConfigError::Repeated { name: name.to_owned(), place: "the suites of this stage".into(), first, at });
            }
            parts.push(Self { stage, block, suite: Some(name) });
        }
        Ok(parts)
    }

    /// What something is called here: an action, an output.
    pub fn named(&self, what: &str) -> String {
        self.suite.map_or_else(|| what.to_owned(), |suite| format!("{what} {suite}"))
    }

    /// An output of this stage, in a role.
    pub fn own(&self, role: &str, output: &str) -> Input {
        Input::output(role, &self.stage.name, self.named(output))
    }

    /// The split that is asked.
    pub fn split(&self) -> &'a str {
        self.block.child(DATA.name).map_or("test", |data| data.text("split"))
    }

    /// The rows that are asked.
    pub fn questions(&self, compiler: &Compiler<'_>) -> Option<Input> {
        self.prepared("data", self.split(), compiler)
    }

    /// An output of the stage that prepared the questions, in a role.
    pub fn prepared(&self, role: &str, output: &str, compiler: &Compiler<'_>) -> Option<Input> {
        let stage = compiler.pipeline.stage(self.block.child(DATA.name)?.text("stage"))?;
        Some(Input::output(role, &stage.name, output))
    }

    /// The nodes that name a field of rows.
    pub fn fields(&self) -> impl Iterator<Item = (&'a Block, &'a str)> {
        self.block.all(SLICE.name).chain(self.block.all(CLUSTER.name)).map(|node| (node, node.text("by")))
    }

    /// Makes sure that the fields which are looked at come through the preparation.
    pub fn carried(&self, compiler: &Compiler<'_>) -> Result<(), ConfigError> {
        let Some(data) = self.block.child(DATA.name).and_then(|data| compiler.pipeline.stage(data.text("stage"))) else {
            return Ok(());
        };
        match self.fields().find(|(_, field)| !prepare::slices(&data.block).any(|carried| carried == *field)) {
            None => Ok(()),
            Some((node, field)) => Err(ConfigError::Contradiction {
                problem: format!("`{}` does not carry the field `{field}` through", data.name),
                label: "is not known of its examples".into(),
                at: node.span_of("by").into(),
                help: format!("write `slice by={field:?}` in `{}` too", data.name),
            }),
        }
    }

    /// The suite in a key, where it is one: what outputs are called depends on it.
    pub fn setting(&self) -> Option<(String, Tree)> {
        self.suite.map(|suite| ("suite".to_owned(), Tree::text(suite)))
    }
}
