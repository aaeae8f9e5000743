//! A model that a provider has: requests for it are passed on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::provider::{Onward, Passed, ProviderError, Reply};

use super::health::Health;
use super::refusal::Refusal;

/// The longest that a request waits for its turn.
const WAIT: Duration = Duration::from_secs(30);

/// A provider, which all of its models share.
#[derive(Debug)]
pub struct Provider {
    onward: Onward,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    health: Mutex<Health>,
}

/// A model that a provider has.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub provider: Arc<Provider>,
    /// What the provider calls it.
    pub model: String,
}

/// Whether anybody waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A client does.
    Live,
    /// Nobody: it takes no place from those for whom somebody does, and says nothing of the provider's health.
    Unheard,
}

/// A request that is passed on, by its fields.
pub type Fields = BTreeMap<String, Box<RawValue>>;

impl Provider {
    pub fn new(onward: Onward, queue: usize) -> Self {
        let places = Arc::new(Semaphore::new(onward.at_once()));
        Self { onward, places, waiting: AtomicUsize::new(0), queue, health: Mutex::new(Health::new(Instant::now())) }
    }

    /// Takes in how a request went that began at a time.
    fn told(&self, is_well: bool, began: Instant) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).told(is_well, began, Instant::now());
    }

    fn may_be_asked(&self) -> Result<(), Refusal> {
        match self.health.lock().unwrap_or_else(PoisonError::into_inner).rests(Instant::now()) {
            Some(rests) => Err(Refusal::Resting { seconds: rests.as_secs().max(1) }),
            None => Ok(()),
        }
    }

    /// A place among those that are asked at a time.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waits = Waiting::of(&self.waiting);
        if waits.before >= self.queue {
            return Err(busy());
        }
        let place = tokio::time::timeout(WAIT, Arc::clone(&self.places).acquire_owned()).await;
        place.map_err(|_| busy())?.map_err(|_| Refusal::Broken { problem: "the way to the provider is closed".into() })
    }

    /// Waits for this one's turn in the minute.
    async fn turn(&self, bytes: usize) -> Result<(), Refusal> {
        tokio::time::timeout(WAIT, self.onward.turn(tokens(bytes))).await.map_err(|_| busy())
    }
}

/// A token has about four letters.
fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes / 4).unwrap_or(u32::MAX)
}

fn busy() -> Refusal {
    Refusal::Busy { what: "too many requests wait for the provider of this model".into(), seconds: 1 }
}

impl Upstream {
    /// Passes a request on, and its answer back: as it comes where it is a stream.
    ///
    /// # Errors
    /// When the provider is not well, cannot be reached or gives no answer, or too many wait for it.
    pub async fn chat(&self, fields: Fields, bytes: usize, asks: Asks) -> Result<Response, Refusal> {
        let provider = &self.provider;
        let place = match asks {
            Asks::Live => provider.place().await?,
            Asks::Unheard => Arc::clone(&provider.places).try_acquire_owned().map_err(|_| busy())?,
        };
        match asks {
            // Others may have failed while it waited.
            Asks::Live => {
                provider.may_be_asked()?;
                provider.turn(bytes).await?;
            }
            Asks::Unheard if provider.health.lock().unwrap_or_else(PoisonError::into_inner).is_resting() => return Err(busy()),
            Asks::Unheard => provider.onward.turn(tokens(bytes)).now_or_never().ok_or_else(busy)?,
        }
        let wants_stream = fields.get("stream").is_some_and(|stream| stream.get() == "true");
        let began = Instant::now();
        let passed = provider.onward.chat(&self.model, fields).await;
        let told = |is_well: bool| {
            if asks == Asks::Live {
                provider.told(is_well, began);
            }
        };
        let ill = |problem: String| {
            told(false);
            Refusal::Upstream { problem }
        };
        match passed {
            Ok(Passed::Answer { is_stream: true, body }) if wants_stream => {
                told(true);
                let parts = streamed(body, Arc::clone(provider), place, began);
                Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(parts)).into_response())
            }
            Ok(Passed::Answer { body, .. }) if !wants_stream => {
                let bytes = body.whole().await.map_err(|problem| ill(format!("the provider's answer broke off: {problem}")))?;
                let is_answer = serde_json::from_slice::<Answer>(&bytes).is_ok();
                if !is_answer {
                    return Err(ill("what the provider answers is no chat completion".into()));
                }
                told(true);
                Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
            }
            Ok(Passed::Answer { .. }) => Err(ill("a stream was asked for, and the provider answers with something else".into())),
            Ok(Passed::Refused { status, retry_after, body }) => {
                // One request that a provider stumbles over says nothing of the next.
                told(!matches!(status, 502..=504));
                Ok(refused(status, retry_after, body))
            }
            Err(error @ ProviderError::Unreachable { .. }) => Err(ill(error.to_string())),
            // A key that is missing here says nothing of the provider.
            Err(error) => Err(Refusal::Upstream { problem: error.to_string() }),
        }
    }
}

/// What every chat completion has.
#[derive(serde::Deserialize)]
struct Answer {
    #[serde(rename = "choices")]
    _choices: Vec<IgnoredAny>,
}

fn refused(status: u16, retry_after: Option<String>, body: Vec<u8>) -> Response {
    // Our own key is no concern of who asks here.
    let status = if status == 401 || status == 403 { StatusCode::BAD_GATEWAY } else { StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY) };
    let mut response = (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
    if let Some(after) = retry_after.and_then(|after| HeaderValue::from_str(&after).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

/// What ends every stream.
const DONE: &[u8] = b"[DONE]";

/// The parts of a stream, which must come to its end: one that only ceases is an error, and looks like one. Its place is taken
/// until then.
fn streamed(body: Reply, provider: Arc<Provider>, place: OwnedSemaphorePermit, began: Instant) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let parts = body.parts().map(Some).chain(stream::iter([None]));
    let (mut tail, mut is_over) = (Vec::new(), false);
    parts.filter_map(move |part| {
        let _held = &place;
        let told = match part {
            Some(Ok(bytes)) => {
                tail.extend_from_slice(&bytes);
                is_over |= memchr::memmem::find(&tail, DONE).is_some();
                tail.drain(..tail.len().saturating_sub(DONE.len()));
                Some(Ok(bytes))
            }
            Some(Err(error)) => Some(Err(error)),
            None if is_over => None,
            None => Some(Err(std::io::Error::other("the provider's stream ended in the middle"))),
        };
        if matches!(told, Some(Err(_))) {
            provider.told(false, began);
        }
        std::future::ready(told)
    })
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
