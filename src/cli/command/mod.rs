//! The commands, one file each.

pub mod accept;
pub mod cache;
pub mod cancel;
pub mod check;
pub mod check_data;
pub mod deployments;
pub mod diff;
pub mod doctor;
pub mod fmt;
pub mod get;
pub mod graph;
pub mod guard;
pub mod init;
pub mod inspect;
pub mod jobs;
pub mod log;
pub mod plan;
pub mod rollback;
pub mod run;
pub mod runs;
pub mod schema;
pub mod serve;
pub mod show;
pub mod status;
pub mod why;
