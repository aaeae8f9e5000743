use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::fingerprint::{ActionKey, Digest};
use crate::store::write_atomically;

use super::LedgerError;
use super::kdl_text::{self, inside, property, quoted, text};

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
}

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
        let Some(document) = kdl_text::read(path)? else {
            return Ok(Self::default());
        };
        let broken = |problem: &str| LedgerError::Unreadable { path: path.to_owned(), problem: problem.to_owned() };
        let mut lock = Self::default();
        for node in document.nodes().iter().filter(|node| node.name().value() == "stage") {
            let name = text(node).ok_or_else(|| broken("a stage without a name"))?;
            let stage = lock.stages.entry(name.to_owned()).or_default();
            property(node, "kind").unwrap_or_default().clone_into(&mut stage.kind);
            stage.model = kdl_text::child_text(node, "model").map(str::to_owned);
            for action in inside(node).iter().filter(|child| child.name().value() == "action") {
                let name = text(action).ok_or_else(|| broken("an action without a name"))?;
                let fingerprint = property(action, "fingerprint").and_then(|digest| digest.parse().ok());
                let fingerprint = ActionKey(fingerprint.ok_or_else(|| broken("an action without a fingerprint"))?);
                let outputs = inside(action).iter().filter_map(|output| Some((text(output)?.to_owned(), property(output, "blake3")?.parse().ok()?)));
                stage.actions.insert(name.to_owned(), LockedAction { fingerprint, outputs: outputs.collect() });
            }
        }
        Ok(lock)
    }

    /// The file's text: sorted, one fact a line, so that git can merge it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::from(HEADER);
        out.push_str("lock version=1\n");
        for (name, stage) in &self.stages {
            let _ = writeln!(out, "\nstage {} kind={} {{", quoted(name), quoted(&stage.kind));
            if let Some(model) = &stage.model {
                let _ = writeln!(out, "    model {}", quoted(model));
            }
            for (name, action) in &stage.actions {
                let _ = writeln!(out, "    action {} fingerprint=\"{}\" {{", quoted(name), action.fingerprint);
                for (name, digest) in &action.outputs {
                    let _ = writeln!(out, "        output {} blake3=\"{digest}\"", quoted(name));
                }
                out.push_str("    }\n");
            }
            out.push_str("}\n");
        }
        out
    }

    /// Writes the file if its text would change.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LedgerError> {
        let text = self.render();
        if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        Ok(write_atomically(path, text.as_bytes())?)
    }

    /// The key that an action was last done under.
    #[must_use]
    pub fn fingerprint(&self, stage: &str, action: &str) -> Option<ActionKey> {
        Some(self.stages.get(stage)?.actions.get(action)?.fingerprint)
    }
}
