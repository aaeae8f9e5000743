//! What the provider on loopback keeps, and how it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::fake::Fault;

/// What a moderation looks for.
const CATEGORIES: [&str; 13] = [
    "hate",
    "hate/threatening",
    "harassment",
    "harassment/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

#[derive(Default)]
pub struct World {
    pub files: Vec<(Value, Vec<u8>)>,
    pub uploads: BTreeMap<String, (Value, BTreeMap<String, Vec<u8>>)>,
    pub jobs: Vec<Job>,
    pub questions: usize,
    /// Requests so far, by method and path without ids.
    pub log: Vec<String>,
    /// What goes wrong next, with the beginning of the method and path that it waits for.
    pub faults: Vec<(&'static str, Fault)>,
    /// Statuses of a job, one a look; the last one stays. Empty: it succeeds at the first look.
    pub life: Vec<&'static str>,
    /// Losses (training, validation) that a job reports, one a look.
    pub losses: Vec<(f64, f64)>,
    pub models: Vec<(&'static str, Option<&'static str>)>,
    pub batches: Vec<(Value, usize)>,
    /// Models that were deleted.
    pub deleted: Vec<String>,
    /// The last bodies of new jobs.
    pub created: Vec<Value>,
    /// Bytes of the largest single request.
    pub largest: usize,
    /// By how much its clock is wrong, in seconds.
    pub skew: i64,
    /// Whether all losses are there at the first look.
    pub all_at_once: bool,
    /// Whether lists show no job yet.
    pub hidden: bool,
    /// So many lists do not show the latest job yet.
    pub late: usize,
    /// So many lists of batches do not show the latest yet.
    pub late_batches: usize,
    /// Whether the first batch expires with half of its questions answered.
    pub expires: bool,
    /// Whether events are listed from the oldest on.
    pub oldest_first: bool,
    /// A question with this in it is refused.
    pub refused: Option<&'static str>,
    /// Questions under way, and the most at once.
    pub at_once: (usize, usize),
    /// Whether a list ignores its filter, as some servers do.
    pub ignores_filter: bool,
    /// What each answer takes.
    pub latency: Duration,
    /// What did not look as it must: a server that panics tells nobody, so that it is looked at when the test is over.
    pub wrong: Vec<String>,
    /// How this server writes a job: what it leaves out, or says in its own way. It is given the job and what it was made of.
    pub dress: Option<fn(&mut Value, &Value)>,
    /// What the first batch does with one of its questions: answers another, or fails.
    pub odd: Option<&'static str>,
    /// When each question came.
    pub asked: Vec<std::time::Instant>,
    /// The last question, as it came.
    pub last: Value,
    /// After the next answer the account is empty for so long.
    pub empty_for: Option<&'static str>,
    /// After each piece of a file it waits so long.
    pub upload_pause: Duration,
    /// So many looks at a new file find that it is still looked at.
    pub file_looks: usize,
    /// Whether the limit of tokens cuts off each answer.
    pub cut: bool,
    /// What a tuned model answers to a question with a text in it, where it is more than its last word.
    pub knows: Vec<(String, String)>,
}

pub struct Job {
    pub body: Value,
    looks: usize,
    pub cancelled: bool,
    paused: bool,
}

/// The fields of a form: the name of a file, and the content.
pub type Form = BTreeMap<String, (String, Bytes)>;

pub fn refusal(status: u16, message: &str, code: Option<&str>) -> Response {
    let body = json!({ "error": { "message": message, "code": code, "param": null, "type": "invalid_request_error" } });
    (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
}

fn list(data: Vec<Value>, more: bool) -> Response {
    let id = |value: Option<&Value>| value.map_or(json!(""), |value| value["id"].clone());
    axum::Json(json!({ "object": "list", "first_id": id(data.first()), "last_id": id(data.last()), "data": data, "has_more": more })).into_response()
}

/// Pages of two: whoever reads only the first misses the rest.
fn page(all: Vec<Value>, query: &BTreeMap<String, String>) -> Response {
    let start = query.get("after").and_then(|after| all.iter().position(|one| one["id"] == after.as_str())).map_or(0, |place| place + 1);
    let more = all.len() > start + 2;
    list(all.into_iter().skip(start).take(2).collect(), more)
}

pub fn plain(world: &mut World, method: &str, parts: &[&str], query: &BTreeMap<String, String>, body: Value) -> Response {
    match (method, parts) {
        ("GET", ["files"]) => list(world.files.iter().map(|(file, _)| file.clone()).collect(), false),
        ("GET", ["files", id]) => {
            let (found, looks) = (world.file(id).map(|(file, _)| file.clone()), world.file_looks);
            if let Some(place) = world.files.iter().position(|(file, _)| file["id"] == *id) {
                let seen = world.files[place].0["looks"].as_u64().unwrap_or_default() + 1;
                world.files[place].0["looks"] = json!(seen);
                if seen as usize >= looks {
                    world.files[place].0["status"] = json!("processed");
                }
            }
            found.map_or_else(|| refusal(404, "no such file", None), |file| axum::Json(file).into_response())
        }
        ("GET", ["files", "file-result", "content"]) => "step,train_loss,valid_loss\n1,2.0,2.1\n2,1.0,1.5\n".into_response(),
        ("POST", ["uploads"]) => {
            let id = format!("upload-{}", world.uploads.len() + 1);
            let mut upload = body;
            upload["id"] = json!(id);
            upload["object"] = json!("upload");
            upload["created_at"] = json!(1);
            upload["expires_at"] = json!(4_000_000_000_u32);
            upload["status"] = json!("pending");
            world.uploads.insert(id, (upload.clone(), BTreeMap::new()));
            axum::Json(upload).into_response()
        }
        ("POST", ["uploads", id, "complete"]) => {
            let Some((mut upload, parts)) = world.uploads.get(*id).cloned() else {
                return refusal(404, "no such upload", None);
            };
            let ids = body["part_ids"].as_array().cloned().unwrap_or_default();
            let content: Vec<u8> = ids.iter().flat_map(|id| parts.get(id.as_str().unwrap_or_default()).cloned().unwrap_or_default()).collect();
            if content.len() as u64 != upload["bytes"].as_u64().unwrap_or_default() {
                return refusal(400, "some of it is missing", None);
            }
            let name = upload["filename"].as_str().unwrap_or_default().to_owned();
            upload["file"] = world.keep(&name, content, "fine-tune");
            upload["status"] = json!("completed");
            axum::Json(upload).into_response()
        }
        ("POST", ["fine_tuning", "jobs"]) => world.create(&body),
        ("GET", ["fine_tuning", "jobs"]) => world.jobs_page(query),
        ("GET", ["fine_tuning", "jobs", id]) => world.look(id),
        ("GET", ["fine_tuning", "jobs", id, "events"]) => world.events(id, query),
        ("GET", ["fine_tuning", "jobs", id, "checkpoints"]) => world.checkpoints(id, query),
        ("POST", ["fine_tuning", "jobs", id, change]) => world.change(id, change),
        ("GET", ["models"]) => {
            let model = |(id, date): &(&str, Option<&str>)| json!({ "id": id, "object": "model", "created": 1, "owned_by": "openai", "shutdown_date": date });
            axum::Json(json!({ "object": "list", "data": world.models.iter().map(model).collect::<Vec<_>>() })).into_response()
        }
        ("DELETE", ["files", id]) => {
            world.files.retain(|(file, _)| file["id"] != *id);
            axum::Json(json!({ "id": id, "object": "file", "deleted": true })).into_response()
        }
        ("DELETE", ["models", name]) => {
            world.deleted.push((*name).to_owned());
            axum::Json(json!({ "id": name, "object": "model", "deleted": true })).into_response()
        }
        ("POST", ["moderations"]) => {
            let texts = body["input"].as_array().cloned().unwrap_or_default();
            let each = |value: Value| Value::Object(CATEGORIES.iter().map(|category| ((*category).to_owned(), value.clone())).collect());
            let verdict = |text: &Value| {
                let flagged = text.as_str().is_some_and(|text| text.contains("number 33 "));
                json!({
                    "flagged": flagged, "categories": each(json!(flagged)), "category_scores": each(json!(0.5)),
                    "category_applied_input_types": each(json!(["text"])),
                })
            };
            axum::Json(json!({ "id": "modr-1", "model": "omni-moderation-latest", "results": texts.iter().map(verdict).collect::<Vec<_>>() })).into_response()
        }
        ("POST", ["batches"]) => world.batch(&body),
        ("GET", ["batches"]) => {
            let hidden = usize::from(world.late_batches > 0);
            world.late_batches = world.late_batches.saturating_sub(1);
            list(world.batches.iter().rev().skip(hidden).map(|(batch, _)| batch.clone()).collect(), false)
        }
        ("GET", ["batches", id]) => world.look_at_batch(id),
        ("GET", ["files", id, "content"]) => world.file(id).map_or_else(|| refusal(404, "no such file", None), |(_, content)| content.clone().into_response()),
        ("POST", ["chat", "completions"]) => world.chat(&body),
        _ => refusal(404, "no such thing", None),
    }
}

impl World {
    pub fn keep_file(&mut self, form: &Form) -> Response {
        let (Some((name, content)), Some((_, purpose))) = (form.get("file"), form.get("purpose")) else {
            return refusal(400, "a file and its purpose are needed", None);
        };
        self.largest = self.largest.max(content.len());
        axum::Json(self.keep(name, content.to_vec(), &String::from_utf8_lossy(purpose))).into_response()
    }

    pub fn keep_part(&mut self, id: &str, form: &Form) -> Response {
        let content = form.get("data").map(|(_, content)| content.to_vec()).unwrap_or_default();
        self.largest = self.largest.max(content.len());
        let Some((_, parts)) = self.uploads.get_mut(id) else {
            return refusal(404, "no such upload", None);
        };
        let part = format!("part-{}", parts.len() + 1);
        parts.insert(part.clone(), content);
        axum::Json(json!({ "id": part, "object": "upload.part", "created_at": 1, "upload_id": id })).into_response()
    }

    fn keep(&mut self, name: &str, content: Vec<u8>, purpose: &str) -> Value {
        let id = format!("file-{}", self.files.len() + 1);
        let status = if self.file_looks > 0 { "pending" } else { "processed" };
        let file =
            json!({ "id": id, "object": "file", "bytes": content.len(), "created_at": 1, "filename": name, "purpose": purpose, "status": status, "shiny": 1 });
        self.files.push((file.clone(), content));
        file
    }

    fn file(&self, id: &str) -> Option<&(Value, Vec<u8>)> {
        self.files.iter().find(|(file, _)| file["id"] == id)
    }

    fn create(&mut self, body: &Value) -> Response {
        for field in ["training_file", "validation_file"] {
            if !body[field].is_null() && self.file(body[field].as_str().unwrap_or_default()).is_none() {
                return refusal(400, &format!("{field} is no file"), None);
            }
        }
        self.created.push(body.clone());
        let number = self.jobs.len() + 1;
        let job = json!({
            "id": format!("ftjob-{number}"), "object": "fine_tuning.job", "created_at": number as i64 + self.skew, "error": null, "finished_at": null,
            "fine_tuned_model": null, "hyperparameters": {}, "model": body["model"], "organization_id": "org", "result_files": [],
            "status": "validating_files", "trained_tokens": null, "training_file": body["training_file"], "validation_file": body["validation_file"],
            "seed": body["seed"].as_u64().unwrap_or_default(), "metadata": body["metadata"], "method": body["method"], "novelty": { "deep": [1] },
        });
        self.jobs.push(Job { body: job.clone(), looks: 0, cancelled: false, paused: false });
        axum::Json(self.dressed(job)).into_response()
    }

    /// A job as this server writes it.
    fn dressed(&self, mut job: Value) -> Value {
        let number = job["id"].as_str().and_then(|id| id.rsplit('-').next()?.parse::<usize>().ok()).unwrap_or(1);
        if let (Some(dress), Some(made)) = (self.dress, self.created.get(number.saturating_sub(1))) {
            dress(&mut job, made);
        }
        job
    }

    fn jobs_page(&mut self, query: &BTreeMap<String, String>) -> Response {
        if self.hidden {
            return list(Vec::new(), false);
        }
        if self.late > 0 {
            self.late -= 1;
            return list(Vec::new(), false);
        }
        let wanted = query.get("metadata[retune_key]").filter(|_| !self.ignores_filter);
        let all: Vec<Value> =
            self.jobs.iter().rev().map(|job| job.body.clone()).filter(|job| wanted.is_none_or(|key| job["metadata"]["retune_key"] == key.as_str())).collect();
        page(all.into_iter().map(|job| self.dressed(job)).collect(), query)
    }

    fn job(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.body["id"] == id)
    }

    fn look(&mut self, id: &str) -> Response {
        let life = self.life.clone();
        let Some(job) = self.job(id) else { return refusal(404, "no such job", None) };
        let status = life.get(job.looks.min(life.len().saturating_sub(1))).copied().unwrap_or("succeeded");
        if !job.cancelled && !job.paused {
            job.looks += 1;
            job.body["status"] = json!(status);
            if status == "succeeded" {
                job.body["fine_tuned_model"] = json!(format!("ft:{}:org::{id}", job.body["model"].as_str().unwrap_or_default()));
                job.body["result_files"] = json!(["file-result"]);
                job.body["trained_tokens"] = json!(1234);
            }
            if status == "failed" {
                job.body["error"] = json!({ "code": "invalid_training_file", "message": "line 3 is no example", "param": "training_file" });
            }
        }
        let body = job.body.clone();
        axum::Json(self.dressed(body)).into_response()
    }

    fn events(&mut self, id: &str, query: &BTreeMap<String, String>) -> Response {
        let (losses, all, oldest_first) = (self.losses.clone(), self.all_at_once, self.oldest_first);
        let Some(job) = self.job(id) else { return refusal(404, "no such job", None) };
        let event = |number: usize, (train, validation): &(f64, f64)| {
            json!({
                "object": "fine_tuning.job.event", "id": format!("ev-{number}"), "created_at": number, "level": "info", "message": format!("step {number}"),
                "type": "metrics", "data": { "step": number, "total_steps": losses.len(), "train_loss": train, "full_valid_loss": validation },
            })
        };
        let seen: Vec<Value> =
            losses.iter().take(if all { usize::MAX } else { job.looks }).enumerate().map(|(at, losses)| event(at + 1, losses)).rev().collect();
        page(if oldest_first { seen.into_iter().rev().collect() } else { seen }, query)
    }

    fn checkpoints(&mut self, id: &str, query: &BTreeMap<String, String>) -> Response {
        let (losses, all) = (self.losses.clone(), self.all_at_once);
        let Some(job) = self.job(id) else { return refusal(404, "no such job", None) };
        let checkpoint = |number: usize, (train, validation): &(f64, f64)| {
            json!({
                "object": "fine_tuning.job.checkpoint", "id": format!("ftckpt-{number}"), "created_at": number, "fine_tuning_job_id": id, "step_number": number,
                "fine_tuned_model_checkpoint": format!("ft:checkpoint:{number}"), "metrics": { "step": number, "train_loss": train, "full_valid_loss": validation },
            })
        };
        page(losses.iter().take(if all { usize::MAX } else { job.looks }).enumerate().map(|(at, losses)| checkpoint(at + 1, losses)).collect(), query)
    }

    fn change(&mut self, id: &str, change: &str) -> Response {
        let Some(job) = self.job(id) else { return refusal(404, "no such job", None) };
        match change {
            "cancel" => {
                job.cancelled = true;
                job.body["status"] = json!("cancelled");
            }
            "pause" => {
                job.paused = true;
                job.body["status"] = json!("paused");
            }
            "resume" => job.paused = false,
            _ => return refusal(404, "no such thing", None),
        }
        axum::Json(job.body.clone()).into_response()
    }

    fn batch(&mut self, body: &Value) -> Response {
        if self.file(body["input_file_id"].as_str().unwrap_or_default()).is_none() {
            return refusal(400, "no such file", None);
        }
        let id = format!("batch-{}", self.batches.len() + 1);
        let batch = json!({
            "id": id, "object": "batch", "endpoint": body["endpoint"], "input_file_id": body["input_file_id"], "completion_window": "24h", "status": "validating",
            "created_at": 1, "metadata": body["metadata"], "request_counts": { "total": 0, "completed": 0, "failed": 0 },
        });
        self.batches.push((batch.clone(), 0));
        axum::Json(batch).into_response()
    }

    fn look_at_batch(&mut self, id: &str) -> Response {
        let Some(place) = self.batches.iter().position(|(batch, _)| batch["id"] == id) else { return refusal(404, "no such batch", None) };
        self.batches[place].1 += 1;
        if self.batches[place].1 == 2 {
            let input = self.batches[place].0["input_file_id"].as_str().unwrap_or_default().to_owned();
            let questions = String::from_utf8(self.file(&input).map(|(_, content)| content.clone()).unwrap_or_default()).expect("a text");
            // The answers come in any order.
            let mut lines: Vec<String> = Vec::new();
            let expires = std::mem::take(&mut self.expires);
            let most = if expires { questions.lines().count() / 2 } else { usize::MAX };
            for line in questions.lines().take(most) {
                let question: Value = serde_json::from_str(line).expect("a question");
                if self.refused.is_some_and(|refused| line.contains(refused)) {
                    let complaint = json!({ "error": { "message": "the content filter says no", "code": "content_filter" } });
                    lines.insert(0, json!({ "id": "r", "custom_id": question["custom_id"], "response": { "status_code": 400, "request_id": "r", "body": complaint }, "error": null }).to_string());
                    continue;
                }
                let answer = self.answered(&question["body"]);
                let odd = self.odd.filter(|_| question["custom_id"] == "3");
                if odd == Some("fails") {
                    self.odd = None;
                    lines.insert(
                        0,
                        json!({ "id": "r", "custom_id": "3", "response": { "status_code": 500, "request_id": "r", "body": {} }, "error": null }).to_string(),
                    );
                    continue;
                }
                let named = if odd.is_some() { json!("9999") } else { question["custom_id"].clone() };
                lines.insert(
                    0,
                    json!({ "id": "r", "custom_id": named, "response": { "status_code": 200, "request_id": "r", "body": answer }, "error": null }).to_string(),
                );
            }
            let output = self.keep("output.jsonl", lines.join("\n").into_bytes(), "batch_output")["id"].clone();
            let batch = &mut self.batches[place].0;
            batch["status"] = json!(if expires { "expired" } else { "completed" });
            batch["output_file_id"] = output;
        }
        axum::Json(self.batches[place].0.clone()).into_response()
    }

    fn chat(&mut self, body: &Value) -> Response {
        if self.refused.is_some_and(|refused| body.to_string().contains(refused)) {
            return refusal(400, "the content filter says no", Some("content_filter"));
        }
        axum::Json(self.answered(body)).into_response()
    }

    fn answered(&mut self, body: &Value) -> Value {
        self.questions += 1;
        self.last = body.clone();
        self.asked.push(std::time::Instant::now());
        let tuned = body["model"].as_str().unwrap_or_default().starts_with("ft:");
        let asked = body["messages"].as_array().and_then(|messages| messages.last()).and_then(|message| message["content"].as_str()).unwrap_or_default();
        let known = self.knows.iter().find(|(text, _)| asked.contains(text.as_str())).map(|(_, answer)| answer.clone());
        let answer = if tuned { known.unwrap_or_else(|| asked.rsplit(' ').next().unwrap_or_default().to_owned()) } else { "no idea".to_owned() };
        let reason = if self.cut { "length" } else { "stop" };
        let mut message = json!({ "role": "assistant", "content": answer, "refusal": null });
        if let Some(tool) = body["tools"].as_array().and_then(|tools| tools.first()) {
            let arguments = json!({ "colour": answer }).to_string();
            message["content"] = Value::Null;
            message["tool_calls"] = json!([{ "id": "call-1", "type": "function", "function": { "name": tool["function"]["name"], "arguments": arguments } }]);
        }
        let choice = json!({ "index": 0, "finish_reason": reason, "logprobs": null, "message": message });
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12 });
        json!({ "id": "chat-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice], "usage": usage })
    }
}

/// A job that somebody else made.
pub fn other(body: Value) -> Job {
    Job { body, looks: 0, cancelled: false, paused: false }
}
