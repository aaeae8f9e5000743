//! Which code stands behind each protocol. A protocol is one line in each function.

mod fireworks;
mod openai;
mod together;

use std::sync::Arc;

use async_trait::async_trait;

use super::declared::{Declared, Endpoint, Protocol};
use super::transport::{Client, Network};
use super::tuning::{Rules, Wire};
use super::{Answered, Generation, Infer, ModelHandle, ProviderError, Question, Watch};
use fireworks::Fireworks;
use openai::OpenAi;
pub use openai::{StoredCompletions, StoredFilter, told_of_job};
use together::Together;

/// What makes and follows jobs there.
#[must_use]
pub fn wire(declared: &Declared, endpoint: &Endpoint, network: &Arc<Network>) -> Box<dyn Wire> {
    let client = || Client::new(declared, endpoint, network);
    match endpoint.protocol() {
        Protocol::OpenAi(dialect) => Box::new(OpenAi::new(declared, endpoint, dialect, network)),
        Protocol::Together => Box::new(Together::new(client())),
        Protocol::Fireworks => Box::new(Fireworks::new(client(), endpoint.account.clone().unwrap_or_default())),
    }
}

/// The longest suffix that comes there whole, in characters.
#[must_use]
pub fn longest_suffix(endpoint: &Endpoint) -> usize {
    match endpoint.protocol() {
        Protocol::OpenAi(dialect) => dialect.longest_suffix(&endpoint.base_url),
        Protocol::Together => together::SUFFIX,
        Protocol::Fireworks => fireworks::SUFFIX,
    }
}

/// What a provider takes, without asking it.
#[must_use]
pub fn rules(declared: &Declared, endpoint: &Endpoint) -> Rules {
    wire(declared, endpoint, &Arc::default()).rules()
}

/// The methods that it trains by.
#[must_use]
pub fn methods(endpoint: &Endpoint) -> &'static [&'static str] {
    match endpoint.protocol() {
        Protocol::OpenAi(dialect) => dialect.methods,
        Protocol::Together => &["supervised", "dpo"],
        Protocol::Fireworks => &["supervised"],
    }
}

/// Whether it has a field for a setting of a method.
#[must_use]
pub fn expresses(endpoint: &Endpoint, method: &str, setting: &str) -> bool {
    // The parts of an adapter go with it, unless a provider says otherwise.
    let setting = setting.split('.').next().unwrap_or(setting);
    if setting == "seed" {
        return true;
    }
    match endpoint.protocol() {
        Protocol::OpenAi(dialect) => openai::expresses(dialect, method, setting),
        Protocol::Together => together::expresses(method, setting),
        Protocol::Fireworks => fireworks::expresses(setting),
    }
}

/// Asks the models of a server: all of them answer chat completions as OpenAI does.
#[derive(Debug)]
pub struct Asks {
    client: Client,
    limit: &'static str,
}

impl Asks {
    /// Asks at this address.
    #[must_use]
    pub fn new(declared: &Declared, endpoint: &Endpoint, network: &Arc<Network>) -> Self {
        let mut endpoint = endpoint.clone();
        let limit = match endpoint.protocol() {
            Protocol::OpenAi(dialect) => dialect.answer_limit,
            Protocol::Together => "max_tokens",
            Protocol::Fireworks => {
                // Answers come from a place of their own beside the accounts.
                let top = endpoint.base_url.trim_end_matches("/v1").to_owned();
                endpoint.base_url = format!("{top}/inference/v1");
                "max_tokens"
            }
        };
        Self { client: Client::new(declared, &endpoint, network), limit }
    }
}

#[async_trait]
impl Infer for Asks {
    async fn answer(&self, model: &ModelHandle, questions: Vec<Question>, how: Generation, watch: &dyn Watch) -> Result<Vec<Answered>, ProviderError> {
        openai::answer(&self.client, self.limit, model, questions, how, watch).await
    }
}
