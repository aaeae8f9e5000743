//! Files and fine-tuning jobs by OpenAI's protocol, on the local engine.

use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::common::{Workspace, workspace};
use crate::gateway::{Gateway, json_of, question, said};

fn rows(count: usize) -> String {
    let row = |at: usize| {
        let colour = ["red", "green", "blue"][at % 3];
        json!({ "messages": [{ "role": "user", "content": format!("thing {at} is {colour}") }, { "role": "assistant", "content": colour }] }).to_string() + "\n"
    };
    (0..count).map(row).collect()
}

fn begin() -> (Workspace, Gateway) {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &[]);
    (workspace, gateway)
}

async fn upload(gateway: &Gateway, content: String, purpose: &str) -> (u16, Value) {
    let file = Part::bytes(content.into_bytes()).file_name("rows.jsonl");
    let form = Form::new().text("purpose", purpose.to_owned()).part("file", file);
    json_of(reqwest::Client::new().post(gateway.url("/v1/files")).multipart(form)).await
}

async fn make(gateway: &Gateway, body: Value) -> (u16, Value) {
    json_of(reqwest::Client::new().post(gateway.url("/v1/fine_tuning/jobs")).json(&body)).await
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    json_of(gateway.get(path)).await.1
}

/// Looks at a job until it is over.
async fn over(gateway: &Gateway, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let job = get(gateway, &format!("/v1/fine_tuning/jobs/{id}")).await;
        if matches!(job["status"].as_str(), Some("succeeded" | "failed" | "cancelled")) {
            return job;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "it does not end: {job}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_tunes_a_model_and_asks_it() {
    let (_workspace, gateway) = begin();
    let (status, file) = upload(&gateway, rows(96), "fine-tune").await;
    assert_eq!((status, &file["object"], &file["status"], &file["filename"]), (200, &json!("file"), &json!("processed"), &json!("rows.jsonl")));
    let id = file["id"].as_str().expect("an id");
    assert_eq!(get(&gateway, &format!("/v1/files/{id}")).await, file);
    assert_eq!(gateway.get(&format!("/v1/files/{id}/content")).send().await.expect("it answers").text().await.expect("text"), rows(96));
    let hyperparameters = json!({ "n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 2.0 });
    let body = json!({
        "model": "builtin:tiny", "training_file": id, "validation_file": id, "suffix": "colours", "seed": 5, "metadata": { "for": "test" },
        "method": { "type": "supervised", "supervised": { "hyperparameters": hyperparameters } },
    });
    let (status, job) = make(&gateway, body).await;
    assert_eq!((status, &job["object"], &job["hyperparameters"]), (200, &json!("fine_tuning.job"), &hyperparameters));
    let id = job["id"].as_str().expect("an id").to_owned();
    let job = over(&gateway, &id).await;
    assert_eq!((&job["status"], &job["error"]), (&json!("succeeded"), &Value::Null));
    let name = job["fine_tuned_model"].as_str().expect("a model");
    assert!(name.starts_with("ft:builtin:tiny:retune:colours:") && job["trained_tokens"].as_u64() > Some(0), "{job}");
    let events = get(&gateway, &format!("/v1/fine_tuning/jobs/{id}/events?limit=1000")).await;
    let steps = events["data"].as_array().expect("a list").iter().filter(|event| event["type"] == "metrics").count();
    assert_eq!((steps, &events["data"][0]["message"]), (48, &json!("The job has successfully completed")));
    let checkpoints = get(&gateway, &format!("/v1/fine_tuning/jobs/{id}/checkpoints")).await;
    assert_eq!(checkpoints["data"][0]["fine_tuned_model_checkpoint"], name);
    let results = job["result_files"][0].as_str().expect("a file");
    let losses = gateway.get(&format!("/v1/files/{results}/content")).send().await.expect("it answers").text().await.expect("text");
    assert_eq!(losses.lines().next(), Some("step,train_loss,valid_loss,full_valid_loss"));
    let listed = get(&gateway, "/v1/models").await;
    assert!(listed["data"].as_array().expect("a list").iter().any(|model| model["id"] == name));
    let (status, reply) = gateway.chat(question(name, "thing 5 is blue")).await;
    assert_eq!((status, said(&reply)), (200, "blue"));
    assert_eq!(get(&gateway, "/v1/fine_tuning/jobs?metadata[for]=test").await["data"][0]["id"], id);
    assert_eq!(get(&gateway, "/v1/fine_tuning/jobs?metadata[for]=other").await["data"], json!([]));
    let client = reqwest::Client::new();
    assert_eq!(json_of(client.delete(gateway.url(&format!("/v1/models/{name}")))).await.1["deleted"], true);
    assert_eq!(gateway.chat(question(name, "x")).await.0, 404);
    assert_eq!(json_of(client.delete(gateway.url("/v1/models/builtin:tiny"))).await.0, 400);
    let file = file["id"].as_str().expect("an id");
    assert_eq!(json_of(client.delete(gateway.url(&format!("/v1/files/{file}")))).await.1["deleted"], true);
    assert_eq!(json_of(client.delete(gateway.url(&format!("/v1/files/{file}")))).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said() {
    let (_workspace, gateway) = begin();
    assert_eq!(upload(&gateway, rows(3), "nothing").await.0, 400);
    let (_, bad) = upload(&gateway, "{\"messages\": 5}\n".into(), "fine-tune").await;
    let bad = bad["id"].as_str().expect("an id").to_owned();
    let (_, other) = upload(&gateway, rows(3), "batch").await;
    let other = other["id"].as_str().expect("an id").to_owned();
    for (field, body) in [
        ("model", json!({ "model": "gpt-x", "training_file": bad })),
        ("training_file", json!({ "model": "builtin:tiny", "training_file": "file-0" })),
        ("training_file", json!({ "model": "builtin:tiny", "training_file": "../../locks" })),
        ("method", json!({ "model": "builtin:tiny", "training_file": bad, "method": { "type": "dpo" } })),
        ("metadata", json!({ "model": "builtin:tiny", "training_file": bad, "metadata": { "k": "v".repeat(513) } })),
        ("integrations", json!({ "model": "builtin:tiny", "training_file": bad, "integrations": [{ "type": "wandb" }] })),
        ("hyperparameters", json!({ "model": "builtin:tiny", "training_file": bad, "hyperparameters": { "n_epochs": 51 } })),
        ("training_file", json!({ "model": "builtin:tiny", "training_file": other })),
        ("suffix", json!({ "model": "builtin:tiny", "training_file": bad, "suffix": "" })),
    ] {
        let (status, reply) = make(&gateway, body).await;
        assert_eq!((status, &reply["error"]["param"]), (400, &json!(field)), "{reply}");
    }
    let (_, job) = make(&gateway, json!({ "model": "builtin:tiny", "training_file": bad })).await;
    let job = over(&gateway, job["id"].as_str().expect("an id")).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("invalid_training_file")));
    assert!(job["error"]["message"].as_str().is_some_and(|text| text.contains("line 1")), "{job}");
    let odd = json!({ "model": "builtin:tiny", "training_file": bad, "hyperparameters": { "n_epoch": 1 } });
    assert_eq!(make(&gateway, odd).await.0, 400, "what is not known is not passed over");
    assert_eq!(json_of(gateway.get("/v1/files?after=file-0")).await.0, 400);
    assert_eq!(upload(&gateway, rows(3), &"x".repeat(5000)).await.0, 413);
    for path in ["/v1/files/file-0", "/v1/fine_tuning/jobs/ftjob-0", "/v1/fine_tuning/jobs/ftjob-0/events", "/v1/files/..%2F..%2Flocks"] {
        assert_eq!(json_of(gateway.get(path)).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_and_one_that_a_stop_left_goes_on() {
    let (workspace, gateway) = begin();
    let (_, file) = upload(&gateway, rows(900), "fine-tune").await;
    let body = json!({ "model": "builtin:tiny", "training_file": file["id"], "hyperparameters": { "n_epochs": 50, "batch_size": 4 } });
    let (_, job) = make(&gateway, body.clone()).await;
    let id = job["id"].as_str().expect("an id").to_owned();
    let events = format!("/v1/fine_tuning/jobs/{id}/events");
    while get(&gateway, &events).await["data"].as_array().expect("a list").iter().all(|event| event["type"] != "metrics") {
        tokio::task::yield_now().await;
    }
    // A second one waits for its turn.
    let (_, waits) =
        make(&gateway, json!({ "model": "builtin:tiny", "training_file": file["id"], "hyperparameters": { "n_epochs": 1, "batch_size": 256 } })).await;
    // Another gateway, which was there before, goes on with what this one leaves.
    let other = Gateway::start(&workspace, &[]);
    gateway.signal(rustix::process::Signal::KILL);
    gateway.wait();
    let gateway = other;
    assert!(["queued", "running"].contains(&get(&gateway, &format!("/v1/fine_tuning/jobs/{id}")).await["status"].as_str().expect("a status")));
    let cancel = || json_of(reqwest::Client::new().post(gateway.url(&format!("/v1/fine_tuning/jobs/{id}/cancel"))));
    let cancelled = cancel().await;
    assert_eq!((cancelled.0, &cancelled.1["status"], cancel().await.0), (200, &json!("cancelled"), 400));
    let waits = over(&gateway, waits["id"].as_str().expect("an id")).await;
    assert_eq!(waits["status"], "succeeded", "{waits}");
    assert_eq!(get(&gateway, &format!("/v1/fine_tuning/jobs/{id}")).await["status"], "cancelled");
}
