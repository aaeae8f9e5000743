//! A look at training files line by line, never whole in memory.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::Form;
use crate::data::rules::Rules;

use super::super::ProviderError;
use super::wire::Losses;

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

/// Counts the training examples, and looks for those of the validation among them. In memory is a digest for each row of the
/// validation, and nothing of the training.
pub fn look(rules: &Rules, method: &str, train: &Path, validation: Option<&Path>) -> Result<Rows, ProviderError> {
    let form = match method {
        "dpo" => Form::Preference,
        "reinforcement" => Form::Reinforcement,
        _ => Form::Chat,
    };
    let malformed = |what: &'static str, line: usize, row: &[u8]| {
        let finding = rules.look(form, row).into_iter().next()?;
        let mend = finding.fix.map_or_else(String::new, |fix| format!("; `fix \"{fix}\"` in `prepare` mends it"));
        let place = if finding.field.is_empty() { String::new() } else { format!("`{}`: ", finding.field) };
        Some(ProviderError::MalformedRow { what, line, problem: format!("{place}{}{mend}", finding.reason) })
    };
    let (mut wrong_there, mut wrong_here) = (None, None);
    // The first line of each row, and how often it stands there.
    let mut held_out: HashMap<u128, (usize, usize)> = HashMap::new();
    if let Some(validation) = validation {
        each_line(validation, |line, row| {
            wrong_there = wrong_there.take().or_else(|| malformed("validation", line, row));
            held_out.entry(canonical(row)).or_insert((line, 0)).1 += 1;
        })?;
    }
    let mut rows = Rows { count: 0, leaked: None };
    each_line(train, |line, row| {
        rows.count += 1;
        wrong_here = wrong_here.take().or_else(|| malformed("training", line, row));
        let both = if held_out.is_empty() { None } else { held_out.remove(&canonical(row)) };
        if let Some((line, times)) = both {
            let leak = rows.leaked.get_or_insert_with(|| Leak { count: 0, line, sample: String::new() });
            (leak.count, leak.line) = (leak.count + times, leak.line.min(line));
        }
    })?;
    if let (Some(leak), Some(validation)) = (&mut rows.leaked, validation) {
        each_line(validation, |line, row| {
            if line == leak.line {
                leak.sample = String::from_utf8_lossy(row).chars().take(120).collect();
            }
        })?;
    }
    wrong_here.or(wrong_there).map_or(Ok(rows), Err)
}

