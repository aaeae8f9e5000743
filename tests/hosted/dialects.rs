//! The other speakers of the protocol, and those with a protocol of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::common::{Done, Workspace, colours_workspace};

/// What a server of another kind was asked, and what it has.
#[derive(Default)]
pub struct Seen {
    requests: Vec<(String, String, BTreeMap<String, String>, Value)>,
    files: Vec<String>,
    jobs: Vec<Value>,
}

pub type Answer = fn(&mut Seen, &str, &str, &Value) -> Option<Value>;

pub struct Elsewhere {
    seen: Arc<Mutex<Seen>>,
    address: std::net::SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

async fn take(State((seen, answer)): State<(Arc<Mutex<Seen>>, Answer)>, request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path_and_query().expect("a path").to_string());
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
    let bytes = to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    let mut seen = seen.lock().expect("no test panics with it");
    let reply = answer(&mut seen, &method, &path, &body);
    seen.requests.push((method, path, headers, body));
    match reply {
        Some(reply) => axum::Json(reply).into_response(),
        None => (StatusCode::NOT_FOUND, axum::Json(json!({ "error": { "message": "no such thing" } }))).into_response(),
    }
}

impl Elsewhere {
    pub fn start(answer: Answer) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let routes = Router::new().fallback(take).layer(axum::extract::DefaultBodyLimit::disable()).with_state((Arc::clone(&seen), answer));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { seen, address, _runtime: runtime }
    }

    pub fn workspace(&self, declaration: &str, method: &str) -> Workspace {
        let workspace = colours_workspace();
        let declared = declaration.replace("ADDRESS", &self.address.to_string());
        let text = workspace.read("p.kdl").replace("provider \"openai\"", "provider \"there\"").replace("gpt-4.1-nano-2025-04-14", "some-model");
        let text = text.replace("        batch-size 8\n", &format!("        batch-size 8\n{method}"));
        workspace.write("p.kdl", format!("{declared}\n{text}"));
        workspace
    }

    pub fn run(&self, workspace: &Workspace) -> Done {
        let mut command = workspace.command(&["run", "p.kdl", "--profile", "openai", "--json"]);
        Done::from(command.env("THEIR_KEY", "their-secret").output().expect("it starts"))
    }

    pub fn sent(&self, method: &str, path: &str) -> Vec<Value> {
        let seen = self.seen.lock().expect("no test panics with it");
        seen.requests.iter().filter(|(of, at, ..)| of == method && at.split('?').next().is_some_and(|at| at == path)).map(|(.., body)| body.clone()).collect()
    }
}

fn chat(body: &Value) -> Value {
    let asked = body["messages"].as_array().and_then(|messages| messages.last()).and_then(|message| message["content"].as_str()).unwrap_or_default();
    let answer = asked.rsplit(' ').next().unwrap_or_default().to_owned();
    json!({ "id": "c", "choices": [{ "index": 0, "message": { "role": "assistant", "content": answer } }] })
}

/// A server that speaks OpenAI's protocol and has no metadata.
pub fn azure(seen: &mut Seen, method: &str, path: &str, body: &Value) -> Option<Value> {
    let at = path.split('?').next().unwrap_or_default();
    Some(match (method, at) {
        ("GET", "/openai/v1/models") => json!({ "data": [{ "id": "some-model", "deprecation": { "inference": 1_900_000_000 } }] }),
        ("GET", "/openai/v1/files" | "/openai/v1/fine_tuning/jobs") => json!({ "data": if at.ends_with("jobs") { seen.jobs.clone() } else { Vec::new() } }),
        ("POST", "/openai/v1/files") => {
            seen.files.push(String::new());
            json!({ "id": format!("file-{}", seen.files.len()), "status": "pending" })
        }
        ("GET", _) if at.starts_with("/openai/v1/files/file-") && !at.ends_with("/content") => json!({ "id": at.rsplit('/').next(), "status": "processed" }),
        ("POST", "/openai/v1/fine_tuning/jobs") => {
            let job = json!({ "id": "ftjob-1", "status": "pending", "suffix": body["suffix"], "created_at": 1 });
            seen.jobs.push(job.clone());
            job
        }
        ("GET", "/openai/v1/fine_tuning/jobs/ftjob-1") => {
            json!({ "id": "ftjob-1", "status": "succeeded", "fine_tuned_model": "some-model.ft-1", "result_files": [{ "id": "file-r" }] })
        }
        ("GET", "/openai/v1/files/file-r/content") => json!("none"),
        ("GET", "/openai/v1/fine_tuning/jobs/ftjob-1/events") => json!({ "data": [] }),
        ("POST", "/openai/v1/chat/completions") => chat(body),
        _ => return None,
    })
}

