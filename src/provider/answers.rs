//! Answers to questions, and what is kept of them: each was paid for.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::fingerprint::Digest;

/// An answer with what it took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// What was said.
    pub text: String,
    /// Tokens that went in, where that is told.
    #[serde(default)]
    pub tokens_in: u64,
    /// Tokens that came out.
    #[serde(default)]
    pub tokens_out: u64,
    /// Whether the limit of tokens cut it off.
    #[serde(default)]
    pub cut: bool,
    /// How long it took from the question on, in milliseconds, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

impl From<String> for Answered {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// The answers of one model, asked in one way, on disk as they come.
#[derive(Debug)]
pub struct AnswerLog {
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    known: HashMap<Digest, Answered>,
    file: File,
}

#[derive(Serialize, Deserialize)]
struct Line {
    question: Digest,
    /// Nothing where what was said before does not count any more.
    answered: Option<Answered>,
}

impl AnswerLog {
    /// Opens what there is. A last line that a kill cut off is no answer.
    ///
    /// # Errors
    /// When it can be neither read nor written.
    pub fn open(path: &Path) -> io::Result<Self> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = File::options().read(true).create(true).append(true).open(path)?;
        let bytes = fs::read(path)?;
        if bytes.last().is_some_and(|&last| last != b'\n') {
            file.write_all(b"\n")?;
        }
        let mut known = HashMap::new();
        for line in bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
            match line.answered {
                Some(answered) => known.insert(line.question, answered),
                None => known.remove(&line.question),
            };
        }
        Ok(Self { inside: Mutex::new(Inside { known, file }) })
    }

    /// The answer to a question, if it was ever asked.
    #[must_use]
    pub fn find(&self, question: Digest) -> Option<Answered> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).known.get(&question).cloned()
    }

    /// Keeps an answer. Failing to is no error: the question is only asked again.
    pub fn keep(&self, question: Digest, answered: &Answered) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        // The last line of a question is the one that counts.
        if inside.known.insert(question, answered.clone()).as_ref() != Some(answered) {
            let _ = inside.file.write_all(&Line { question, answered: Some(answered.clone()) }.text());
        }
    }

    /// Lets go of the answers to questions, so that they are asked again.
    pub fn forget(&self, questions: impl Iterator<Item = Digest>) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for question in questions.filter(|question| inside.known.remove(question).is_some()) {
            lines.extend(Line { question, answered: None }.text());
        }
        let _ = inside.file.write_all(&lines);
    }
}

impl Line {
    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::Question;
    use super::*;
    use crate::data::{Message, Role};

    fn question(text: &str) -> Digest {
        Question::from(vec![Message::new(Role::User, text.to_owned())]).digest()
    }

    #[test]
    fn answers_are_there_again_but_for_one_that_was_cut_off() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("answers/model.jsonl");
        let log = AnswerLog::open(&path).expect("it opens");
        log.keep(question("a"), &"yes".to_owned().into());
        log.keep(question("b"), &"no".to_owned().into());
        let text = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, &text[..text.len() - 10]).expect("it can be written");
        let again = AnswerLog::open(&path).expect("it opens");
        assert_eq!(again.find(question("a")).map(|found| found.text), Some("yes".to_owned()));
        assert_eq!(again.find(question("b")), None);
        again.keep(question("b"), &"no".to_owned().into());
        assert!(AnswerLog::open(&path).expect("it opens").find(question("b")).is_some());
        again.forget([question("a")].into_iter());
        // A cut within a character is one line, and no more.
        fs::write(&path, [fs::read(&path).expect("it is there"), b"{\"x\":\"\xc3".to_vec()].concat()).expect("it can be written");
        let last = AnswerLog::open(&path).expect("it opens");
        assert!(last.find(question("a")).is_none() && last.find(question("b")).is_some());
    }
}
