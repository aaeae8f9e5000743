use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::common::workspace;
use crate::gateway::{Gateway, json_of, question};

#[tokio::test]
async fn keys_are_kept_as_hashes_and_open_what_they_should() {
    let workspace = workspace("");
    let open = workspace.retune(&["serve", "p.kdl", "--listen", "0.0.0.0:0"]);
    assert!(open.code == 2 && open.stderr.contains("--new-key"), "{}", open.stderr);
    let key = workspace.retune(&["serve", "--new-key", "phone"]).stdout.trim().to_owned();
    assert!(key.starts_with("rt-") && key.len() == 67, "{key}");
    assert!(!workspace.read(".retune/serve/keys").contains(&key[3..]));
    assert_eq!(workspace.retune(&["serve", "--new-key", "phone"]).code, 2);
    assert_eq!(workspace.retune(&["serve", "--new-key", "a b"]).code, 2);
    assert_eq!(workspace.retune(&["serve", "--list-keys"]).stdout, "phone\n");
    let log = workspace.path().join("requests.jsonl");
    let gateway = Gateway::start(&workspace, &["--rate", "3", "--log", &log.display().to_string()]);
    assert_eq!(gateway.get("/healthz").send().await.expect("it answers").status(), 200);
    let other = if key.ends_with('0') { '1' } else { '0' };
    for wrong in ["", "Bearer", "Bearer rt-0", &key, &format!("Bearer {}{other}", &key[..66])] {
        let (status, reply) = json_of(gateway.get("/v1/models").header("authorization", wrong)).await;
        assert_eq!((status, &reply["error"]["code"]), (401, &json!("invalid_api_key")), "{wrong}");
    }
    assert_eq!(json_of(gateway.get("/metrics")).await.0, 401);
    let asked = || gateway.post(&question("builtin:tiny", "a secret question")).bearer_auth(&key);
    for _ in 0..3 {
        assert_eq!(json_of(asked()).await.0, 200);
    }
    let late = asked().send().await.expect("it answers");
    let after: u64 = late.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!(late.status() == 429 && (1..=20).contains(&after), "{after}");
    let lines = std::fs::read_to_string(&log).expect("it is written");
    assert!(lines.contains("\"key\":\"phone\"") && lines.contains("\"status\":429"), "{lines}");
    assert!(!lines.contains("secret question") && !lines.contains(&key));
    let second = workspace.retune(&["serve", "--new-key", "desk"]).stdout.trim().to_owned();
    assert_eq!(json_of(gateway.get("/v1/models").bearer_auth(&second)).await.0, 200, "without a restart");
    assert_eq!(workspace.retune(&["serve", "--drop-key", "phone"]).code, 0);
    assert_eq!(json_of(asked()).await.0, 401);
    assert_eq!(workspace.retune(&["serve", "--drop-key", "desk"]).code, 0);
    assert_eq!(json_of(gateway.get("/v1/models")).await.0, 401, "where there were keys it never stands open");
    assert_eq!(workspace.retune(&["serve", "--drop-key", "phone"]).code, 2);
}

#[test]
fn keys_that_are_made_at_once_are_all_kept() {
    let workspace = workspace("");
    let makes = |number: usize| workspace.command(&["serve", "--new-key", &format!("k{number}")]).output().expect("it starts").status.success();
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || makes(number))).collect();
        threads.into_iter().all(|thread| thread.join().expect("it ends"))
    });
    assert!(made);
    assert_eq!(workspace.retune(&["serve", "--list-keys"]).stdout.lines().count(), 8);
}

#[tokio::test]
async fn without_keys_no_page_from_elsewhere_may_ask() {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &[]);
    let asked = || gateway.post(&question("builtin:tiny", "hello"));
    for (header, value, wanted) in [
        ("origin", "http://localhost:3000", 200),
        ("host", "localhost:8790", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("host", "evil.example:8790", 403),
    ] {
        assert_eq!(json_of(asked().header(header, value)).await.0, wanted, "{header}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_said_to_its_end_when_it_is_to_stop() {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &[]);
    let mut body = question("builtin:tiny", "tell me a long story");
    body["stream"] = json!(true);
    body["n"] = json!(16);
    body["temperature"] = json!(2);
    body["max_completion_tokens"] = json!(100);
    let mut reply = gateway.post(&body).send().await.expect("it answers");
    let mut text = String::from_utf8(reply.chunk().await.expect("it goes on").expect("a part").to_vec()).expect("text");
    gateway.signal(Signal::TERM);
    while let Some(part) = reply.chunk().await.expect("it goes on") {
        text.push_str(std::str::from_utf8(&part).expect("text"));
    }
    assert!(text.trim_end().ends_with("data: [DONE]"));
    assert_eq!(text.matches("\"finish_reason\":\"").count(), 16);
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn who_sends_a_request_too_slowly_is_sent_away() {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &["--patience", "1"]);
    let mut heads = TcpStream::connect(&gateway.place).expect("it is there");
    heads.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ").expect("it can be written");
    let mut left = Vec::new();
    let _ = heads.read_to_end(&mut left);
    for path in ["chat/completions", "feedback", "fine_tuning/jobs", "files"] {
        let mut body = TcpStream::connect(&gateway.place).expect("it is there");
        let kind = if path == "files" { "multipart/form-data; boundary=b" } else { "application/json" };
        let request =
            format!("POST /v1/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: 100\r\n\r\n{{\"model\"");
        body.write_all(request.as_bytes()).expect("it can be written");
        let mut reply = String::new();
        body.read_to_string(&mut reply).expect("it answers");
        assert!(reply.starts_with("HTTP/1.1 408"), "{path}: {reply}");
    }
    let mut broken = TcpStream::connect(&gateway.place).expect("it is there");
    broken.write_all(b"\x00\xff nonsense\r\n\r\n").expect("it can be written");
    let mut reply = Vec::new();
    let _ = broken.read_to_end(&mut reply);
    assert!(reply.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&reply));
}