#[test]
fn azure_has_a_header_a_query_a_suffix_and_deployments() {
    let server = Elsewhere::start(azure);
    let declaration = "provider \"there\" {\n    api \"azure\"\n    base-url \"http://ADDRESS/openai/v1\"\n    key (secret)\"THEIR_KEY\"\n    query \"api-version\" \"preview\"\n    field \"trainingType\" \"developerTier\"\n    deployment \"some-model.ft-1\" \"live\"\n}";
    let workspace = server.workspace(declaration, "");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    {
        let seen = server.seen.lock().expect("no test panics with it");
        assert!(seen.requests.iter().all(|(_, path, headers, _)| headers.get("api-key").is_some_and(|key| key == "their-secret")
            && !headers.contains_key("authorization")
            && path.contains("api-version=preview")));
    }
    let created = server.sent("POST", "/openai/v1/fine_tuning/jobs");
    assert_eq!(created.len(), 1);
    assert_eq!(created[0]["trainingType"], "developerTier");
    assert!(created[0].get("metadata").is_none());
    assert!(server.sent("POST", "/openai/v1/chat/completions").iter().any(|asked| asked["model"] == "live"), "a tuned model is asked as its deployment");
    // Under which name a model is asked is no part of how it is made.
    workspace.write("p.kdl", workspace.read("p.kdl").replace("\"live\"", "\"other\""));
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.sent("POST", "/openai/v1/fine_tuning/jobs").len(), 1);
    // The job is found again by the key in its suffix.
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.sent("POST", "/openai/v1/fine_tuning/jobs").len(), 1);
}

pub fn together(seen: &mut Seen, method: &str, path: &str, body: &Value) -> Option<Value> {
    Some(match (method, path) {
        ("GET", "/v1/files") => json!({ "data": [] }),
        ("POST", "/v1/files/upload") => {
            seen.files.push(String::new());
            json!({ "id": format!("file-{}", seen.files.len()), "filename": "x", "bytes": 1 })
        }
        ("GET", "/v1/fine-tunes") => json!({ "data": seen.jobs }),
        ("POST", "/v1/fine-tunes/estimate-price") => json!({ "estimated_total_price": 3.0, "allowed_to_proceed": true, "estimated_train_token_count": 700 }),
        ("POST", "/v1/fine-tunes") => {
            let job =
                json!({ "id": "ft-1", "status": "pending", "suffix": body["suffix"], "created_at": "2026-01-01T00:00:00Z", "total_price": 3_000_000_000_u64 });
            seen.jobs.push(job.clone());
            job
        }
        ("GET", "/v1/fine-tunes/ft-1") => json!({
            "id": "ft-1", "status": "completed", "output_name": "us/some-model-1", "created_at": "2026-01-01T00:00:00Z", "token_count": 777, "total_price": 3_000_000_000_u64,
        }),
        ("GET", "/v1/fine-tunes/ft-1/events") => json!({ "data": [
            { "object": "fine-tune-event", "created_at": "2026-01-01T00:00:01Z", "message": "begun", "type": "job_start", "hash": "a", "step": 0 },
            { "object": "fine-tune-event", "created_at": "2026-01-01T00:00:02Z", "message": "step", "type": "training_step", "hash": "b", "step": 5, "total_steps": 5, "train_loss": 0.5, "eval_loss": 0.7 },
        ] }),
        ("POST", "/v1/chat/completions") => chat(body),
        _ => return None,
    })
}

