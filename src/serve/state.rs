use std::sync::Arc;
use std::time::Duration;

use super::catalog::Catalog;
use super::keys::Door;
use super::rate::Rates;
use super::request_log::RequestLog;
use super::tally::Tally;
use super::trials::Trials;
use super::tuning::Jobs;

/// What all requests share.
#[derive(Debug)]
pub struct State {
    pub catalog: Catalog,
    pub keys: Door,
    pub rates: Rates,
    pub tally: Arc<Tally>,
    pub log: Option<RequestLog>,
    /// Whether the log holds what was asked and said.
    pub contents: bool,
    pub trials: Trials,
    pub jobs: Arc<Jobs>,
    pub largest_file: usize,
    pub largest: usize,
    pub patience: Duration,
}
