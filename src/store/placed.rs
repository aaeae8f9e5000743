use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::fingerprint::Digest;

use super::Artifact;

/// Where the stages of one pipeline let outputs appear in the workspace, also those that it has no more: under another profile, with
/// other values of a matrix, before it was changed. What is left there is no file of the user's, so that a folder or a glob does
/// not mean it.
#[derive(Debug)]
pub struct Placed {
    place: PathBuf,
    known: OnceLock<Mutex<HashMap<String, Option<Digest>>>>,
}

impl Placed {
    /// What is kept below `state` about the pipeline of this name.
    #[must_use]
    pub fn of(state: &Path, pipeline: &Path) -> Self {
        let name = blake3::hash(pipeline.as_os_str().as_encoded_bytes()).to_hex();
        Self { place: state.join("placed").join(&name[..16]), known: OnceLock::new() }
    }

    /// Keeps in mind that a stage's output is at a path.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note(&self, path: &str, artifact: Artifact) -> io::Result<()> {
        let digest = digest(artifact);
        let mut known = self.known().lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(path) == Some(&digest) {
            return Ok(());
        }
        // A line begins anew, whatever a killed process left of the one before.
        let line = serde_json::to_string(&(path, digest)).map_err(io::Error::other)?;
        fs::create_dir_all(self.place.parent().unwrap_or(&self.place))?;
        let mut file = OpenOptions::new().create(true).append(true).open(&self.place)?;
        file.lock()?;
        file.write_all(format!("\n{line}").as_bytes())?;
        known.insert(path.to_owned(), digest);
        Ok(())
    }

    /// Whether a stage put this content at this path, or made a folder that it is in. `found` tells the content.
    pub fn covers(&self, path: &str, found: impl FnOnce() -> Option<Digest>) -> bool {
        let known = self.known().lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return false;
        }
        if path.match_indices('/').any(|(at, _)| known.get(&path[..at]) == Some(&None)) {
            return true;
        }
        known.get(path).is_some_and(|made| made.is_some() && found() == *made)
    }

    fn known(&self) -> &Mutex<HashMap<String, Option<Digest>>> {
        self.known.get_or_init(|| {
            let text = fs::read_to_string(&self.place).unwrap_or_default();
            let known = parsed(&text);
            if text.lines().count() > 2 * known.len() + SPARE {
                // A help only: what is long is read all the same.
                let _ = self.shorten();
            }
            Mutex::new(known)
        })
    }

    /// Leaves out what later lines say anew.
    fn shorten(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.place)?;
        file.lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let lines: Vec<String> = parsed(&text).iter().map(|line| serde_json::to_string(&line)).collect::<Result<_, _>>()?;
        let text = lines.join("\n");
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }
}

/// So many lines that say nothing new any more are no matter.
const SPARE: usize = 1000;

fn parsed(text: &str) -> HashMap<String, Option<Digest>> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The content of a file; none of a folder, in which everything is the stage's.
const fn digest(artifact: Artifact) -> Option<Digest> {
    match artifact {
        Artifact::Tree { .. } => None,
        Artifact::File { digest, .. } | Artifact::Program { digest, .. } => Some(digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_known_by_place_and_content_also_to_the_next_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let placed = Placed::of(folder.path(), Path::new("p.kdl"));
        assert!(!placed.covers("out/1.txt", || Some(one)));
        placed.note("out/1.txt", Artifact::File { digest: one, size: 3 }).expect("it is kept");
        OpenOptions::new().append(true).open(&placed.place).and_then(|mut file| file.write_all(b"\n[\"half")).expect("it is written");
        placed.note("made", Artifact::Tree { digest: one, size: 3 }).expect("it is kept");
        for placed in [placed, Placed::of(folder.path(), Path::new("p.kdl"))] {
            assert!(placed.covers("out/1.txt", || Some(one)) && placed.covers("made/a/b", || None));
            assert!(!placed.covers("out/1.txt", || Some(other)) && !placed.covers("out/2.txt", || Some(one)) && !placed.covers("made", || Some(one)));
        }
        let many = |from: u32| {
            let placed = Placed::of(folder.path(), Path::new("p.kdl"));
            (from..from + 600).for_each(|number| {
                placed.note("out/1.txt", Artifact::File { digest: Digest::of(&number.to_le_bytes()), size: 4 }).expect("it is kept");
            });
            fs::read_to_string(&placed.place).expect("it is there").lines().count()
        };
        assert!(many(0) > 600 && many(600) > 1200 && many(1200) < 700, "what is said anew is left out");
        let placed = Placed::of(folder.path(), Path::new("p.kdl"));
        assert!(placed.covers("out/1.txt", || Some(Digest::of(&1799_u32.to_le_bytes()))) && placed.covers("made/a", || None));
        assert!(!Placed::of(folder.path(), Path::new("q.kdl")).covers("out/1.txt", || Some(one)), "other pipelines may read it");
    }
}
