use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::plain;
use crate::config::{ConfigError, Pipeline, StageName};
use crate::fingerprint::{ActionKey, Digest, Preimage, Tree};
use crate::graph::Outputs;
use crate::provider::{Network, Watch};
use crate::store::{Artifact, Reading, Record, RecordOutcome, Store};

use super::copied::copy_of;
use super::look::{DataAsked, DataCheck, Look, RowAsked, StepAsked};
use super::{Guard, StageError};

/// The unit of fingerprint, cache and schedule: one thing to do, and all that its result depends on.
#[derive(Debug)]
pub struct Action {
    /// Its name in its stage (`generate`, `grade`).
    pub name: String,
    /// The version of the code behind it.
    pub version: u32,
    /// The settings that can change its result.
    pub settings: Tree,
    /// Environment, provider and model that can change its result, by name.
    pub context: BTreeMap<String, Tree>,
    /// What goes in.
    pub inputs: Vec<Input>,
    /// The names of what comes out.
    pub outputs: Vec<String>,
    /// Outputs that appear as files of the workspace, at the path that is their name.
    pub appears: bool,
    /// Whether it wants to know of its last success.
    pub builds_on_last: bool,
    /// When what it fetches from elsewhere is looked at again, where it is.
    pub refresh: Option<Refresh>,
    /// Whether it changes the world outside the store, so that its result is never taken from the cache.
    pub effect: bool,
    /// What is done.
    pub work: Box<dyn Work>,
}

/// When something outside of the workspace is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refresh {
    /// With every run.
    Always,
    /// When it was last looked at so long ago.
    Every(Duration),
}

impl Refresh {
    /// Whether it is time to look again at what was last looked at then.
    #[must_use]
    pub fn is_due(self, last: Timestamp) -> bool {
        match self {
            Self::Always => true,
            Self::Every(time) => Timestamp::now().duration_since(last).unsigned_abs() >= time,
        }
    }
}

/// Something that goes into an action, under the name of its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its role.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An output of an action, of this stage or another.
    Output {
        /// The stage.
        stage: StageName,
        /// The output's name.
        output: String,
        /// What of the folder that it is, as a path or glob inside of it; all of it where nothing is said.
        part: Option<String>,
    },
    /// Files of the workspace.
    Files(FileSource),
}

/// Files of the workspace: a path, a folder with all in it, or a glob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSource {
    /// The pattern, relative to the workspace; also the role of the files.
    pub pattern: String,
    /// The content that it must have, where it is pinned.
    pub pinned: Option<Digest>,
    /// Whether it may match nothing, because stages write what it means.
    pub optional: bool,
    /// What of the files counts.
    pub reading: Reading,
}

impl Input {
    /// An output of a stage in a role.
    #[must_use]
    pub fn output(name: impl Into<String>, stage: &StageName, output: impl Into<String>) -> Self {
        Self { name: name.into(), source: Source::Output { stage: stage.clone(), output: output.into(), part: None } }
    }
}

/// An input as it is given to the work.
#[derive(Clone, Debug)]
pub enum Given {
    /// An output of another action.
    Artifact {
        /// The name under which it was made: for an `exec` its path.
        name: String,
        /// What it is.
        artifact: Artifact,
    },
    /// Some files of a folder that another action made, by path.
    Part(Vec<(String, Artifact)>),
    /// Files of the workspace, by path, with the digests that they had when the key was made.
    Files(Vec<(String, Digest)>),
}

/// What an action is compiled with.
#[derive(Debug)]
pub struct Compiler<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Who writes which file.
    pub outputs: &'a Outputs,
    /// What is worth a warning.
    pub warnings: Vec<ConfigError>,
}

impl Compiler<'_> {
    /// The inputs that a path or glob of the workspace means: outputs of stages, and files that no stage writes.
    #[must_use]
    pub fn files(&self, pattern: &str, reading: Reading, pinned: Option<Digest>) -> Vec<Input> {
        let produced = self.outputs.meant_by(pattern);
        let spelled = plain(pattern);
        if let [folder] = produced.as_slice()
            && let Some(part) = spelled.strip_prefix(&folder.path).and_then(|rest| rest.strip_prefix('/'))
        {
            let (stage, output, part) = (folder.name.clone(), folder.path.clone(), Some(part.to_owned()));
            return vec![Input { name: spelled, source: Source::Output { stage, output, part } }];
        }
        let exact = produced.len() == 1 && spelled == produced[0].path;
        let made = produced.into_iter().map(|made| Input::output(&made.path, &made.name, &made.path));
        let mut inputs: Vec<Input> = made.collect();
        if !exact {
            let source = Source::Files(FileSource { pattern: pattern.to_owned(), pinned, optional: !inputs.is_empty(), reading });
            inputs.push(Input { name: pattern.to_owned(), source });
        }
        inputs
    }
}

