use std::future::Future;
use std::time::Duration;

/// How work under way says how far it is, and hears that it should stop.
pub trait Watch: Send + Sync {
    /// So much is done of so much; `detail` says the rest (a loss, a status).
    fn progress(&self, done: u64, total: u64, unit: &str, detail: &str);

    /// Something worth keeping in the log of the run.
    fn note(&self, message: &str);

    /// Whether it must stop now.
    fn stopped(&self) -> bool;

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
        while !(watch.let_go() && may_stop()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stopped => None,
    }
}
