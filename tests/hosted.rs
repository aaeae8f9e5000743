//! Training through OpenAI's protocol, against a server on loopback that keeps state, misbehaves on demand and counts what would be billed.

#![allow(clippy::result_large_err, reason = "a reply that refuses is a reply")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Multipart, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use common::{Done, Workspace, colours_workspace};
use serde_json::{Value, json};

#[derive(Default)]
struct World {
    files: Vec<(Value, Vec<u8>)>,
    jobs: Vec<(Value, u32)>,
    questions: usize,
    /// Requests so far, by method and path.
    log: Vec<String>,
    /// The next creation is done, and its reply is lost.
    lose_reply: bool,
    /// The next so many requests are answered with 500.
    failures: u32,
    /// Jobs take so many looks to finish.
    looks: u32,
}

type Shared = Arc<Mutex<World>>;

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({ "error": { "message": "no such thing", "code": null, "param": null, "type": "invalid_request_error" } })))
        .into_response()
}

fn enter(world: &Shared, what: &str) -> Result<(), Response> {
    let mut world = world.lock().expect("no test panics with it");
    world.log.push(what.to_owned());
    if world.failures > 0 {
        world.failures -= 1;
        let body = json!({ "error": { "message": "try again", "code": null, "param": null, "type": "server_error" } });
        return Err((StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response());
    }
    Ok(())
}

async fn upload(State(world): State<Shared>, mut form: Multipart) -> Result<Response, Response> {
    enter(&world, "POST /files")?;
    let (mut name, mut content, mut purpose) = (String::new(), Bytes::new(), String::new());
    while let Ok(Some(field)) = form.next_field().await {
        match field.name() {
            Some("file") => {
                name = field.file_name().unwrap_or_default().to_owned();
                content = field.bytes().await.unwrap_or_default();
            }
            Some("purpose") => purpose = field.text().await.unwrap_or_default(),
            _ => {}
        }
    }
    let mut world = world.lock().expect("no test panics with it");
    let id = format!("file-{}", world.files.len() + 1);
    let file =
        json!({ "id": id, "object": "file", "bytes": content.len(), "created_at": 1, "filename": name, "purpose": purpose, "status": "processed", "shiny": 1 });
    world.files.push((file.clone(), content.to_vec()));
    Ok(axum::Json(file).into_response())
}

async fn files(State(world): State<Shared>) -> Result<Response, Response> {
    enter(&world, "GET /files")?;
    let world = world.lock().expect("no test panics with it");
    let data: Vec<&Value> = world.files.iter().map(|(file, _)| file).collect();
    Ok(axum::Json(json!({ "object": "list", "data": data, "first_id": "", "last_id": "", "has_more": false })).into_response())
}

async fn file(State(world): State<Shared>, Path(id): Path<String>) -> Result<Response, Response> {
    enter(&world, "GET /files/id")?;
    let world = world.lock().expect("no test panics with it");
    Ok(world.files.iter().find(|(file, _)| file["id"] == id.as_str()).map_or_else(not_found, |(file, _)| axum::Json(file.clone()).into_response()))
}

async fn content(State(world): State<Shared>, Path(id): Path<String>) -> Result<Response, Response> {
    enter(&world, "GET /files/id/content")?;
    if id == "file-result" {
        return Ok("step,train_loss,valid_loss\n1,2.0,2.1\n2,1.0,1.5\n".into_response());
    }
    Ok(not_found())
}

async fn create(State(world): State<Shared>, axum::Json(body): axum::Json<Value>) -> Result<Response, Response> {
    enter(&world, "POST /fine_tuning/jobs")?;
    let mut world = world.lock().expect("no test panics with it");
    for field in ["training_file", "validation_file"] {
        let known = world.files.iter().any(|(file, _)| file["id"] == body[field]);
        assert!(body[field].is_null() || known, "{field} must be uploaded first");
    }
    assert_eq!(body["method"]["type"], "supervised");
    let hyperparameters = body["method"]["supervised"]["hyperparameters"].as_object().expect("hyperparameters");
    assert!(hyperparameters.keys().all(|name| ["n_epochs", "batch_size", "learning_rate_multiplier"].contains(&name.as_str())));
    let job = json!({
        "id": format!("ftjob-{}", world.jobs.len() + 1), "object": "fine_tuning.job", "created_at": world.jobs.len(), "error": null, "finished_at": null,
        "fine_tuned_model": null, "hyperparameters": hyperparameters, "model": body["model"], "organization_id": "org", "result_files": [],
        "status": "validating_files", "trained_tokens": null, "training_file": body["training_file"], "validation_file": body["validation_file"],
        "seed": body["seed"], "metadata": body["metadata"],
    });
    world.jobs.push((job.clone(), 0));
    if std::mem::take(&mut world.lose_reply) {
        return Err((StatusCode::BAD_GATEWAY, "the way back is gone").into_response());
    }
    Ok(axum::Json(job).into_response())
}

async fn jobs(State(world): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> Result<Response, Response> {
    enter(&world, "GET /fine_tuning/jobs")?;
    let world = world.lock().expect("no test panics with it");
    let wanted = query.get("metadata[retune_key]").cloned();
    let data: Vec<&Value> =
        world.jobs.iter().map(|(job, _)| job).filter(|job| wanted.as_ref().is_none_or(|key| job["metadata"]["retune_key"] == key.as_str())).collect();
    Ok(axum::Json(json!({ "object": "list", "data": data, "has_more": false })).into_response())
}

async fn job(State(world): State<Shared>, Path(id): Path<String>) -> Result<Response, Response> {
    enter(&world, "GET /fine_tuning/jobs/id")?;
    let mut world = world.lock().expect("no test panics with it");
    let enough = world.looks;
    let Some((job, looks)) = world.jobs.iter_mut().find(|(job, _)| job["id"] == id.as_str()) else { return Ok(not_found()) };
    *looks += 1;
    job["status"] = json!("somewhere_new");
    if *looks > enough {
        job["status"] = json!("succeeded");
        job["fine_tuned_model"] = json!(format!("ft:{}:org::{id}", job["model"].as_str().unwrap_or_default()));
        job["result_files"] = json!(["file-result"]);
        job["trained_tokens"] = json!(1234);
    }
    Ok(axum::Json(job.clone()).into_response())
}

async fn events(State(world): State<Shared>) -> Result<Response, Response> {
    enter(&world, "GET /fine_tuning/jobs/id/events")?;
    let event = json!({ "object": "fine_tuning.job.event", "id": "ev-1", "created_at": 1, "level": "info", "message": "step 1" });
    Ok(axum::Json(json!({ "object": "list", "data": [event], "has_more": false })).into_response())
}

async fn chat(State(world): State<Shared>, axum::Json(body): axum::Json<Value>) -> Result<Response, Response> {
    enter(&world, "POST /chat/completions")?;
    world.lock().expect("no test panics with it").questions += 1;
    let tuned = body["model"].as_str().unwrap_or_default().starts_with("ft:");
    let asked = body["messages"].as_array().and_then(|messages| messages.last()).and_then(|message| message["content"].as_str()).unwrap_or_default();
    let answer = if tuned { asked.rsplit(' ').next().unwrap_or_default() } else { "no idea" };
    let choice = json!({ "index": 0, "finish_reason": "stop", "logprobs": null, "message": { "role": "assistant", "content": answer, "refusal": null } });
    Ok(axum::Json(json!({ "id": "chat-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice] })).into_response())
}

struct Server {
    world: Shared,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let world = Shared::default();
        let routes = Router::new()
            .route("/v1/files", post(upload).get(files))
            .route("/v1/files/{id}", get(file))
            .route("/v1/files/{id}/content", get(content))
            .route("/v1/fine_tuning/jobs", post(create).get(jobs))
            .route("/v1/fine_tuning/jobs/{id}", get(job))
            .route("/v1/fine_tuning/jobs/{id}/events", get(events))
            .route("/v1/chat/completions", post(chat))
            .with_state(Arc::clone(&world));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { world, address, runtime }
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().expect("no test panics with it")
    }

    fn command(&self, workspace: &Workspace) -> std::process::Command {
        let mut command = workspace.command(&["run", "p.kdl", "--profile", "openai", "--json"]);
        command.env("OPENAI_BASE_URL", format!("http://{}/v1", self.address)).env("OPENAI_API_KEY", "sk-very-secret");
        command
    }

    fn run(&self, workspace: &Workspace) -> Done {
        Done::from(self.command(workspace).output().expect("the program starts"))
    }

    fn billed(&self) -> usize {
        self.world().jobs.len()
    }
}

#[test]
fn a_pipeline_runs_on_a_hosted_provider_and_pays_once() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let first = server.run(&workspace);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(server.billed(), 1);
    let questions = server.world().questions;
    assert!(questions > 20);
    let again = server.run(&workspace);
    assert_eq!(again.code, 0);
    assert_eq!((server.billed(), server.world().questions), (1, questions), "nothing is asked or paid again");
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1, "a workspace that lost its state finds the job by its key");
    assert_eq!(server.world().files.len(), 2, "and the files by their content");
    let disk = std::process::Command::new("grep").args(["-r", "sk-very-secret", "."]).current_dir(workspace.path()).output().expect("grep starts");
    assert!(disk.stdout.is_empty(), "the key must not be on disk");
}

#[test]
fn a_lost_reply_is_looked_up_and_never_repeated() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().lose_reply = true;
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
}

#[test]
fn passing_trouble_is_overcome() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().failures = 3;
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1);
}

