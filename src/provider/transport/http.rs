//! Requests and replies: the key, the pace, and another attempt where the protocol allows one.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::declared::{Declared, Endpoint};
use super::super::dialect::Auth;
use super::super::error::ProviderError;
use super::super::secret::{clean, clean_result, without};
use super::super::watch::{Exchange, Watch, until_stopped};
use super::header::header;
use super::network::{Network, Seen};
use super::pace::Pace;
use super::retry::{self, Next, Repeat};
use super::sending::{FilePart, Flow, form};
use super::tape::Recorded;

/// Speaks HTTP to one provider.
#[derive(Debug)]
pub struct Client {
    declared: Declared,
    endpoint: Endpoint,
    network: Arc<Network>,
    pace: Arc<Pace>,
    http: reqwest::Client,
    /// For files: how long it says nothing while they are sent says nothing.
    sending: reqwest::Client,
}

/// One request, as often as it is sent.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// Below the address of the provider.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Body,
    pub repeat: Repeat,
    /// Tokens that it will use, for the pace.
    pub tokens: u32,
}

/// A request that makes something paid for and was refused as too soon: it is sent again only after a look whether it was done all
/// the same.
#[derive(Debug)]
pub struct TooSoon {
    /// The refusal.
    pub refused: ProviderError,
    again: retry::Plan,
    request: Recorded,
}

/// What a request carries.
#[derive(Debug)]
pub enum Body {
    Nothing,
    Json(Value),
    /// JSON that is written already.
    Written(Vec<u8>),
    File(FilePart),
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    /// How long it took from the request on; not known of what is replayed.
    pub took: Option<Duration>,
}

/// A whole reply may take so many times as long as it may say nothing.
const WHOLE: u32 = 4;

/// Makes sure that there is cryptography for TLS.
pub fn ready() {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        // An error means that one is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// What every client of ours has: a server may say nothing for so long.
pub fn builder(patience: Duration) -> reqwest::ClientBuilder {
    plain().read_timeout(patience)
}

/// A client for servers that are no providers.
///
/// # Errors
/// When there can be none.
pub fn web(patience: Duration) -> reqwest::Result<reqwest::Client> {
    builder(patience).redirect(reqwest::redirect::Policy::none()).build()
}

fn plain() -> reqwest::ClientBuilder {
    ready();
    reqwest::Client::builder().connect_timeout(Duration::from_secs(20)).user_agent(concat!("retune/", env!("CARGO_PKG_VERSION")))
}

impl Request {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), query: Vec::new(), body: Body::Nothing, repeat: Repeat::Freely, tokens: 0 }
    }

    pub fn post(path: impl Into<String>, body: Value, repeat: Repeat) -> Self {
        Self { method: Method::POST, path: path.into(), query: Vec::new(), body: Body::Json(body), repeat, tokens: 0 }
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, path: path.into(), query: Vec::new(), body: Body::Nothing, repeat: Repeat::Freely, tokens: 0 }
    }

    /// A file that arrives twice costs nothing, and the next look by name finds either.
    pub fn upload(path: impl Into<String>, part: FilePart) -> Self {
        Self { method: Method::POST, path: path.into(), query: Vec::new(), body: Body::File(part), repeat: Repeat::Freely, tokens: 0 }
    }

    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// What of it is recorded, and looked for on replay.
    fn recorded(&self, provider: &str) -> Recorded {
        let body = match &self.body {
            Body::Nothing => Value::Null,
            Body::Json(body) => body.clone(),
            Body::Written(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
            Body::File(part) => {
                let fields: serde_json::Map<String, Value> = part.fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
                json!({ "file": part.name, "start": part.start, "bytes": part.length, "fields": fields })
            }
        };
        Recorded { provider: provider.to_owned(), method: self.method.to_string(), path: self.path.clone(), query: self.query.clone(), body }
    }
}

impl Client {
    pub fn new(declared: &Declared, endpoint: &Endpoint, network: &Arc<Network>) -> Self {
        let built = |builder: reqwest::ClientBuilder| builder.redirect(reqwest::redirect::Policy::none()).build().unwrap_or_default();
        let (http, sending) = (built(builder(declared.limits.patience)), built(plain()));
        let pace = network.pace(&declared.name, declared.limits);
        Self { declared: declared.clone(), endpoint: endpoint.clone(), network: Arc::clone(network), pace, http, sending }
    }

