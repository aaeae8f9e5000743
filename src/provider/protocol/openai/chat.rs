use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::data::Message;

use super::super::super::transport::Repeat;
use super::super::super::transport::{Client, Request};
use super::super::super::watch::until_stopped;
use super::super::super::{Answered, Generation, ModelHandle, ProviderError, Watch, question_digest};
use super::batch;
use super::question::{is_filtered, question};
use super::shapes::Completion;

/// Asks a model by chat completions, and keeps each answer as it comes. `limit` is what the provider calls the limit of an answer.
pub async fn answer(
    client: &Client,
    limit: &'static str,
    model: &ModelHandle,
    prompts: Vec<Vec<Message>>,
    how: Generation,
    watch: &dyn Watch,
) -> Result<Vec<Answered>, ProviderError> {
    let name = if model.card.name.is_empty() { &model.card.base } else { &model.card.name };
    let name = client.endpoint().asked_as(name).to_owned();
    if let Some(batch) = &how.batch {
        return batch::answer(client, limit, &name, &prompts, how.max_tokens, batch, watch).await;
    }
    let (done, total) = (AtomicU64::new(0), prompts.len() as u64);
    let (name, done, kept, how) = (&name, &done, how.kept.as_deref(), &how);
    let asked = |(place, messages): (usize, Vec<Message>)| async move {
        // Each answer costs, and all that came are kept: what was not asked yet can wait for the next run.
        if watch.let_go() {
            return Ok(None);
        }
        let answered = match ask(client, limit, name, &messages, how, watch).await {
            // It waited for its turn.
            Err(ProviderError::Detached { .. }) => return Ok(None),
            answered => answered?,
        };
        kept.inspect(|kept| kept.keep(question_digest(&messages), &answered));
        watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, total, "answers", "");
        Ok(Some((place, answered)))
    };
    let at_once = client.declared().limits.at_once;
    // In the order in which they come: one that is slow holds no other up.
    let work = stream::iter(prompts.into_iter().enumerate().map(asked)).buffer_unordered(at_once).try_collect::<Vec<Option<(usize, Answered)>>>();
    let answers = until_stopped(watch, || watch.stopped(), work).await.unwrap_or(Err(ProviderError::Stopped))?;
    let all: BTreeMap<usize, Answered> = answers.into_iter().flatten().collect();
    if (all.len() as u64) < total {
        return Err(ProviderError::Stopped);
    }
    Ok(all.into_values().collect())
}

async fn ask(client: &Client, limit: &str, model: &str, messages: &[Message], how: &Generation, watch: &dyn Watch) -> Result<Answered, ProviderError> {
    let mut request = Request::post("/chat/completions", question(limit, model, messages, how.max_tokens, how.temperature), Repeat::Freely);
    // A token has about four letters; the limit is the provider's to enforce.
    let letters: usize = messages.iter().map(|message| message.content.len()).sum();
    request.tokens = u32::try_from(letters / 4 + how.max_tokens).unwrap_or(u32::MAX);
    let reply: Completion = match client.json(request, watch).await {
        Ok(reply) => reply,
        // What the provider will not be asked is a question without an answer, and no reason to lose all others.
        Err(ProviderError::Refused { status: 400, message, .. }) if is_filtered(&message) => {
            watch.note(&format!("a question was refused, and counts as answered by nothing: {message}"));
            return Ok(Answered::default());
        }
        Err(error) => return Err(error),
    };
    if reply.choices.is_empty() {
        return Err(ProviderError::Unexpected { url: client.url("/chat/completions"), problem: "there is no answer in it".into() });
    }
    Ok(reply.into())
}
