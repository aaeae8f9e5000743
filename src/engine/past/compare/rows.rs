use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// The rows of an output in both runs.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Rows {
    /// The output.
    pub output: String,
    /// How many there are in each.
    pub counts: (usize, usize),
    /// Rows that only the second has.
    pub added: usize,
    /// Rows that only the first has.
    pub removed: usize,
    /// Rows that ask the same in both and want another answer.
    pub changed: usize,
    /// Some of the rows that are new.
    pub added_samples: Vec<String>,
    /// Some of the rows that are gone.
    pub removed_samples: Vec<String>,
    /// Some of the rows that changed.
    pub changed_samples: Vec<ChangedRow>,
}

/// A row that asks the same in both runs and wants another answer.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ChangedRow {
    /// What it asks.
    pub asks: String,
    /// What it wants in the first run.
    pub old: String,
    /// What it wants in the second.
    pub new: String,
}

/// More samples than this are not shown.
const SAMPLES: usize = 3;

/// A row: what it asks, and what it wants.
type Row = (String, String);

/// Compares two outputs of rows, one a line. The same row twice is two rows; their order does not count.
pub fn compare(output: String, a: &[u8], b: &[u8]) -> Rows {
    let (old, new) = (rows(a), rows(b));
    let mut counts: BTreeMap<&Row, i64> = BTreeMap::new();
    old.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    new.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    let (mut gone, mut come) = (BTreeMap::<&str, Vec<&str>>::new(), BTreeMap::<&str, Vec<&str>>::new());
    for ((asks, wants), count) in counts {
        let side = if count < 0 { &mut gone } else { &mut come };
        (0..count.abs()).for_each(|_| side.entry(asks).or_default().push(wants));
    }
    let mut rows = Rows { output, counts: (old.len(), new.len()), ..Rows::default() };
    for (asks, wants) in come {
        let mut before = gone.remove(asks).unwrap_or_default().into_iter();
        for new in wants {
            match before.next() {
                Some(old) => {
                    rows.changed += 1;
                    if rows.changed_samples.len() < SAMPLES {
                        rows.changed_samples.push(ChangedRow { asks: asks.to_owned(), old: old.to_owned(), new: new.to_owned() });
                    }
                }
                None => note(&mut rows.added, &mut rows.added_samples, asks, new),
            }
        }
        before.for_each(|old| note(&mut rows.removed, &mut rows.removed_samples, asks, old));
    }
    for (asks, wants) in gone {
        wants.into_iter().for_each(|old| note(&mut rows.removed, &mut rows.removed_samples, asks, old));
    }
    rows
}

fn note(count: &mut usize, samples: &mut Vec<String>, asks: &str, wants: &str) {
    *count += 1;
    if samples.len() < SAMPLES {
        samples.push(if wants.is_empty() { asks.to_owned() } else { format!("{asks} -> {wants}") });
    }
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_or_else(|_| (String::from_utf8_lossy(line).into_owned(), String::new()), |value| row(&value))).collect()
}

/// A conversation asks with all but its last message; a collected row is its fields, wherever they came from.
fn row(value: &Value) -> Row {
    if let Some(messages) = value.get("messages").and_then(Value::as_array)
        && let Some((last, before)) = messages.split_last()
    {
        let said = |message: &Value| message.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
        return (before.iter().map(said).collect::<Vec<_>>().join(" | "), said(last));
    }
    (value.get("fields").unwrap_or(value).to_string(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_removed_and_changed() {
        let chat = |asks: &str, wants: &str| format!(r#"{{"messages":[{{"role":"user","content":"{asks}"}},{{"role":"assistant","content":"{wants}"}}]}}"#);
        let text = |rows: &[(&str, &str)]| rows.iter().map(|(asks, wants)| chat(asks, wants) + "\n").collect::<String>();
        let old = text(&[("a", "1"), ("b", "2"), ("c", "3"), ("c", "3")]);
        let new = text(&[("c", "3"), ("a", "9"), ("d", "4")]);
        let rows = compare("train".into(), old.as_bytes(), new.as_bytes());
        assert_eq!((rows.added, rows.removed, rows.changed, rows.counts), (1, 2, 1, (4, 3)));
        assert_eq!(rows.added_samples, ["d -> 4"]);
        assert_eq!(rows.removed_samples, ["b -> 2", "c -> 3"]);
        assert_eq!((rows.changed_samples[0].old.as_str(), rows.changed_samples[0].new.as_str()), ("1", "9"));
    }
}