/// What an action works with.
pub struct Context<'a> {
    /// Tells a file of the workspace among its inputs that is not as it was.
    pub moved: &'a (dyn Fn() -> Option<String> + Sync),
    /// Its key.
    pub key: ActionKey,
    /// Its stage.
    pub stage: &'a StageName,
    /// The store that its outputs go to.
    pub store: &'a Store,
    /// The workspace.
    pub workspace: &'a Path,
    /// A folder of its own, gone afterwards.
    pub folder: &'a Path,
    /// The folder of all attempts of this run.
    pub session: &'a Path,
    /// Where its commands may put what they need for a moment.
    pub temporary: &'a Path,
    /// What tells this attempt from every other.
    pub token: &'a str,
    /// The GPUs that it was given, where it asked for any.
    pub gpus: Option<&'a [String]>,
    /// All that its key covers.
    pub preimage: &'a Preimage,
    /// The record of its last success in this pipeline, under whatever key.
    pub last: Option<&'a Record>,
    /// Whether it is done anew, by force or since it always runs: what was remembered besides records does not count.
    pub anew: bool,
    /// Where it may write what its command prints.
    pub log: &'a Path,
    /// Its inputs by role.
    pub inputs: &'a BTreeMap<String, Given>,
    /// Who ends its commands when this program is killed.
    pub guard: &'a Guard,
    /// The way to providers.
    pub network: &'a Arc<Network>,
    /// To say how far it is, and to hear that it should stop.
    pub watch: &'a dyn Watch,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("key", &self.key).field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The artifact given in a role.
    ///
    /// # Errors
    /// When there is none, which is a mistake in the stage kind.
    pub fn artifact(&self, name: &str) -> Result<Artifact, StageError> {
        given(self.inputs, name)
    }

    /// The bytes of the file given in a role.
    ///
    /// # Errors
    /// When there is none, or the store cannot give it.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StageError> {
        Ok(self.store.read(self.artifact(name)?)?)
    }

    /// A file that is given in a role, as a path: verified, and in the folder of this attempt, so that nobody changes it.
    ///
    /// # Errors
    /// When there is none, it cannot be had, or it has changed.
    pub fn file(&self, name: &str) -> Result<PathBuf, StageError> {
        let place = self.folder.join("given").join(name);
        let parent = place.parent().unwrap_or(self.folder);
        std::fs::create_dir_all(parent).map_err(|source| StageError::Io { doing: "create", path: parent.to_owned(), source })?;
        match self.inputs.get(name) {
            Some(Given::Artifact { artifact, .. }) => self.store.link(*artifact, &place)?,
            Some(Given::Part(files)) if files.len() == 1 => self.store.link(files[0].1, &place)?,
            Some(Given::Files(files)) if files.len() == 1 => {
                let (path, digest) = &files[0];
                copy_of(self.workspace, path, *digest, &place)?;
            }
            _ => return Err(StageError::NoInput { name: name.to_owned() }),
        }
        Ok(place)
    }
}

/// Reads a file of the workspace, and makes sure that it is still what the key covers.
///
/// # Errors
/// When it cannot be read, or has changed.
pub fn read_workspace(workspace: &Path, path: &str, reading: Reading, digest: Digest) -> Result<Vec<u8>, StageError> {
    let place = workspace.join(path);
    let bytes = std::fs::read(&place).map_err(|source| StageError::Io { doing: "read", path: place, source })?;
    let bytes = reading.of(bytes);
    if Digest::of(&bytes) != digest {
        return Err(StageError::InputChanged { path: path.to_owned() });
    }
    Ok(bytes)
}

/// What an action does.
#[async_trait]
pub trait Work: Send + Sync + fmt::Debug {
    /// Does it, and leaves its outputs in the store.
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError>;

    /// What becomes of one of the rows that go in, step by step; none where it works on no rows.
    ///
    /// # Errors
    /// When there is no such row, or it cannot be read.
    fn inspect(&self, _asked: &RowAsked<'_>, _inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
        Ok(None)
    }

    /// What made up one step of a training that was done here; none where it is no such training.
    ///
    /// # Errors
    /// When there is no such step, or nothing is known of it.
    fn inspect_step(&self, _asked: &StepAsked<'_>, _inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
        Ok(None)
    }

    /// What a provider would say to the examples that go in: the stage's own provider, or the one that is named. None where it
    /// trains on none, or its own provider asks nothing of them.
    ///
    /// # Errors
    /// When the examples cannot be read.
    fn check_data(&self, _asked: &DataAsked<'_>, _inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<DataCheck>>, StageError> {
        Ok(None)
    }

    /// Whether it reads and writes in the workspace itself.
    fn works_in_place(&self) -> bool {
        false
    }

    /// What it will take, as far as that can be told beforehand.
    fn estimate(&self, _workspace: &Path, _store: &Store, _inputs: &BTreeMap<String, Given>) -> Estimate {
        Estimate::default()
    }

    /// For an action with an outside effect: whether the effect of these inputs is there.
    ///
    /// # Errors
    /// When it cannot be found out.
    fn effect(&self, _workspace: &Path, _inputs: &BTreeMap<String, Given>) -> Result<Effect, StageError> {
        Ok(Effect::Absent)
    }

    /// Brings back an effect that is gone, as its record tells of it.
    ///
    /// # Errors
    /// When it cannot be brought back.
    fn restore(&self, _workspace: &Path, _store: &Store, _record: &Record, _inputs: &BTreeMap<String, Given>) -> Result<(), StageError> {
        Ok(())
    }
}

/// What an action will take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Tokens that a model will be trained on.
    pub tokens: Option<f64>,
    /// What that costs, in US dollars.
    pub usd: Option<f64>,
    /// What else there is to know before it begins.
    pub notes: Vec<String>,
    /// Whether it costs something, and nobody told what.
    pub is_unpriced: bool,
}

/// How an outside effect stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is there, with what there is to say about it.
    There(Option<String>),
    /// There is no trace of this effect or any other in its place: what a record tells of can be brought back.
    Gone,
    /// It is not there.
    Absent,
}

/// The artifact given in a role.
///
/// # Errors
/// When there is none, which is a mistake in the stage kind.
pub fn given(inputs: &BTreeMap<String, Given>, name: &str) -> Result<Artifact, StageError> {
    match inputs.get(name) {
        Some(Given::Artifact { artifact, .. }) => Ok(*artifact),
        _ => Err(StageError::NoInput { name: name.to_owned() }),
    }
}
