//! What came of a request: counted and logged when all of its answer is sent, or it broke off, or nobody waits for it any more.

use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use jiff::Timestamp;

use super::arm::Arm;
use super::heard::Heard;
use super::request_log::{End, Line};
use super::shadow;
use super::state::State;
use super::trials::Outcome;

/// What a request turned out to be about.
#[derive(Debug, Default)]
pub struct About {
    pub model: String,
    /// Which of two versions answers, where one is tried.
    pub arm: Option<Arm>,
    /// The request itself, where somebody needs it afterwards.
    pub asked: Option<Vec<u8>>,
}

/// The account of a request, given when it is dropped.
#[derive(Debug)]
pub struct Account {
    state: Arc<State>,
    began: Instant,
    pub id: String,
    pub key: String,
    pub method: String,
    pub path: String,
    /// Told by whoever finds it out.
    pub about: Arc<OnceLock<About>>,
    /// What is said, where somebody listens.
    heard: Option<Heard>,
    /// The status, and how long it took to come to it.
    pub answered: Option<(u16, Duration)>,
    end: End,
}

impl Account {
    pub fn open(state: &Arc<State>, id: String, method: String, path: String) -> Self {
        state.tally.opened();
        let (state, began) = (Arc::clone(state), Instant::now());
        Self { state, began, id, key: String::new(), method, path, about: Arc::default(), heard: None, answered: None, end: End::Gone }
    }

    /// Notes that an answer begins.
    pub fn answers(&mut self, status: u16) {
        self.heard = self.about.get().is_some_and(|about| about.arm.is_some() || about.asked.is_some()).then(Heard::default);
        self.answered = Some((status, self.began.elapsed()));
    }

    /// Follows an answer to its end.
    pub fn follow(self, body: Body) -> Body {
        Body::new(Watched { body, account: self })
    }
}

/// As servers log it when the client went before an answer began.
const CLIENT_GONE: u16 = 499;

impl Drop for Account {
    fn drop(&mut self) {
        let (status, took) = self.answered.unwrap_or((CLIENT_GONE, self.began.elapsed()));
        let text = self.heard.as_ref().and_then(Heard::text);
        let nothing = About::default();
        let about = self.about.get().unwrap_or(&nothing);
        self.state.tally.closed(&about.model, status, self.end, took);
        if let Some(log) = &self.state.log {
            log.write(&Line {
                time: Timestamp::now(),
                id: &self.id,
                key: &self.key,
                method: &self.method,
                path: &self.path,
                model: &about.model,
                version: about.arm.as_ref().filter(|arm| arm.is_tried).map(|arm| arm.trial.version),
                status,
                seconds: took.as_secs_f64(),
                end: self.end,
                request: about.asked.as_deref().filter(|_| self.state.contents).and_then(|asked| serde_json::from_slice(asked).ok()),
                answer: text.as_deref().filter(|_| self.state.contents),
            });
        }
        let Some(arm) = about.arm.clone() else {
            return;
        };
        let is_whole = self.end == End::Whole;
        // Who leaves before anything was said has waited too long; who leaves in the middle has waited at least so long.
        let was_left = self.end == End::Gone && self.heard.as_ref().is_none_or(Heard::is_nothing);
        let is_error = status >= 400 || self.end == End::Broken || was_left;
        let took = (!is_error).then(|| self.began.elapsed());
        let text = text.filter(|_| is_whole);
        if let Some(asked) = about.asked.clone().filter(|_| arm.has_shadow() && !is_error) {
            shadow::ask(&self.state, arm.clone(), asked, text.clone());
        }
        if !is_error {
            self.state.trials.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(std::mem::take(&mut self.id), arm.clone());
        }
        self.state.trials.observe(Outcome { arm, is_error, took, text, is_same: None });
    }
}

struct Watched {
    body: Body,
    account: Account,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Err(_)) => self.account.end = End::Broken,
            None => self.account.end = End::Whole,
            Some(Ok(frame)) => {
                if let (Some(heard), Some(data)) = (&mut self.account.heard, frame.data_ref()) {
                    heard.take(data);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A body that has no more is not always asked for it.
        if self.account.end == End::Gone && self.body.is_end_stream() {
            self.account.end = End::Whole;
        }
    }
}
