//! The answers of a local model, whole or as they are said.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::model::{Model, Spoken};

use super::chat::{Asked, Choice, Head, likelihood, reason};
use super::local::Engine;
use super::refusal::Refusal;
use super::tally::Tally;
use super::text::Teller;

/// A step of one of the answers.
#[derive(Debug)]
struct Step {
    answer: usize,
    text: String,
    tokens: Vec<Value>,
    used: usize,
    reason: Option<&'static str>,
}

/// Answers a request.
///
/// # Errors
/// When it is not as it must be, too many wait, or the model stops in the middle.
pub async fn answer(engine: &Arc<Engine>, tally: &Arc<Tally>, model: &str, id: String, body: &[u8]) -> Result<Response, Refusal> {
    let asked = Asked::of(body, engine.model.chat(), engine.context)?;
    let prompt = asked.wish.prompt.len();
    let head = Head { id, created: super::chat::now(), model: model.to_owned() };
    let mut steps = SelectAll::new();
    let all = engine.ask((0..asked.answers).map(|answer| asked.wish(answer)).collect())?;
    for (number, told) in all.into_iter().enumerate() {
        steps.push(said(told, &engine.model, &asked, number).boxed());
    }
    if asked.stream {
        let tally = Arc::clone(tally);
        return Ok(Sse::new(streamed(steps, head, asked, prompt, tally)).into_response());
    }
    let mut choices: BTreeMap<usize, Choice> = (0..asked.answers).map(|number| (number, Choice::default())).collect();
    while let Some(step) = steps.next().await {
        let choice = choices.entry(step.answer).or_default();
        choice.text.push_str(&step.text);
        choice.tokens.extend(step.tokens);
        choice.used += step.used;
        choice.reason = step.reason.or(choice.reason);
    }
    let choices: Vec<Choice> = choices.into_values().collect();
    if choices.iter().any(|choice| choice.reason.is_none()) {
        return Err(stopped());
    }
    tally.used(prompt, choices.iter().map(|choice| choice.used).sum());
    Ok(Json(head.whole(&choices, prompt)).into_response())
}

fn stopped() -> Refusal {
    Refusal::Broken { problem: "the model stopped in the middle of an answer".into() }
}

/// The steps of one answer. The last one says why it ended.
fn said(told: UnboundedReceiver<Spoken>, model: &Arc<Model>, asked: &Asked, answer: usize) -> impl Stream<Item = Step> + Send + use<> {
    let (model, teller) = (Arc::clone(model), Teller::new(Arc::clone(model), asked.stops.clone()));
    let likelihoods = asked.likelihoods;
    stream::unfold(Some((told, teller, model)), move |state| async move {
        let (mut told, mut teller, model) = state?;
        let spoken = told.recv().await?;
        let tokens = if likelihoods { likelihood(&spoken, model.chat()).into_iter().collect() } else { Vec::new() };
        let mut text = spoken.token.map_or(String::new(), |token| teller.take(token));
        if spoken.end.is_some() {
            text.push_str(&teller.rest());
        }
        let reason = if teller.stopped() { Some("stop") } else { spoken.end.map(reason) };
        let step = Step { answer, text, tokens, used: usize::from(spoken.token.is_some()), reason };
        // Where it stops the receiver is dropped, and the model goes on with it no further.
        Some((step, reason.is_none().then_some((told, teller, model))))
    })
}

/// The parts of a streamed answer, as server-sent events.
fn streamed(
    steps: SelectAll<stream::BoxStream<'static, Step>>,
    head: Head,
    asked: Asked,
    prompt: usize,
    tally: Arc<Tally>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let first: Vec<Value> = (0..asked.answers).map(|index| head.part(index, &json!({ "role": "assistant", "content": "" }), &[], None)).collect();
    let (usage, last_head) = (asked.usage, head.clone());
    // Tokens that were said, and answers that came to their end.
    let (used, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, ends, answers) = (Arc::clone(&used), Arc::clone(&ended), asked.answers);
    let parts = steps.flat_map(move |step| {
        counted.fetch_add(step.used, Ordering::Relaxed);
        ends.fetch_add(usize::from(step.reason.is_some()), Ordering::Relaxed);
        let mut parts = Vec::new();
        if !step.text.is_empty() || !step.tokens.is_empty() {
            parts.push(head.part(step.answer, &json!({ "content": step.text }), &step.tokens, None));
        }
        parts.extend(step.reason.map(|reason| head.part(step.answer, &json!({}), &[], Some(reason))));
        stream::iter(parts)
    });
    let end = stream::once(async move {
        let answer = used.load(Ordering::Relaxed);
        tally.used(prompt, answer);
        if ended.load(Ordering::Relaxed) < answers {
            return vec![stopped().json().to_string()];
        }
        usage.then(|| last_head.used(prompt, answer).to_string()).into_iter().chain(["[DONE]".to_owned()]).collect()
    });
    let parts = stream::iter(first).chain(parts).map(|part| part.to_string());
    parts.chain(end.flat_map(stream::iter)).map(|text| Ok(Event::default().data(text)))
}
