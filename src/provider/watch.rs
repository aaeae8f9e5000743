/// How work under way says how far it is, and hears that it should stop.
pub trait Watch: Send + Sync {
    /// So much is done of so much; `detail` says the rest (a loss, a status).
    fn progress(&self, done: u64, total: u64, unit: &str, detail: &str);

    /// Something worth keeping in the log of the run.
    fn note(&self, message: &str);

    /// Whether the user wants it to stop.
    fn stopped(&self) -> bool;
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
