use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::fingerprint::{ActionKey, Digest};
use crate::store::write_atomically;

use super::LedgerError;
use super::kdl_text::{self, inside, property, quoted};

/// What the current result of a pipeline consists of. It lies beside the pipeline and is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile {
    /// The stages by name.
    pub stages: BTreeMap<String, LockedStage>,
}

/// What one stage's result consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedStage {
    /// The stage's kind.
    pub kind: String,
    /// The model that it made, in words.
    pub model: Option<String>,
    /// Its actions by name.
    pub actions: BTreeMap<String, LockedAction>,
}

/// What one action's result consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedAction {
    /// The key that it was done under.
    pub fingerprint: ActionKey,
    /// What it made, by name.
    pub outputs: BTreeMap<String, Digest>,
    /// The changes that it was kept over: the key that it held for before, and why it still holds. The first one names the key
    /// that it was made under.
    pub accepted: Vec<(ActionKey, String)>,
}

impl LockedStage {
    fn render(&self, name: &str, out: &mut String) {
        let _ = writeln!(out, "\nstage {} kind={} {{", quoted(name), quoted(&self.kind));
        if let Some(model) = &self.model {
            let _ = writeln!(out, "    model {}", quoted(model));
        }
        for (name, action) in &self.actions {
            let _ = writeln!(out, "    action {} fingerprint=\"{}\" {{", quoted(name), action.fingerprint);
            for (from, reason) in &action.accepted {
                let _ = writeln!(out, "        accepted {} from=\"{from}\"", quoted(reason));
            }
            for (name, digest) in &action.outputs {
                let _ = writeln!(out, "        output {} blake3=\"{digest}\"", quoted(name));
            }
            out.push_str("    }\n");
        }
        out.push_str("}\n");
    }
}

/// How the facts about a stage begin.
const STAGE: &str = "\nstage \"";

const HEADER: &str = "// Written by retune, to be committed: what the current result consists of.\n";

impl LockFile {
    /// Where the lock file of a pipeline lies: `NAME.lock.kdl` beside it, `NAME.PROFILE.lock.kdl` for a profile.
    #[must_use]
    pub fn path(pipeline: &Path, profile: Option<&str>) -> PathBuf {
        let stem = pipeline.file_stem().unwrap_or_default().to_string_lossy();
        let name = match profile {
            Some(profile) => format!("{stem}.{profile}.lock.kdl"),
            None => format!("{stem}.lock.kdl"),
        };
        pipeline.with_file_name(name)
    }

