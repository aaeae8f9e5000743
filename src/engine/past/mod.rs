//! Looking back at what was done: two runs side by side, where results come from, and letting go of old ones.

pub mod account;
pub mod compare;
pub mod jobs;
pub mod lifecycle;
pub mod provenance;
pub mod upkeep;

pub use account::Account;
pub use jobs::{JobChange, KnownJob, SHOWN, change as change_job, jobs, told_of_job};
pub use lifecycle::{Outlook, lifecycle};
pub use provenance::statement;
pub use upkeep::collect_garbage;