/// The same server with figures that are written in other ways.
fn odd_together(seen: &mut Seen, method: &str, path: &str, body: &Value) -> Option<Value> {
    let odd = |mut job: Value| {
        job["created_at"] = Value::Null;
        job["events"] = Value::Null;
        job["token_count"] = json!(777.0);
        job
    };
    let reply = together(seen, method, path, body)?;
    Some(match (method, path) {
        ("GET", "/v1/fine-tunes") => json!({ "data": seen.jobs.iter().cloned().map(odd).collect::<Vec<_>>() }),
        (_, "/v1/fine-tunes" | "/v1/fine-tunes/ft-1") => odd(reply),
        _ => reply,
    })
}

#[test]
fn a_job_of_together_that_is_written_in_another_way_is_found_all_the_same() {
    let server = Elsewhere::start(odd_together);
    let declaration = "provider \"there\" {\n    api \"together\"\n    base-url \"http://ADDRESS/v1\"\n    key (secret)\"THEIR_KEY\"\n}";
    let workspace = server.workspace(declaration, "");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.sent("POST", "/v1/fine-tunes").len(), 1);
}

#[test]
fn together_has_a_protocol_of_its_own() {
    let server = Elsewhere::start(together);
    let declaration = "provider \"there\" {\n    api \"together\"\n    base-url \"http://ADDRESS/v1\"\n    key (secret)\"THEIR_KEY\"\n}";
    let workspace = server.workspace(declaration, "        learning-rate 0.0001\n        train-on-inputs\n        lora rank=16 alpha=32\n");
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", format!("budget usd=2.5\n{text}"));
    let poor = server.run(&workspace);
    assert_eq!(poor.code, 5, "its own price is over the budget: {}", poor.stderr);
    assert!(server.sent("POST", "/v1/fine-tunes").is_empty());
    workspace.write("p.kdl", text);
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let created = server.sent("POST", "/v1/fine-tunes");
    assert_eq!(created.len(), 1);
    assert_eq!((&created[0]["n_epochs"], &created[0]["learning_rate"]), (&json!(2), &json!(0.0001)));
    assert_eq!(created[0]["training_type"], json!({ "type": "Lora", "lora_r": 16, "lora_alpha": 32.0 }));
    assert_eq!(created[0]["training_method"], json!({ "method": "sft", "train_on_inputs": true }));
    let shown = workspace.retune(&["show", "model", "p.kdl", "--profile", "openai", "--json"]).stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&shown["metrics"]["usd"], &shown["metrics"]["trained-tokens"], &shown["metrics"]["validation-loss"]),
        (&json!(3.0), &json!(777.0), &json!(0.7))
    );
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.sent("POST", "/v1/fine-tunes").len(), 1);
}

pub fn fireworks(seen: &mut Seen, method: &str, path: &str, body: &Value) -> Option<Value> {
    let (at, query) = path.split_once('?').unwrap_or((path, ""));
    let accounts = "/v1/accounts/us";
    if let Some(id) = at.strip_prefix(&format!("{accounts}/datasets/")) {
        if let Some(id) = id.strip_suffix(":upload") {
            seen.files.push(id.to_owned());
            return Some(json!({}));
        }
        return seen.files.contains(&id.to_owned()).then(|| json!({ "state": "READY" }));
    }
    if let Some(id) = at.strip_prefix(&format!("{accounts}/supervisedFineTuningJobs/")) {
        let job = seen.jobs.iter().find(|job| job["name"].as_str().is_some_and(|name| name.ends_with(id)))?;
        return Some(job.clone());
    }
    Some(match (method, at) {
        ("POST", "/v1/accounts/us/datasets") => json!({}),
        ("POST", "/v1/accounts/us/supervisedFineTuningJobs") => {
            let id = query.split_once('=').map_or("", |(_, id)| id);
            let job = json!({
                "name": format!("accounts/us/supervisedFineTuningJobs/{id}"), "state": "JOB_STATE_COMPLETED", "createTime": "2026-01-01T00:00:00Z",
                "outputModel": body["outputModel"], "jobProgress": { "percent": 100, "inputTokens": "555" }, "estimatedCost": { "units": "2", "nanos": 500_000_000 },
            });
            seen.jobs.push(job.clone());
            job
        }
        ("POST", "/inference/v1/chat/completions") => chat(body),
        _ => return None,
    })
}

