//! Rows of files, with what could not be read as a row beside them.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde_json::json;

use crate::data::fields::Fields;
use crate::data::format::Shape;
use crate::data::{DataError, Lines, Rejected, Row, format};
use crate::fingerprint::Digest;
use crate::store::{Artifact, Reading, RecordOutcome, Store, Text};

use super::super::action::read_workspace;
use super::super::{Context, Given, StageError, Work};
use super::{REJECTED, REPORT, ROWS};

/// Reads rows.
#[derive(Debug)]
pub struct Collect {
    /// The inputs of each source, with what is declared of them.
    pub sources: Vec<(Vec<String>, Shape)>,
    pub fields: Option<Fields>,
}

#[async_trait]
impl Work for Collect {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        tokio::task::block_in_place(|| collect(self, context))
    }
}

fn collect(work: &Collect, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
    let mut out = Out::new(context)?;
    let mut files = Vec::new();
    // Each file once, as the first source that means it declares it.
    let mut all: BTreeMap<String, (Content, &Shape)> = BTreeMap::new();
    for (inputs, shape) in &work.sources {
        let given = inputs.iter().filter_map(|name| context.inputs.get(name));
        for (path, content) in contents(context.store, given)? {
            all.entry(path).or_insert((content, shape));
        }
    }
    for (path, (content, shape)) in all {
        if context.watch.stopped() {
            return Err(StageError::Stopped);
        }
        let (rows, rejected) = (out.rows.count, out.rejected.count);
        content
            .each(&path, context, |content| format::read(&path, content, shape, &mut |row| out.take(row.and_then(|row| taken(row, work.fields.as_ref())))))?;
        files.push(json!({ "file": path, "rows": out.rows.count - rows, "rejected": out.rejected.count - rejected }));
        context.watch.progress(out.rows.count as u64, 0, "rows", &path);
    }
    if out.rows.count == 0 {
        let first = out.first.map_or_else(
            || "there is nothing below the header, or the list is empty; check the export".to_owned(),
            |row| format!("the first: {}:{}: {}", row.source, row.line, row.reason),
        );
        let files = files.iter().filter_map(|file| file["file"].as_str()).collect::<Vec<_>>().join(", ");
        return Err(DataError::NoRows { files, rejected: out.rejected.count, first }.into());
    }
    out.publish(context, &files)
}

/// A row with the fields that are wanted.
fn taken(mut row: Row, fields: Option<&Fields>) -> Result<Row, Rejected> {
    let Some(fields) = fields else {
        return Ok(row);
    };
    let before = serde_json::to_string(&row.fields).unwrap_or_default();
    match fields.take(&mut row) {
        Ok(()) => Ok(row),
        Err(reason) => Err(Rejected::new(&row.source, row.line, "fields", reason, &before)),
    }
}

/// The outputs while they are written.
struct Out {
    rows: Lines,
    rejected: Lines,
    first: Option<Rejected>,
}

impl Out {
    fn new(context: &Context<'_>) -> Result<Self, StageError> {
        Ok(Self { rows: Lines::new(context.folder.join(ROWS))?, rejected: Lines::new(context.folder.join(REJECTED))?, first: None })
    }

    fn take(&mut self, row: Result<Row, Rejected>) -> Result<(), DataError> {
        match row {
            Ok(row) => self.rows.push_row(&row),
            Err(row) => {
                self.rejected.push(&row)?;
                self.first.get_or_insert(row);
                Ok(())
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
    fn publish(self, context: &Context<'_>, files: &[serde_json::Value]) -> Result<RecordOutcome, StageError> {
        let (rows, rejected) = (self.rows.count, self.rejected.count);
        let report = json!({ "rows": rows, "rejected": rejected, "files": files });
        let outputs = BTreeMap::from([
            (ROWS.to_owned(), context.store.take_path(&self.rows.finish()?)?),
            (REJECTED.to_owned(), context.store.take_path(&self.rejected.finish()?)?),
            (REPORT.to_owned(), context.store.put_bytes(format!("{report:#}\n").as_bytes())?),
        ]);
        let metrics = BTreeMap::from([("rows".to_owned(), rows as f64), ("rejected".to_owned(), rejected as f64)]);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }
}

/// Where a file of an input is.
pub enum Content {
    Workspace(Digest),
    Stored(Artifact),
}

impl Content {
    /// Reads it a part at a time, and makes sure that it was what the key covers.
    fn each(&self, path: &str, context: &Context<'_>, read: impl FnOnce(format::Content<'_>) -> Result<(), DataError>) -> Result<(), StageError> {
        let place = match self {
            Self::Workspace(_) => context.workspace.join(path),
            Self::Stored(artifact) => {
                let place = context.folder.join("source");
                context.store.link(*artifact, &place)?;
                place
            }
        };
        let failed = |source| StageError::Io { doing: "read", path: place.clone(), source };
        let mut text = Text::open(&place).map_err(failed)?;
        let size = place.metadata().map_err(failed)?.len();
        let result = read(format::Content { reader: &mut text, size, place: Some(&place) });
        match self {
            // What is wrong with it may come of the change.
            Self::Workspace(digest) if text.digest().map_err(failed)? != *digest => return Err(StageError::InputChanged { path: path.to_owned() }),
            Self::Workspace(_) => {}
            Self::Stored(_) => std::fs::remove_file(&place).map_err(failed)?,
        }
        Ok(result?)
    }

    /// Its text, made sure to be what the key covers.
    pub fn read(&self, path: &str, workspace: &Path, store: &Store) -> Result<Vec<u8>, StageError> {
        match self {
            Self::Workspace(digest) => read_workspace(workspace, path, Reading::Text, *digest),
            Self::Stored(artifact) => Ok(Reading::Text.of(store.read(*artifact)?)),
        }
    }
}

/// The files of some inputs by path, each path once.
pub fn contents<'a>(store: &Store, inputs: impl Iterator<Item = &'a Given>) -> Result<BTreeMap<String, Content>, StageError> {
    let mut contents = BTreeMap::new();
    for given in inputs {
        match given {
            Given::Files(files) => contents.extend(files.iter().map(|(path, digest)| (path.clone(), Content::Workspace(*digest)))),
            Given::Part(files) => contents.extend(files.iter().map(|(path, artifact)| (path.clone(), Content::Stored(*artifact)))),
            Given::Artifact { name, artifact: artifact @ (Artifact::File { .. } | Artifact::Program { .. }) } => {
                contents.insert(name.clone(), Content::Stored(*artifact));
            }
            Given::Artifact { name, artifact } => {
                let files = store.tree(*artifact)?.into_iter();
                contents.extend(files.map(|file| (format!("{name}/{}", file.path), Content::Stored(Artifact::File { digest: file.digest, size: file.size }))));
            }
        }
    }
    Ok(contents)
}
