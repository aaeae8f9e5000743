use tokio_util::sync::CancellationToken;

/// The two steps of an interruption. The first begins nothing new and lets go of work that goes on elsewhere; what runs here
/// comes to its end. The second ends what runs here.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Interrupt {
    /// The next step.
    pub fn again(&self) {
        if self.stop.is_cancelled() { self.kill.cancel() } else { self.stop.cancel() }
    }

    /// Both steps at once.
    pub fn kill(&self) {
        self.stop.cancel();
        self.kill.cancel();
    }

    /// Whether nothing new is to begin.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether what runs here is to end.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.kill.is_cancelled()
    }

    /// Comes back when nothing new is to begin.
    pub async fn until_stopped(&self) {
        self.stop.cancelled().await;
    }
}
