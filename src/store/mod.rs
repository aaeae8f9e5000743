//! Content and results on disk: blobs and trees by digest, records of actions by key, the states of
//! workspace files, locks, and the folders of attempts. Everything is written beside its place and
//! renamed into it, so that a reader never sees half of anything.

mod actions;
mod attempt;
mod cas;
mod displace;
mod error;
mod file_table;
mod files;
mod known;
mod listing;
mod lock;
mod orphan;
mod pack;
mod place;
mod placed;
mod sweep;
mod text;
mod tree;
mod walk;
mod write;

pub use actions::{Accepted, Maker, Record, RecordOutcome};
pub use attempt::{Attempt, Session};
pub use cas::{Artifact, Store};
pub use displace::{displaced, move_to};
pub use error::StoreError;
pub use files::{FileState, FileStates, Reading};
pub use known::{Known, StoreIdentity};
pub use lock::Lock;
pub use orphan::{adopt_orphans, end_adopted, end_orphans};
pub use placed::Placed;
pub use sweep::{Part, Swept, Usage, Verified};
pub use text::Text;
pub use tree::{TreeEntry, is_passed_over};
pub use walk::files_below;
pub use write::write_atomically;
