//! What all actions of a run share, and what comes of each.

use std::sync::{Arc, Mutex, OnceLock};

use crate::fingerprint::ActionKey;
use crate::ledger::{RunId, RunLog};
use crate::provider::Network;
use crate::stage::{Guard, StageError};
use crate::store::{Lock, RecordOutcome, Session};

use super::super::notice::Observer;
use super::super::plan::settle::{Found, History};
use super::super::recipe::Recipe;
use super::super::workspace::Workspace;
use super::interrupt::Interrupt;
use super::origin::Origin;
use super::pool::{Pool, Rank};
use super::purse::Purses;

/// What all actions of a run share.
pub struct Shared {
    pub recipe: Arc<Recipe>,
    pub workspace: Arc<Workspace>,
    pub history: History,
    pub observer: Arc<dyn Observer>,
    pub log: RunLog,
    pub run: RunId,
    pub interrupt: Interrupt,
    pub pool: Arc<Pool>,
    /// By action: how urgent it is.
    pub ranks: Vec<Rank>,
    pub forced: Vec<usize>,
    pub origin: OnceLock<Origin>,
    pub session: Mutex<Option<Arc<Session>>>,
    pub guard: Guard,
    pub network: Arc<Network>,
    pub purses: Purses,
    /// Held so that nobody clears the store meanwhile.
    pub _live: Lock,
}

/// What came of an action.
#[derive(Debug)]
pub struct Done {
    pub key: ActionKey,
    pub outcome: Arc<RecordOutcome>,
    pub seconds: f64,
    /// How long it took when it was made, in seconds.
    pub took: f32,
    /// Whether it was done just now, and not found.
    pub ran: bool,
    pub reasons: Vec<String>,
    pub notes: Vec<String>,
}

/// Why an action was not done.
#[derive(Debug)]
pub struct Failure {
    pub error: StageError,
    /// After how many attempts; none where it did not come to the first.
    pub attempts: u32,
    /// How long the attempts took together.
    pub seconds: f64,
}

impl<E: Into<StageError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), attempts: 0, seconds: 0.0 }
    }
}

impl From<Found> for Done {
    fn from(found: Found) -> Self {
        let notes = found.note.into_iter().collect();
        Self { key: found.key, outcome: found.outcome, seconds: 0.0, took: found.took, ran: false, reasons: Vec::new(), notes }
    }
}
