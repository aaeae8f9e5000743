use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::super::transport::Repeat;
use super::super::super::transport::{Client, Request};
use super::super::super::watch::until_stopped;
use super::super::super::{Answered, Generation, ModelHandle, ProviderError, Question, Watch};
use super::batch;
use super::question::{is_filtered, question};
use super::shapes::Completion;

/// Asks a model by chat completions, and keeps each answer as it comes. `limit` is what the provider calls the limit of an answer.
pub async fn answer(
    client: &Client,
    limit: &'static str,
    model: &ModelHandle,
    questions: Vec<Question>,
    how: Generation,
    watch: &dyn Watch,
) -> Result<Vec<Answered>, ProviderError> {
    let name = if model.card.name.is_empty() { &model.card.base } else { &model.card.name };
    let name = client.endpoint().asked_as(name).to_owned();
    if let Some(batch) = &how.batch {
        return batch::answer(client, limit, &name, &questions, &how, batch, watch).await;
    }
    let (done, total) = (AtomicU64::new(0), questions.len() as u64);
    let (name, done, kept, how) = (&name, &done, how.kept.as_deref(), &how);
    let asked = |(place, asked): (usize, Question)| async move {
        // Each answer costs, and all that came are kept: what was not asked yet can wait for the next run.
        if watch.let_go() {
            return Ok(None);
        }
        let answered = match ask(client, limit, name, &asked, how, watch).await {
            // It waited for its turn.
            Err(ProviderError::Detached { .. }) => return Ok(None),
            answered => answered?,
        };
        kept.inspect(|kept| kept.keep(asked.digest(), &answered));
        watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, total, "answers", "");
        Ok(Some((place, answered)))
    };
    let at_once = client.declared().limits.at_once;
    // In the order in which they come: one that is slow holds no other up.
    let work = stream::iter(questions.into_iter().enumerate().map(asked)).buffer_unordered(at_once).try_collect::<Vec<Option<(usize, Answered)>>>();
    let answers = until_stopped(watch, || watch.stopped(), work).await.unwrap_or(Err(ProviderError::Stopped))?;
    let all: BTreeMap<usize, Answered> = answers.into_iter().flatten().collect();
    if (all.len() as u64) < total {
        return Err(ProviderError::Stopped);
    }
    Ok(all.into_values().collect())
}

async fn ask(client: &Client, limit: &str, model: &str, asked: &Question, how: &Generation, watch: &dyn Watch) -> Result<Answered, ProviderError> {
    let mut request = Request::post("/chat/completions", question(limit, model, asked, how.max_tokens, how.temperature), Repeat::Freely);
    // A token has about four letters; the limit is the provider's to enforce.
    request.tokens = u32::try_from(asked.letters() / 4 + how.max_tokens).unwrap_or(u32::MAX);
    let began = Instant::now();
    let (reply, took): (Completion, Option<Duration>) = match client.timed(request, watch).await {
        Ok(timed) => timed,
        // What the provider will not be asked is a question without an answer, and no reason to lose all others.
        Err(ProviderError::Refused { status: 400, message, .. }) if is_filtered(&message) => {
            watch.note(&format!("a question was refused, and counts as answered by nothing: {message}"));
            return Ok(Answered { milliseconds: u64::try_from(began.elapsed().as_millis()).ok(), ..Answered::default() });
        }
        Err(error) => return Err(error),
    };
    if reply.choices.is_empty() {
        return Err(ProviderError::Unexpected { url: client.url("/chat/completions"), problem: "there is no answer in it".into() });
    }
    Ok(Answered { milliseconds: took.and_then(|took| u64::try_from(took.as_millis()).ok()), ..reply.into() })
}
