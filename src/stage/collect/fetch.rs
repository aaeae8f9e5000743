//! Brings what a source outside of the workspace has into the store.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::fingerprint::Digest;
use crate::store::{Record, RecordOutcome};

use super::super::action::Refresh;
use super::super::checkpoints::Checkpoints;
use super::super::{Context, StageError, Work};
use super::source::{About, Fetched, Fetching, Source, SourceError};

/// Fetches a source.
#[derive(Debug)]
pub struct Fetch {
    pub address: String,
    pub source: Box<dyn Source>,
    pub pinned: Option<Digest>,
    pub refresh: Option<Refresh>,
    /// The most that it may be, in bytes.
    pub largest: u64,
    /// What comes out: the files, and what there is to know of them.
    pub outputs: [String; 2],
}

#[async_trait]
impl Work for Fetch {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let last = context.last.filter(|record| record.key == context.key && record.outcome.outputs.values().all(|artifact| context.store.has(*artifact)));
        let about = last.and_then(|record| self.about(record, context));
        let kept = Checkpoints::take(context, "")?;
        let folder = context.folder.join("fetched");
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let fetching = Fetching { folder: &folder, kept: kept.place(), last: about.as_ref(), largest: self.largest, context };
        let fetched = crate::provider::until_stopped(context.watch, || true, self.source.fetch(&fetching)).await.ok_or(StageError::Stopped)?;
        match (fetched, last) {
            (Ok(Fetched::New(about)), _) => self.keep(&folder, &about, context),
            (Ok(Fetched::Same), Some(last)) => Ok(last.outcome.clone()),
            (Ok(Fetched::Same), None) => Err(SourceError::refused(&self.address, "it says that nothing changed, and nothing was asked for before").into()),
            (Err(StageError::Source(error @ SourceError::Unreachable { .. })), Some(last)) if self.refresh.is_some() => {
                let day = jiff::tz::Offset::UTC.to_datetime(last.finished).date();
                context.watch.note(&format!("warning: {error}; what it had on {day} is used"));
                Ok(last.outcome.clone())
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl Fetch {
    fn about(&self, last: &Record, context: &Context<'_>) -> Option<About> {
        serde_json::from_slice(&context.store.read(*last.outcome.outputs.get(&self.outputs[1])?).ok()?).ok()
    }

    fn keep(&self, folder: &Path, about: &About, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        if let Some(pinned) = self.pinned {
            let files: Vec<PathBuf> =
                walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect();
            let [file] = files.as_slice() else {
                return Err(SourceError::refused(&self.address, &format!("it is {} files, and `blake3=` pins one", files.len())).into());
            };
            let found = Digest::of_file(file).map_err(io("read", file))?;
            if found != pinned {
                return Err(StageError::PinMismatch { path: self.address.clone(), found: found.to_string() });
            }
        }
        let files = context.store.take_path(folder)?;
        let about = context.store.put_bytes(&serde_json::to_vec_pretty(about).unwrap_or_default())?;
        let outputs = self.outputs.iter().cloned().zip([files, about]).collect();
        Ok(RecordOutcome { outputs, ..RecordOutcome::default() })
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StageError {
    let path = path.to_owned();
    move |source| StageError::Io { doing, path, source }
}
