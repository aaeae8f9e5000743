use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::super::{Declared, Pace, ProviderError, Secret};
use super::shapes::{Complaint, ComplaintBody};

/// Sends requests, adds the key, tries again where the protocol says so.
#[derive(Debug)]
pub struct Client {
    provider: String,
    base: String,
    key: Secret,
    pace: Arc<Pace>,
    http: reqwest::Client,
}

/// How often a request is sent at most.
const ATTEMPTS: u32 = 5;
/// The longest that a server may make us wait before the next attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether a request may be sent again when nobody knows if it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing, or nothing that matters.
    Freely,
    /// It makes something that is paid for: the caller looks whether it did.
    Never,
}

impl Client {
    pub fn new(declared: &Declared, base_url: &str) -> Self {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            // An error means that one is installed already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(300))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("retune/", env!("CARGO_PKG_VERSION")));
        let http = http.build().unwrap_or_default();
        Self { provider: declared.name.clone(), base: base_url.to_owned(), key: declared.key.clone(), pace: Pace::of(&declared.name, declared.limits), http }
    }

    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// How fast the provider may be asked.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A GET whose reply is JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ProviderError> {
        let reply = self.send(Method::GET, path, Repeat::Freely, |request| request.query(query)).await?;
        self.json(path, reply).await
    }

    /// A GET whose reply is bytes.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, ProviderError> {
        let reply = self.send(Method::GET, path, Repeat::Freely, |request| request).await?;
        let body = reply.bytes().await.map_err(|error| self.unreachable(path, &error))?;
        Ok(body.to_vec())
    }

    /// A POST of JSON whose reply is JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value, repeat: Repeat) -> Result<T, ProviderError> {
        let reply = self.send(Method::POST, path, repeat, |request| request.json(body)).await?;
        self.json(path, reply).await
    }

    /// Sends a request, as often as `repeat` and the replies allow.
    pub async fn send(&self, method: Method, path: &str, repeat: Repeat, fill: impl Fn(RequestBuilder) -> RequestBuilder) -> Result<Response, ProviderError> {
        let key = self.key.reveal(&self.provider)?;
        let url = self.url(path);
        let mut attempt = 1;
        loop {
            self.pace.request().await;
            let request = fill(self.http.request(method.clone(), &url).bearer_auth(&key));
            let (error, wait) = match request.send().await {
                Ok(reply) if reply.status().is_success() => return Ok(reply),
                Ok(reply) => {
                    let (status, wait) = (reply.status(), asked_wait(&reply));
                    let complaint = complaint(reply).await;
                    let again = worth_repeating(status, &complaint) && (repeat == Repeat::Freely || never_begun(status));
                    let error = ProviderError::Refused { method: method.to_string(), url: url.clone(), status: status.as_u16(), message: complaint.message };
                    if !again {
                        return Err(error);
                    }
                    (error, wait)
                }
                Err(error) => {
                    let unsent = error.is_connect();
                    let error = self.unreachable(path, &error);
                    if repeat == Repeat::Never && !unsent {
                        return Err(error);
                    }
                    (error, None)
                }
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(wait.unwrap_or_else(|| backoff(attempt)).min(LONGEST_WAIT)).await;
            attempt += 1;
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &str, reply: Response) -> Result<T, ProviderError> {
        let body = reply.bytes().await.map_err(|error| self.unreachable(path, &error))?;
        serde_json::from_slice(&body).map_err(|error| ProviderError::Unexpected { url: self.url(path), problem: error.to_string() })
    }

    fn unreachable(&self, path: &str, error: &reqwest::Error) -> ProviderError {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(error) = cause {
            reason = error.to_string();
            cause = error.source();
        }
        if reason.is_empty() {
            reason = error.to_string();
        }
        ProviderError::Unreachable { url: self.url(path), reason }
    }
}

/// A refusal after which the request has certainly done nothing.
fn never_begun(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
}

fn worth_repeating(status: StatusCode, complaint: &ComplaintBody) -> bool {
    // An empty account does not fill up by asking again.
    let broke = complaint.code.as_ref().and_then(|code| code.as_str()) == Some("insufficient_quota");
    let passing = matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error();
    passing && !broke
}

async fn complaint(reply: Response) -> ComplaintBody {
    let text = reply.text().await.unwrap_or_default();
    match serde_json::from_str::<Complaint>(&text) {
        Ok(complaint) => complaint.error,
        Err(_) => ComplaintBody { message: text.chars().take(300).collect(), code: None },
    }
}

fn asked_wait(reply: &Response) -> Option<Duration> {
    let header = |name: &str| reply.headers().get(name)?.to_str().ok()?.parse::<f64>().ok();
    let seconds = header("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| header("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn backoff(attempt: u32) -> Duration {
    // The process number spreads many clients without a source of randomness.
    let jitter = u64::from(std::process::id()) % 100;
    Duration::from_millis(250 * 2_u64.pow(attempt - 1) + jitter)
}
