//! Requests that are passed on as they are, and whose replies are passed back as they come.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use serde_json::Value;

use super::super::declared::{Declared, Endpoint};
use super::super::error::ProviderError;
use super::super::secret::clean;
use super::header::header;
use super::http::{Client, Request, whole};
use super::network::Network;
use super::retry::Repeat;
use super::sending::Flow;

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
        /// What kind of text it is.
        content_type: Option<String>,
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
    /// Its parts as they come.
    pub fn parts(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
        self.0.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()))
    }
}

impl Onward {
    /// The way to a provider.
    #[must_use]
    pub fn new(declared: &Declared, endpoint: &Endpoint) -> Self {
        Self { client: Client::new(declared, endpoint, &Arc::new(Network::default())) }
    }

    /// How many questions it is asked at a time.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.client.declared().limits.at_once
    }

    /// Passes a chat completion on to a model, by what the provider calls it.
    ///
    /// # Errors
    /// When there is no key, or the provider cannot be reached.
    pub async fn chat(&self, model: &str, mut body: Value) -> Result<Passed, ProviderError> {
        body["model"] = self.client.endpoint().asked_as(model).into();
        let key = self.client.declared().key.reveal(self.client.provider())?;
        let request = Request::post("/chat/completions", body, Repeat::Never);
        let sent = self.client.filled(&request, &key, &Flow::new()).await?.send().await;
        let reply = sent.map_err(|error| self.client.unreachable(&request.path, &error, &key))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(Passed::Answer { content_type: header(&reply, "content-type"), body: Reply(reply) });
        }
        let retry_after = header(&reply, "retry-after");
        let body = whole(reply).await.map_err(|reason| ProviderError::Unreachable { url: self.client.url(&request.path), reason })?;
        Ok(Passed::Refused { status: status.as_u16(), retry_after, body: clean(body, &key) })
    }
}
