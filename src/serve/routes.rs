//! The addresses, and what is done before and after each request.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{Path, Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::answer::answer;
use super::arm::Arm;
use super::body::whole;
use super::catalog::{Listed, Route};
use super::feedback::feedback;
use super::name::fresh;
use super::origin::from_here;
use super::refusal::Refusal;
use super::state::State;
use super::tuning;
use super::upstream::{Asks, Fields};
use super::watched::{About, Account};

/// A request as its account knows it.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Its name.
    id: String,
    about: Arc<OnceLock<About>>,
}

/// Where it is said that it is there, without a key.
const HEALTH: &str = "/healthz";

pub fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route(HEALTH, get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model).delete(forget))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/feedback", post(feedback))
        .merge(tuning::routes(state.largest_file))
        .fallback(|| async { Refusal::NoPlace })
        .method_not_allowed_fallback(|| async { Refusal::NoMethod })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), watched))
        .with_state(state)
}

/// Lets those in who may come, and gives an account of what came of it.
async fn watched(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    let id = fresh();
    let mut account = Account::open(&state, id.clone(), request.method().to_string(), request.uri().path().to_owned());
    request.extensions_mut().insert(Known { id: id.clone(), about: Arc::clone(&account.about) });
    let response = match allowed(&state, &request) {
        Ok(key) => {
            account.key = key;
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    account.answers(response.status().as_u16());
    let mut response = response.map(|body| account.follow(body));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// The name of the key that a request comes with, where it may come.
fn allowed(state: &State, request: &Request) -> Result<String, Refusal> {
    if request.uri().path() == HEALTH {
        return Ok(String::new());
    }
    let name = if state.keys.are_wanted() {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        key.and_then(|(_, key)| state.keys.name_of(key.trim())).ok_or(Refusal::NoKey)?
    } else {
        from_here(request.headers())?;
        String::new()
    };
    match state.rates.take(&name, Instant::now()) {
        Ok(()) => Ok(name),
        Err(seconds) => Err(Refusal::Busy { what: "this key sent as many requests as it may in a minute".into(), seconds }),
    }
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.tally.text()).into_response()
}

async fn models(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    let all: Vec<Value> = state.catalog.list().iter().map(listed).collect();
    Json(json!({ "object": "list", "data": all }))
}

async fn model(Shared(state): Shared<Arc<State>>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    state.catalog.listed(&name).map(|model| Json(listed(&model)))
}

async fn forget(Shared(state): Shared<Arc<State>>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    if state.jobs.forget(&name) {
        return Ok(Json(json!({ "id": name, "object": "model", "deleted": true })));
    }
    state.catalog.listed(&name)?;
    Err(Refusal::wrong("model", "only what `/v1/fine_tuning/jobs` made is taken away here"))
}

fn listed(model: &Listed) -> Value {
    json!({ "id": model.name, "object": "model", "created": model.created, "owned_by": model.owner })
}

async fn chat(Shared(state): Shared<Arc<State>>, request: Request) -> Result<Response, Refusal> {
    let Known { id, about } = request.extensions().get().cloned().unwrap_or_default();
    let bytes = whole(&state, request.into_body()).await?;
    // Only the names of the fields are looked at yet: what is in them may be large, and larger still as a tree.
    let mut fields: Fields =
        serde_json::from_slice(&bytes).map_err(|error| Refusal::Wrong { problem: format!("the body is no JSON: {error}"), field: None })?;
    let name = fields.get("model").and_then(|name| serde_json::from_str::<String>(name.get()).ok());
    let name = name.ok_or_else(|| Refusal::wrong("model", "`model` must name a model"))?;
    let chosen = state.catalog.choose(&name, &id)?;
    let is_kept = state.contents || chosen.arm.as_ref().is_some_and(Arm::has_shadow);
    let _ = about.set(About { model: name.clone(), arm: chosen.arm.clone(), asked: is_kept.then(|| bytes.clone()) });
    match state.catalog.open(&chosen) {
        Err(refusal) => Err(refusal),
        Ok(Route::Here(engine)) => {
            drop(fields);
            answer(&engine, &state.tally, &name, format!("chatcmpl-{id}"), &bytes).await
        }
        Ok(Route::There(upstream)) => {
            fields.remove("model");
            let length = bytes.len();
            drop(bytes);
            upstream.chat(fields, length, Asks::Live).await
        }
    }
}
