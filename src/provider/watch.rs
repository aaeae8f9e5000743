use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use super::ProviderError;

/// One attempt at a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The provider.
    pub provider: String,
    /// `GET`, `POST`, ...
    pub method: String,
    /// The address below that of the provider.
    pub path: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// The status of the reply; none where there was no reply.
    pub status: Option<u16>,
    /// The provider's own name for the request.
    pub request_id: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong, where no reply came or it broke off.
    pub problem: Option<String>,
}

/// What something costs, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// US dollars.
    pub usd: Option<f64>,
    /// Tokens that models learn from, read and write.
    pub tokens: Option<f64>,
}

/// How work under way says how far it is, and hears that it should stop.
pub trait Watch: Send + Sync {
    /// So much is done of so much; `detail` says the rest (a loss, a status).
    fn progress(&self, done: u64, total: u64, unit: &str, detail: &str);

    /// Something worth keeping in the log of the run.
    fn note(&self, message: &str);

    /// The losses of a step.
    fn metrics(&self, _step: u64, _figures: &BTreeMap<String, f64>) {}

    /// A request was sent.
    fn exchange(&self, _exchange: &Exchange) {}

    /// An attempt failed, and there is another one after a wait.
    fn retried(&self, _problem: &str, _wait: Duration) {}

    /// Whether a budget bounds tokens, so that it is worth while to count them.
    fn bounds_tokens(&self) -> bool {
        false
    }

    /// Something is about to cost so much.
    ///
    /// # Errors
    /// When the budget does not allow it.
    fn spend(&self, _provider: &str, _cost: Cost) -> Result<(), ProviderError> {
        Ok(())
    }

    /// It did cost so much. What is not known cost what was expected.
    fn billed(&self, _cost: Cost) {}

    /// What was about to be spent is not: nothing was begun.
    fn unspent(&self) {}

    /// It waited for others until now, and only begins: its time is counted from here.
    fn begins(&self) {}

    /// Whether it must stop now.
    fn stopped(&self) -> bool;

    /// Whether the user wants it to end whatever it is doing.
    fn killed(&self) -> bool {
        false
    }

    /// Whether work that goes on elsewhere should be let go of: it can be found again.
    fn let_go(&self) -> bool {
        self.stopped()
    }
}

/// Tells nobody and never stops.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Watch for Silent {
    fn progress(&self, _: u64, _: u64, _: &str, _: &str) {}

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// Does some waiting work until it is done, or the user wants it to stop and `may_stop` allows it. Work that is let go
/// stops where it waits.
pub async fn until_stopped<T>(watch: &dyn Watch, may_stop: impl Fn() -> bool, work: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        while !(watch.killed() || watch.let_go() && may_stop()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stopped => None,
    }
}
