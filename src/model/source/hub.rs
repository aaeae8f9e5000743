//! Models of the Hugging Face hub, `hf:OWNER/NAME@COMMIT`: downloaded once, held to the digests that the hub tells, and read as any
//! folder then.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde::Deserialize;

use crate::fingerprint::Digest;
use crate::model::error::ModelError;
use crate::provider::{Download, DownloadError, ProviderError, Secret, Silent, Watch, download, hub, until_stopped};

use super::{Source, folder};

/// A model of the hub in one state that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    owner: String,
    name: String,
    commit: String,
}

/// What names of models of the hub begin with.
pub const SCHEME: &str = "hf:";
/// Where what gives the right to closed models stands.
const TOKEN: &str = "HF_TOKEN";
/// The most that a description or an index may be, in bytes.
const DESCRIPTION: u64 = 64 << 20;
/// How long one process waits before it looks again whether another is done.
const LOOK: Duration = Duration::from_millis(100);

impl HubModel {
    /// The model of a name: an owner, a name, and a whole commit. A branch or a tag would be another model tomorrow.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (path, commit) = text.strip_prefix(SCHEME)?.split_once('@')?;
        let (owner, name) = path.split_once('/')?;
        let is_plain =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let is_commit = commit.len() == 40 && commit.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        let model = || Self { owner: owner.to_owned(), name: name.to_owned(), commit: commit.to_owned() };
        (is_plain(owner) && is_plain(name) && is_commit).then(model)
    }

    /// Where its files are, once they are all there.
    #[must_use]
    pub fn folder(&self, workspace: &Path) -> PathBuf {
        self.beside(workspace, "")
    }

    /// Makes sure that what was read from its folder is what was downloaded.
    ///
    /// # Errors
    /// When it is not.
    pub fn hold(&self, folder: &Path, found: Option<Digest>) -> Result<(), ModelError> {
        let known = std::fs::read_to_string(folder.join(CONTENT)).ok();
        let is_same = known.is_some() && known == found.map(|found| found.to_string());
        if is_same { Ok(()) } else { Err(ModelError::Changed { model: self.to_string(), folder: folder.to_owned() }) }
    }

    fn beside(&self, workspace: &Path, ending: &str) -> PathBuf {
        workspace.join(".retune").join("models").join(&self.owner).join(&self.name).join(format!("{}{ending}", self.commit))
    }

    fn page(&self, what: &str) -> String {
        format!("{}/{what}{}/{}", hub(), self.owner, self.name)
    }
}

impl std::fmt::Display for HubModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}/{}@{}", self.owner, self.name, self.commit)
    }
}

/// What the hub says of a model.
#[derive(Deserialize)]
struct Described {
    sha: String,
    siblings: Vec<Sibling>,
}

/// What it says of a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    /// Git's name of the content.
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
}

/// What the content of a file has to be.
#[derive(Clone)]
struct Expected {
    size: u64,
    algorithm: &'static Algorithm,
    /// What is hashed before the content.
    before: String,
    digest: String,
}

impl Sibling {
    fn expected(&self) -> Option<Expected> {
        let size = self.size?;
        Some(match &self.lfs {
            Some(large) => Expected { size, algorithm: &SHA256, before: String::new(), digest: large.sha256.clone() },
            // Git hashes a header with the content.
            None => Expected { size, algorithm: &SHA1_FOR_LEGACY_USE_ONLY, before: format!("blob {size}\0"), digest: self.blob_id.clone()? },
        })
    }
}

impl Expected {
    /// The digest that a file has.
    async fn found(self, path: &Path) -> std::io::Result<String> {
        let path = path.to_owned();
        let read = move || {
            let (mut file, mut context, mut part) = (File::open(path)?, Context::new(self.algorithm), vec![0; 1 << 20]);
            context.update(self.before.as_bytes());
            loop {
                match file.read(&mut part)? {
                    0 => return Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()),
                    count => context.update(&part[..count]),
                }
            }
        };
        tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
    }
}

