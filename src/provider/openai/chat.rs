use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::data::Message;

use super::super::http::{Client, Request};
use super::super::retry::Repeat;
use super::super::watch::until_stopped;
use super::super::{Answers, Generation, ModelHandle, ProviderError, Watch};
use super::shapes::{Completion, Usage};

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
    let (done, total) = (AtomicU64::new(0), prompts.len() as u64);
    let (name, done) = (&name, &done);
    let asked = |(place, messages): (usize, Vec<Message>)| async move {
        if watch.stopped() {
            return Err(ProviderError::Stopped);
        }
        let (text, usage) = ask(client, limit, name, &messages, how, watch).await?;
        watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, total, "answers", "");
        Ok((place, text, usage))
    };
    let at_once = client.declared().limits.at_once;
    // In the order in which they come: one that is slow holds no other up.
    let all = stream::iter(prompts.into_iter().enumerate().map(asked)).buffer_unordered(at_once).try_collect::<Vec<(usize, String, Usage)>>();
    let mut answered = until_stopped(watch, || watch.stopped(), all).await.unwrap_or(Err(ProviderError::Stopped))?;
    answered.sort_unstable_by_key(|(place, ..)| *place);
    let mut answers = Answers::default();
    for (_, text, usage) in answered {
        answers.texts.push(text);
        answers.tokens_in += usage.prompt_tokens;
        answers.tokens_out += usage.completion_tokens;
    }
    Ok(answers)
}

async fn ask(client: &Client, limit: &str, model: &str, messages: &[Message], how: Generation, watch: &dyn Watch) -> Result<(String, Usage), ProviderError> {
    let body = json!({ "model": model, "messages": messages, limit: how.max_tokens, "temperature": 0 });
    let mut request = Request::post("/chat/completions", body, Repeat::Freely);
    // A token has about four letters; the limit is the provider's to enforce.
    let letters: usize = messages.iter().map(|message| message.content.len()).sum();
    request.tokens = u32::try_from(letters / 4 + how.max_tokens).unwrap_or(u32::MAX);
    let reply: Completion = client.json(request, watch).await?;
    let said = reply.choices.into_iter().next().and_then(|choice| choice.message.content);
    // A refusal has no content; it is an answer all the same, and a wrong one.
    Ok((said.unwrap_or_default(), reply.usage.unwrap_or_default()))
}
