//! What came of a request: counted and logged when all of its answer is sent, or it broke off, or nobody waits for it any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use jiff::Timestamp;

use super::request_log::{End, Line};
use super::state::State;

/// The account of a request, given when it is dropped.
#[derive(Debug)]
pub struct Account {
    state: Arc<State>,
    began: Instant,
    pub id: String,
    pub key: String,
    pub method: String,
    pub path: String,
    pub model: String,
    /// The status, and how long it took to come to it.
    pub answered: Option<(u16, Duration)>,
    end: End,
}

impl Account {
    pub fn open(state: &Arc<State>, id: String, method: String, path: String) -> Self {
        state.tally.opened();
        let (state, began) = (Arc::clone(state), Instant::now());
        Self { state, began, id, key: String::new(), method, path, model: String::new(), answered: None, end: End::Gone }
    }

    /// Notes that an answer begins.
    pub fn answers(&mut self, status: u16, model: String) {
        (self.answered, self.model) = (Some((status, self.began.elapsed())), model);
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
        self.state.tally.closed(&self.model, status, self.end, took);
        if let Some(log) = &self.state.log {
            log.write(&Line {
                time: Timestamp::now(),
                id: &self.id,
                key: &self.key,
                method: &self.method,
                path: &self.path,
                model: &self.model,
                status,
                seconds: took.as_secs_f64(),
                end: self.end,
            });
        }
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
            Some(Ok(_)) => {}
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
