//! The addresses of files and jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::serve::refusal::Refusal;
use crate::serve::state::State;

use super::files::Files;
use super::request::Wanted;

/// Asked by their names in the address.
type Asked = Query<BTreeMap<String, String>>;

pub fn routes(largest: usize) -> Router<Arc<State>> {
    Router::new()
        .route("/v1/files", post(upload).layer(DefaultBodyLimit::max(largest)).get(files))
        .route("/v1/files/{id}", get(file).delete(remove))
        .route("/v1/files/{id}/content", get(content))
        .route("/v1/fine_tuning/jobs", post(make).get(jobs))
        .route("/v1/fine_tuning/jobs/{id}", get(job))
        .route("/v1/fine_tuning/jobs/{id}/cancel", post(cancel))
        .route("/v1/fine_tuning/jobs/{id}/events", get(events))
        .route("/v1/fine_tuning/jobs/{id}/checkpoints", get(checkpoints))
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal::Broken { problem: error.to_string() }
}

fn no_file(id: String) -> Refusal {
    Refusal::NoThing { what: "file", id }
}

fn no_job(id: String) -> Refusal {
    Refusal::NoThing { what: "fine-tuning job", id }
}

/// A page of a list, from the one that comes after `after`, at most `limit` long, or as long as is usual.
fn page(all: Vec<Value>, asked: &BTreeMap<String, String>, usual: usize) -> Json<Value> {
    let limit = asked.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usual).clamp(1, 10_000);
    let start = asked.get("after").and_then(|after| all.iter().position(|one| one["id"] == **after)).map_or(0, |place| place + 1);
    let has_more = all.len() > start + limit;
    let page: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let id = |one: Option<&Value>| one.map(|one| one["id"].clone());
    Json(json!({ "object": "list", "first_id": id(page.first()), "last_id": id(page.last()), "has_more": has_more, "data": page }))
}

async fn upload(Shared(state): Shared<Arc<State>>, form: Result<Multipart, MultipartRejection>) -> Result<Json<Value>, Refusal> {
    let mut form = form.map_err(|error| Refusal::Wrong { problem: error.body_text(), field: None })?;
    let (mut purpose, mut lasts, mut written) = (None, None, None);
    while let Some(field) = patient(&state, form.next_field()).await? {
        match field.name() {
            Some("purpose") => purpose = Some(patient(&state, field.text()).await?),
            Some("expires_after[seconds]") => lasts = Some(patient(&state, field.text()).await?),
            Some("file") => {
                let name = field.file_name().unwrap_or("upload").to_owned();
                let draft = state.jobs.files.begin().map_err(broken)?;
                write(&state, field, &draft.content()).await?;
                written = Some((name, draft));
            }
            _ => drop(patient(&state, field.bytes()).await?),
        }
    }
    let purpose =
        purpose.filter(|purpose| Files::takes(purpose)).ok_or_else(|| Refusal::wrong("purpose", "`purpose` must say what the file is for: `fine-tune`"))?;
    let (name, draft) = written.ok_or_else(|| Refusal::wrong("file", "the form has no `file`"))?;
    let seconds = |text: String| text.parse().ok().filter(|seconds| (3600..=2_592_000).contains(seconds));
    let lasts = lasts.map(|text| seconds(text).ok_or_else(|| Refusal::wrong("expires_after", "a file lasts from an hour to 30 days"))).transpose()?;
    Ok(Json(json!(draft.keep(&name, &purpose, lasts).map_err(broken)?)))
}

/// Waits for a part of a form, for as long as a client may take.
async fn patient<T>(state: &State, part: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Refusal> {
    let part = tokio::time::timeout(state.patience, part).await.map_err(|_| Refusal::TooSlow)?;
    part.map_err(|error| match error.status() {
        http::StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge { most: state.largest_file },
        _ => Refusal::Wrong { problem: format!("the form cannot be read: {error}"), field: None },
    })
}

async fn write(state: &State, mut field: Field<'_>, place: &std::path::Path) -> Result<(), Refusal> {
    let mut file = tokio::fs::File::create(place).await.map_err(broken)?;
    while let Some(part) = patient(state, field.chunk()).await? {
        file.write_all(&part).await.map_err(broken)?;
    }
    file.flush().await.map_err(broken)
}

async fn files(Shared(state): Shared<Arc<State>>, Query(asked): Asked) -> Json<Value> {
    let mut all = state.jobs.files.all();
    all.retain(|file| asked.get("purpose").is_none_or(|purpose| *purpose == file.purpose));
    if asked.get("order").is_some_and(|order| order == "asc") {
        all.reverse();
    }
    page(all.into_iter().map(|file| json!(file)).collect(), &asked, 10_000)
}

async fn file(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    state.jobs.files.find(&id).map(|file| Json(json!(file))).ok_or_else(|| no_file(id))
}

async fn content(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let file = state.jobs.files.find(&id).ok_or_else(|| no_file(id))?;
    let content = tokio::fs::File::open(state.jobs.files.content(&file)).await.map_err(broken)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(ReaderStream::new(content))).into_response())
}

async fn remove(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let files = &state.jobs.files;
    if files.find(&id).is_none() || !files.remove(&id) {
        return Err(no_file(id));
    }
    Ok(Json(json!({ "id": id, "object": "file", "deleted": true })))
}

async fn make(Shared(state): Shared<Arc<State>>, body: axum::body::Bytes) -> Result<Json<Value>, Refusal> {
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| Refusal::Wrong { problem: error.to_string(), field: None })?;
    let sizes = wanted.sizes()?;
    for (param, id) in [("training_file", Some(&wanted.training_file)), ("validation_file", wanted.validation_file.as_ref())] {
        if let Some(id) = id.filter(|id| state.jobs.files.find(id).is_none()) {
            return Err(Refusal::wrong(param, format!("there is no file `{id}`")));
        }
    }
    state.jobs.make(wanted, sizes).map(|job| Json(job.described())).map_err(broken)
}

async fn jobs(Shared(state): Shared<Arc<State>>, Query(asked): Asked) -> Json<Value> {
    let wanted: Vec<(&str, &String)> = asked.iter().filter_map(|(name, value)| Some((name.strip_prefix("metadata[")?.strip_suffix(']')?, value))).collect();
    let mut all = state.jobs.all();
    let has = |job: &super::jobs::Job, (name, value): &(&str, &String)| job.metadata.as_ref().is_some_and(|known| known.get(*name) == Some(value));
    all.retain(|job| wanted.iter().all(|pair| has(job, pair)));
    page(all.iter().map(super::jobs::Job::described).collect(), &asked, 20)
}

async fn job(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    state.jobs.find(&id).map(|job| Json(job.described())).ok_or_else(|| no_job(id))
}

async fn cancel(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let job = state.jobs.cancel(&id).ok_or_else(|| no_job(id))?.map_err(broken)?;
    Ok(Json(job.described()))
}

async fn events(Shared(state): Shared<Arc<State>>, Path(id): Path<String>, Query(asked): Asked) -> Result<Json<Value>, Refusal> {
    state.jobs.find(&id).ok_or_else(|| no_job(id.clone()))?;
    Ok(page(state.jobs.events(&id), &asked, 20))
}

async fn checkpoints(Shared(state): Shared<Arc<State>>, Path(id): Path<String>, Query(asked): Asked) -> Result<Json<Value>, Refusal> {
    let job = state.jobs.find(&id).ok_or_else(|| no_job(id))?;
    Ok(page(job.checkpoint().into_iter().collect(), &asked, 10))
}
