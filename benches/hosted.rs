//! What hosted training costs here: the memory of an upload, and how near many answers come to the time that the server's own
//! latency allows. `cargo bench --bench hosted`; the figures are ratios. `cargo test` runs it at small sizes, to see that it works.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::{Value, json};

const LATENCY: Duration = Duration::from_millis(20);

/// How long the server really took over its answers in all: its clock ticks in milliseconds, and rounds up.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// A provider that keeps nothing: every file is read and forgotten, every job succeeds at once.
async fn answer(request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let mut bytes = 0;
    if (method.as_str(), path.as_str()) == ("POST", "/v1/files") {
        bytes = file(request).await;
    } else {
        drained(request).await;
    }
    let job = json!({ "id": "ftjob-1", "status": "succeeded", "fine_tuned_model": "ft:m", "result_files": [], "trained_tokens": 1, "created_at": 1 });
    let reply = match (method.as_str(), path.as_str()) {
        ("POST", "/v1/files") => json!({ "id": "file-1", "bytes": bytes, "filename": "x", "status": "processed" }),
        ("POST", "/v1/fine_tuning/jobs") | ("GET", "/v1/fine_tuning/jobs/ftjob-1") => job,
        ("POST", "/v1/chat/completions") => {
            let began = Instant::now();
            tokio::time::sleep(LATENCY).await;
            TAKEN.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            json!({ "choices": [{ "message": { "content": "yes" } }] })
        }
        _ => json!({ "data": [], "has_more": false }),
    };
    axum::Json(reply).into_response()
}

/// Reads a form and forgets it; tells how long the file in it was.
async fn file(request: Request) -> usize {
    let mut form = Multipart::from_request(request, &()).await.expect("a form");
    let mut bytes = 0;
    while let Some(mut field) = form.next_field().await.expect("a whole form") {
        let counted = field.name() == Some("file");
        while let Some(part) = field.chunk().await.expect("a whole field") {
            bytes += if counted { part.len() } else { 0 };
        }
    }
    bytes
}

async fn drained(request: Request) {
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

fn serve() -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer).layer(DefaultBodyLimit::disable())).await });
    (address, runtime)
}

/// Runs the program; tells what it printed, its wall time, and the most memory of its own that it had (mapped files are the system's), in KiB.
fn run(folder: &Path) -> (Value, f64, u64) {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_retune"))
        .current_dir(folder)
        .args(["run", "p.kdl", "--json"])
        .env("OPENAI_API_KEY", "none")
        .stdout(Stdio::from(fs::File::create(folder.join("out.json")).expect("it can be written")))
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("it can be looked at").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        peak = peak.max(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = began.elapsed().as_secs_f64();
    let summary: Value = serde_json::from_slice(&fs::read(folder.join("out.json")).expect("it printed")).expect("it printed JSON");
    assert_eq!(summary["status"], "ok", "{summary}");
    (summary, seconds, peak)
}

fn provider(address: SocketAddr) -> String {
    format!("pipeline \"bench\"\nprovider \"there\" {{\n    api \"openai-compatible\"\n    base-url \"http://{address}/v1\"\n    limits concurrency=64\n}}\n")
}

fn upload(address: SocketAddr, rows: usize) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut text = String::new();
    for row in 0..rows {
        let _ = writeln!(
            text,
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{row} {}\"}},{{\"role\":\"assistant\",\"content\":\"yes\"}}]}}",
            "a message of a customer ".repeat(10)
        );
    }
    fs::write(folder.path().join("rows.jsonl"), &text).expect("it can be written");
    let stage = "train \"t\" {\n    examples \"rows.jsonl\"\n    provider \"there\"\n    model \"m\"\n    method \"supervised\" { epochs 1; }\n}\n";
    fs::write(folder.path().join("p.kdl"), provider(address) + stage).expect("it can be written");
    (text.len() as u64, run(folder.path()).2)
}

fn answers(address: SocketAddr, rows: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines: String = (0..rows).map(|row| format!("question number {row},yes\n")).collect();
    fs::write(folder.path().join("rows.csv"), format!("text,answer\n{lines}")).expect("it can be written");
    let stages = "collect \"rows\" { source \"rows.csv\"; }\nprepare \"chat\" {\n    from \"rows\"\n    chat { user \"{{ text }}\"; assistant \"{{ answer }}\"; }\n    split train=0.0 validation=0.0 test=1.0 key=\"text\"\n}\nevaluate \"e\" {\n    model \"m\"\n    provider \"there\"\n    data \"chat\"\n    grader \"exact-match\"\n}\n";
    fs::write(folder.path().join("p.kdl"), provider(address) + stages).expect("it can be written");
    let (_, whole, _) = run(folder.path());
    let events = fs::read_dir(folder.path().join(".retune/runs")).expect("a run").flatten().next().expect("a run").path().join("events.jsonl");
    let text = fs::read_to_string(events).expect("its events");
    let generate = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|event| event["action-done"]["action"] == "generate");
    let seconds = generate.expect("it was done")["action-done"]["seconds"].as_f64().expect("a time");
    println!("  the whole run took {whole:.2} s");
    seconds
}

fn main() {
    let (address, _runtime) = serve();
    let mut first = None;
    let measured = std::env::args().any(|argument| argument == "--bench");
    let (uploads, rows): (&[usize], usize) = if measured { (&[1_000, 10_000, 100_000, 400_000], 10_000) } else { (&[100, 1_000], 128) };
    for &rows in uploads {
        let (bytes, peak) = upload(address, rows);
        let least = *first.get_or_insert(peak);
        println!(
            "upload of {rows:>7} rows, {:>4} MB: {:>4} MiB of memory, {:.2} times that of the fewest",
            bytes / 1_000_000,
            peak / 1024,
            peak as f64 / least as f64
        );
    }
    let ideal = LATENCY.as_secs_f64() * (rows as f64 / 64.0).ceil();
    let seconds = answers(address, rows);
    println!("{rows} answers, 64 at once, {LATENCY:?} each: {seconds:.2} s, {:.2} times the ideal {ideal:.2} s", seconds / ideal);
    let taken = Duration::from_micros(TAKEN.load(Ordering::Relaxed) / rows as u64);
    let really = taken.as_secs_f64() * (rows as f64 / 64.0).ceil();
    println!("  the server really took {taken:.1?} over each, {:.2} times of which {really:.2} s is the ideal", seconds / really);
}
