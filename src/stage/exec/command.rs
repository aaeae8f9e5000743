use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::store::{RecordOutcome, StoreError};

use super::super::checkpoints::Checkpoints;
use super::super::{Context, StageError, Work};
use super::delta::{self, Deltas};
use super::layout;
use super::process::{self, Launch, Program};

/// A command with all that it may see and must make.
#[derive(Debug)]
pub struct Exec {
    pub program: Program,
    pub outputs: Vec<String>,
    /// Those of the outputs whose numbers become metrics.
    pub metrics: Vec<String>,
    /// The declared variables that are set, with their values.
    pub environment: BTreeMap<String, String>,
    pub directory: Option<String>,
    /// Whether it works in a folder of its own.
    pub sandboxed: bool,
    pub checkpoints: Option<String>,
    pub deltas: Option<Deltas>,
}

#[async_trait]
impl Work for Exec {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        if self.sandboxed {
            return self.attempt(context).await;
        }
        let cleared = layout::Cleared::clear(context, &self.outputs)?;
        let result = self.attempt(context).await;
        cleared.end(result.is_ok());
        result
    }
}

impl Exec {
    async fn attempt(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let place = if self.sandboxed { context.folder } else { context.workspace };
        let mut laid = layout::Laid::new();
        if self.sandboxed {
            layout::lay_out(context)?;
            laid = layout::laid(context);
        }
        for path in &self.outputs {
            let parent = Path::new(path).parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.map_or(Ok(()), |parent| layout::make_folder(&place.join(parent)))?;
        }
        let begin = self.directory.as_ref().map_or_else(|| place.to_owned(), |directory| place.join(directory));
        if self.directory.is_some() {
            layout::make_folder(&begin)?;
        }
        let mut environment = self.environment.clone();
        let checkpoints = match &self.checkpoints {
            Some(folder) => {
                let mut taken = Checkpoints::take(context, "")?;
                taken.appear(&begin.join(folder))?;
                Some(taken)
            }
            None => None,
        };
        environment.extend(checkpoints.iter().map(Checkpoints::variable));
        if let Some(deltas) = self.deltas {
            environment.extend(delta::lay(context, deltas, &self.outputs)?);
        }
        environment.extend(context.gpus.map(|gpus| ("CUDA_VISIBLE_DEVICES".to_owned(), gpus.join(","))));
        let lying = if self.sandboxed { layout::Laid::new() } else { layout::lying(context, &self.outputs) };
        process::run(Launch { program: &self.program, folder: &begin, environment: &environment, sandboxed: self.sandboxed }, context).await?;
        if self.sandboxed {
            layout::untouched(context, &laid)?;
        } else if let Some(path) = layout::moved(&lying, &layout::lying(context, &self.outputs)) {
            return Err(StageError::InputChanged { path });
        }
        let outputs = self.take(context, place)?;
        if self.sandboxed {
            let own = self.outputs.iter().map(PathBuf::from).chain(self.checkpoints.iter().map(|folder| self.below(folder)));
            layout::nothing_else(context, &laid, &own.collect::<Vec<_>>())?;
        }
        let metrics = self.measured(context, &outputs)?;
        let resumed = checkpoints.as_ref().and_then(Checkpoints::resumed);
        Ok(RecordOutcome { outputs, metrics, resumed, ..RecordOutcome::default() })
    }

    /// A path that is relative to where the command begins, relative to its folder.
    fn below(&self, path: &str) -> PathBuf {
        self.directory.as_ref().map_or_else(|| PathBuf::from(path), |directory| Path::new(directory).join(path))
    }

    fn take(&self, context: &Context<'_>, place: &Path) -> Result<BTreeMap<String, crate::store::Artifact>, StageError> {
        let mut outputs = BTreeMap::new();
        for path in &self.outputs {
            let made = place.join(path);
            let kept = if self.sandboxed { context.store.take_path(&made) } else { context.store.copy_path(&made) };
            let kept = kept.map_err(|error| match std::fs::symlink_metadata(&made) {
                Ok(link) if link.is_symlink() && !made.exists() => StoreError::Dangling { path: PathBuf::from(path) }.into(),
                Ok(_) => error.into(),
                Err(_) => StageError::MissingOutput { path: path.clone() },
            });
            outputs.insert(path.clone(), kept?);
        }
        Ok(outputs)
    }

    /// The numbers of the metrics files, those deep inside by a name with dots.
    fn measured(&self, context: &Context<'_>, outputs: &BTreeMap<String, crate::store::Artifact>) -> Result<BTreeMap<String, f64>, StageError> {
        let mut metrics = BTreeMap::new();
        for path in &self.metrics {
            let wrong = |problem: String| StageError::Metrics { path: path.clone(), problem };
            let bytes = outputs.get(path).map(|artifact| context.store.read(*artifact)).transpose()?.unwrap_or_default();
            let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
            if !value.is_object() {
                return Err(wrong("it is not an object".into()));
            }
            let before = metrics.len();
            flatten(&value, String::new(), &mut metrics);
            if metrics.len() == before {
                return Err(wrong("it holds no number".into()));
            }
        }
        Ok(metrics)
    }
}

fn flatten(value: &serde_json::Value, name: String, metrics: &mut BTreeMap<String, f64>) {
    match value {
        serde_json::Value::Number(number) => metrics.extend(number.as_f64().map(|number| (name, number))),
        serde_json::Value::Object(parts) => {
            for (part, value) in parts {
                flatten(value, if name.is_empty() { part.clone() } else { format!("{name}.{part}") }, metrics);
            }
        }
        _ => {}
    }
}
