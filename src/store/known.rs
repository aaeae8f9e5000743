use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::fingerprint::{ActionKey, Digest};

use super::{FileState, RecordOutcome, Store, write_atomically};

/// What the actions of one pipeline made when they were last looked at, so that a run that finds nothing changed
/// opens no record. An index only: whatever it says can be read from the records too.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// What the places of the actions mean: the digest of their names.
    pub layout: Option<Digest>,
    /// By action: its key and what it made.
    pub actions: Vec<Option<(ActionKey, Arc<RecordOutcome>)>>,
    /// By action: how long it took to make, in seconds.
    pub took: Vec<f32>,
    /// The run that wrote the lock file, with the state in which it left it.
    pub locked: Option<(String, FileState)>,
    /// The store that all of this is in.
    pub store: Option<StoreIdentity>,
}

/// What tells a store from another one that was made in its place since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    objects: Folder,
    records: Folder,
}

/// The inode of a folder, and when it was made, in nanoseconds.
type Folder = (u64, u128);

impl StoreIdentity {
    /// The identity of a store, if it is there.
    #[must_use]
    pub fn of(store: &Store) -> Option<Self> {
        let folder = |name: &str| {
            let metadata = std::fs::metadata(store.root().join(name)).ok()?;
            let made = metadata.created().ok().and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
            Some((metadata.ino(), made.unwrap_or_default().as_nanos()))
        };
        Some(Self { objects: folder("cas")?, records: folder("actions")? })
    }
}

impl Known {
    /// Where the index of a pipeline's lock file lies.
    #[must_use]
    pub fn place(state: &Path, lock: &Path) -> PathBuf {
        let name = blake3::hash(lock.as_os_str().as_encoded_bytes()).to_hex();
        state.join("known").join(&name[..16])
    }

    /// Loads the index of actions laid out like this in this store. One that is missing, of another layout or store, or
    /// unreadable is empty.
    #[must_use]
    pub fn load(place: &Path, layout: Digest, store: Option<StoreIdentity>) -> Self {
        let known: Option<Self> = std::fs::read(place).ok().and_then(|bytes| postcard::from_bytes(&bytes).ok());
        known.filter(|known| known.layout == Some(layout) && store.is_some() && known.store == store).unwrap_or_default()
    }

    /// Writes the index. It is a help only: failing to is no error.
    pub fn save(&self, place: &Path) {
        let folder = place.parent().unwrap_or(place);
        if let (Ok(bytes), Ok(())) = (postcard::to_allocvec(self), std::fs::create_dir_all(folder)) {
            let _ = write_atomically(place, &bytes);
        }
    }

    /// Lets go of the indexes of a store in which something was found to be missing or damaged: the records tell what there is.
    pub fn forget(store: &Store) {
        let _ = std::fs::remove_dir_all(store.root().join("known"));
    }

    /// How long an action took when it was last done, in seconds; 0 where that is not known.
    #[must_use]
    pub fn took(&self, action: usize) -> f32 {
        self.took.get(action).copied().unwrap_or_default()
    }

    /// What an action made under a key, if that is what is known of it.
    #[must_use]
    pub fn get(&self, action: usize, key: ActionKey) -> Option<&Arc<RecordOutcome>> {
        let (known, outcome) = self.actions.get(action)?.as_ref()?;
        (*known == key).then_some(outcome)
    }
}
