use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, StageDecl};
use crate::data::fields::{Field, FieldType, Fields};
use crate::data::format::Shape;
use crate::data::{DataError, Lines, Rejected, Row, format};
use crate::fingerprint::{Digest, settings};
use crate::store::{Artifact, Reading, RecordOutcome};

use super::{Action, Compiler, Context, Given, StageError, StageKind, Work, scheduling};

static SETTING: Setting = Setting::new("collect", "Gathers rows from files.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&SOURCE, &FIELDS]));
static SOURCE: Setting = Setting::new("source", "Where rows come from.")
    .many()
    .arguments(&[Slot::new(
        "path",
        Kind::Input,
        "A file, folder or glob of the workspace: CSV, TSV, JSON, JSON Lines, text or Markdown by ending, packed as `.gz` or `.zst` too.",
    )])
    .properties(&[
        Slot::new("blake3", Kind::Text, "The digest that the file must have; anything else is an error.").or(Fallback::Absent).without_effect(),
        Slot::new("format", Kind::Choice(format::NAMES), "The format, whatever the ending.").or(Fallback::Absent),
        Slot::new("delimiter", Kind::Text, "What stands between the fields of a table, where it is neither a comma nor a tab: one character.")
            .or(Fallback::Absent),
        Slot::new("encoding", Kind::Text, "The encoding of texts that are not UTF-8: `latin1`, `utf-16le`, `shift_jis`, ...").or(Fallback::Absent),
    ]);
static FIELDS: Setting = Setting::new("fields", "Which fields of each row are taken; without it all are.")
    .properties(&[Slot::new("others", Kind::Choice(&["drop", "keep"]), "What becomes of those that are not named.").or(Fallback::Text("drop"))])
    .children(|| vec![&FIELD]);
static FIELD: Setting =
    Setting::new("field", "A field that is taken.").many().arguments(&[Slot::new("name", Kind::Text, "Its name from here on.")]).properties(&[
        Slot::new("from", Kind::Text, "Its name in the source, where that is another.").or(Fallback::Absent),
        Slot::new("type", Kind::Choice(FieldType::NAMES), "What it must be; a row in which it is not goes to the rejected ones.").or(Fallback::Text("any")),
        Slot::new("optional", Kind::Flag, "Whether a row may do without it.").or(Fallback::Flag(false)),
    ]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

const VERSION: u32 = 3;
/// What later stages call the outputs.
pub const ROWS: &str = "rows";
pub const REJECTED: &str = "rejected";
const REPORT: &str = "report";

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let mut inputs = Vec::new();
    let mut sources = Vec::new();
    for source in stage.block.all("source") {
        let files = compiler.files(source.text("path"), Reading::Text, pinned(source)?);
        sources.push((files.iter().map(|input| input.name.clone()).collect(), shape(source)?));
        inputs.extend(files);
    }
    if inputs.is_empty() {
        return Err(ConfigError::MissingNode {
            node: "collect".into(),
            child: "source".into(),
            at: stage.name_span.into(),
            help: "say where the rows come from: `source \"data/*.csv\"`".into(),
        });
    }
    let action = Action {
        name: "collect",
        version: VERSION,
        settings: settings(&stage.block, &compiler.pipeline.file),
        context: BTreeMap::new(),
        inputs,
        outputs: [ROWS, REJECTED, REPORT].map(str::to_owned).to_vec(),
        appears: false,
        builds_on_last: false,
        effect: false,
        work: Box::new(Collect { sources, fields: stage.block.child(FIELDS.name).map(fields) }),
    };
    Ok(vec![action])
}

fn pinned(source: &Block) -> Result<Option<Digest>, ConfigError> {
    let Some(text) = source.find_text("blake3") else {
        return Ok(None);
    };
    let wrong = |_| ConfigError::WrongType {
        name: "blake3".into(),
        expected: "64 hexadecimal digits".into(),
        found: format!("{text:?}"),
        at: source.span_of("blake3").into(),
        help: "`b3sum FILE` prints them".into(),
    };
    text.parse().map(Some).map_err(wrong)
}

/// What is declared of the files of a source.
fn shape(source: &Block) -> Result<Shape, ConfigError> {
    let wrong = |slot: &str, expected: &str, help: &str| ConfigError::WrongType {
        name: slot.into(),
        expected: expected.into(),
        found: format!("{:?}", source.find_text(slot).unwrap_or_default()),
        at: source.span_of(slot).into(),
        help: help.into(),
    };
    let delimiter = match source.find_text("delimiter").map(str::as_bytes) {
        None => None,
        Some([one]) if one.is_ascii() && !matches!(one, b'"' | b'\r' | b'\n') => Some(*one),
        Some(_) => return Err(wrong("delimiter", "one ASCII character", "for example `delimiter=\";\"`")),
    };
    let encoding = source.find_text("encoding").map(str::to_owned);
    if encoding.as_ref().is_some_and(|encoding| !Shape::is_encoding(encoding)) {
        return Err(wrong("encoding", "the name of an encoding", "as in HTML: `latin1`, `windows-1252`, `utf-16le`, `shift_jis`, `gb18030`, ..."));
    }
    Ok(Shape { format: source.find_text("format").map(str::to_owned), delimiter, encoding })
}

fn fields(block: &Block) -> Fields {
    let named = block.all("field").map(|field| Field {
        name: field.text("name").to_owned(),
        from: field.find_text("from").unwrap_or(field.text("name")).to_owned(),
        kind: FieldType::named(field.text("type")),
        optional: field.flag("optional"),
    });
    Fields { named: named.collect(), others: block.text("others") == "keep" }
}

#[derive(Debug)]
struct Collect {
    /// The inputs of each source, with what is declared of them.
    sources: Vec<(Vec<String>, Shape)>,
    fields: Option<Fields>,
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
        for (path, content) in contents(context, given)? {
            all.entry(path).or_insert((content, shape));
        }
    }
    for (path, (content, shape)) in all {
        if context.watch.stopped() {
            return Err(StageError::Stopped);
        }
        let bytes = content.read(&path, context)?;
        let (rows, rejected) = (out.rows.count, out.rejected.count);
        format::read(&path, bytes.into(), shape, &mut |row| out.take(row.and_then(|row| taken(row, work.fields.as_ref()))))?;
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
            Ok(row) => self.rows.push(&row),
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
    /// Its text, made sure to be what the key covers.
    pub fn read(&self, path: &str, context: &Context<'_>) -> Result<Vec<u8>, StageError> {
        match self {
            Self::Workspace(digest) => context.read_workspace(path, Reading::Text, *digest),
            Self::Stored(artifact) => Ok(Reading::Text.of(context.store.read(*artifact)?)),
        }
    }
}

/// The files of some inputs by path, each path once.
pub fn contents<'a>(context: &Context<'_>, inputs: impl Iterator<Item = &'a Given>) -> Result<BTreeMap<String, Content>, StageError> {
    let mut contents = BTreeMap::new();
    for given in inputs {
        match given {
            Given::Files(files) => contents.extend(files.iter().map(|(path, digest)| (path.clone(), Content::Workspace(*digest)))),
            Given::Part(files) => contents.extend(files.iter().map(|(path, artifact)| (path.clone(), Content::Stored(*artifact)))),
            Given::Artifact { name, artifact: artifact @ (Artifact::File { .. } | Artifact::Program { .. }) } => {
                contents.insert(name.clone(), Content::Stored(*artifact));
            }
            Given::Artifact { name, artifact } => {
                let files = context.store.tree(*artifact)?.into_iter();
                contents.extend(files.map(|file| (format!("{name}/{}", file.path), Content::Stored(Artifact::File { digest: file.digest, size: file.size }))));
            }
        }
    }
    Ok(contents)
}
