//! Answers on disk as they come: each was paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::shapes::Answered;

/// The places of the questions that an earlier attempt left answers to.
#[must_use]
pub fn answered_places(path: &Path) -> BTreeSet<usize> {
    Kept::open(Some(path)).before().keys().copied().collect()
}

/// The answers of a stage that is not done, by the places of their questions.
#[derive(Debug, Default)]
pub struct Kept {
    before: BTreeMap<usize, Answered>,
    file: Option<Mutex<File>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    place: usize,
    answered: Answered,
}

impl Kept {
    /// Opens what an earlier attempt left, and what this one will. A last line that a kill cut off is no answer. That nothing can be
    /// kept is no error: the questions are only asked again.
    pub fn open(path: Option<&Path>) -> Self {
        let Some(path) = path else {
            return Self::default();
        };
        let text = fs::read_to_string(path).unwrap_or_default();
        let before = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()).map(|line| (line.place, line.answered)).collect();
        let file = File::options().create(true).append(true).open(path).ok();
        if let Some(mut file) = file.as_ref().filter(|_| !text.is_empty() && !text.ends_with('\n')) {
            let _ = file.write_all(b"\n");
        }
        Self { before, file: file.map(Mutex::new) }
    }

    /// The answers that there are already.
    pub const fn before(&self) -> &BTreeMap<usize, Answered> {
        &self.before
    }

    /// Keeps an answer.
    pub fn keep(&self, place: usize, answered: &Answered) {
        if let (Some(file), Ok(mut line)) = (&self.file, serde_json::to_vec(&Line { place, answered: answered.clone() })) {
            line.push(b'\n');
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        }
    }
}
