//! A look at training files line by line, never whole in memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::super::ProviderError;

/// What a look at the files of a training found.
#[derive(Debug)]
pub struct Rows {
    /// Training examples.
    pub count: usize,
    /// Validation examples that stand among those of the training.
    pub leaked: Option<Leak>,
}

/// Rows that stand in both files.
#[derive(Debug)]
pub struct Leak {
    pub count: usize,
    /// The line of the first of them in the validation file.
    pub line: usize,
    /// Its beginning.
    pub sample: String,
}

/// Counts the training examples, and looks for those of the validation among them.
pub fn look(method: &str, train: &Path, validation: Option<&Path>) -> Result<Rows, ProviderError> {
    let wanted: &[&str] = match method {
        "dpo" => &["input", "preferred_output", "non_preferred_output"],
        _ => &["messages"],
    };
    let mut known = HashSet::new();
    let mut count = 0;
    let mut wrong: Option<ProviderError> = None;
    each_line(train, |line, row| {
        count += 1;
        if wrong.is_none() {
            wrong = problem(row, wanted).map(|problem| ProviderError::MalformedRow { what: "training", line, problem });
        }
        if validation.is_some() {
            known.insert(canonical(row));
        }
    })?;
    let mut leaked: Option<Leak> = None;
    if let Some(validation) = validation {
        each_line(validation, |number, line| {
            if wrong.is_none() {
                wrong = problem(line, wanted).map(|problem| ProviderError::MalformedRow { what: "validation", line: number, problem });
            }
            if known.contains(&canonical(line)) {
                let sample = || String::from_utf8_lossy(line).chars().take(120).collect();
                leaked.get_or_insert_with(|| Leak { count: 0, line: number, sample: sample() }).count += 1;
            }
        })?;
    }
    wrong.map_or(Ok(Rows { count, leaked }), Err)
}

/// What keeps a row from being an example.
fn problem(row: &[u8], wanted: &[&str]) -> Option<String> {
    let row: serde_json::Value = match serde_json::from_slice(row) {
        Ok(row) => row,
        Err(error) => return Some(format!("it is not JSON ({error})")),
    };
    wanted.iter().find(|field| row.get(**field).is_none()).map(|field| format!("it has no `{field}`"))
}

/// The digest of what a row says, whatever its spaces.
fn canonical(row: &[u8]) -> blake3::Hash {
    let value: Option<serde_json::Value> = serde_json::from_slice(row).ok();
    value.map_or_else(|| blake3::hash(row), |value| blake3::hash(value.to_string().as_bytes()))
}

/// The losses of each step in a result file: step, training, validation.
pub fn losses(csv: &[u8]) -> Vec<(u64, Option<f64>, Option<f64>)> {
    let text = String::from_utf8_lossy(csv);
    let (header, rows) = table(&text);
    let place = |name: &str| header.iter().position(|column| *column == name);
    let (step, train, valid, full) = (place("step"), place("train_loss"), place("valid_loss"), place("full_valid_loss"));
    let steps = rows.iter().filter_map(|cells| {
        let number = |at: Option<usize>| cells.get(at?)?.parse::<f64>().ok();
        Some((cells.get(step?)?.parse().ok()?, number(train), number(full).or_else(|| number(valid))))
    });
    steps.collect()
}

/// The last losses of a result file, by the names of metrics. It need not have steps.
pub fn last_losses(csv: &[u8]) -> Vec<(String, f64)> {
    let text = String::from_utf8_lossy(csv);
    let (header, rows) = table(&text);
    let last = |name: &str| {
        let column = header.iter().position(|column| *column == name)?;
        rows.iter().rev().find_map(|cells| cells.get(column)?.parse::<f64>().ok())
    };
    let full = last("full_valid_loss").or_else(|| last("valid_loss"));
    last("train_loss").map(|loss| ("train-loss".to_owned(), loss)).into_iter().chain(full.map(|loss| ("validation-loss".to_owned(), loss))).collect()
}

/// The header of a result file, and its rows.
fn table(text: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim).collect());
    (lines.next().unwrap_or_default(), lines.collect())
}

/// All that is said in each row of a file, whatever its form.
pub fn texts(path: &Path) -> Result<Vec<String>, ProviderError> {
    let mut texts = Vec::new();
    each_line(path, |_, line| {
        let mut said = Vec::new();
        if let Ok(value) = serde_json::from_slice(line) {
            contents(&value, &mut said);
        }
        texts.push(said.join("\n"));
    })?;
    Ok(texts)
}

fn contents(value: &serde_json::Value, said: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(parts) => {
            for (name, part) in parts {
                match part.as_str() {
                    Some(text) if name == "content" => said.push(text.to_owned()),
                    _ => contents(part, said),
                }
            }
        }
        serde_json::Value::Array(parts) => parts.iter().for_each(|part| contents(part, said)),
        _ => {}
    }
}

fn each_line(path: &Path, mut visit: impl FnMut(usize, &[u8])) -> Result<(), ProviderError> {
    let unreadable = |error: std::io::Error| ProviderError::UnreadableFile { path: path.to_owned(), reason: error.to_string() };
    let mut reader = BufReader::with_capacity(256 << 10, File::open(path).map_err(unreadable)?);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(());
        }
        number += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            visit(number, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_leaks_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("it can be written");
            path
        };
        let row = |name: &str| format!("{{\"messages\":[\"{name}\"]}}\n");
        let train = write("t", &(row("a") + &row("b") + "\n" + &row("c")));
        let (clean, leaky) = (write("c", &row("d")), write("l", &(row("d") + "{ \"messages\": [\"b\"] }\n" + &row("c"))));
        assert_eq!(look("supervised", &train, None).expect("it can be read").count, 3);
        assert!(look("supervised", &train, Some(&clean)).expect("it can be read").leaked.is_none());
        let leak = look("supervised", &train, Some(&leaky)).expect("it can be read").leaked.expect("two rows");
        assert_eq!((leak.count, leak.line), (2, 2));
        assert!(look("dpo", &train, None).expect_err("these are no pairs").to_string().contains("line 1"));
    }

    #[test]
    fn losses_are_found_by_the_header() {
        let losses = last_losses(b"step,train_loss,valid_loss\n1,2.5,\n2,1.5,1.75\n3,1.25,\n");
        assert_eq!(losses, [("train-loss".to_owned(), 1.25), ("validation-loss".to_owned(), 1.75)]);
        assert_eq!(last_losses(b"").len(), 0);
    }
}
