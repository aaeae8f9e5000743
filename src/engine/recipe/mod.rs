mod compile;
mod compiled;
mod declared;
mod lint;
mod needed;
mod selection;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::config::{
    BadBrackets, Budget, ConfigError, Finding, HOW, Overrides, PipelineErrors, PipelineFile, Span, StageName, Value, Wanted, described, in_shell, nearest, stem,
};
use crate::fingerprint::{ActionBase, Digest};
use crate::graph::{Dag, NodeId, Outputs};
use crate::ledger::LockFile;
use crate::stage::{Action, FileSource, Refresh, Scheduling, StageError};

use super::EngineError;
use super::workspace::Workspace;
use compile::Whole;
pub(super) use compile::preimage;
use compiled::Compiled;
pub use needed::{ProviderState, built_in};

/// Compiled actions by the place of their stage.
type Works = BTreeMap<usize, Arc<Vec<Action>>>;

/// A stage of a recipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageNode {
    /// Its name.
    pub name: StageName,
    /// Its kind (`collect`, `train`, ...).
    pub kind: String,
    /// The stages that it needs, by their place in the pipeline.
    pub needs: Vec<usize>,
    /// When it is done, how often, and with what.
    pub scheduling: Scheduling,
    /// Where it stands in the file.
    pub(super) span: Span,
    /// The stages that its settings name.
    pub(super) references: Vec<usize>,
    /// What it stands for where it is an instance: values by axis.
    pub values: BTreeMap<String, Value>,
}

/// An action of a recipe: all that its key covers but the content of its inputs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionNode {
    /// Its stage, by its place in the pipeline.
    pub stage: usize,
    /// Its place among the actions of its stage.
    pub place: usize,
    /// Its name in its stage.
    pub name: String,
    /// The part of its key that is known beforehand.
    pub base: ActionBase,
    /// What goes in.
    pub inputs: Vec<NodeInput>,
    /// The names of what comes out.
    pub outputs: Vec<String>,
    /// Whether its outputs appear as files of the workspace.
    pub appears: bool,
    /// When what it fetches from elsewhere is looked at again.
    pub refresh: Option<Refresh>,
    /// Whether it changes the world outside the store.
    pub effect: bool,
}

/// An input of an action, with its maker found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NodeInput {
    /// An output of another action.
    Made {
        /// Its role.
        role: String,
        /// The action that makes it.
        maker: u32,
        /// What its maker calls it.
        output: String,
        /// What of the folder that it is, as a path or glob inside of it; all of it where nothing is said.
        part: Option<String>,
    },
    /// Files of the workspace.
    Files(FileSource),
}

/// A pipeline compiled to actions, ready to be planned and run.
#[derive(Debug)]
pub struct Recipe {
    /// The pipeline's name.
    pub name: String,
    /// The file that it came from.
    pub file: PipelineFile,
    /// What a run may spend.
    pub budget: Budget,
    /// What the command line changed of it.
    pub overrides: Overrides,
    /// Its stages, in the order of the file.
    pub stages: Vec<StageNode>,
    /// Its actions.
    pub actions: Dag<ActionNode>,
    /// The actions, each after all that it needs.
    pub order: Vec<NodeId>,
    /// Who writes which file.
    pub outputs: Outputs,
    /// What is worth a warning.
    pub warnings: Vec<Finding>,
    /// The digest of the names of all actions in order.
    pub layout: Digest,
    /// The first action of each stage; the actions of a stage stand together.
    starts: Vec<usize>,
    shared: Vec<Span>,
    works: Mutex<Works>,
}

