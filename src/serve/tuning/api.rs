//! The addresses of files and jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::serve::body::said;
use crate::serve::refusal::Refusal;
use crate::serve::state::State;

use super::files::{FINE_TUNE, Files};
use super::jobs::{Cancelled, Job};
use super::request::Wanted;

/// So many jobs may wait or run.
const QUEUE: usize = 64;
/// So many times the largest file may all files have together.
const TOTAL: u64 = 16;
/// What a form has besides its file, in bytes, and one field of it that is text.
const FORM: usize = 64 << 10;
const FIELD: usize = 1 << 10;
/// The bytes a second that a client must send at least, once its patience is used up.
const SLOWEST: f64 = 16_384.0;

/// Asked by their names in the address.
type Asked = Query<BTreeMap<String, String>>;

pub fn routes(largest: usize) -> Router<Arc<State>> {
    Router::new()
        .route("/v1/files", post(upload).layer(DefaultBodyLimit::max(largest.saturating_add(FORM))).get(files))
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
///
/// # Errors
/// When one of them is none.
fn page(all: Vec<Value>, asked: &BTreeMap<String, String>, usual: usize) -> Result<Json<Value>, Refusal> {
    let limit = asked.get("limit").map_or(Some(usual), |limit| limit.parse().ok()).filter(|limit| (1..=10_000).contains(limit));
    let limit = limit.ok_or_else(|| Refusal::wrong("limit", "`limit` is a number from 1 to 10000"))?;
    let place = |after: &String| all.iter().position(|one| one["id"] == **after).map(|place| place + 1);
    let start = asked.get("after").map_or(Some(0), place).ok_or_else(|| Refusal::wrong("after", "`after` is not in the list any more"))?;
    let has_more = all.len() > start + limit;
    let page: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let id = |one: Option<&Value>| one.map(|one| one["id"].clone());
    Ok(Json(json!({ "object": "list", "first_id": id(page.first()), "last_id": id(page.last()), "has_more": has_more, "data": page })))
}

async fn upload(Shared(state): Shared<Arc<State>>, form: Result<Multipart, MultipartRejection>) -> Result<Json<Value>, Refusal> {
    let mut form = form.map_err(|error| Refusal::Wrong { problem: error.body_text(), field: None })?;
    let (mut purpose, mut lasts, mut written, mut expected) = (None, None, None, None);
    let mut arriving = Arriving { state: &state, began: Instant::now(), bytes: 0 };
    while let Some(field) = arriving.wait(form.next_field()).await? {
        match field.name() {
            Some("purpose") => purpose = Some(arriving.text(field).await?),
            Some("expires_after[seconds]") => lasts = Some(arriving.text(field).await?),
            Some("file") => {
                // As much as it may become; what others send at the time counts too.
                expected = Some(state.jobs.files.expects(state.largest_file as u64));
                if state.jobs.files.size() > TOTAL.saturating_mul(state.largest_file as u64) {
                    return Err(Refusal::Full);
                }
                let name = field.file_name().unwrap_or("upload").to_owned();
                let draft = state.jobs.files.begin().map_err(broken)?;
                arriving.write(field, &draft.content()).await?;
                written = Some((name, draft));
            }
            _ => drop(arriving.text(field).await?),
        }
    }
    let purpose =
        purpose.filter(|purpose| Files::takes(purpose)).ok_or_else(|| Refusal::wrong("purpose", "`purpose` must say what the file is for: `fine-tune`"))?;
    let (name, draft) = written.ok_or_else(|| Refusal::wrong("file", "the form has no `file`"))?;
    let seconds = |text: String| text.parse().ok().filter(|seconds| (3600..=2_592_000).contains(seconds));
    let lasts = lasts.map(|text| seconds(text).ok_or_else(|| Refusal::wrong("expires_after", "a file lasts from an hour to 30 days"))).transpose()?;
    let kept = draft.keep(&name, &purpose, lasts).map_err(broken)?;
    drop(expected);
    Ok(Json(json!(kept)))
}

/// A form on its way.
struct Arriving<'a> {
    state: &'a State,
    began: Instant,
    bytes: usize,
}