    pub fn provider(&self) -> &str {
        &self.declared.name
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint.base_url)
    }

    /// Sends a request whose reply is JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: Request, watch: &dyn Watch) -> Result<T, ProviderError> {
        Ok(self.timed(request, watch).await?.0)
    }

    /// The same, and how long it took from the request to the reply, without attempts that failed; not known of what is replayed.
    pub async fn timed<T: DeserializeOwned>(&self, request: Request, watch: &dyn Watch) -> Result<(T, Option<Duration>), ProviderError> {
        let reply = self.send(&request, watch).await?;
        let unexpected = |error: serde_json::Error| ProviderError::Unexpected { url: self.url(&request.path), problem: error.to_string() };
        Ok((serde_json::from_slice(&reply.body).map_err(unexpected)?, reply.took))
    }

    /// Sends a request, as often as its kind and the replies allow.
    pub async fn send(&self, request: &Request, watch: &dyn Watch) -> Result<Reply, ProviderError> {
        let replayed = self.network.tape().is_some_and(super::tape::Tape::replays);
        if let Some(tape) = self.network.tape().filter(|_| replayed) {
            let (status, body) = tape.replay(&request.recorded(self.provider()))?;
            return if (200..300).contains(&status) {
                Ok(Reply { status, body, took: None })
            } else {
                Err(self.refused(request, status, retry::complaint(&body).message, ""))
            };
        }
        let key = self.declared.key.reveal(self.provider())?;
        let mut attempt = 1;
        loop {
            let paced = async {
                self.pace.request().await;
                self.pace.tokens(request.tokens).await;
                self.pace.place().await
            };
            // Nothing is under way yet, so that whatever has to wait can be let go.
            let place = until_stopped(watch, || true, paced).await.ok_or(ProviderError::Detached { job: None })?;
            let began = Instant::now();
            let (result, exchange) = self.attempt(request, &key, attempt).await;
            drop(place);
            let problem = match &result {
                Err((ProviderError::Unreachable { reason, .. }, _)) => Some(reason.clone()),
                _ => None,
            };
            watch.exchange(&Exchange { seconds: began.elapsed().as_secs_f64(), problem, ..exchange });
            let (error, next) = match result {
                Ok(reply) => {
                    self.keep(request, reply.status, &reply.body);
                    return Ok(Reply { took: Some(began.elapsed()), ..reply });
                }
                Err(failed) => failed,
            };
            if let (Repeat::Never, ProviderError::Refused { .. }, Next::After(_)) = (request.repeat, &error, next.at(attempt)) {
                return Err(ProviderError::TooSoon(Box::new(TooSoon { refused: error, again: next, request: request.recorded(self.provider()) })));
            }
            let Next::After(wait) = next.at(attempt) else {
                // Only what came of it in the end is worth replaying.
                if let ProviderError::Refused { status, message, .. } = &error {
                    self.keep(request, *status, json!({ "error": { "message": message } }).to_string().as_bytes());
                }
                return Err(error);
            };
            watch.retried(&error.to_string(), wait);
            self.rest(wait, watch).await?;
            attempt += 1;
        }
    }

    /// Waits after an attempt (from 1) that came too soon. Tells whether there may be another.
    ///
    /// # Errors
    /// When the user wants it to stop.
    pub async fn wait_after(&self, early: &TooSoon, attempt: u32, watch: &dyn Watch) -> Result<bool, ProviderError> {
        match early.again.at(attempt) {
            Next::After(wait) => {
                watch.retried(&early.refused.to_string(), wait);
                self.rest(wait, watch).await?;
                Ok(true)
            }
            Next::GiveUp => {
                if let (Some(tape), ProviderError::Refused { status, message, .. }) = (self.network.tape(), &early.refused) {
                    tape.record(early.request.clone(), *status, json!({ "error": { "message": message } }).to_string().as_bytes());
                }
                Ok(false)
            }
        }
    }

    fn keep(&self, request: &Request, status: u16, body: &[u8]) {
        if let Some(tape) = self.network.tape() {
            tape.record(request.recorded(self.provider()), status, body);
        }
    }

    /// Waits before another attempt. Nothing is under way then, so that the user may stop it whatever the request is.
    async fn rest(&self, wait: Duration, watch: &dyn Watch) -> Result<(), ProviderError> {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if watch.let_go() {
                return Err(ProviderError::Detached { job: None });
            }
            tokio::time::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    async fn attempt(&self, request: &Request, key: &str, attempt: u32) -> (Result<Reply, (ProviderError, retry::Plan)>, Exchange) {
        let mut exchange = Exchange {
            provider: self.provider().to_owned(),
            method: request.method.to_string(),
            path: request.path.clone(),
            attempt,
            status: None,
            request_id: None,
            seconds: 0.0,
            problem: None,
        };
        let flow = Flow::new();
        let filled = match self.filled(request, key, &flow).await {
            Ok(filled) => filled,
            Err(error) => return (Err((error, retry::Plan::never())), exchange),
        };
        let patience = self.declared.limits.patience;
        let silent = || ProviderError::Unreachable { url: self.url(&request.path), reason: format!("nothing moved for {patience:?}") };
        let sent = if matches!(request.body, Body::File(_)) {
            tokio::select! {
                sent = filled.send() => Ok(sent),
                () = flow.stalled(patience) => Err(silent()),
            }
        } else {
            Ok(filled.send().await)
        };
        let reply = match sent {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                let plan = retry::Plan::unreachable(request.repeat, error.is_connect());
                return (Err((self.unreachable(&request.path, &error, key), plan)), exchange);
            }
            Err(error) => return (Err((error, retry::Plan::unreachable(request.repeat, false))), exchange),
        };
        let status = reply.status().as_u16();
        exchange.status = Some(status);
        let id = header(&reply, "x-request-id").or_else(|| header(&reply, "apim-request-id"));
        exchange.request_id = id.map(|id| without(&id, key));
        let told = retry::Told::of(&reply);
        self.network.see(self.provider(), Seen::of(&reply), &self.pace);
        let body = match tokio::time::timeout(patience.saturating_mul(WHOLE), whole(reply)).await.unwrap_or_else(|_| Err("it did not come to its end".into())) {
            // A server that repeats the key must not bring it into a file or onto a screen; a word is no key.
            Ok(body) if (200..300).contains(&status) => clean_result(body, key),
            Ok(body) => clean(body, key),
            Err(problem) => {
                // What was asked for is done; only the account of it was lost on the way.
                let plan = retry::Plan::unreachable(request.repeat, false);
                let error = ProviderError::Unreachable { url: self.url(&request.path), reason: without(&problem, key) };
                return (Err((error, plan)), exchange);
            }
        };
        if (200..300).contains(&status) {
            return (Ok(Reply { status, body, took: None }), exchange);
        }
        let complaint = retry::complaint(&body);
        let plan = retry::Plan::refused(request.repeat, status, &complaint, told);
        let id = exchange.request_id.as_ref().map_or(String::new(), |id| format!(" (request {id})"));
        (Err((self.refused(request, status, complaint.message, &id), plan)), exchange)
    }

    fn refused(&self, request: &Request, status: u16, message: String, id: &str) -> ProviderError {
        ProviderError::Refused { method: request.method.to_string(), url: self.url(&request.path), status, message: format!("{message}{id}") }
    }

    /// A request that is ready to be sent.
    pub async fn filled(&self, request: &Request, key: &str, flow: &Flow) -> Result<RequestBuilder, ProviderError> {
        let client = if matches!(request.body, Body::File(_)) { &self.sending } else { &self.http };
        let mut filled = client.request(request.method.clone(), self.url(&request.path)).query(&request.query).query(&self.endpoint.query);
        filled = match self.endpoint.auth {
            Auth::Bearer => filled.bearer_auth(key),
            Auth::Header(name) => filled.header(name, key),
        };
        for (name, value) in &self.endpoint.headers {
            filled = filled.header(name, value);
        }
        if !matches!(request.body, Body::File(_)) {
            // A reply that comes a byte at a time is never silent, and never whole.
            filled = filled.timeout(self.declared.limits.patience.saturating_mul(WHOLE));
        }
        Ok(match &request.body {
            Body::Nothing => filled,
            Body::Json(body) => filled.json(body),
            Body::Written(bytes) => filled.header("content-type", "application/json").body(bytes.clone()),
            Body::File(part) => filled.multipart(form(part, flow).await?),
        })
    }

    /// Why nothing came back, without the key.
    pub fn unreachable(&self, path: &str, error: &reqwest::Error, key: &str) -> ProviderError {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(error) = cause {
            reason = error.to_string();
            cause = error.source();
        }
        if reason.is_empty() {
            reason = error.to_string();
        }
        ProviderError::Unreachable { url: self.url(path), reason: without(&reason, key) }
    }
}

/// The body of a reply, unless it is larger than any that there is a reason for.
pub async fn whole(mut reply: Response) -> Result<Vec<u8>, String> {
    const MOST: usize = 512 << 20;
    let mut body = Vec::new();
    while let Some(part) = reply.chunk().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&part);
        if body.len() > MOST {
            return Err(format!("the reply is larger than {MOST} bytes"));
        }
    }
    Ok(body)
}
