use std::sync::Arc;

use crate::ledger::{Alias, Trial, TrialWay};

/// One of the two versions that a request may go to while one is tried.
#[derive(Clone, Debug)]
pub struct Arm {
    pub alias: Arc<str>,
    /// The name of the trial.
    pub name: Arc<str>,
    pub trial: Trial,
    /// Whether it is the one that is tried.
    pub is_tried: bool,
}

impl Arm {
    /// The arm of a request: a draw by its name. A shadow has requests copied, and those that are not say nothing.
    pub fn draw(alias: &Alias, request: &str) -> Option<Self> {
        let (trial, name) = (alias.trial.clone()?, alias.trial_name()?);
        let is_drawn = drawn(request, trial.share);
        let is_canary = matches!(trial.way, TrialWay::Canary(_));
        (is_canary || is_drawn).then(|| Self { alias: alias.name.as_str().into(), name: name.into(), trial, is_tried: is_canary && is_drawn })
    }

    /// Whether what it is asked is asked of a shadow too.
    pub fn has_shadow(&self) -> bool {
        self.trial.way == TrialWay::Shadow && !self.is_tried
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of 2^64")]
fn drawn(request: &str, share: f64) -> bool {
    (xxhash_rust::xxh3::xxh3_64(request.as_bytes()) as f64) < share * u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_is_drawn() {
        for share in [0.0, 0.1, 0.5, 1.0] {
            let count = (0..20_000).filter(|at| drawn(&format!("{at:08x}"), share)).count();
            assert!((crate::grade::count(count) / 20_000.0 - share).abs() < 0.01, "{count} of {share}");
        }
    }
}
