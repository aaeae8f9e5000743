//! A model that a provider has: requests for it are passed on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::provider::{Onward, Passed, ProviderError};

use super::refusal::Refusal;

/// After so many failures one after the other a provider is not asked for a while.
const FAILURES: u32 = 3;
/// The longest while.
const REST: Duration = Duration::from_secs(30);

/// The way to a model that a provider has.
#[derive(Debug)]
pub struct Upstream {
    onward: Onward,
    /// What the provider calls it.
    model: String,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    health: Mutex<Health>,
}

/// How a provider has been lately.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Health {
    /// For how long it is not asked. Once that is over, one request is let through to see.
    fn rests(&mut self, now: Instant) -> Option<Duration> {
        let until = self.rests_until?;
        if until > now {
            return Some(until - now);
        }
        self.rests_until = Some(now + Self::rest(self.failures));
        None
    }

    fn told(&mut self, is_well: bool, now: Instant) {
        if is_well {
            *self = Self::default();
        } else {
            self.failures = self.failures.saturating_add(1);
            self.rests_until = (self.failures >= FAILURES).then(|| now + Self::rest(self.failures));
        }
    }

    fn rest(failures: u32) -> Duration {
        Duration::from_secs(1 << failures.saturating_sub(FAILURES).min(5)).min(REST)
    }
}

impl Upstream {
    pub fn new(onward: Onward, model: String, queue: usize) -> Self {
        let places = Arc::new(Semaphore::new(onward.at_once()));
        Self { onward, model, places, waiting: AtomicUsize::new(0), queue, health: Mutex::default() }
    }

    /// Passes a request on, and its answer back as it comes.
    ///
    /// # Errors
    /// When the provider is not well or cannot be reached, or too many wait for it.
    pub async fn chat(&self, body: Value) -> Result<Response, Refusal> {
        let rests = self.health.lock().unwrap_or_else(PoisonError::into_inner).rests(Instant::now());
        if let Some(rests) = rests {
            let problem = format!("the provider behind this model failed {FAILURES} times and more, one after the other");
            return Err(Refusal::Upstream { problem, seconds: Some(rests.as_secs().max(1)) });
        }
        let place = self.place().await?;
        let passed = self.onward.chat(&self.model, body).await;
        let is_well = match &passed {
            Ok(Passed::Answer { .. }) => true,
            Ok(Passed::Refused { status, .. }) => *status < 500,
            // A key that is missing here says nothing of the provider.
            Err(error) => !matches!(error, ProviderError::Unreachable { .. }),
        };
        self.health.lock().unwrap_or_else(PoisonError::into_inner).told(is_well, Instant::now());
        match passed {
            Ok(Passed::Answer { content_type, body }) => {
                // The place is taken until all of the answer has come.
                let parts = body.parts().map(move |part| {
                    let _held = &place;
                    part
                });
                let mut response = Body::from_stream(parts).into_response();
                let kind = content_type.and_then(|kind| HeaderValue::from_str(&kind).ok());
                response.headers_mut().insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/json")));
                Ok(response)
            }
            Ok(Passed::Refused { status, retry_after, body }) => {
                // Our own key is no concern of who asks here.
                let status =
                    if status == 401 || status == 403 { StatusCode::BAD_GATEWAY } else { StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY) };
                let mut response = (status, body).into_response();
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                if let Some(after) = retry_after.and_then(|after| HeaderValue::from_str(&after).ok()) {
                    response.headers_mut().insert(header::RETRY_AFTER, after);
                }
                Ok(response)
            }
            Err(error) => Err(Refusal::Upstream { problem: error.to_string(), seconds: None }),
        }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waits = Waiting::of(&self.waiting);
        if waits.before >= self.queue {
            return Err(Refusal::Busy { what: "too many requests wait for this model".into(), seconds: 1 });
        }
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::Broken { problem: "the way to the provider is closed".into() })
    }
}

/// One who waits, also when the request is given up meanwhile.
struct Waiting<'a> {
    all: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn of(all: &'a AtomicUsize) -> Self {
        Self { all, before: all.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_fails_again_and_again_rests_and_is_tried_by_one() {
        let (mut health, now) = (Health::default(), Instant::now());
        let second = Duration::from_secs(1);
        health.told(false, now);
        health.told(false, now);
        assert_eq!(health.rests(now), None);
        health.told(false, now);
        assert_eq!(health.rests(now), Some(second));
        assert_eq!(health.rests(now + second), None, "one may see whether it is well");
        assert_eq!(health.rests(now + second), Some(second), "and no other meanwhile");
        health.told(false, now + second);
        assert_eq!(health.rests(now + second), Some(2 * second), "it rests longer each time");
        health.told(true, now + second);
        assert_eq!(health.rests(now + second), None);
    }
}
