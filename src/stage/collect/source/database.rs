//! Rows of an SQLite file of the workspace, by a query.

use std::io::Write;

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};

use crate::config::{Block, ConfigError};
use crate::store::Reading;

use super::super::super::{Compiler, FileSource, Input, Source as Origin, StageError};
use super::{About, Fetched, Fetching, Source, SourceError, SourceKind, below, needed};

pub const KIND: SourceKind = SourceKind { schemes: &["sqlite"], reads: &["query"], prepare };

fn prepare(source: &Block, _compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    let address = source.text("path").to_owned();
    let path = address.trim_start_matches("sqlite:").trim_start_matches("//").to_owned();
    let query = needed(source, "query", "say what is wanted of it: `query \"SELECT text, team FROM tickets ORDER BY id\"`")?.to_owned();
    Ok(Box::new(Database { address, path, query }))
}

#[derive(Debug)]
struct Database {
    address: String,
    path: String,
    query: String,
}

#[async_trait]
impl Source for Database {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        tokio::task::block_in_place(|| self.read(fetching))
    }

    fn inputs(&self) -> Vec<Input> {
        // What was written last may stand in the log beside it.
        let log = format!("{}-wal", self.path);
        [(self.path.clone(), false), (log, true)]
            .map(|(path, optional)| {
                let files = FileSource { pattern: path.clone(), pinned: None, optional, reading: Reading::Bytes };
                Input { name: path, source: Origin::Files(files) }
            })
            .to_vec()
    }
}

impl Database {
    fn read(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let refused = |error: rusqlite::Error| SourceError::refused(&self.address, &error.to_string());
        let place = below(fetching, &self.address, "rows.jsonl")?;
        let io = |source| StageError::Io { doing: "write", path: place.clone(), source };
        let mut file = std::io::BufWriter::new(std::fs::File::create(&place).map_err(io)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(fetching.context.workspace.join(&self.path), flags).map_err(refused)?;
        let mut statement = connection.prepare(&self.query).map_err(refused)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).map_err(refused)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(refused)? {
            let mut fields = Map::with_capacity(names.len());
            let mut wrong = None;
            for (column, name) in names.iter().enumerate() {
                match value(row.get_ref(column).map_err(refused)?) {
                    Some(value) => drop(fields.insert(name.clone(), value)),
                    None => wrong = wrong.or(Some(name)),
                }
            }
            // A row that cannot be written is a line that cannot be read, and says why: it is rejected with its number.
            let row = wrong.map_or(Value::Object(fields), |name| json!(format!("`{name}` is no text: cast or encode it in the query")));
            serde_json::to_writer(&mut file, &row).map_err(|error| io(error.into()))?;
            file.write_all(b"\n").map_err(io)?;
            count += 1;
            if count % 4096 == 0 {
                fetching.context.watch.progress(count, 0, "rows", &self.address);
                if fetching.context.watch.stopped() {
                    return Err(StageError::Stopped);
                }
            }
        }
        file.flush().map_err(io)?;
        Ok(Fetched::New(About::default()))
    }
}

fn value(cell: ValueRef<'_>) -> Option<Value> {
    Some(match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
        ValueRef::Blob(_) => return None,
    })
}
