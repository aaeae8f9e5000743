//! Many questions at once, answered within a day at a lower price.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::store::write_atomically;

use super::super::super::request::Batch;
use super::super::super::transport::{Client, FilePart, Repeat, Request, printable};
use super::super::super::tuning::Asked as Outcome;
use super::super::super::watch::until_stopped;
use super::super::super::{Answered, Generation, ProviderError, Question, Watch};
use super::pages::Pages;
use super::question::{is_filtered, question};
use super::shapes::{Completion, FileObject};

#[derive(Debug, Deserialize)]
struct BatchObject {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    output_file_id: Option<String>,
    #[serde(default)]
    error_file_id: Option<String>,
    #[serde(default)]
    request_counts: Option<Counts>,
    #[serde(default)]
    errors: Option<Value>,
    #[serde(default)]
    metadata: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Counts {
    #[serde(default)]
    total: u64,
    #[serde(default)]
    completed: u64,
    #[serde(default)]
    failed: u64,
}

/// One line of the file with the answers.
#[derive(Debug, Deserialize)]
struct Line {
    custom_id: String,
    #[serde(default)]
    response: Option<Responded>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Responded {
    #[serde(default)]
    status_code: u16,
    body: Value,
}

/// How often what batches left open is asked again, in all runs together.
const ROUNDS: usize = 8;

/// Asks all questions in one batch, or follows the one that was begun under the same key. What a batch that expired left open is
/// asked in another.
pub async fn answer(
    client: &Client,
    limit: &str,
    model: &str,
    questions: &[Question],
    how: &Generation,
    batch: &Batch,
    watch: &dyn Watch,
) -> Result<Vec<Answered>, ProviderError> {
    let (sending, going) = (AtomicBool::new(false), Mutex::new(None));
    let work = async {
        let mut found: BTreeMap<usize, Answered> = BTreeMap::new();
        let mut why = None;
        for round in 0..ROUNDS {
            let open: Vec<(usize, &Question)> = questions.iter().enumerate().filter(|(place, _)| !found.contains_key(place)).collect();
            let key = if round == 0 { batch.key.clone() } else { format!("{}-{round}", batch.key) };
            let state = State { place: batch.state.join(&key), key, visible: client.declared().limits.visible, replayed: client.network().replays() };
            let asked = Asked { client, limit, model, how, folder: &batch.folder, sending: &sending };
            let (begun, is_new) = asked.begun(&open, &state, watch).await?;
            *going.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun.id.clone());
            let ended = follow(client, begun, &state, watch).await?;
            *going.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let places: BTreeSet<usize> = open.iter().map(|(place, _)| *place).collect();
            let Fetched { answers, failed } = fetch(client, &ended, &places, watch).await?;
            let got = answers.len();
            found.extend(answers);
            if found.len() == questions.len() {
                return Ok(found.into_values().collect());
            }
            why = failed.or(why);
            if is_new && got == 0 && ended.status != "expired" {
                // To ask them once more in this run would be answered no better.
                break;
            }
            watch.note(&format!("a batch is {} with {} of {} questions answered; the others are asked in another", ended.status, found.len(), questions.len()));
        }
        let why = why.unwrap_or_else(|| "some answers are missing".into());
        let problem = format!("it answered {} of {} questions; {why}", found.len(), questions.len());
        Err(ProviderError::Unexpected { url: client.url("/batches"), problem })
    };
    let done = until_stopped(watch, || !sending.load(Ordering::Relaxed), work).await;
    done.unwrap_or_else(|| {
        if let Some(id) = going.lock().unwrap_or_else(PoisonError::into_inner).take() {
            watch.note(&format!("batch {id} goes on at the provider, where it is paid for; the next run takes its answers"));
        }
        Err(ProviderError::Stopped)
    })
}

/// What is on disk of a batch: nothing, that it may have been made, or its id.
struct State {
    key: String,
    place: PathBuf,
    /// How long a new batch may take to show.
    visible: Duration,
    replayed: bool,
}

/// What stands there while nobody knows whether the batch was made.
const CREATING: &str = "creating";

impl State {
    fn read(&self) -> Option<String> {
        std::fs::read_to_string(&self.place).ok().filter(|_| !self.replayed)
    }

    fn write(&self, text: &str) -> Result<(), ProviderError> {
        if self.replayed {
            return Ok(());
        }
        let unwritable = |reason: String| ProviderError::UnreadableFile { path: self.place.clone(), reason };
        self.place.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| unwritable(error.to_string()))?;
        write_atomically(&self.place, text.as_bytes()).map_err(|error| unwritable(error.to_string()))?;
        // On disk before anything is paid for.
        let synced = [Some(self.place.as_path()), self.place.parent()].into_iter().flatten().try_for_each(|path| std::fs::File::open(path)?.sync_all());
        synced.map_err(|error| unwritable(error.to_string()))
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(&self.place);
    }
}

