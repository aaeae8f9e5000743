//! retune: one KDL file declares how a language model is tuned; what has been done before is never done,
//! or paid for, again.
//!
//! The folders are layers, each using only those before it in this list. `docs/architecture.md` tells more.

pub mod config;
pub mod fingerprint;
pub mod graph;
pub mod store;
pub mod ledger;
pub mod data;
pub mod grade;
pub mod provider;
pub mod model;
pub mod stage;
pub mod engine;
pub mod cli;
