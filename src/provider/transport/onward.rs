//! Requests that are passed on as they are, and whose replies are passed back as they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use reqwest::Method;
use serde_json::value::RawValue;

use super::super::declared::{Declared, Endpoint};
use super::super::error::ProviderError;
use super::super::secret::clean;
use super::header::header;
use super::http::{Body, Client, Request, whole};
use super::network::Network;
use super::retry::Repeat;
use super::sending::Flow;

/// Where questions go.
const CHAT: &str = "/chat/completions";

/// A provider that questions are passed on to. Nothing is asked twice: who asks may do that.
#[derive(Debug)]
pub struct Onward {
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub enum Passed {
    /// An answer that comes as it is said.
    Answer {
        /// Whether it comes as a stream of events.
        is_stream: bool,
        /// The rest of it.
        body: Reply,
    },
    /// The provider refused.
    Refused {
        /// Its status.
        status: u16,
        /// After how many seconds it may be asked again, or when.
        retry_after: Option<String>,
        /// What it said, without our key.
        body: Vec<u8>,
    },
}

/// The body of an answer.
#[derive(Debug)]
pub struct Reply(reqwest::Response);

impl Reply {
    /// All of it.
    ///
    /// # Errors
    /// When it breaks off, or is larger than any answer.
    pub async fn whole(self) -> Result<Vec<u8>, String> {
        whole(self.0).await
    }

    /// Its parts as they come.
    pub fn parts(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
        self.0.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()))
    }
}

impl Onward {
    /// The way to a provider, at the pace that all who share the network keep.
    #[must_use]
    pub fn new(declared: &Declared, endpoint: &Endpoint, network: &Arc<Network>) -> Self {
        Self { client: Client::new(declared, endpoint, network) }
    }

    /// Waits until one more question fits into the minute, of about so many tokens.
    pub async fn turn(&self, tokens: u32) {
        self.client.pace().request().await;
        self.client.pace().tokens(tokens).await;
    }

    /// How many questions it is asked at a time.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.client.declared().limits.at_once
    }

    /// Passes a chat completion on to a model, by what the provider calls it: the fields of the request but for `model`.
    ///
    /// # Errors
    /// When there is no key, or the provider cannot be reached.
    pub async fn chat(&self, model: &str, mut body: BTreeMap<String, Box<RawValue>>) -> Result<Passed, ProviderError> {
        let name = serde_json::value::to_raw_value(self.client.endpoint().asked_as(model));
        body.insert("model".into(), name.map_err(|error| ProviderError::Unexpected { url: self.client.url(CHAT), problem: error.to_string() })?);
        let key = self.client.declared().key.reveal(self.client.provider())?;
        let body = Body::Written(serde_json::to_vec(&body).unwrap_or_default());
        let request = Request { method: Method::POST, repeat: Repeat::Never, body, ..Request::get(CHAT) };
        let sent = self.client.filled(&request, &key, &Flow::new()).await?.send().await;
        let reply = sent.map_err(|error| self.client.unreachable(&request.path, &error, &key))?;
        let status = reply.status();
        if status.is_redirection() {
            let problem = format!("it answers {status}, and our key is carried nowhere else");
            return Err(ProviderError::Unexpected { url: self.client.url(CHAT), problem });
        }
        if status.is_success() {
            let is_stream = header(&reply, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
            return Ok(Passed::Answer { is_stream, body: Reply(reply) });
        }
        let retry_after = header(&reply, "retry-after");
        let body = whole(reply).await.map_err(|reason| ProviderError::Unreachable { url: self.client.url(&request.path), reason })?;
        Ok(Passed::Refused { status: status.as_u16(), retry_after, body: clean(body, &key) })
    }
}
