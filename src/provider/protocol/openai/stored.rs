//! Completions that the provider keeps, with what was asked (`GET /chat/completions` and `/chat/completions/ID/messages`).

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::super::super::declared::{Declared, Endpoint, Protocol};
use super::super::super::transport::{Client, Network, Request};
use super::super::super::{ProviderError, Watch};
use super::shapes::Page;

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
    after: Option<String>,
    ended: bool,
}

/// Completions in one list, the most that there may be.
const PAGE: usize = 100;
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
        Self { client: Client::new(declared, endpoint, network), kept, after: None, ended: false }
    }

    /// The next of them as rows: `messages` with the answer at the end, `id`, `model`, `created`, and each key of the metadata. `None`
    /// when there are no more.
    ///
    /// # Errors
    /// When the provider refuses or cannot be reached.
    pub async fn next(&mut self, watch: &dyn Watch) -> Result<Option<Vec<Map<String, Value>>>, ProviderError> {
        if self.ended {
            return Ok(None);
        }
        let mut request = Request::get("/chat/completions").query("limit", PAGE.to_string()).query("order", "asc");
        if let Some(model) = &self.kept.model {
            request = request.query("model", model);
        }
        for (key, value) in &self.kept.metadata {
            request = request.query(&format!("metadata[{key}]"), value);
        }
        if let Some(after) = &self.after {
            request = request.query("after", after);
        }
        let page: Page<Value> = self.client.json(request, watch).await?;
        let last = page.data.last().and_then(|completion| completion["id"].as_str()).map(str::to_owned);
        // A server that pays no heed to `after` would go on without end.
        self.ended = !page.has_more || last.is_none() || last == self.after;
        self.after = last;
        let wanted: Vec<Value> = page.data.into_iter().filter(|completion| self.is_meant(completion)).collect();
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
        let id = completion["id"].as_str().unwrap_or_default();
        let (mut messages, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut request = Request::get(format!("/chat/completions/{id}/messages")).query("limit", PAGE.to_string()).query("order", "asc");
            if let Some(after) = &after {
                request = request.query("after", after);
            }
            let page: Page<Value> = self.client.json(request, watch).await?;
            let last = page.data.last().and_then(|message| message["id"].as_str()).map(str::to_owned);
            messages.extend(page.data.into_iter().map(plain));
            if !page.has_more || last.is_none() || last == after {
                break;
            }
            after = last;
        }
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

/// A message as it is trained on, without what the list adds.
fn plain(message: Value) -> Value {
    let Value::Object(fields) = message else {
        return message;
    };
    const KNOWN: &[&str] = &["role", "content", "name", "tool_calls", "tool_call_id", "refusal"];
    let kept = fields.into_iter().filter(|(name, value)| KNOWN.contains(&name.as_str()) && (!value.is_null() || name == "content"));
    let mut kept: Map<String, Value> = kept.collect();
    if kept.get("content").is_some_and(Value::is_null) && !kept.contains_key("tool_calls") {
        kept.insert("content".into(), json!(""));
    }
    Value::Object(kept)
}
