//! OpenAI's protocol, which many others speak: files, fine-tuning jobs, chat completions.

mod chat;
mod client;
mod files;
mod jobs;
mod shapes;

use std::sync::atomic::AtomicBool;

use super::Declared;
use client::Client;

/// A provider that speaks OpenAI's protocol.
#[derive(Debug)]
pub struct OpenAi {
    client: Client,
    /// Whether a request is under way that makes something paid for: its reply is waited for whatever happens.
    creating: AtomicBool,
}

impl OpenAi {
    /// A provider at an address, with the key that was declared for it.
    #[must_use]
    pub fn new(declared: &Declared, base_url: &str) -> Self {
        Self { client: Client::new(declared, base_url), creating: AtomicBool::new(false) }
    }
}

/// The settings of supervised training that this protocol has a field for.
pub const EXPRESSES: &[&str] = &["epochs", "batch-size"];
