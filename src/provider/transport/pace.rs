//! How fast a provider may be asked: requests and tokens a minute, shared by all stages of a run.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The limits of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests a minute.
    pub requests: Option<u32>,
    /// Tokens a minute.
    pub tokens: Option<u32>,
    /// Requests under way at once.
    pub at_once: usize,
    /// How long a reply may say nothing.
    pub patience: Duration,
    /// The most bytes that one request may carry, where it is less than the provider itself takes: larger files go in parts.
    pub largest: Option<u64>,
    /// How long a job may take to show in lists.
    pub visible: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: None, tokens: None, at_once: 16, patience: Duration::from_secs(300), largest: None, visible: Duration::from_secs(20) }
    }
}

/// Holds requests back so that a provider's limits are kept.
#[derive(Debug)]
pub struct Pace {
    requests: Option<Mutex<Bucket>>,
    tokens: Option<Mutex<Bucket>>,
    /// Until when the provider itself wants nothing more.
    held: Mutex<Option<Instant>>,
    /// Places for requests that are under way at once.
    places: Semaphore,
}

/// What may be used at once, and how fast it comes back.
#[derive(Debug)]
struct Bucket {
    /// Below zero where somebody has taken what is yet to come.
    level: f64,
    most: f64,
    each_second: f64,
    seen: Instant,
}

impl Pace {
    /// A pace within limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let bucket = |limit: Option<u32>| limit.map(|limit| Mutex::new(Bucket::new(limit, Instant::now())));
        Self { requests: bucket(limits.requests), tokens: bucket(limits.tokens), held: Mutex::default(), places: Semaphore::new(limits.at_once) }
    }

    /// Sends nothing for a while: the provider said that there is nothing left until then.
    pub fn hold(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(held.map_or(until, |held| held.max(until)));
    }

    /// Waits until a request may be sent.
    pub async fn request(&self) {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = held.map(|until| until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
        }
        wait(&self.requests, 1).await;
    }

    /// Waits until a further request may be under way; it may for as long as what comes back is held.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.places.acquire().await.ok()
    }

    /// Waits until so many tokens may be used.
    pub async fn tokens(&self, tokens: u32) {
        if tokens > 0 {
            wait(&self.tokens, tokens).await;
        }
    }
}

async fn wait(bucket: &Option<Mutex<Bucket>>, amount: u32) {
    let Some(bucket) = bucket else {
        return;
    };
    let wait = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(f64::from(amount), Instant::now());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

impl Bucket {
    /// A tenth of a minute's worth may be used at once.
    fn new(a_minute: u32, now: Instant) -> Self {
        let most = (f64::from(a_minute) / 10.0).max(1.0);
        Self { level: most, most, each_second: f64::from(a_minute) / 60.0, seen: now }
    }

    /// Takes an amount, and tells how long to wait until it is there.
    fn take(&mut self, amount: f64, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.level = passed.mul_add(self.each_second, self.level).min(self.most) - amount;
        self.seen = now;
        if self.level >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.level / self.each_second) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_never_sees_more_than_its_limit_and_a_tenth() {
        let start = Instant::now();
        let mut bucket = Bucket::new(600, start);
        let ends: Vec<Duration> = (0..1000).map(|_| bucket.take(1.0, start)).collect();
        let within = ends.iter().filter(|wait| **wait < Duration::from_secs(60)).count();
        assert!((655..=661).contains(&within), "{within}");
        assert!(ends.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn what_was_not_used_comes_back_up_to_the_most() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, start);
        assert_eq!(bucket.take(6.0, start), Duration::ZERO);
        assert_eq!(bucket.take(1.0, start), Duration::from_secs(1));
        assert_eq!(bucket.take(6.0, start + Duration::from_secs(3600)), Duration::ZERO);
        assert!(bucket.take(1.0, start + Duration::from_secs(3600)) > Duration::ZERO);
    }
}
