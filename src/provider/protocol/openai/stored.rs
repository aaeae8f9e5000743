//! Completions that the provider keeps, with what was asked (`GET /chat/completions` and `/chat/completions/ID/messages`).

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::super::super::declared::{Declared, Endpoint, Protocol};
use super::super::super::transport::{Client, Network};
use super::super::super::{ProviderError, Watch};
use super::pages::Pages;

/// Which of the completions that a provider keeps are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredFilter {
    /// Those of this model.
    pub model: Option<String>,
    /// Those with this metadata.
    pub metadata: Vec<(String, String)>,
}

/// The completions that a provider keeps, the oldest first, some at a time.
#[derive(Debug)]
pub struct StoredCompletions {
    client: Client,
    kept: StoredFilter,
    pages: Pages,
}

/// Completions in one list, the most that there may be.
const PAGE: u32 = 100;
/// So many are asked for their messages at once.
const AT_ONCE: usize = 16;

impl StoredCompletions {
    /// Whether a provider may keep any.
    #[must_use]
    pub fn has(endpoint: &Endpoint) -> bool {
        matches!(endpoint.protocol(), Protocol::OpenAi(_))
    }

    /// The completions of a provider.
    #[must_use]
    pub fn new(declared: &Declared, endpoint: &Endpoint, network: &Arc<Network>, kept: StoredFilter) -> Self {
        let mut pages = Pages::of("/chat/completions", PAGE).filtered("order", "asc");
        if let Some(model) = &kept.model {
            pages = pages.filtered("model", model);
        }
        pages = kept.metadata.iter().fold(pages, |pages, (key, value)| pages.filtered(&format!("metadata[{key}]"), value));
        Self { client: Client::new(declared, endpoint, network), kept, pages }
    }

    /// The next of them as rows: `messages` with the answer at the end, `id`, `model`, `created`, and each key of the metadata. `None`
    /// when there are no more.
    ///
    /// # Errors
    /// When the provider refuses or cannot be reached, or its list does not go on as it says.
    pub async fn next(&mut self, watch: &dyn Watch) -> Result<Option<Vec<Map<String, Value>>>, ProviderError> {
        let Some(page) = self.pages.further(&self.client, id, watch).await? else {
            self.pages.ended(&self.client)?;
            return Ok(None);
        };
        let wanted: Vec<Value> = page.into_iter().filter(|completion| self.is_meant(completion)).collect();
        let this = &*self;
        let rows = stream::iter(wanted).map(move |completion| async move { this.row(&completion, watch).await }).buffered(AT_ONCE);
        Ok(Some(rows.try_collect::<Vec<_>>().await?))
    }

    /// A server may not know the filters.
    fn is_meant(&self, completion: &Value) -> bool {
        let model = self
            .kept
            .model
            .as_ref()
            .is_none_or(|model| completion["model"].as_str().is_some_and(|found| found == model || found.starts_with(&format!("{model}-"))));
        model && self.kept.metadata.iter().all(|(key, value)| completion["metadata"][key] == json!(value))
    }

    async fn row(&self, completion: &Value, watch: &dyn Watch) -> Result<Map<String, Value>, ProviderError> {
        let mut pages = Pages::of(format!("/chat/completions/{}/messages", id(completion)), PAGE).filtered("order", "asc");
        let mut messages = Vec::new();
        while let Some(page) = pages.further(&self.client, id, watch).await? {
            messages.extend(page.into_iter().map(plain));
        }
        pages.ended(&self.client)?;
        messages.push(plain(completion["choices"][0]["message"].clone()));
        let mut row = Map::new();
        row.insert("messages".into(), Value::Array(messages));
        for name in ["id", "model", "created"] {
            row.insert(name.into(), completion[name].clone());
        }
        for (key, value) in completion["metadata"].as_object().into_iter().flatten() {
            let name = if row.contains_key(key) { format!("metadata_{key}") } else { key.clone() };
            row.insert(name, value.clone());
        }
        if let Some(tools) = completion["tools"].as_array().filter(|tools| !tools.is_empty()) {
            row.insert("tools".into(), json!(tools));
        }
        Ok(row)
    }
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_default().to_owned()
}

/// A message as it is trained on, without what the list adds.
fn plain(message: Value) -> Value {
    let Value::Object(mut fields) = message else {
        return message;
    };
    // What is no plain text stands beside it.
    if let Some(parts) = fields.get("content_parts").filter(|parts| parts.is_array()).cloned() {
        fields.insert("content".into(), parts);
    }
    const KNOWN: &[&str] = &["role", "content", "name", "tool_calls", "tool_call_id", "refusal"];
    let kept = fields.into_iter().filter(|(name, value)| KNOWN.contains(&name.as_str()) && (!value.is_null() || name == "content"));
    let mut kept: Map<String, Value> = kept.collect();
    if kept.get("content").is_some_and(Value::is_null) && !kept.contains_key("tool_calls") {
        kept.insert("content".into(), json!(""));
    }
    Value::Object(kept)
}
