//! The files that clients sent, and those that came of their jobs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::serve::chat::now;
use crate::serve::name::fresh;
use crate::store::write_atomically;

/// What OpenAI's API takes a file for.
const PURPOSES: [&str; 6] = ["assistants", "batch", FINE_TUNE, "vision", "user_data", "evals"];
/// What a job learns from.
pub const FINE_TUNE: &str = "fine-tune";
/// What a job writes.
pub const RESULTS: &str = "fine-tune-results";

/// A file as OpenAI's API describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    pub id: String,
    object: String,
    pub bytes: u64,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    pub filename: String,
    pub purpose: String,
    status: String,
}

/// The folder of all files.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// Bytes of what is being written, which are no file yet.
    arriving: AtomicU64,
}

/// Bytes that somebody is about to write.
#[derive(Debug)]
pub struct Expected<'a> {
    files: &'a Files,
    bytes: u64,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.files.arriving.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A file that is being written. What is not kept is taken away.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    is_kept: bool,
}

/// An upload takes less than this.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

const CONTENT: &str = "content";
const DESCRIPTION: &str = "file.json";

impl Files {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, arriving: AtomicU64::new(0) }
    }

    /// Takes away what was begun long ago and never came to its end.
    pub fn sweep(&self) {
        let is_old =
            |folder: &std::path::Path| fs::metadata(folder).and_then(|state| state.modified()).is_ok_and(|time| time.elapsed().is_ok_and(|age| age > OLD));
        for folder in fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if !folder.join(DESCRIPTION).is_file() && is_old(&folder) {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }

    /// The bytes of all files, and of what is being written.
    pub fn size(&self) -> u64 {
        self.all().iter().map(|file| file.bytes).sum::<u64>() + self.arriving.load(Ordering::Relaxed)
    }

    /// Counts bytes that are being written, until it is dropped.
    pub fn expects(&self, bytes: u64) -> Expected<'_> {
        self.arriving.fetch_add(bytes, Ordering::Relaxed);
        Expected { files: self, bytes }
    }

    /// Whether a file may be sent for that.
    pub fn takes(purpose: &str) -> bool {
        PURPOSES.contains(&purpose)
    }

    /// Begins a file.
    pub fn begin(&self) -> io::Result<Draft> {
        let folder = self.folder.join(format!("file-{}", fresh()));
        fs::create_dir_all(&folder)?;
        Ok(Draft { folder, is_kept: false })
    }

    /// The file of an id, unless its time is over.
    pub fn find(&self, id: &str) -> Option<Described> {
        // What is no id is no name of a folder either.
        let is_id = id.strip_prefix("file-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let bytes = is_id.then(|| fs::read(self.folder.join(id).join(DESCRIPTION)).ok())??;
        let found: Described = serde_json::from_slice(&bytes).ok()?;
        if found.expires_at.is_some_and(|end| end <= now()) {
            self.remove(id);
            return None;
        }
        Some(found)
    }

    /// Where what is in it lies.
    pub fn content(&self, file: &Described) -> PathBuf {
        self.folder.join(&file.id).join(CONTENT)
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Described> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<Described> = entries.filter_map(|entry| self.find(entry.file_name().to_str()?)).collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    /// Takes a file away. Whether it was there.
    pub fn remove(&self, id: &str) -> bool {
        fs::remove_dir_all(self.folder.join(id)).is_ok()
    }
}

impl Draft {
    /// Where its content is to be written.
    pub fn content(&self) -> PathBuf {
        self.folder.join(CONTENT)
    }

    /// Keeps it, with its description, which makes it a file.
    pub fn keep(mut self, filename: &str, purpose: &str, lasts: Option<u64>) -> io::Result<Described> {
        let id = self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let (bytes, created_at) = (fs::metadata(self.content())?.len(), now());
        let described = Described {
            id,
            object: "file".into(),
            bytes,
            created_at,
            expires_at: lasts.map(|seconds| created_at.saturating_add(seconds)),
            filename: filename.to_owned(),
            purpose: purpose.to_owned(),
            status: "processed".into(),
        };
        write_atomically(&self.folder.join(DESCRIPTION), &serde_json::to_vec(&described)?).map_err(io::Error::other)?;
        self.is_kept = true;
        Ok(described)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
