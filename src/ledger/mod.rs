//! What happened and what holds: events of each run, remote jobs, the lock file, and the versions of
//! aliases. All of it is plain text that a person can read and git can merge.

mod aliases;
mod error;
mod events;
mod jobs;
mod kdl_text;
mod lockfile;
mod manifest;
mod outward;
mod run_id;
mod trial;

pub use aliases::{Alias, LiveCheck, Served, ServedAt, Version};
pub use error::LedgerError;
pub use events::{Event, RunLog, RunSummary, SNAPSHOT, StageStatus, run, runs};
pub use jobs::{DELETED, FORGOTTEN, GivenUp, JobJournal, JobStep, STOPPED_EARLY, Stopping, Uploads, journals};
pub use kdl_text::quoted;
pub use lockfile::{LockFile, LockedAction, LockedStage};
pub use manifest::{Manifest, Target};
pub use outward::{Outward, Way};
pub use run_id::RunId;
pub use trial::{Limits, Trial, TrialWay};