/// Sees to it that a model is on this machine: what is of the hub and not here yet is downloaded.
///
/// # Errors
/// When the hub refuses or cannot be reached, sends other content than it says, or the watch says stop.
pub async fn fetch(name: &str, workspace: &Path, watch: &dyn Watch) -> Result<(), ModelError> {
    let Some(Source::Hub(model)) = Source::of(name) else { return Ok(()) };
    let folder = model.folder(workspace);
    if folder.is_dir() {
        return Ok(());
    }
    let coming = Coming { unfinished: model.beside(workspace, ".part"), model, watch };
    let done = until_stopped(watch, || true, async {
        let _alone = coming.alone(&folder).await?;
        // Another process may have brought it meanwhile.
        if !folder.is_dir() {
            coming.bring(&folder).await?;
        }
        Ok(())
    });
    done.await.unwrap_or(Err(ModelError::Stopped))
}

/// The same, for who can only wait for it.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_now(name: &str, workspace: &Path) -> Result<(), ModelError> {
    // Where everything is here, no thread is begun for it.
    let Some(Source::Hub(model)) = Source::of(name) else { return Ok(()) };
    if model.folder(workspace).is_dir() {
        return Ok(());
    }
    let fetched = std::thread::scope(|scope| {
        // A thread of its own, since this one may be at work for another runtime.
        let own = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| ModelError::unwritable(workspace, &error))?.block_on(fetch(name, workspace, &Silent))
        });
        own.join()
    });
    fetched.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The folder with files that are under way.
const KEPT: &str = ".under-way";
/// The file with what tells the content of all others.
const CONTENT: &str = ".content";

/// A model on its way.
struct Coming<'a> {
    model: HubModel,
    /// The folder of what is here of it.
    unfinished: PathBuf,
    watch: &'a dyn Watch,
}

