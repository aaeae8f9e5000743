use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::data::Message;

use super::super::watch::until_stopped;
use super::super::{Generation, Infer, ModelHandle, ProviderError, Watch};
use super::OpenAi;
use super::client::Repeat;
use super::shapes::Completion;

/// Questions under way at once.
const AT_ONCE: usize = 16;

#[async_trait]
impl Infer for OpenAi {
    async fn answer(&self, model: &ModelHandle, prompts: Vec<Vec<Message>>, how: Generation, watch: &dyn Watch) -> Result<Vec<String>, ProviderError> {
        let name = if model.card.name.is_empty() { &model.card.base } else { &model.card.name };
        let (gate, done, total) = (Semaphore::new(AT_ONCE), AtomicU64::new(0), prompts.len() as u64);
        let asked = prompts.iter().map(|messages| async {
            // The semaphore is never closed, so that there is always a permit in the end.
            let _permit = gate.acquire().await;
            if watch.stopped() {
                return Err(ProviderError::Stopped);
            }
            let answer = self.ask(name, messages, how).await?;
            watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, total, "answers", "");
            Ok(answer)
        });
        let answered = until_stopped(watch, || watch.stopped(), futures_util::future::try_join_all(asked)).await;
        answered.unwrap_or(Err(ProviderError::Stopped))
    }
}

impl OpenAi {
    async fn ask(&self, model: &str, messages: &[Message], how: Generation) -> Result<String, ProviderError> {
        let body = json!({
            "model": model,
            "messages": messages,
            "max_completion_tokens": how.max_tokens,
            "temperature": 0,
        });
        // A token has about four letters; the limit is the provider's to enforce.
        let letters: usize = messages.iter().map(|message| message.content.len()).sum();
        self.client.pace().tokens(u32::try_from(letters / 4 + how.max_tokens).unwrap_or(u32::MAX)).await;
        let reply: Completion = self.client.post("/chat/completions", &body, Repeat::Freely).await?;
        let said = reply.choices.into_iter().next().and_then(|choice| choice.message.content);
        // A refusal has no content; it is an answer all the same, and a wrong one.
        Ok(said.unwrap_or_default())
    }
}
