//! retune: one KDL file declares how a language model is tuned; what has been done before is never done,
//! or paid for, again.
//!
//! The folders are layers, each using only those before it in this list. `docs/architecture.md` tells more.

pub mod cli;
pub mod config;
pub mod data;
pub mod engine;
pub mod fingerprint;
pub mod grade;
pub mod graph;
pub mod ledger;
pub mod model;
pub mod provider;
pub mod report;
pub mod serve;
pub mod stage;
pub mod store;
