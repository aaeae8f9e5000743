use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::ledger::Event;
use crate::provider::{Cost, Exchange, ProviderError, Watch};

use super::super::notice::Notice;
use super::purse::Spent;
use super::shared::Shared;

/// How the work of an action speaks to the run.
pub struct StageWatch<'a> {
    pub shared: &'a Shared,
    pub stage: String,
    pub notes: Mutex<Vec<String>>,
    /// The time that the attempt under way has.
    pub clock: Mutex<Clock>,
    /// What of the budgets is spoken for by what is under way.
    pub spoken_for: Mutex<Spent>,
    /// Cancelled when nothing new is to begin, since something failed.
    pub halt: CancellationToken,
}

/// When an attempt began, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    limit: Option<Duration>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { began: Instant::now(), limit: None }
    }
}

impl StageWatch<'_> {
    pub fn is_late(&self) -> bool {
        let Clock { began, limit } = *self.clock();
        limit.is_some_and(|limit| began.elapsed() >= limit)
    }

    /// An attempt begins that may take so long.
    pub fn allow(&self, limit: Option<Duration>) {
        *self.clock() = Clock { limit, ..Clock::default() };
    }

    /// How long the attempt under way has taken so far.
    pub fn took(&self) -> Duration {
        self.clock().began.elapsed()
    }

    /// What is spoken for, which is nothing from now on.
    fn spoken_for(&self) -> Spent {
        std::mem::take(&mut *self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for StageWatch<'_> {
    fn progress(&self, done: u64, total: u64, unit: &str, detail: &str) {
        let (unit, detail) = (unit.to_owned(), detail.to_owned());
        let event = || Event::Progress { stage: self.stage.clone(), done, total, unit: unit.clone(), detail: detail.clone() };
        self.shared.log.tell(event);
        self.shared.observer.notice(Notice::Progress { stage: self.stage.clone(), done, total, unit, detail });
    }

    fn note(&self, message: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
        let event = Event::Note { stage: self.stage.clone(), message: message.to_owned() };
        // The note is shown in any case; a log that cannot be written fails the run elsewhere.
        let _ = self.shared.log.append(&event);
        self.shared.observer.notice(Notice::Note { stage: self.stage.clone(), message: message.to_owned() });
    }

    fn metrics(&self, step: u64, figures: &BTreeMap<String, f64>) {
        let _ = self.shared.log.append(&Event::Metrics { stage: self.stage.clone(), step, figures: figures.clone() });
    }

    fn exchange(&self, exchange: &Exchange) {
        let Exchange { provider, method, path, attempt, status, request_id, seconds, problem } = exchange.clone();
        let _ = self.shared.log.append(&Event::Request { stage: self.stage.clone(), provider, method, path, attempt, status, request_id, seconds, problem });
    }

    fn retried(&self, problem: &str, wait: Duration) {
        let shown = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let message = format!("{}; again in {shown:?}", problem.lines().next().unwrap_or_default());
        self.shared.observer.notice(Notice::Note { stage: self.stage.clone(), message });
    }

    fn bounds_tokens(&self) -> bool {
        self.shared.purses.bounds_tokens(&self.stage)
    }

    fn spend(&self, provider: &str, cost: Cost) -> Result<(), ProviderError> {
        self.shared.purses.spend(&self.stage, provider, cost)?;
        let (mut spoken_for, more) = (self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner), Spent::of(cost));
        *spoken_for = Spent { usd: spoken_for.usd + more.usd, tokens: spoken_for.tokens + more.tokens };
        Ok(())
    }

    fn billed(&self, cost: Cost) {
        let expected = self.spoken_for();
        // What an earlier run spoke for is no part of what this one may spend.
        let paid = |expected: f64, paid: Option<f64>| paid.filter(|_| expected > 0.0).unwrap_or(expected);
        let spent = Spent { usd: paid(expected.usd, cost.usd), tokens: paid(expected.tokens, cost.tokens) };
        self.shared.purses.settle(&self.stage, spent, expected);
    }

    fn unspent(&self) {
        self.shared.purses.settle(&self.stage, Spent::default(), self.spoken_for());
    }

    fn begins(&self) {
        self.clock().began = Instant::now();
    }

    fn stopped(&self) -> bool {
        self.shared.interrupt.killed() || self.is_late()
    }

    fn killed(&self) -> bool {
        self.shared.interrupt.killed()
    }

    fn let_go(&self) -> bool {
        self.shared.interrupt.stopped() || self.is_late()
    }
}
