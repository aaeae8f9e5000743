use std::collections::HashMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Value};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::super::personal::Personal;
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("redact", "Takes personal data out of all text.")
    .operator(3)
    .arguments(&[Slot::new("what", Kind::Choice(Personal::NAMES), "What is looked for.")])
    .rest(&Slot::new("more", Kind::Choice(Personal::NAMES), "What else."))
    .properties(&[
        Slot::new("how", Kind::Choice(&["mask", "hash", "drop"]), "A mark such as `[EMAIL_1]`, a keyed hash that is the same in all rows, or the row goes.")
            .or(Fallback::Text("mask")),
        Slot::new("key", Kind::Secret, "`(secret)\"NAME\"`: the environment variable with the key of the hashes.").or(Fallback::Absent),
    ]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Redact::of(block)?)));

#[derive(Debug, PartialEq)]
enum How {
    Mask,
    /// With the key in this variable.
    Hash(String),
    Drop,
}

#[derive(Debug)]
struct Redact {
    kinds: Vec<Personal>,
    how: How,
}

impl Redact {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let further = block.rest.iter().filter_map(|kind| match &kind.value {
            Value::Text(name) => Personal::named(name),
            _ => None,
        });
        let mut kinds: Vec<Personal> = Personal::named(block.text("what")).into_iter().chain(further).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let how = match (block.text("how"), block.find_text("key")) {
            ("hash", Some(variable)) => How::Hash(variable.to_owned()),
            ("drop", None) => How::Drop,
            ("mask", None) => How::Mask,
            (how, _) => {
                return Err(ConfigError::Contradiction {
                    problem: if how == "hash" { "a hash without a key can be guessed".into() } else { format!("`how=\"{how}\"` has no use for a key") },
                    label: "how=\"hash\" and `key=` go together".into(),
                    at: block.name_span.into(),
                    help: "write `how=\"hash\" key=(secret)\"NAME\"`, with the key in that environment variable".into(),
                });
            }
        };
        Ok(Self { kinds, how })
    }

    fn key(&self) -> Result<Option<[u8; 32]>, DataError> {
        let How::Hash(variable) = &self.how else {
            return Ok(None);
        };
        let key = std::env::var(variable).ok().filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| DataError::NoKey { variable: variable.clone() })?;
        Ok(Some(blake3::derive_key("retune redact v1", key.as_bytes())))
    }

    fn judge(&self, key: Option<&[u8; 32]>, item: &mut Item, flow: &Flow) -> Verdict {
        let mut counts: HashMap<Personal, usize> = HashMap::new();
        let mut marks: HashMap<(Personal, String), String> = HashMap::new();
        // The same text stands in the row and in the example that was made of it: it is looked at once, and counted once.
        let mut seen: Vec<(String, Option<String>)> = Vec::new();
        let mut redacted = |text: &str| {
            let mut changed: Option<String> = None;
            // What stood apart may come together: until nothing is found.
            loop {
                let current = changed.as_deref().unwrap_or(text);
                let found = Personal::find_all(&self.kinds, current);
                if found.is_empty() {
                    return changed;
                }
                let mut next = String::with_capacity(current.len());
                let mut end = 0;
                for finding in found {
                    *counts.entry(finding.kind).or_default() += 1;
                    let value: String = current[finding.at.clone()].chars().filter(|c| c.is_alphanumeric() || *c == '@').flat_map(char::to_lowercase).collect();
                    let number = marks.keys().filter(|(kind, _)| *kind == finding.kind).count() + 1;
                    let mark = marks.entry((finding.kind, value)).or_insert_with_key(|(kind, value)| match key {
                        None => format!("[{}_{number}]", kind.mark()),
                        Some(key) => format!("[{}_{}]", kind.mark(), &blake3::keyed_hash(key, value.as_bytes()).to_hex()[..12]),
                    });
                    next.push_str(&current[end..finding.at.start]);
                    next.push_str(mark);
                    end = finding.at.end;
                }
                next.push_str(&current[end..]);
                changed = Some(next);
            }
        };
        let changed = item.rewrite(|json| Personal::may_be_in_json(&self.kinds, json), &mut |text| {
            if !Personal::may_be_in_text(&self.kinds, text) {
                return None;
            }
            if let Some((_, known)) = seen.iter().find(|(seen, _)| seen == text) {
                return known.clone();
            }
            let changed = redacted(text);
            seen.push((text.to_owned(), changed.clone()));
            changed
        });
        if !changed {
            return Verdict::Keep;
        }
        flow.account().redacted(counts.iter().map(|(kind, count)| (kind.name(), *count)));
        match self.how {
            How::Drop => {
                let mut names: Vec<&str> = counts.keys().map(|kind| kind.name()).collect();
                names.sort_unstable();
                Verdict::Drop(format!("it holds personal data: {}", names.join(", ")))
            }
            _ => Verdict::Changed,
        }
    }
}

impl Operator for Redact {
    fn is_by_row(&self) -> bool {
        // The key of hashes is no part of the settings.
        !matches!(self.how, How::Hash(_))
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let key = self.key()?;
        Ok(flow.change("redact", rows, move |item| self.judge(key.as_ref(), item, flow)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::super::Row;
    use super::super::super::flow::Beside;
    use super::*;

    proptest! {
        #[test]
        fn nothing_of_its_own_patterns_is_left(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("a@b.com".to_owned()), Just("+44 20 7946 0958".to_owned()), Just("4111 1111 1111 1111".to_owned()),
                    Just("DE89370400440532013000".to_owned()), Just("192.168.0.1".to_owned()), Just("219-09-9999".to_owned()),
                    Just("password: hunter22hunter".to_owned()), Just("sk-aaaaaaaaaaaaaaaaaaaa".to_owned()), "[ -~\u{e9}\u{200b}]{0,8}", "[0-9 ().+-]{0,20}",
                ],
                0..12,
            ),
            hashed in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let flow = Flow::new(folder.path(), Beside::new()).expect("it can be written");
            let redact = Redact { kinds: Personal::ALL.to_vec(), how: if hashed { How::Hash("X".into()) } else { How::Mask } };
            let fields = Map::from_iter([("text".to_owned(), Value::String(parts.concat()))]);
            let mut item = Item::new(0, Row { source: "t".into(), line: 1, fields: fields.into() });
            let before = Personal::find_all(&Personal::ALL, &parts.concat()).len();
            let verdict = redact.judge(hashed.then_some(&[7; 32]), &mut item, &flow);
            let after = item.row.text("text").expect("it is there");
            prop_assert_eq!(verdict == Verdict::Changed, before > 0);
            prop_assert_eq!(Personal::find_all(&Personal::ALL, &after), Vec::new(), "{}", after);
        }
    }
}
