use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::data::Message;

use super::super::super::transport::Repeat;
use super::super::super::transport::{Client, Request};
use super::super::super::watch::until_stopped;
use super::super::super::{Answers, Generation, ModelHandle, ProviderError, Watch};
use super::batch;
use super::question::{answered, question};
use super::shapes::Completion;

/// Asks a model by chat completions. `limit` is what the provider calls the limit of an answer.
pub async fn answer(
    client: &Client,
    limit: &'static str,
    model: &ModelHandle,
    prompts: Vec<Vec<Message>>,
    how: Generation,
    watch: &dyn Watch,
) -> Result<Answers, ProviderError> {
    let name = if model.card.name.is_empty() { &model.card.base } else { &model.card.name };
    let name = client.endpoint().asked_as(name).to_owned();
    if let Some(batch) = &how.batch {
        return batch::answer(client, limit, &name, &prompts, how.max_tokens, batch, watch).await;
    }
    let (done, total) = (AtomicU64::new(0), prompts.len() as u64);
    let (name, done, max_tokens) = (&name, &done, how.max_tokens);
    let asked = |(place, messages): (usize, Vec<Message>)| async move {
        if watch.stopped() {
            return Err(ProviderError::Stopped);
        }
        let completion = ask(client, limit, name, &messages, max_tokens, watch).await?;
        watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, total, "answers", "");
        Ok((place, completion))
    };
    let at_once = client.declared().limits.at_once;
    // In the order in which they come: one that is slow holds no other up.
    let all = stream::iter(prompts.into_iter().enumerate().map(asked)).buffer_unordered(at_once).try_collect::<Vec<(usize, Completion)>>();
    let mut all = until_stopped(watch, || watch.stopped(), all).await.unwrap_or(Err(ProviderError::Stopped))?;
    all.sort_unstable_by_key(|(place, _)| *place);
    Ok(answered(all.into_iter().map(|(_, completion)| completion)))
}

async fn ask(client: &Client, limit: &str, model: &str, messages: &[Message], max_tokens: usize, watch: &dyn Watch) -> Result<Completion, ProviderError> {
    let mut request = Request::post("/chat/completions", question(limit, model, messages, max_tokens), Repeat::Freely);
    // A token has about four letters; the limit is the provider's to enforce.
    let letters: usize = messages.iter().map(|message| message.content.len()).sum();
    request.tokens = u32::try_from(letters / 4 + max_tokens).unwrap_or(u32::MAX);
    client.json(request, watch).await
}