/// How questions are asked.
struct Asked<'a> {
    client: &'a Client,
    limit: &'a str,
    model: &'a str,
    how: &'a Generation,
    folder: &'a Path,
    /// Whether a request is under way that makes something paid for.
    sending: &'a AtomicBool,
}

impl Asked<'_> {
    /// The batch of these questions: the one on disk, one that is found under our key, or a new one; and whether it is new.
    async fn begun(&self, open: &[(usize, &Question)], state: &State, watch: &dyn Watch) -> Result<(BatchObject, bool), ProviderError> {
        let kept = state.read();
        if let Some(id) = kept.as_ref().filter(|kept| *kept != CREATING) {
            match self.client.json(Request::get(format!("/batches/{id}")), watch).await {
                Ok(batch) if !is_void(&batch) => {
                    watch.note(&format!("following batch {id}"));
                    return Ok((batch, false));
                }
                Ok(_) | Err(ProviderError::Refused { status: 404, .. }) => state.forget(),
                Err(error) => return Err(error),
            }
        }
        let patience = if kept.as_deref() == Some(CREATING) { state.visible } else { Duration::ZERO };
        if let Some(found) = look(self.client, state, patience, watch).await? {
            watch.note(&format!("following batch {}", found.id));
            state.write(&found.id)?;
            return Ok((found, false));
        }
        let body = self.body(open, state, watch).await?;
        if watch.let_go() {
            return Err(ProviderError::Stopped);
        }
        state.write(CREATING)?;
        match self.ask(&body, state, watch).await? {
            Outcome::Made(begun) => {
                if key_of(&begun) != Some(&state.key) {
                    watch.note("warning: this server keeps no metadata of a batch: should this workspace lose its state, it cannot be found again");
                }
                Ok((begun, true))
            }
            Outcome::Found(found) => {
                state.write(&found.id)?;
                Ok((found, true))
            }
            Outcome::No(error) => {
                state.forget();
                Err(error)
            }
            // Nobody knows whether it arrived: look, and never send it again in this run.
            Outcome::Unknown(error) => {
                let found = look(self.client, state, state.visible, watch).await.unwrap_or_default();
                let found = found.ok_or_else(|| ProviderError::Lost { what: "batch", problem: error.to_string() })?;
                state.write(&found.id)?;
                Ok((found, true))
            }
        }
    }

    /// Asks for the batch. A server that says that it was too soon is asked again, each time after a look as long as a batch may take
    /// to show: it may have made one all the same.
    async fn ask(&self, body: &Value, state: &State, watch: &dyn Watch) -> Result<Outcome<BatchObject>, ProviderError> {
        let mut attempt = 1;
        loop {
            self.sending.store(true, Ordering::Relaxed);
            let made: Result<BatchObject, _> = self.client.json(Request::post("/batches", body.clone(), Repeat::Never), watch).await;
            let noted = made.as_ref().map_or(Ok(()), |batch| state.write(&batch.id));
            self.sending.store(false, Ordering::Relaxed);
            noted?;
            let early = match made {
                Err(ProviderError::TooSoon(early)) => early,
                made => return Ok(Outcome::of(made)),
            };
            // Who stops it here leaves it open whether there is a batch.
            let again = self.client.wait_after(&early, attempt, watch).await?;
            match look(self.client, state, state.visible, watch).await {
                Ok(Some(found)) => return Ok(Outcome::Found(found)),
                Ok(None) if again => attempt += 1,
                Ok(None) => return Ok(Outcome::No(early.refused)),
                Err(error @ ProviderError::Detached { .. }) => return Err(error),
                // That there is none was not seen.
                Err(error) => return Ok(Outcome::Unknown(error)),
            }
        }
    }

    /// The request for a new batch, after its questions were sent as a file.
    async fn body(&self, open: &[(usize, &Question)], state: &State, watch: &dyn Watch) -> Result<Value, ProviderError> {
        let path = self.folder.join("batch.jsonl");
        let lines = open.iter().map(|(place, asked)| {
            let body = question(self.limit, self.model, asked, self.how.max_tokens, self.how.temperature);
            format!("{}\n", json!({ "custom_id": place.to_string(), "method": "POST", "url": "/v1/chat/completions", "body": body }))
        });
        let unwritable = |error: std::io::Error| ProviderError::UnreadableFile { path: path.clone(), reason: error.to_string() };
        std::fs::write(&path, lines.collect::<String>()).map_err(unwritable)?;
        let length = std::fs::metadata(&path).map_err(unwritable)?.len();
        let fields = vec![("purpose", "batch".to_owned())];
        let part = FilePart { path: path.clone(), name: format!("retune-{}.jsonl", state.key), start: 0, length, field: "file", fields };
        let file: FileObject = self.client.json(Request::upload("/files", part), watch).await?;
        Ok(json!({
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": { "retune_key": state.key },
        }))
    }
}

