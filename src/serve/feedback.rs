//! How good the users of an answer found it: `POST /v1/feedback` with the name of the request and a score.

use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::extract::State as Shared;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::said;
use super::refusal::Refusal;
use super::state::State;

/// What is said of an answer.
#[derive(Debug, Deserialize)]
pub struct Feedback {
    /// The name of the request, as the answer had it in `x-request-id`.
    id: String,
    /// How good it was, from 0 to 1.
    score: f64,
}

pub async fn feedback(Shared(state): Shared<Arc<State>>, request: Request) -> Result<Json<Value>, Refusal> {
    let Feedback { id, score } = said(&state, request.into_body()).await?;
    if !(0.0..=1.0).contains(&score) {
        return Err(Refusal::wrong("score", format!("`score` is from 0 to 1, and not {score}")));
    }
    if !state.trials.grade(&id, score) {
        return Err(Refusal::wrong("id", "no answer of late to a model that is tried has this `x-request-id`, or it was graded before"));
    }
    Ok(Json(json!({ "object": "feedback", "id": id, "score": score })))
}
