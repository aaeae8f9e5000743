//! OpenAI's protocol, which many others speak in dialects: files, fine-tuning jobs, models, chat completions.

mod batch;
mod body;
mod chat;
mod files;
mod jobs;
mod likeness;
mod pages;
mod question;
mod shapes;
mod stored;

use std::sync::Arc;

use super::super::declared::{Declared, Endpoint};
use super::super::dialect::Dialect;
use super::super::transport::{Client, Network};

/// A provider that speaks OpenAI's protocol.
#[derive(Debug)]
pub struct OpenAi {
    client: Client,
    dialect: &'static Dialect,
}

impl OpenAi {
    /// A provider at an address, in a dialect, with the key that was declared for it.
    #[must_use]
    pub fn new(declared: &Declared, endpoint: &Endpoint, dialect: &'static Dialect, network: &Arc<Network>) -> Self {
        Self { client: Client::new(declared, endpoint, network), dialect }
    }
}

pub use body::{expresses, mark};
pub use chat::answer;
pub use jobs::told_of_job;
pub use shapes::{Page, carries};
pub use stored::{StoredCompletions, StoredFilter};