    /// Reads a lock file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, or is not what retune writes.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LedgerError::io("read", path)(error)),
        };
        Self::parse_lines(&text).map_or_else(|| Self::parse(&text, path), Ok)
    }

    /// Reads a text as [`LockFile::render`] writes it, one fact a line, many times as fast as KDL in general. `None`
    /// where a line is anything else.
    fn parse_lines(text: &str) -> Option<Self> {
        let mut lock = Self::default();
        let (mut stage, mut action) = (String::new(), String::new());
        let plain = |text: &str| (!text.contains(['\\', '"'])).then(|| text.to_owned());
        for line in text.lines() {
            let trimmed = line.trim_start();
            if let Some(rest) = line.strip_prefix("stage \"") {
                let (name, kind) = rest.strip_suffix("\" {")?.split_once("\" kind=\"")?;
                stage = plain(name)?;
                lock.stages.insert(stage.clone(), LockedStage { kind: plain(kind)?, ..LockedStage::default() });
            } else if let Some(rest) = line.strip_prefix("    model \"") {
                lock.stages.get_mut(&stage)?.model = Some(plain(rest.strip_suffix('"')?)?);
            } else if let Some(rest) = line.strip_prefix("    action \"") {
                let (name, fingerprint) = rest.strip_suffix("\" {")?.split_once("\" fingerprint=\"")?;
                let made = LockedAction { fingerprint: ActionKey(fingerprint.parse().ok()?), outputs: BTreeMap::new(), accepted: Vec::new() };
                action = plain(name)?;
                lock.stages.get_mut(&stage)?.actions.insert(action.clone(), made);
            } else if let Some(rest) = line.strip_prefix("        accepted \"") {
                let (reason, from) = rest.strip_suffix('"')?.split_once("\" from=\"")?;
                lock.stages.get_mut(&stage)?.actions.get_mut(&action)?.accepted.push((ActionKey(from.parse().ok()?), plain(reason)?));
            } else if let Some(rest) = line.strip_prefix("        output \"") {
                let (name, digest) = rest.strip_suffix('"')?.split_once("\" blake3=\"")?;
                lock.stages.get_mut(&stage)?.actions.get_mut(&action)?.outputs.insert(plain(name)?, digest.parse().ok()?);
            } else if !(trimmed.is_empty() || trimmed.starts_with("//") || trimmed == "}" || trimmed == "lock version=1") {
                return None;
            }
        }
        Some(lock)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LedgerError> {
        let document = kdl_text::parse(text, path)?;
        let broken = |problem: &str| LedgerError::Unreadable { path: path.to_owned(), problem: problem.to_owned() };
        let mut lock = Self::default();
        for node in document.nodes().iter().filter(|node| node.name().value() == "stage") {
            let name = kdl_text::text(node).ok_or_else(|| broken("a stage without a name"))?;
            let stage = lock.stages.entry(name.to_owned()).or_default();
            property(node, "kind").unwrap_or_default().clone_into(&mut stage.kind);
            stage.model = kdl_text::child_text(node, "model").map(str::to_owned);
            for action in inside(node).iter().filter(|child| child.name().value() == "action") {
                let name = kdl_text::text(action).ok_or_else(|| broken("an action without a name"))?;
                let fingerprint = property(action, "fingerprint").and_then(|digest| digest.parse().ok());
                let fingerprint = ActionKey(fingerprint.ok_or_else(|| broken("an action without a fingerprint"))?);
                let accepted = inside(action).iter().filter(|child| child.name().value() == "accepted");
                let accepted = accepted.filter_map(|node| Some((ActionKey(property(node, "from")?.parse().ok()?), kdl_text::text(node)?.to_owned())));
                let outputs = inside(action).iter().filter_map(|output| Some((kdl_text::text(output)?.to_owned(), property(output, "blake3")?.parse().ok()?)));
                stage.actions.insert(name.to_owned(), LockedAction { fingerprint, outputs: outputs.collect(), accepted: accepted.collect() });
            }
        }
        Ok(lock)
    }

    /// The file's text: sorted, one fact a line, so that git can merge it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::from(HEADER);
        out.push_str("lock version=1\n");
        self.stages.iter().for_each(|(name, stage)| stage.render(name, &mut out));
        out
    }

    /// A text as [`LockFile::render`] writes it, with other facts about some of its stages. `None` where one of them is not in it.
    #[must_use]
    pub fn patched(text: &str, changed: &BTreeMap<&str, LockedStage>) -> Option<String> {
        let mut out = String::with_capacity(text.len() + 256);
        let mut left = changed.len();
        let mut copied = 0;
        for (at, _) in text.match_indices(STAGE) {
            let name = &text[at + STAGE.len()..];
            let name = &name[..name.find('"')?];
            if let Some(stage) = changed.get(name) {
                let end = at + text[at..].find("\n}\n")? + "\n}\n".len();
                out.push_str(&text[copied..at]);
                stage.render(name, &mut out);
                copied = end;
                left -= 1;
            }
        }
        out.push_str(&text[copied..]);
        (left == 0).then_some(out)
    }

    /// Writes a text as the file, if it is not that already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_text(path: &Path, text: &str) -> Result<(), LedgerError> {
        if std::fs::read_to_string(path).is_ok_and(|old| old == text) { Ok(()) } else { Ok(write_atomically(path, text.as_bytes())?) }
    }

    /// The key that an action was last done under.
    #[must_use]
    pub fn fingerprint(&self, stage: &str, action: &str) -> Option<ActionKey> {
        Some(self.stages.get(stage)?.actions.get(action)?.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> LockFile {
        let action = |byte: u8| LockedAction {
            fingerprint: ActionKey(Digest::of(&[byte])),
            accepted: (1..byte).map(|time| (ActionKey(Digest::of(&[time])), format!("renamed variable {time}"))).collect(),
            outputs: BTreeMap::from([("a b/ü".to_owned(), Digest::of(&[byte, 1])), ("c".to_owned(), Digest::of(&[byte, 2]))]),
        };
        let actions = BTreeMap::from([("generate".to_owned(), action(1)), ("grade".to_owned(), action(3))]);
        let stage = LockedStage { kind: "evaluate".into(), model: Some("a model".into()), actions };
        LockFile { stages: BTreeMap::from([("one".to_owned(), stage.clone()), ("two".to_owned(), LockedStage { model: None, ..stage })]) }
    }

    #[test]
    fn both_readers_read_what_is_written() {
        let text = lock().render();
        assert_eq!(LockFile::parse_lines(&text), Some(lock()));
        assert_eq!(LockFile::parse(&text, Path::new("p")).ok(), Some(lock()));
    }

    #[test]
    fn a_patched_text_is_what_would_be_rendered() {
        let mut changed = lock();
        let other = LockedStage { model: Some("another".into()), ..changed.stages["two"].clone() };
        changed.stages.insert("two".into(), other.clone());
        assert_eq!(LockFile::patched(&lock().render(), &BTreeMap::from([("two", other.clone())])), Some(changed.render()));
        assert_eq!(LockFile::patched(&lock().render(), &BTreeMap::from([("three", other)])), None);
    }

    #[test]
    fn what_has_another_shape_is_left_to_the_general_reader() {
        let mut odd = lock();
        odd.stages.values_mut().for_each(|stage| stage.model = Some("a \"quoted\" one".into()));
        let text = odd.render();
        assert_eq!(LockFile::parse_lines(&text), None);
        assert_eq!(LockFile::parse(&text, Path::new("p")).ok(), Some(odd));
        assert_eq!(LockFile::parse_lines("<<<<<<< ours\n"), None);
    }
}