impl Arriving<'_> {
    /// Waits for a part of it: a client may take its time once, and must then send so much a second.
    async fn wait<T>(&self, part: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Refusal> {
        #[expect(clippy::cast_precision_loss, reason = "bytes of a file")]
        let allowed = self.state.patience + Duration::from_secs_f64(self.bytes as f64 / SLOWEST);
        let part = tokio::time::timeout(allowed.saturating_sub(self.began.elapsed()), part).await.map_err(|_| Refusal::TooSlow)?;
        part.map_err(|error| match error.status() {
            http::StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge { most: self.state.largest_file },
            _ => Refusal::Wrong { problem: format!("the form cannot be read: {error}"), field: None },
        })
    }

    async fn part(&mut self, field: &mut Field<'_>) -> Result<Option<Bytes>, Refusal> {
        let part = self.wait(field.chunk()).await?;
        self.bytes += part.as_ref().map_or(0, Bytes::len);
        Ok(part)
    }

    /// A field that is a short text.
    async fn text(&mut self, mut field: Field<'_>) -> Result<String, Refusal> {
        let mut text = Vec::new();
        while let Some(part) = self.part(&mut field).await? {
            text.extend_from_slice(&part);
            if text.len() > FIELD {
                return Err(Refusal::TooLarge { most: FIELD });
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn write(&mut self, mut field: Field<'_>, place: &std::path::Path) -> Result<(), Refusal> {
        let (mut file, mut length) = (tokio::fs::File::create(place).await.map_err(broken)?, 0);
        while let Some(part) = self.part(&mut field).await? {
            length += part.len();
            if length > self.state.largest_file {
                return Err(Refusal::TooLarge { most: self.state.largest_file });
            }
            file.write_all(&part).await.map_err(broken)?;
        }
        file.flush().await.map_err(broken)
    }
}

async fn files(Shared(state): Shared<Arc<State>>, Query(asked): Asked) -> Result<Json<Value>, Refusal> {
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

async fn make(Shared(state): Shared<Arc<State>>, request: Request) -> Result<Json<Value>, Refusal> {
    let wanted: Wanted = said(&state, request.into_body()).await?;
    let sizes = wanted.sizes()?;
    for (param, id) in [("training_file", Some(&wanted.training_file)), ("validation_file", wanted.validation_file.as_ref())] {
        let Some(id) = id else { continue };
        match state.jobs.files.find(id) {
            None => return Err(Refusal::wrong(param, format!("there is no file `{id}`"))),
            Some(file) if file.purpose != FINE_TUNE => {
                return Err(Refusal::wrong(param, format!("`{id}` was sent for `{}`, and not for `{FINE_TUNE}`", file.purpose)));
            }
            Some(_) => {}
        }
    }
    if state.jobs.all().iter().filter(|job| !job.status.is_over()).count() >= QUEUE {
        return Err(Refusal::Busy { what: format!("{QUEUE} jobs wait already"), seconds: 60 });
    }
    state.jobs.make(wanted, sizes).map(|job| Json(job.described())).map_err(broken)
}

async fn jobs(Shared(state): Shared<Arc<State>>, Query(asked): Asked) -> Result<Json<Value>, Refusal> {
    let wanted: Vec<(&str, &String)> = asked.iter().filter_map(|(name, value)| Some((name.strip_prefix("metadata[")?.strip_suffix(']')?, value))).collect();
    let mut all = state.jobs.all();
    let has = |job: &Job, (name, value): &(&str, &String)| job.metadata.as_ref().is_some_and(|known| known.get(*name) == Some(value));
    all.retain(|job| wanted.iter().all(|pair| has(job, pair)));
    page(all.iter().map(Job::described).collect(), &asked, 20)
}

async fn job(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    state.jobs.find(&id).map(|job| Json(job.described())).ok_or_else(|| no_job(id))
}

async fn cancel(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    match state.jobs.cancel(&id).map_err(broken)? {
        Cancelled::Now(job) => Ok(Json(job.described())),
        Cancelled::Over => Err(Refusal::wrong("fine_tuning_job_id", format!("the job `{id}` is over already"))),
        Cancelled::None => Err(no_job(id)),
    }
}

async fn events(Shared(state): Shared<Arc<State>>, Path(id): Path<String>, Query(asked): Asked) -> Result<Json<Value>, Refusal> {
    state.jobs.find(&id).ok_or_else(|| no_job(id.clone()))?;
    page(state.jobs.events(&id), &asked, 20)
}

async fn checkpoints(Shared(state): Shared<Arc<State>>, Path(id): Path<String>, Query(asked): Asked) -> Result<Json<Value>, Refusal> {
    let job = state.jobs.find(&id).ok_or_else(|| no_job(id))?;
    page(job.checkpoint().into_iter().collect(), &asked, 10)
}
