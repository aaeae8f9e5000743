//! Gathers rows: from files of the workspace, and from sources elsewhere, each of which is fetched by an action of its own.

mod fetch;
mod rows;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Span, StageDecl, nearest, scheme};
use crate::data::fields::{Field, FieldType, Fields};
use crate::data::format::{self, Shape};
use crate::fingerprint::{Digest, Tree, settings, settings_of};
use crate::store::Reading;

use super::{Action, Compiler, Input, Refresh, StageKind, scheduling};
use fetch::Fetch;
use rows::Collect;
pub use rows::contents;
pub use source::SourceError;
use source::{SOURCES, SourceKind};

static SETTING: Setting = Setting::new("collect", "Gathers rows.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| scheduling::with(&[&SOURCE, &FIELDS, &REFRESH]));
static SOURCE: Setting = Setting::new("source", "Where rows come from.")
    .many()
    .arguments(&[Slot::new(
        "path",
        Kind::Input,
        "A file, folder or glob of the workspace, or an address: `https://`, `s3://`, `gs://`, `az://`, `hf://datasets/`, `sqlite:FILE`, `postgres://`, \
         `stored:PROVIDER`, `command:LINE`. CSV, TSV, JSON, JSON Lines, Parquet, text or Markdown by ending, packed as `.gz` or `.zst` too.",
    )])
    .children(|| vec![&REFRESH, &QUERY, &PASSWORD, &TOKEN, &ASKED, &METADATA, &ENV])
    .properties(&[
        Slot::new("blake3", Kind::Text, "The digest that the file must have; anything else is an error.").or(Fallback::Absent).without_effect(),
        Slot::new("format", Kind::Choice(format::NAMES), "The format, whatever the ending.").or(Fallback::Absent),
        Slot::new("delimiter", Kind::Text, "What stands between the fields of a table, where it is neither a comma nor a tab: one character.")
            .or(Fallback::Absent),
        Slot::new("largest", Kind::Size, "The most that may be fetched; 16 GiB where it is not given.").or(Fallback::Absent).without_effect(),
        Slot::new("encoding", Kind::Text, "The encoding of texts that are not UTF-8: `latin1`, `utf-16le`, `shift_jis`, ...").or(Fallback::Absent),
    ]);
static REFRESH: Setting = Setting::new("refresh", "When what was fetched from an address is looked at again; what is there only counts if it changed.")
    .without_effect()
    .arguments(&[
        Slot::new("mode", Kind::Choice(&["pinned", "always", "every"]), "`pinned`: never, `always`: with every run."),
        Slot::new("time", Kind::Duration, "For `every`: how long one look is good for, such as \"24h\".").or(Fallback::Absent),
    ]);
static QUERY: Setting = Setting::new("query", "What is asked of a database. Without ORDER BY the order of its rows is nobody's promise.")
    .arguments(&[Slot::new("sql", Kind::Text, "A SELECT.")]);
static PASSWORD: Setting =
    Setting::new("password", "The password of a database.").without_effect().arguments(&[Slot::new("secret", Kind::Secret, "`(secret)\"PGPASSWORD\"`.")]);
static TOKEN: Setting =
    Setting::new("token", "What a server wants to see first.").without_effect().arguments(&[Slot::new("secret", Kind::Secret, "`(secret)\"NAME\"`.")]);
static ASKED: Setting = Setting::new("asked", "The model whose stored completions are meant.").arguments(&[Slot::new("model", Kind::Text, "Its name.")]);
static METADATA: Setting = Setting::new("metadata", "What the stored completions that are meant have in their metadata.")
    .many()
    .arguments(&[Slot::new("key", Kind::Text, "A key."), Slot::new("value", Kind::Text, "Its value.")]);
static ENV: Setting = Setting::new("env", "A variable that a command sees. Its value is part of the fingerprint.").many().arguments(&[Slot::new(
    "name",
    Kind::Variable,
    "Its name.",
)]);
static FIELDS: Setting = Setting::new("fields", "Which fields of each row are taken; without it all are.")
    .properties(&[Slot::new("others", Kind::Choice(&["drop", "keep"]), "What becomes of those that are not named.").or(Fallback::Text("drop"))])
    .children(|| vec![&FIELD]);
static FIELD: Setting =
    Setting::new("field", "A field that is taken.").many().arguments(&[Slot::new("name", Kind::Text, "Its name from here on.")]).properties(&[
        Slot::new("from", Kind::Text, "Its name in the source, where that is another.").or(Fallback::Absent),
        Slot::new("type", Kind::Choice(FieldType::NAMES), "What it must be; a row in which it is not goes to the rejected ones.").or(Fallback::Text("any")),
        Slot::new("optional", Kind::Flag, "Whether a row may do without it.").or(Fallback::Flag(false)),
    ]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: false };

const VERSION: u32 = 8;
const FETCH_VERSION: u32 = 1;
/// What later stages call the outputs.
pub const ROWS: &str = "rows";
pub const REJECTED: &str = "rejected";
const REPORT: &str = "report";

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let (mut inputs, mut sources, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    let mut addresses = BTreeSet::new();
    for source in stage.block.all("source") {
        if let Some(scheme) = scheme(source.text("path")) {
            let action = fetch(stage, source, scheme, compiler)?;
            if !addresses.insert(action.name.clone()) {
                let first = stage.block.all("source").find(|other| other.text("path") == source.text("path"));
                let (name, place) = (format!("source {:?}", source.text("path")), format!("`{}`", stage.name));
                return Err(ConfigError::Repeated { name, place, first: first.unwrap_or(source).name_span.into(), at: source.name_span.into() });
            }
            let input = Input::output(source.text("path"), &stage.name, &action.outputs[0]);
            sources.push((vec![input.name.clone()], shape(source)?));
            inputs.push(input);
            actions.push(action);
            continue;
        }
        reads_only(source, &[], "a file of the workspace")?;
        if source.find_integer("largest").is_some() {
            return Err(unread("`largest` bounds what is fetched, and a file of the workspace is not", source.span_of("largest")));
        }
        let files = compiler.files(source.text("path"), Reading::Text, pinned(source)?);
        sources.push((files.iter().map(|input| input.name.clone()).collect(), shape(source)?));
        inputs.extend(files);
    }
    if let Some(refresh) = stage.block.child(REFRESH.name).filter(|_| actions.is_empty() && !inputs.is_empty()) {
        return Err(unread("files of the workspace are looked at in every run", refresh.name_span));
    }
    if let Some(named) = stage.block.child(FIELDS.name) {
        for (number, field) in named.all("field").enumerate() {
            if let Some(first) = named.all("field").take(number).find(|first| first.text("name") == field.text("name")) {
                let name = format!("field {:?}", field.text("name"));
                return Err(ConfigError::Repeated { name, place: "`fields`".into(), first: first.name_span.into(), at: field.name_span.into() });
            }
        }
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
        name: "collect".to_owned(),
        version: VERSION,
        settings: settings(&stage.block, &compiler.pipeline.file),
        context: BTreeMap::new(),
        inputs,
        outputs: [ROWS, REJECTED, REPORT].map(str::to_owned).to_vec(),
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: false,
        work: Box::new(Collect { sources, fields: stage.block.child(FIELDS.name).map(fields) }),
    };
    actions.push(action);
    Ok(actions)
}

/// The action that fetches a source.
fn fetch(stage: &StageDecl, source: &Block, scheme: &str, compiler: &Compiler<'_>) -> Result<Action, ConfigError> {
    let address = source.text("path").to_owned();
    let schemes = || SOURCES.iter().flat_map(|kind| kind.schemes).copied();
    let SourceKind { reads, prepare, .. } = source::kind(scheme).ok_or_else(|| ConfigError::UnknownChoice {
        name: "source".into(),
        found: format!("{address:?}"),
        at: source.span_of("path").into(),
        help: nearest(scheme, schemes())
            .map_or_else(|| format!("sources begin with {}", schemes().collect::<Vec<_>>().join(", ")), |near| format!("did you mean `{near}:`?")),
    })?;
    reads_only(source, reads, &format!("a source `{scheme}:`"))?;
    let place = prepare(source, compiler)?;
    let refresh = refresh(source, stage)?;
    let outputs = [address.clone(), format!("{address} as it was found")];
    let own = |name: &str| !["blake3", "delimiter", "encoding", "fields"].contains(&name);
    let mut settings = BTreeMap::from([("address".to_owned(), Tree::text(&address)), ("source".to_owned(), settings_of(source, &compiler.pipeline.file, own))]);
    let seen = source.all("env").filter_map(|variable| Some((variable.text("name").to_owned(), Tree::text(&std::env::var(variable.text("name")).ok()?))));
    settings.insert("env".to_owned(), Tree::map(seen.collect::<Vec<_>>()));
    Ok(Action {
        name: format!("fetch {address}"),
        version: FETCH_VERSION,
        settings: Tree::Map(settings),
        context: BTreeMap::new(),
        inputs: place.inputs(),
        outputs: outputs.to_vec(),
        appears: false,
        builds_on_last: true,
        refresh,
        effect: false,
        work: Box::new(Fetch { address, source: place, pinned: pinned(source)?, refresh, largest: largest(source), outputs }),
    })
}

/// The most that is fetched where nothing else is said, in bytes.
const LARGEST: u64 = 16 << 30;

fn largest(source: &Block) -> u64 {
    source.find_integer("largest").map_or(LARGEST, i64::unsigned_abs)
}

/// A setting that says nothing where it stands.
fn unread(problem: &str, at: Span) -> ConfigError {
    ConfigError::Contradiction { problem: problem.into(), label: "would not be read".into(), at: at.into(), help: "take it out".into() }
}

/// Makes sure that a source has no settings that are for others.
fn reads_only(source: &Block, reads: &[&str], what: &str) -> Result<(), ConfigError> {
    let all = |name: &str| name == REFRESH.name && what != "a file of the workspace";
    match source.children.iter().find(|child| !reads.contains(&child.setting.name) && !all(child.setting.name)) {
        None => Ok(()),
        Some(child) => Err(ConfigError::Contradiction {
            problem: format!("`{}` says nothing to {what}", child.setting.name),
            label: "would not be read".into(),
            at: child.name_span.into(),
            help: if reads.is_empty() { "take it out".into() } else { format!("it has: {}", reads.join(", ")) },
        }),
    }
}

/// When a source is looked at again: as it says itself, else as the stage says.
fn refresh(source: &Block, stage: &StageDecl) -> Result<Option<Refresh>, ConfigError> {
    let Some(said) = source.child(REFRESH.name).or_else(|| stage.block.child(REFRESH.name)) else {
        return Ok(None);
    };
    let every = said.find_integer("time").map(|_| said.duration("time"));
    let wrong = |problem: &str, help: &str| {
        Err(ConfigError::Contradiction {
            problem: problem.into(),
            label: "says two things, or half of one".into(),
            at: said.name_span.into(),
            help: help.into(),
        })
    };
    match (said.text("mode"), every) {
        ("every", Some(time)) => Ok(Some(Refresh::Every(Duration::max(time, Duration::from_secs(1))))),
        ("every", None) => wrong("`refresh \"every\"` does not say how often", "write `refresh \"every\" \"24h\"`"),
        (_, Some(_)) => wrong("only `refresh \"every\"` goes with a time", "write `refresh \"every\" \"24h\"`, or take the time out"),
        ("always", None) => Ok(Some(Refresh::Always)),
        _ => Ok(None),
    }
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
    let format = source.find_text("format").or_else(|| Some(format::by_ending(source.text("path"))?.name));
    if let (Some(_), Some(other)) = (delimiter, format.filter(|format| !matches!(*format, "csv" | "tsv"))) {
        return Err(unread(&format!("a delimiter is for tables, and the rows are {other}"), source.span_of("delimiter")));
    }
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