#[test]
fn fireworks_lets_us_choose_the_id_of_a_job() {
    let server = Elsewhere::start(fireworks);
    let declaration =
        "provider \"there\" {\n    api \"fireworks\"\n    base-url \"http://ADDRESS/v1\"\n    account \"us\"\n    key-command \"echo their-secret\"\n}";
    let workspace = server.workspace(declaration, "");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let created = server.sent("POST", "/v1/accounts/us/supervisedFineTuningJobs");
    assert_eq!(created.len(), 1);
    assert_eq!((&created[0]["epochs"], &created[0]["batchSizeSamples"]), (&json!(2), &json!(8)));
    let shown = workspace.retune(&["show", "model", "p.kdl", "--profile", "openai", "--json"]).stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["metrics"]["usd"], &shown["metrics"]["trained-tokens"]), (&json!(2.5), &json!(555.0)));
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.sent("POST", "/v1/accounts/us/supervisedFineTuningJobs").len(), 1);
}

#[test]
fn an_outside_program_trains_and_answers() {
    let workspace = colours_workspace();
    let declaration = "provider \"tool\" {\n    api \"command\"\n    version \"1.2\"\n    config \"tool.yml\"\n    train \"test -s train.jsonl && mkdir model && cp tool.yml model/adapter && echo '{\\\"train-loss\\\": 0.5}' > metrics.json\"\n    answer \"test -s model/adapter && sed 's/.*is \\\\([a-z]*\\\\)\\\".*/{\\\"answer\\\": \\\"\\\\1\\\"}/' questions.jsonl > answers.jsonl\"\n}\n";
    workspace.write("tool.yml", "base: {{ base }}\nepochs: {{ epochs }}\nlr: {{ learning_rate or 'default' }}\n");
    let text = workspace
        .read("p.kdl")
        .replace("provider \"local\"\n    base \"builtin:tiny\"", "provider \"tool\"\n    base \"some/open-model\"")
        .replace("    baseline (param)\"base\"\n", "");
    workspace.write("p.kdl", format!("{declaration}{text}"));
    let summary = workspace.run(&[], 0);
    let quality = summary["stages"].as_array().expect("stages").iter().find(|stage| stage["name"] == "quality").expect("it is there");
    assert_eq!(quality["metrics"]["accuracy"], 1.0, "{summary}");
    assert_eq!(workspace.retune(&["get", "model", "p.kdl", "--to", "out"]).code, 0);
    assert_eq!(workspace.read("out/model/adapter"), "base: some/open-model\nepochs: 2\nlr: default\n");
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("p.kdl", workspace.read("p.kdl").replace("version \"1.2\"", "version \"1.3\""));
    assert!(workspace.ran(&[]).contains(&"model".to_owned()), "another version trains again");
    workspace.write("tool.yml", "base: {{ base }}\nepochs: {{ epochs }}\n");
    assert!(workspace.ran(&[]).contains(&"model".to_owned()), "so does another template");
    // So does a variable that it uses, and what only turns a knob does not.
    workspace.write("p.kdl", workspace.read("p.kdl").replace("version \"1.3\"", "version \"1.3\"\n    env \"SEEN\"\n    knob \"TURNED\""));
    let run = |seen: &str, turned: &str| {
        let output = workspace.command(&["run", "p.kdl", "--json"]).env("SEEN", seen).env("TURNED", turned).output().expect("it starts");
        crate::common::ran(&serde_json::from_slice(&output.stdout).expect("it prints JSON"))
    };
    assert!(run("1", "1").contains(&"model".to_owned()));
    assert!(run("1", "2").is_empty());
    assert!(run("2", "2").contains(&"model".to_owned()));
    // What it made is there for a training that goes on from it.
    workspace.write("tool.yml", "base: {{ base }}\nstart: {{ start or 'none' }}\n");
    let text = workspace.read("p.kdl");
    let further =
        "train \"further\" {\n    data \"chat\"\n    provider \"tool\"\n    model \"model\"\n    method \"supervised\" {\n        epochs 1\n    }\n}\n";
    workspace.write(
        "p.kdl",
        format!(
            "{}{further}",
            text.replace("cp tool.yml model/adapter", "cat tool.yml start/adapter > model/adapter; cp -r start/. model/kept; test -s model/adapter")
        ),
    );
    assert_eq!(workspace.run(&[], 0)["status"], "ok");
    assert_eq!(workspace.retune(&["get", "further", "p.kdl", "--to", "chain"]).code, 0);
    assert_eq!(workspace.read("chain/model/adapter"), "base: some/open-model\nstart: start\nbase: some/open-model\nstart: none\n");
    workspace.write("p.kdl", text);
    workspace.write("tool.yml", "base: {{ bass }}\n");
    let refused = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("the config template tool.yml cannot be rendered"), "{}", refused.stderr);
    assert!(refused.stderr.contains("base, batch_size, epochs"), "{}", refused.stderr);
}