impl Recipe {
    /// Reads a pipeline file and compiles it, unless the workspace keeps it compiled.
    ///
    /// # Errors
    /// All that is wrong with it, in one report.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, PipelineErrors> {
        let file = read(path, overrides)?;
        let state = Workspace::root_of(path).join(".retune");
        if let Some((compiled, file)) = Compiled::load(&state, &file, overrides) {
            return Ok(Self::of(Whole { compiled, works: Works::new(), file }, overrides.clone()));
        }
        let mut whole = compile::compile(file, overrides)?;
        whole.compiled = whole.compiled.save(&state, &whole.file, overrides);
        Ok(Self::of(whole, overrides.clone()))
    }

    /// Reads and compiles a pipeline file, whatever is kept of it.
    ///
    /// # Errors
    /// All that is wrong with it, in one report.
    pub fn check(path: &Path, overrides: &Overrides) -> Result<Self, PipelineErrors> {
        Ok(Self::of(compile::compile(read(path, overrides)?, overrides)?, overrides.clone()))
    }

    fn of(Whole { compiled, works, file }: Whole, overrides: Overrides) -> Self {
        let mut actions = Dag::new();
        for node in compiled.actions {
            actions.add(node);
        }
        let ids: Vec<NodeId> = actions.ids().collect();
        for &id in &ids {
            for maker in makers(actions.node(id)) {
                actions.link(maker, id);
            }
        }
        let layout = layout(&compiled.stages, &actions);
        Self {
            layout,
            starts: (0..compiled.stages.len()).map(|stage| ids.partition_point(|&id| actions.node(id).stage < stage)).collect(),
            name: compiled.name,
            budget: compiled.budget,
            file,
            overrides,
            stages: compiled.stages,
            actions,
            order: compiled.order.into_iter().map(NodeId::from).collect(),
            outputs: compiled.outputs,
            warnings: compiled.warnings,
            shared: compiled.shared,
            works: Mutex::new(works),
        }
    }

    /// Where its lock file lies.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        LockFile::path(&self.file.path, self.overrides.profile.as_deref())
    }

    /// When the stage of an action is done, how often, and with what.
    #[must_use]
    pub fn scheduling(&self, node: &ActionNode) -> &Scheduling {
        &self.stages[node.stage].scheduling
    }

    /// The name of the stage that an action belongs to.
    #[must_use]
    pub fn stage_name(&self, node: &ActionNode) -> &StageName {
        &self.stages[node.stage].name
    }

    /// The actions of a stage, each after all of the stage that it needs.
    pub fn actions_of(&self, stage: usize) -> impl Iterator<Item = NodeId> + use<> {
        let start = self.starts[stage];
        let end = self.starts.get(stage + 1).copied().unwrap_or(self.order.len());
        (start..end).map(NodeId::new)
    }

    /// A stage and all stages that need it, however far.
    #[must_use]
    pub fn downstream(&self, stage: usize) -> BTreeSet<usize> {
        let mut users = vec![Vec::new(); self.stages.len()];
        for (user, declared) in self.stages.iter().enumerate() {
            declared.needs.iter().for_each(|&need| users[need].push(user));
        }
        let mut found = BTreeSet::new();
        let mut open = vec![stage];
        while let Some(stage) = open.pop() {
            if found.insert(stage) {
                open.extend(&users[stage]);
            }
        }
        found
    }

    /// The place of a stage that the command line names.
    ///
    /// # Errors
    /// When there is no such stage, or several instances of it.
    pub fn named(&self, name: &str) -> Result<usize, EngineError> {
        match self.all_named(name)?.as_slice() {
            [only] => Ok(*only),
            several => {
                let names: Vec<String> = several.iter().take(8).map(|&stage| in_shell(self.stages[stage].name.as_str())).collect();
                let more = if several.len() > names.len() { ", ..." } else { "" };
                let help = format!("`{name}` has {} instances; name one, in quotes: {}{more}", several.len(), names.join(", "));
                Err(EngineError::Usage(ConfigError::UnknownStage { name: name.to_owned(), help }))
            }
        }
    }

    /// The places of the stages that the command line means by a name: all instances of a stage, or those with the values that
    /// are given (`router[rank=8]`).
    ///
    /// # Errors
    /// When there is none.
    pub fn all_named(&self, name: &str) -> Result<Vec<usize>, EngineError> {
        if let Some(exact) = self.stages.iter().position(|stage| stage.name.as_str() == name) {
            return Ok(vec![exact]);
        }
        let unknown = |help: String| EngineError::Usage(ConfigError::UnknownStage { name: name.to_owned(), help });
        let instances: Vec<usize> = (0..self.stages.len()).filter(|&stage| self.stages[stage].name.stem() == stem(name)).collect();
        if instances.is_empty() {
            return Err(unknown(self.offer(name)));
        }
        let bad = |bad: BadBrackets| unknown(format!("{}; {HOW}", bad.problem));
        let meant = Wanted::parse(name).and_then(|wanted| wanted.among(&instances, |&stage, axis| self.stages[stage].values.get(axis))).map_err(bad)?.instances;
        if meant.is_empty() { Err(unknown(self.offer(name))) } else { Ok(meant.into_iter().copied().collect()) }
    }

    fn offer(&self, name: &str) -> String {
        let instances = self.stages.iter().filter(|stage| stage.name.stem() == stem(name) && !stage.values.is_empty());
        let known = described(instances.map(|stage| &stage.values));
        if !known.is_empty() {
            return format!("`{}` has {known}", stem(name));
        }
        let names: Vec<&str> = self.stages.iter().map(|stage| stage.name.as_str()).collect();
        nearest(name, names.iter().copied()).map_or_else(|| format!("there are: {}", names.join(", ")), |near| format!("did you mean `{near}`?"))
    }

    /// The actions of a stage with their settings and their work, read from the stage's text when they are first asked for.
    ///
    /// # Errors
    /// When the text, which was right before, is not.
    pub fn works(&self, stage: usize) -> Result<Arc<Vec<Action>>, StageError> {
        if let Some(known) = self.lock().get(&stage) {
            return Ok(Arc::clone(known));
        }
        let compiled = compile::stage(self, stage)?;
        let mut works = self.lock();
        works.extend(compiled.into_iter().map(|(stage, actions)| (stage, Arc::new(actions))));
        Ok(works.get(&stage).map(Arc::clone).unwrap_or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Works> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layout(stages: &[StageNode], actions: &Dag<ActionNode>) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("retune layout v1");
    for node in actions.ids().map(|id| actions.node(id)) {
        for name in [stages[node.stage].name.as_str(), &node.name] {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
    }
    hasher.finalize().into()
}

fn makers(node: &ActionNode) -> Vec<NodeId> {
    let made = node.inputs.iter().filter_map(|input| match input {
        NodeInput::Made { maker, .. } => Some(NodeId::from(*maker)),
        NodeInput::Files(_) => None,
    });
    made.collect()
}

/// Reads the file, and makes sure that the lock file under a profile is nobody else's.
fn read(path: &Path, overrides: &Overrides) -> Result<PipelineFile, PipelineErrors> {
    let file = PipelineFile::read(path).map_err(|error| PipelineErrors::unread(&path.display().to_string(), &error))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let other = overrides.profile.as_ref().map(|profile| (profile, path.with_file_name(format!("{stem}.{profile}.kdl"))));
    match other.filter(|(_, other)| other.exists()) {
        None => Ok(file),
        Some((profile, other)) => {
            let problem = format!("{} with the profile `{profile}` and {} would share one lock file", file.name, other.display());
            let help = "give one of the two files another name".into();
            Err(PipelineErrors::new(&file, &[ConfigError::Contradiction { problem, label: "the name of this one".into(), at: (0, 0).into(), help }]))
        }
    }
}
