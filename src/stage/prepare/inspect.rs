//! What becomes of one row: as it was collected, after each operator by itself, as an example, and as tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::flow::{Flow, Item, Stream};
use crate::data::{DataError, Rejected, Row, Tokenizer};
use crate::store::Store;

use super::super::action::given;
use super::super::{Given, Look, StageError, collect};
use super::work::Prepare;

/// Follows a row, by its number among all that go in, from 1.
pub fn inspect(work: &Prepare, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>, number: usize) -> Result<Vec<Look>, StageError> {
    let mut item = item(work.sources, store, inputs, number)?;
    let look = |step: String, text: String| Look { step, text };
    let mut looks = vec![look(format!("as collected from {}", item.place()), fields(&item))];
    let beside = work.beside(workspace, store, inputs)?;
    for (name, operator) in &work.operators {
        let folder = Folder::new()?;
        let flow = Flow::new(&folder.0, beside.clone())?;
        let before = item.clone();
        let rows: Stream<'_> = Box::new(std::iter::once(Ok(vec![item])));
        let mut out = Vec::new();
        for items in operator.attach(rows, &flow)? {
            out.extend(items?);
        }
        let account = flow.into_account();
        let Some(after) = out.into_iter().next() else {
            let reason = reason(&account.rejected.finish()?).or(reason(&account.dropped.finish()?));
            looks.push(look(format!("`{name}` takes it out"), reason.unwrap_or_default()));
            return Ok(looks);
        };
        item = after;
        if item == before {
            looks.push(look(format!("`{name}` leaves it as it is"), String::new()));
        } else {
            let text = if item.example == before.example { fields(&item) } else { messages(&item) };
            looks.push(look(format!("after `{name}`"), text));
        }
    }
    if let Some(example) = &item.example {
        looks.push(look("as it is written".to_owned(), example.line()));
        looks.push(look("as tokens of `builtin:tiny`, those that are learnt in brackets".to_owned(), tokens(&item)));
    }
    Ok(looks)
}

fn item(sources: usize, store: &Store, inputs: &BTreeMap<String, Given>, number: usize) -> Result<Item, StageError> {
    let mut before = 0;
    for source in 1..=sources {
        let bytes = store.read(given(inputs, &format!("{} {source}", collect::ROWS))?)?;
        let mut lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        if let Some(line) = number.checked_sub(before + 1).and_then(|place| lines.nth(place)) {
            let row: Row = serde_json::from_slice(line).map_err(|error| DataError::unreadable("the collected rows", &error))?;
            return Ok(Item::new(source - 1, row));
        }
        before += bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
    }
    Err(StageError::NoRow { number, rows: before })
}

fn fields(item: &Item) -> String {
    serde_json::to_string_pretty(&*item.row.fields).unwrap_or_default()
}

fn messages(item: &Item) -> String {
    let said = item.example.iter().flat_map(|example| &example.messages);
    said.map(|message| format!("{}: {}", format!("{:?}", message.role).to_lowercase(), message.content)).collect::<Vec<_>>().join("\n")
}

fn tokens(item: &Item) -> String {
    let tokenizer = Tokenizer::tiny();
    let (tokens, learned) = item.example.as_ref().map(|example| tokenizer.conversation(&example.messages)).unwrap_or_default();
    let shown = tokens.iter().zip(&learned).map(|(token, is_learned)| {
        let text = tokenizer.decode(&[*token]);
        let text = if text.is_empty() { format!("<{token}>") } else { text.replace('\n', "\\n") };
        if *is_learned { format!("[{text}]") } else { text }
    });
    format!("{} tokens, {} learnt: {}", tokens.len(), learned.iter().filter(|learned| **learned).count(), shown.collect::<Vec<_>>().join("|"))
}

/// Why the first row of a file was taken out.
fn reason(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str::<Rejected>(text.lines().next()?).ok().map(|row| row.reason)
}

/// A folder of its own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, StageError> {
        let path = std::env::temp_dir().join(format!("retune-inspect-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| StageError::Io { doing: "create", path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