/// Our key, as a batch carries it.
fn key_of(batch: &BatchObject) -> Option<&str> {
    batch.metadata.as_ref()?.get("retune_key")?.as_str()
}

/// Whether there is nothing to be had from a batch.
fn is_void(batch: &BatchObject) -> bool {
    match batch.status.as_str() {
        "failed" | "cancelled" | "cancelling" => true,
        "expired" => batch.output_file_id.is_none(),
        _ => false,
    }
}

/// Looks for a batch until it shows or the time is up.
async fn look(client: &Client, state: &State, patience: Duration, watch: &dyn Watch) -> Result<Option<BatchObject>, ProviderError> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(200));
    loop {
        let found = find(client, &state.key, watch).await?;
        if found.is_some() || began.elapsed() >= patience || state.replayed {
            return Ok(found);
        }
        tokio::time::sleep(pause.min(patience.saturating_sub(began.elapsed()))).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(3));
    }
}

async fn find(client: &Client, key: &str, watch: &dyn Watch) -> Result<Option<BatchObject>, ProviderError> {
    let mut pages = Pages::of("/batches", 100);
    while let Some(page) = pages.further(client, |batch: &BatchObject| batch.id.clone(), watch).await? {
        if let Some(found) = page.into_iter().find(|batch| key_of(batch) == Some(key) && !is_void(batch)) {
            return Ok(Some(found));
        }
    }
    pages.ended(client)?;
    Ok(None)
}

async fn follow(client: &Client, mut batch: BatchObject, state: &State, watch: &dyn Watch) -> Result<BatchObject, ProviderError> {
    let mut pause = Duration::from_millis(100);
    loop {
        let counts = batch.request_counts.take().unwrap_or_default();
        watch.progress(counts.completed + counts.failed, counts.total, "answers", &format!("batch {} is {}", batch.id, batch.status));
        match batch.status.as_str() {
            "completed" => return Ok(batch),
            "expired" if batch.output_file_id.is_some() => return Ok(batch),
            "failed" | "expired" | "cancelled" => {
                state.forget();
                let message = batch.errors.map_or_else(|| "no reason was given".into(), |errors| errors.to_string());
                return Err(ProviderError::BatchFailed { batch: batch.id, status: batch.status, message });
            }
            _ => {}
        }
        tokio::time::sleep(if client.network().replays() { Duration::ZERO } else { pause }).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(30));
        batch = client.json(Request::get(format!("/batches/{}", batch.id)), watch).await?;
    }
}

/// What a batch holds.
struct Fetched {
    answers: BTreeMap<usize, Answered>,
    /// Why the first of those that failed did.
    failed: Option<String>,
}

/// The answers that a batch holds. A question that the provider would not be asked is answered wrongly, as it is one by one.
async fn fetch(client: &Client, batch: &BatchObject, asked: &BTreeSet<usize>, watch: &dyn Watch) -> Result<Fetched, ProviderError> {
    let unexpected = |problem: String| ProviderError::Unexpected { url: client.url(&format!("/batches/{}", batch.id)), problem };
    let mut found: BTreeMap<usize, Answered> = BTreeMap::new();
    let mut failed = None;
    for file in [&batch.output_file_id, &batch.error_file_id].into_iter().flatten() {
        let reply = client.send(&Request::get(format!("/files/{file}/content")), watch).await?;
        for line in reply.body.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|error| unexpected(error.to_string()))?;
            let place = line.custom_id.parse::<usize>().ok().filter(|place| asked.contains(place));
            let Some(place) = place else {
                return Err(unexpected(format!("it answers `{}`, which was not asked", printable(&line.custom_id))));
            };
            match line.response {
                Some(Responded { status_code: 0 | 200..=299, body }) => {
                    let answer: Completion = serde_json::from_value(body).map_err(|error| unexpected(error.to_string()))?;
                    found.insert(place, answer.into());
                }
                responded => {
                    let why = line.error.filter(|error| !error.is_null()).or(responded.map(|responded| responded.body)).unwrap_or_default().to_string();
                    if is_filtered(&why) {
                        watch.note(&format!("a question was refused, and counts as answered by nothing: {}", printable(&why)));
                        found.insert(place, Answered::default());
                    } else {
                        failed.get_or_insert(format!("question {place} failed: {}", printable(&why)));
                    }
                }
            }
        }
    }
    Ok(Fetched { answers: found, failed })
}
