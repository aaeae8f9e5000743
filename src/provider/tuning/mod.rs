//! The life of a remote job, the same for every protocol, and what is watched while a model is trained.

mod begin;
mod hosted;
mod monitor;
mod rows;
mod wire;

pub use begin::Asked;
pub use hosted::Hosted;
pub use monitor::{Alarm, Care, Monitor, Verdict};
pub use rows::csv;
pub use wire::{Happened, Job, JobState, Losses, Remote, RemoteCheckpoint, Rules, TrainingFile, Wire};