impl Coming<'_> {
    /// The right to bring it: two processes would write into the same files.
    async fn alone(&self, folder: &Path) -> Result<File, ModelError> {
        let path = self.unfinished.with_extension("lock");
        let parent = path.parent().unwrap_or(folder);
        let lock = std::fs::create_dir_all(parent).and_then(|()| File::create(&path)).map_err(|error| ModelError::unwritable(&path, &error))?;
        let mut waits = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(error)) => return Err(ModelError::unwritable(&path, &error)),
                Err(TryLockError::WouldBlock) if !waits => self.watch.note(&format!("{} is downloaded by another process already", self.model)),
                Err(TryLockError::WouldBlock) => {}
            }
            waits = true;
            tokio::time::sleep(LOOK).await;
        }
    }

    fn lacks(&self, problem: impl Into<String>) -> ModelError {
        ModelError::HubRefused { model: self.model.to_string(), problem: problem.into() }
    }

    /// Brings all files that a model is read from, and puts them in their place when they are all there.
    async fn bring(&self, folder: &Path) -> Result<(), ModelError> {
        let kept = self.unfinished.join(KEPT);
        std::fs::create_dir_all(&kept).map_err(|error| ModelError::unwritable(&kept, &error))?;
        self.files().await?;
        let content = folder::content(&folder::files(&self.unfinished)?)?;
        let note = self.unfinished.join(CONTENT);
        std::fs::write(&note, content.to_string()).map_err(|error| ModelError::unwritable(&note, &error))?;
        let done = std::fs::remove_dir_all(&kept).and_then(|()| std::fs::rename(&self.unfinished, folder));
        done.map_err(|error| ModelError::unwritable(folder, &error))
    }

    async fn files(&self) -> Result<(), ModelError> {
        let described = self.described().await?;
        let names: BTreeSet<&str> = described.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let mut wanted: Vec<&str> = folder::DESCRIPTIONS.iter().copied().filter(|name| names.contains(name)).collect();
        for needed in [folder::CONFIG, folder::TOKENIZER] {
            if !names.contains(needed) {
                return Err(self.lacks(format!("it has no {needed}, which a model is read from")));
            }
        }
        if names.contains(folder::WEIGHTS) {
            wanted.push(folder::WEIGHTS);
        } else if names.contains(folder::INDEX) {
            wanted.push(folder::INDEX);
        } else {
            return Err(self.lacks("it has no weights as safetensors"));
        }
        for name in wanted {
            self.file(&described, name).await?;
        }
        if !names.contains(folder::WEIGHTS) {
            for shard in folder::shards(&self.unfinished.join(folder::INDEX))? {
                self.file(&described, &shard).await?;
            }
        }
        Ok(())
    }

    async fn described(&self) -> Result<Described, ModelError> {
        let url = format!("{}/revision/{}?blobs=true", self.model.page("api/models/"), self.model.commit);
        let place = self.unfinished.join(KEPT).join("description.json");
        self.download(&url, &place, DESCRIPTION).await?;
        let bytes = std::fs::read(&place).map_err(|error| ModelError::unreadable(&place, &error))?;
        let described: Described = serde_json::from_slice(&bytes).map_err(|error| self.lacks(format!("{url} describes no model: {error}")))?;
        if described.sha == self.model.commit { Ok(described) } else { Err(self.lacks(format!("the hub describes the commit {} in its place", described.sha))) }
    }

    /// Brings a file, unless it is here already.
    async fn file(&self, described: &Described, name: &str) -> Result<(), ModelError> {
        let place = self.unfinished.join(name);
        if place.is_file() {
            return Ok(());
        }
        let expected = described.siblings.iter().find(|file| file.rfilename == name);
        let expected = expected.ok_or_else(|| self.lacks(format!("it has no {name}")))?.expected();
        let expected = expected.ok_or_else(|| self.lacks(format!("the hub tells no digest of {name}")))?;
        let url = format!("{}/resolve/{}/{name}", self.model.page(""), self.model.commit);
        let coming = self.unfinished.join(KEPT).join(name);
        let mut downloads = 0;
        loop {
            // What a kill left whole is looked at before it is asked for again.
            if !coming.is_file() {
                self.download(&url, &coming, expected.size).await?;
                downloads += 1;
            }
            let found = expected.clone().found(&coming).await.map_err(|error| ModelError::unreadable(&coming, &error))?;
            if found == expected.digest {
                return std::fs::rename(&coming, &place).map_err(|error| ModelError::unwritable(&place, &error));
            }
            std::fs::remove_file(&coming).map_err(|error| ModelError::unwritable(&coming, &error))?;
            match downloads {
                0 => {}
                1 => self.watch.note(&format!("{url} was not what the hub says it is, and is downloaded once more")),
                _ => return Err(ModelError::OtherContent { model: self.model.to_string(), file: name.to_owned(), expected: expected.digest, found }),
            }
        }
    }

    async fn download(&self, url: &str, place: &Path, largest: u64) -> Result<(), ModelError> {
        let token = Secret::variable(TOKEN);
        let token = token.is_set().then(|| token.reveal("the hub")).transpose().map_err(|error: ProviderError| self.lacks(error.to_string()))?;
        let kept = self.unfinished.join(KEPT);
        let wanted = Download { url, place, kept: &kept, token: token.as_deref(), unless: HeaderMap::new(), largest };
        let done = download(&wanted, self.watch).await;
        done.map(drop).map_err(|error| match error {
            DownloadError::Unreachable { problem } => ModelError::HubUnreachable { url: url.to_owned(), problem },
            DownloadError::Refused { problem } => self.lacks(format!("{url} says {problem}")),
            DownloadError::TooLarge { most } => self.lacks(format!("{url} sends more than {most} bytes")),
            DownloadError::Io { path, source, .. } => ModelError::unwritable(&path, &source),
        })
    }
}
