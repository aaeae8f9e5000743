use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{ConfigError, Overrides, Pipeline, PipelineErrors, PipelineFile, StageName, nearest};
use crate::graph::{Dag, NodeId, Outputs, StageGraph};
use crate::stage::{Action, Compiler, LANGUAGE, Source, compile};

use super::EngineError;

/// An action and the stage that it belongs to.
#[derive(Debug)]
pub struct ActionNode {
    /// The stage, by its place in the pipeline.
    pub stage: usize,
    /// The action.
    pub action: Action,
}

/// A pipeline compiled to actions, ready to be planned and run.
#[derive(Debug)]
pub struct Recipe {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its stages.
    pub stages: StageGraph,
    /// Its actions.
    pub actions: Dag<ActionNode>,
    /// The actions, each after all that it needs.
    pub order: Vec<NodeId>,
    /// Who writes which file.
    pub outputs: Outputs,
    /// What is worth a warning.
    pub warnings: Vec<ConfigError>,
}

impl Recipe {
    /// Reads and compiles a pipeline file.
    ///
    /// # Errors
    /// All that is wrong with it, in one report.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, PipelineErrors> {
        let file = PipelineFile::read(path).map_err(|error| PipelineErrors::unread(&path.display().to_string(), error))?;
        let (pipeline, mut errors) = Pipeline::decode(file.clone(), LANGUAGE, overrides);
        let Some(pipeline) = pipeline else {
            return Err(PipelineErrors::new(&file, errors));
        };
        let outputs = Outputs::gather(&pipeline, &mut errors);
        let stages = StageGraph::build(&pipeline, &outputs, &mut errors);
        let mut actions = Dag::new();
        let mut compiler = Compiler { pipeline: &pipeline, outputs: &outputs, warnings: Vec::new() };
        for (stage, declared) in pipeline.stages.iter().enumerate() {
            match compile(declared, &mut compiler) {
                Ok(compiled) => compiled.into_iter().for_each(|action| {
                    actions.add(ActionNode { stage, action });
                }),
                Err(error) => errors.push(error),
            }
        }
        let warnings = compiler.warnings;
        if !errors.is_empty() {
            return Err(PipelineErrors::new(&file, errors));
        }
        link(&mut actions, &pipeline);
        let order = actions.order().unwrap_or_default();
        Ok(Self { pipeline, stages, actions, order, outputs, warnings })
    }

    /// The name of the stage that an action belongs to.
    #[must_use]
    pub fn stage_name(&self, node: &ActionNode) -> &StageName {
        &self.pipeline.stages[node.stage].name
    }

    /// The actions of a stage, in order.
    pub fn actions_of(&self, stage: usize) -> impl Iterator<Item = NodeId> {
        self.order.iter().copied().filter(move |&id| self.actions.node(id).stage == stage)
    }

    /// The place of a stage that the command line names.
    ///
    /// # Errors
    /// When there is no such stage.
    pub fn named(&self, name: &str) -> Result<usize, EngineError> {
        let found = self.pipeline.stages.iter().position(|stage| stage.name.as_str() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
            let help =
                nearest(name, names.iter().copied()).map_or_else(|| format!("there are: {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
            EngineError::Usage(ConfigError::UnknownStage { name: name.to_owned(), help })
        })
    }
}

/// Links each action to those that make its inputs.
fn link(actions: &mut Dag<ActionNode>, pipeline: &Pipeline) {
    let mut makers: BTreeMap<(&str, String), NodeId> = BTreeMap::new();
    let ids: Vec<NodeId> = actions.ids().collect();
    for &id in &ids {
        let node = actions.node(id);
        let stage = pipeline.stages[node.stage].name.as_str();
        makers.extend(node.action.outputs.iter().map(|output| ((stage, output.clone()), id)));
    }
    let mut links = Vec::new();
    for &id in &ids {
        for input in &actions.node(id).action.inputs {
            if let Source::Output { stage, output } = &input.source
                && let Some(&maker) = makers.get(&(stage.as_str(), output.clone()))
            {
                links.push((maker, id));
            }
        }
    }
    for (needed, id) in links {
        actions.link(needed, id);
    }
}
