use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::store::{RecordOutcome, StoreError, move_to};

use super::super::checkpoints::Checkpoints;
use super::super::{Context, StageError, Work};
use super::delta::{self, Deltas};
use super::layout;
use super::process::{self, Launch, Program, Sandbox};

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
    pub sandbox: Sandbox,
    pub checkpoints: Option<String>,
    pub deltas: Option<Deltas>,
}

#[async_trait]
impl Work for Exec {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        if self.is_sandboxed() {
            return self.attempt(context).await;
        }
        let _alone = layout::alone(context, &self.outputs).await?;
        layout::as_made(context)?;
        let cleared = layout::Cleared::clear(context, &self.outputs)?;
        let unmoved = || (context.moved)().map_or(Ok(()), |path| Err(StageError::InputChanged { path }));
        let result = self.attempt(context).await.and_then(|outcome| layout::as_made(context).and_then(|()| unmoved()).map(|()| outcome));
        cleared.end(context, result.is_ok());
        result
    }

    fn works_in_place(&self) -> bool {
        !self.is_sandboxed()
    }
}

impl Exec {
    fn is_sandboxed(&self) -> bool {
        self.sandbox != Sandbox::Off
    }

    async fn attempt(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let place = if self.is_sandboxed() { context.folder } else { context.workspace };
        let mut laid = layout::Laid::new();
        if self.is_sandboxed() {
            layout::lay_out(context)?;
            laid = layout::laid(context);
        }
        // By the clock of the file system, which may lag behind the other.
        let began = std::fs::metadata(context.folder).and_then(|folder| folder.modified()).unwrap_or_else(|_| SystemTime::now());
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
            environment.extend(delta::lay(context, deltas, &self.outputs, &self.program, self.directory.as_deref())?);
        }
        let lying = if self.is_sandboxed() { layout::Laid::new() } else { layout::lying(context) };
        let place_of_checkpoints = checkpoints.as_ref().map(Checkpoints::place);
        let launch = Launch { program: &self.program, folder: &begin, environment: &environment, sandbox: self.sandbox, checkpoints: place_of_checkpoints };
        process::run(launch, context).await?;
        if self.is_sandboxed() {
            layout::untouched(context, &laid)?;
            for path in layout::edited(context, &laid) {
                context.watch.note(&format!("warning: the command changed its copy of the input {path}, and the change is lost: write to an output"));
            }
        } else if let Some(path) = layout::moved(&lying, &layout::lying(context)) {
            return Err(StageError::InputChanged { path });
        }
        // All that may say no is asked before anything is moved: what took hours is not lost over a name.
        let metrics = self.looked_at(context, place, &laid, began).inspect_err(|_| self.keep(context))?;
        let outputs = self.take(context, place).inspect_err(|_| self.keep(context))?;
        let resumed = checkpoints.as_ref().and_then(Checkpoints::resumed);
        Ok(RecordOutcome { outputs, metrics, resumed, ..RecordOutcome::default() })
    }

    /// A path that is relative to where the command begins, relative to its folder.
    fn below(&self, path: &str) -> PathBuf {
        self.directory.as_ref().map_or_else(|| PathBuf::from(path), |directory| Path::new(directory).join(path))
    }

    /// The metrics, and that nothing is missing or left over.
    fn looked_at(&self, context: &Context<'_>, place: &Path, laid: &layout::Laid, began: SystemTime) -> Result<BTreeMap<String, f64>, StageError> {
        if let Some(path) = self.outputs.iter().find(|path| std::fs::symlink_metadata(place.join(path)).is_err()) {
            let elsewhere = std::fs::metadata(context.workspace.join(path)).and_then(|file| file.modified()).is_ok_and(|written| written >= began);
            let path = path.clone();
            return Err(if elsewhere && self.is_sandboxed() { StageError::WrittenElsewhere { path } } else { StageError::MissingOutput { path } });
        }
        if self.is_sandboxed() {
            let own = self.outputs.iter().map(PathBuf::from).chain(self.checkpoints.iter().map(|folder| self.below(folder)));
            layout::nothing_else(context, laid, &own.collect::<Vec<_>>())?;
        }
        self.measured(place)
    }

    /// Keeps what a command that ended well has made, where it cannot be a result as it is.
    fn keep(&self, context: &Context<'_>) {
        if !self.is_sandboxed() {
            return;
        }
        let stage = context.stage.as_str();
        let mut kept = context.store.displaced().join("rejected").join(stage);
        if kept.exists() {
            // What an earlier attempt made may have taken hours too.
            kept.set_file_name(format!("{stage}-{}", context.token));
        }
        // That it can be kept is a help; the error that made it necessary is told in any case.
        if move_to(context.folder, &kept).is_ok() && std::fs::create_dir(context.folder).is_ok() {
            let name = kept.file_name().unwrap_or_default().display();
            context.watch.note(&format!("what the command made is kept as .retune/displaced/rejected/{name}"));
        }
    }

    fn take(&self, context: &Context<'_>, place: &Path) -> Result<BTreeMap<String, crate::store::Artifact>, StageError> {
        let mut outputs = BTreeMap::new();
        for path in &self.outputs {
            let made = place.join(path);
            let kept = if self.is_sandboxed() { context.store.take_path(&made) } else { context.store.copy_path(&made) };
            let kept = kept.map_err(|error| match std::fs::symlink_metadata(&made) {
                Ok(link) if link.is_symlink() && !made.exists() => StoreError::Dangling { path: PathBuf::from(path) }.into(),
                Ok(_) => error.below(place).into(),
                Err(_) => StageError::MissingOutput { path: path.clone() },
            });
            outputs.insert(path.clone(), kept?);
        }
        Ok(outputs)
    }

    /// The numbers of all metrics files.
    fn measured(&self, place: &Path) -> Result<BTreeMap<String, f64>, StageError> {
        let mut metrics = BTreeMap::new();
        for path in &self.metrics {
            let wrong = |problem: String| StageError::Metrics { path: path.clone(), problem };
            let file = std::fs::metadata(place.join(path)).map_err(|error| wrong(error.to_string()))?;
            if !file.is_file() || file.len() > LARGEST_METRICS {
                return Err(wrong("it is no file of at most 16 MiB".into()));
            }
            let bytes = std::fs::read(place.join(path)).map_err(|error| wrong(error.to_string()))?;
            let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
            if !value.is_object() {
                return Err(wrong("it is not an object".into()));
            }
            let found = figures(&value);
            if found.is_empty() {
                return Err(wrong("there is no number in it".into()));
            }
            for (name, number) in found {
                if metrics.insert(name.clone(), number).is_some() {
                    return Err(wrong(format!("`{name}` is there twice, in it or in another metrics file; give each metric a name of its own")));
                }
            }
        }
        Ok(metrics)
    }
}

/// A file of metrics that is larger is none.
const LARGEST_METRICS: u64 = 16 << 20;

/// The numbers of a metrics file in the order they stand there, those deep inside by a name with dots.
pub fn figures(value: &serde_json::Value) -> Vec<(String, f64)> {
    fn flatten(value: &serde_json::Value, name: String, found: &mut Vec<(String, f64)>) {
        match value {
            serde_json::Value::Number(number) => found.extend(number.as_f64().map(|number| (name, number))),
            serde_json::Value::Object(parts) => {
                for (part, value) in parts {
                    flatten(value, if name.is_empty() { part.clone() } else { format!("{name}.{part}") }, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    flatten(value, String::new(), &mut found);
    found
}