#[test]
fn what_a_provider_cannot_express_is_said() {
    let check = |declaration: &str, from: &str, to: &str| {
        let workspace = colours_workspace();
        let text = workspace.read("p.kdl").replace("provider \"openai\"", "provider \"there\"").replace(from, to);
        workspace.write("p.kdl", format!("{declaration}\n{text}"));
        workspace.retune(&["check", "p.kdl", "--profile", "openai"])
    };
    let hosted = "provider \"there\" {\n    api \"openai-compatible\"\n    base-url \"http://127.0.0.1:9/v1\"\n}";
    let warned = check(hosted, "batch-size 8", "lora rank=4");
    assert_eq!(warned.code, 0);
    assert!(warned.stderr.contains("cannot express `lora`"), "{}", warned.stderr);
    for (setting, wanted) in [
        ("suffix \"a_b\"", "takes a suffix of 1 to 47 letters"),
        ("suffix \"a234567890123456789012345678901234567890123456789\"", "takes a suffix of 1 to 47 letters"),
        ("seed 2147483648", "at most 2147483647 for `seed`"),
    ] {
        let refused = check(hosted, "seed 3", setting);
        assert!(refused.code == 2 && refused.stderr.contains(wanted), "{}", refused.stderr);
    }
    let fireworks = "provider \"there\" {\n    api \"fireworks\"\n    account \"us\"\n}";
    let refused = check(
        fireworks,
        "    data \"chat\"\n    provider (param)\"provider\"\n    model (param)\"base\"\n    method \"supervised\"",
        "    examples \"x.jsonl\"\n    provider (param)\"provider\"\n    model (param)\"base\"\n    method \"dpo\"",
    );
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("it has: supervised"), "{}", refused.stderr);
    for (declaration, wanted) in [
        ("provider \"there\" {\n    api \"azure\"\n}", "needs a `base-url`"),
        ("provider \"there\" {\n    api \"fireworks\"\n}", "needs an `account`"),
        ("provider \"there\" {\n    api \"openai\"\n    version \"1\"\n}", "nothing reads it"),
        ("provider \"there\" {\n    api \"command\"\n    train \"x\"\n}", "needs a `version`"),
        ("provider \"there\" {\n    api \"openai\"\n    key (secret)\"A\"\n    key-command \"b\"\n}", "has two keys"),
        ("provider \"there\" {\n    api \"openai\"\n    base-urll \"x\"\n}", "or its declaration has mistakes"),
        ("provider \"there\" {\n    api \"openia\"\n}", "did you mean `openai`"),
        ("provider \"there\" {\n    api \"azure\"\n    base-url \"http://a:b@c/v1\"\n}", "a name and a password"),
        ("provider \"there\" {\n    api \"openai\"\n    field \"suffix\" \"x\"\n}", "retune fills itself"),
        ("provider \"there\" {\n    api \"openai\"\n    header \"Authorization\" \"Bearer x\"\n}", "would be stored in plain text"),
    ] {
        let done = check(declaration, "", "");
        assert_eq!(done.code, 2, "{declaration}");
        assert!(done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
}
