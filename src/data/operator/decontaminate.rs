use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::flow::{Flow, Item, Stream, Verdict};
use super::super::{DataError, Example, Role, format};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("decontaminate", "Finds examples that stand in data by which the model will be judged.").operator(1).properties(&[
    Slot::new("against", Kind::Input, "A file, folder or glob of the workspace with that data."),
    Slot::new("how", Kind::Choice(&["drop", "warn", "fail"]), "What happens where one is found.").or(Fallback::Text("drop")),
    Slot::new("words", Kind::Integer(3, 50), "The length of the runs of words that are looked for.").or(Fallback::Integer(13)),
    Slot::new("share", Kind::Positive(1.0), "The share of them that must be there.").or(Fallback::Number(0.5)),
]);

pub const KIND: OperatorKind =
    OperatorKind { needs_examples: true, beside: Some("against"), ..OperatorKind::new(&SETTING, |block| Ok(Box::new(Decontaminate::from(block)))) };

#[derive(Debug)]
struct Decontaminate {
    against: String,
    how: String,
    words: usize,
    share: f64,
}

impl From<&Block> for Decontaminate {
    fn from(block: &Block) -> Self {
        Self { against: block.text("against").to_owned(), how: block.text("how").to_owned(), words: block.count("words"), share: block.number("share") }
    }
}

/// What a text is compared by: its words without case and signs.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn hash(words: &[String]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for word in words {
        hasher.update(word.as_bytes()).update(b" ");
    }
    let mut head = [0; 8];
    head.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(head)
}

/// The texts of one side (what is asked, or what is answered) of the data that examples must not stand in.
#[derive(Debug, Default)]
struct Side {
    whole: HashMap<u64, usize>,
    runs: HashMap<u64, usize>,
}

impl Side {
    fn add(&mut self, text: &str, place: usize, length: usize) {
        let words = words(text);
        if words.is_empty() {
            return;
        }
        self.whole.entry(hash(&words)).or_insert(place);
        for run in words.windows(length) {
            self.runs.entry(hash(run)).or_insert(place);
        }
    }

    /// Where a text stands, and how much of it. An answer of a few words stands anywhere: only runs tell of it.
    fn find(&self, text: &str, length: usize, share: f64, short_counts: bool) -> Option<(usize, f64)> {
        let words = words(text);
        let counts = (short_counts && !words.is_empty()) || words.len() >= length;
        if let Some(place) = self.whole.get(&hash(&words)).filter(|_| counts) {
            return Some((*place, 1.0));
        }
        let runs: HashSet<u64> = words.windows(length).map(hash).collect();
        let mut hits: HashMap<usize, usize> = HashMap::new();
        let there = runs.iter().filter_map(|run| self.runs.get(run)).inspect(|place| *hits.entry(**place).or_default() += 1).count();
        #[expect(clippy::cast_precision_loss, reason = "counts of words are far below 2^52")]
        let found = there as f64 / runs.len().max(1) as f64;
        let most = hits.into_iter().max_by_key(|(place, count)| (*count, std::cmp::Reverse(*place)))?.0;
        (found >= share).then_some((most, found))
    }
}

/// All of that data.
#[derive(Debug, Default)]
struct Held {
    places: Vec<String>,
    asked: Side,
    answered: Side,
}

impl Held {
    fn read(files: &[(String, Vec<u8>)], length: usize) -> Result<Self, DataError> {
        let mut held = Self::default();
        for (path, bytes) in files {
            format::read(
                path,
                format::Content { reader: &mut bytes.as_slice(), size: bytes.len() as u64, place: None },
                &format::Shape::default(),
                &mut |row| {
                    let Ok(row) = row else {
                        return Ok(());
                    };
                    let place = held.places.len();
                    held.places.push(format!("{}:{}", row.source, row.line));
                    let messages = row.fields.get("messages").cloned().map(|messages| serde_json::from_value(serde_json::json!({ "messages": messages })));
                    match messages {
                        Some(Ok(example)) => {
                            held.asked.add(&asked(&example), place, length);
                            held.answered.add(example.answer(), place, length);
                        }
                        // What is a question and what an answer is not known.
                        _ => {
                            for text in row.fields.values().filter_map(Value::as_str) {
                                held.asked.add(text, place, length);
                                held.answered.add(text, place, length);
                            }
                        }
                    }
                    Ok(())
                },
            )?;
        }
        Ok(held)
    }
}

fn asked(example: &Example) -> String {
    let asked = example.prompt().iter().filter(|message| message.role != Role::System);
    asked.map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
}

impl Decontaminate {
    fn found(&self, held: &Held, item: &Item) -> Option<String> {
        let example = item.example.as_ref()?;
        let sides = [("prompt", &held.asked, asked(example), true), ("answer", &held.answered, example.answer().to_owned(), false)];
        sides.into_iter().find_map(|(name, side, text, short_counts)| {
            let (place, share) = side.find(&text, self.words, self.share, short_counts)?;
            Some(format!("its {name} stands in {} ({:.0} %)", held.places[place], share * 100.0))
        })
    }
}

impl Operator for Decontaminate {
    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        use rayon::prelude::*;
        let held = Held::read(flow.beside(&self.against), self.words)?;
        if held.places.is_empty() {
            return Err(DataError::NothingToCompare { against: self.against.clone() });
        }
        let step = flow.account().steps.len();
        Ok(flow.chunks("decontaminate", rows, move |items| {
            let found: Vec<Option<String>> = items.par_iter().map(|item| self.found(&held, item)).collect();
            let pairs = || items.iter().zip(&found).filter_map(|(item, pair)| Some(format!("{}: {}", item.place(), pair.as_ref()?)));
            match (self.how.as_str(), pairs().next()) {
                ("fail", Some(first)) => return Err(DataError::Contaminated { count: pairs().count(), first }),
                ("warn", Some(_)) => flow.account().note(step, pairs()),
                _ => {}
            }
            let dropped = self.how == "drop";
            Ok(found.into_iter().map(|pair| pair.filter(|_| dropped).map_or(Verdict::Keep, Verdict::Drop)).collect())
        }))
    }
}