/// A digest of what a row says, whatever its spaces and the order of its fields.
fn canonical(row: &[u8]) -> u128 {
    let value: Option<Value> = serde_json::from_slice(row).ok();
    let digest = value.map_or_else(|| blake3::hash(row), |value| blake3::hash(sorted(value).to_string().as_bytes()));
    let (half, _) = digest.as_bytes().split_at(16);
    half.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(parts) => {
            let parts: BTreeMap<String, Value> = parts.into_iter().map(|(name, part)| (name, sorted(part))).collect();
            Value::Object(parts.into_iter().collect())
        }
        Value::Array(parts) => Value::Array(parts.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

/// Losses as a result file has them.
pub fn csv(losses: impl Iterator<Item = Losses>) -> Vec<u8> {
    let figure = |loss: Option<f64>| loss.map_or(String::new(), |loss| loss.to_string());
    let mut steps: Vec<Losses> = losses.collect();
    steps.sort_by_key(|losses| losses.step);
    let lines: String = steps.iter().map(|losses| format!("{},{},{}\n", losses.step, figure(losses.train), figure(losses.validation))).collect();
    if lines.is_empty() { Vec::new() } else { format!("step,train_loss,valid_loss\n{lines}").into_bytes() }
}

/// The losses of each step in a result file.
pub fn losses(csv: &[u8]) -> Vec<Losses> {
    let text = String::from_utf8_lossy(csv);
    let (header, rows) = table(&text);
    let place = |name: &str| header.iter().position(|column| *column == name);
    let (step, train, valid, full) = (place("step"), place("train_loss"), place("valid_loss"), place("full_valid_loss"));
    let steps = rows.iter().filter_map(|cells| {
        let number = |at: Option<usize>| cells.get(at?)?.parse::<f64>().ok();
        Some(Losses { step: cells.get(step?)?.parse().ok()?, of: 0, train: number(train), validation: number(full).or_else(|| number(valid)) })
    });
    steps.collect()
}

/// The losses of one step in a result file, by the names of metrics.
pub fn at_step(csv: &[u8], step: u64) -> Vec<(String, f64)> {
    let found = losses(csv).into_iter().find(|losses| losses.step == step);
    let (train, validation) = found.map_or((None, None), |losses| (losses.train, losses.validation));
    [("train-loss", train), ("validation-loss", validation)].into_iter().filter_map(|(name, loss)| Some((name.to_owned(), loss?))).collect()
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

/// All that is said in the rows of a file, whatever their form, some at a time.
#[derive(Debug)]
pub struct Said {
    lines: Lines,
}

impl Said {
    /// What is said in a file.
    pub fn of(path: &Path) -> Result<Self, ProviderError> {
        Ok(Self { lines: Lines::of(path)? })
    }

    /// The lines of at most so many further rows, with what they say; none at the end.
    pub fn further(&mut self, most: usize) -> Result<Vec<(usize, String)>, ProviderError> {
        let mut further = Vec::new();
        while further.len() < most
            && let Some((number, row)) = self.lines.further()?
        {
            let mut said = Vec::new();
            if let Ok(value) = serde_json::from_slice(row) {
                contents(&value, &mut said);
            }
            further.push((number, said.join("\n")));
        }
        Ok(further)
    }
}

/// Everything in a row that a model reads or says; what only names things is left out.
fn contents(value: &Value, said: &mut Vec<String>) {
    const NAMES: &[&str] = &["role", "type", "id", "tool_call_id", "url", "detail", "reference_id"];
    match value {
        Value::Object(parts) => parts.iter().filter(|(name, _)| !NAMES.contains(&name.as_str())).for_each(|(_, part)| contents(part, said)),
        Value::Array(parts) => parts.iter().for_each(|part| contents(part, said)),
        Value::String(text) => said.push(text.clone()),
        _ => {}
    }
}

fn each_line(path: &Path, mut visit: impl FnMut(usize, &[u8])) -> Result<(), ProviderError> {
    let mut lines = Lines::of(path)?;
    while let Some((number, line)) = lines.further()? {
        visit(number, line);
    }
    Ok(())
}

/// The lines of a file, one at a time.
#[derive(Debug)]
struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    line: Vec<u8>,
    number: usize,
}

impl Lines {
    fn of(path: &Path) -> Result<Self, ProviderError> {
        let file = File::open(path).map_err(unreadable(path))?;
        Ok(Self { reader: BufReader::with_capacity(256 << 10, file), path: path.to_owned(), line: Vec::new(), number: 0 })
    }

    /// The next line that is not empty, with its number.
    fn further(&mut self) -> Result<Option<(usize, &[u8])>, ProviderError> {
        loop {
            self.line.clear();
            if self.reader.read_until(b'\n', &mut self.line).map_err(unreadable(&self.path))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, self.line.trim_ascii())));
            }
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> ProviderError {
    move |error| ProviderError::UnreadableFile { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::rules;

    #[test]
    fn rows_are_counted_and_leaks_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("it can be written");
            path
        };
        let row = |name: &str| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{name}\"}},{{\"role\":\"assistant\",\"content\":\"x\"}}]}}\n");
        let train = write("t", &(row("a") + &row("b") + "\n" + &row("c")));
        let (clean, leaky) = (write("c", &row("d")), write("l", &(row("d") + &row("b").replace("\":[", "\": [") + &row("c"))));
        assert_eq!(look(rules::of("openai"), "supervised", &train, None).expect("it can be read").count, 3);
        assert!(look(rules::of("openai"), "supervised", &train, Some(&clean)).expect("it can be read").leaked.is_none());
        let leak = look(rules::of("openai"), "supervised", &train, Some(&leaky)).expect("it can be read").leaked.expect("two rows");
        assert_eq!((leak.count, leak.line, leak.sample.as_str()), (2, 2, row("b").trim_end().replace("\":[", "\": [").as_str()));
        assert!(look(rules::of("openai"), "dpo", &train, None).expect_err("these are no pairs").to_string().contains("line 1"));
    }

    #[test]
    fn losses_are_found_by_the_header() {
        let losses = last_losses(b"step,train_loss,valid_loss\n1,2.5,\n2,1.5,1.75\n3,1.25,\n");
        assert_eq!(losses, [("train-loss".to_owned(), 1.25), ("validation-loss".to_owned(), 1.75)]);
        assert_eq!(last_losses(b"").len(), 0);
    }
}