#[test]
fn killed_at_each_request_it_still_pays_once() {
    // The address is part of the fingerprint, so that all of it happens at one.
    let server = Server::start();
    let whole = {
        let workspace = colours_workspace();
        server.world().looks = 2;
        assert_eq!(server.run(&workspace).code, 0);
        let requests = server.world().log.iter().take_while(|what| !what.contains("chat")).count();
        (requests, workspace.read("p.openai.lock.kdl"))
    };
    for after in 1..=whole.0 {
        let workspace = colours_workspace();
        *server.world() = World { looks: 2, ..World::default() };
        let mut child = server.command(&workspace).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
        while server.world().log.len() < after && child.try_wait().expect("it can be looked at").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "killed after request {after}: {}", done.stderr);
        assert_eq!(server.billed(), 1, "killed after request {after}");
        assert_eq!(workspace.read("p.openai.lock.kdl"), whole.1, "killed after request {after}");
    }
}

#[test]
fn nothing_is_sent_where_no_stage_names_the_provider() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let mut command = workspace.command(&["run", "p.kdl", "--json"]);
    command.env("OPENAI_BASE_URL", format!("http://{}/v1", server.address)).env("OPENAI_API_KEY", "sk-very-secret");
    assert!(command.output().expect("it starts").status.success());
    assert!(server.world().log.is_empty());
}

#[test]
fn without_a_key_the_message_says_so() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let done = Done::from(server.command(&workspace).env_remove("OPENAI_API_KEY").output().expect("it starts"));
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("OPENAI_API_KEY"), "{}", done.stderr);
    server.runtime.shutdown_background();
}
