use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::common::{Workspace, workspace};
use crate::gateway::{Gateway, json_of, question, said};

const KEY: &str = "sk-upstream-0123456789";

/// A provider that keeps what it was sent.
pub struct Provider {
    address: String,
    pub world: Arc<World>,
}

#[derive(Default)]
pub struct World {
    pub asked: Mutex<Vec<(HeaderMap, Value)>>,
    /// The statuses of the next replies; then all is well.
    pub next: Mutex<Vec<u16>>,
    /// Where it answers only when it is let.
    pub gate: Option<Semaphore>,
    /// The model that fails.
    pub ill: Option<&'static str>,
    /// The model that thinks for a while before each answer.
    pub slow: Option<&'static str>,
}

async fn answer(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    world.asked.lock().expect("it is whole").push((headers, body.clone()));
    if let Some(gate) = &world.gate {
        gate.acquire().await.expect("it is open").forget();
    }
    if world.ill.is_some_and(|ill| body["model"] == ill) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "{}").into_response();
    }
    let thinks = if world.slow.is_some_and(|slow| body["model"] == slow) { 60 } else { 0 };
    let next = world.next.lock().expect("it is whole").pop();
    if let Some(status) = next {
        let body = json!({ "error": { "message": format!("no, {KEY}") } });
        return (StatusCode::from_u16(status).expect("a status"), [("retry-after", "7")], body.to_string()).into_response();
    }
    if body["messages"][0]["content"] == "endless" {
        let parts = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1 << 16])));
        return ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response();
    }
    if body["stream"] == true {
        // It begins at once, and what it says comes later.
        let parts = futures_util::stream::iter([(0, "data: {\"a\":1}\n\n"), (thinks, "data: [DONE]\n\n")]).then(|(wait, part)| async move {
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            Ok::<_, std::io::Error>(part)
        });
        return ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response();
    }
    let text = body["messages"][0]["content"].clone();
    axum::Json(json!({ "model": body["model"], "choices": [{ "index": 0, "message": { "role": "assistant", "content": text } }] })).into_response()
}

impl Provider {
    pub async fn start(world: World) -> Self {
        let world = Arc::new(world);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let routes = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, world }
    }

    /// A workspace in which an alias stands for a model there.
    pub fn workspace(&self, more: &str) -> Workspace {
        let provider = format!(
            "provider \"gate\" {{\n    api \"openai-compatible\"\n    base-url \"http://{}/v1\"\n    key (secret)\"GATE_KEY\"\n{more}}}\n",
            self.address
        );
        let workspace = workspace(&provider);
        let zeros = "0".repeat(64);
        workspace.write(
            "deployments/front.kdl",
            format!(
                "alias \"front\"\ncurrent 1\n\nversion 1 {{\n    deployed \"2026-11-26T00:00:00Z\"\n    model \"gate ft:a\" blake3=\"{zeros}\"\n    served provider=\"gate\" base=\"a\" name=\"ft:a\"\n    fingerprint \"{zeros}\"\n}}\n"
            ),
        );
        workspace
    }

    pub fn gateway(&self, workspace: &Workspace, more: &[&str]) -> Gateway {
        Gateway::begin(workspace, more, &[("GATE_KEY", KEY)])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_passed_on_as_it_is_but_for_the_name_and_the_key() {
    let provider = Provider::start(World::default()).await;
    let workspace = provider.workspace("");
    let gateway = provider.gateway(&workspace, &[]);
    let (_, models) = json_of(gateway.get("/v1/models")).await;
    assert_eq!((&models["data"][0]["id"], &models["data"][0]["owned_by"]), (&json!("front"), &json!("gate")));
    let mut body = question("front", "over there");
    body["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    let (status, reply) = json_of(gateway.post(&body).bearer_auth("the key of somebody else")).await;
    assert_eq!((status, said(&reply), &reply["model"]), (200, "over there", &json!("ft:a")));
    let (headers, asked) = provider.world.asked.lock().expect("it is whole").remove(0);
    assert_eq!(headers["authorization"].to_str().ok(), Some(format!("Bearer {KEY}").as_str()));
    body["model"] = json!("ft:a");
    assert_eq!(asked, body);
    body["model"] = json!("front");
    body["stream"] = json!(true);
    let reply = gateway.post(&body).send().await.expect("it answers");
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    assert_eq!(reply.text().await.expect("text"), "data: {\"a\":1}\n\ndata: [DONE]\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_told_without_the_key_and_one_that_is_ill_rests() {
    // From the last to the first; it stays ill.
    let next = [vec![503; 100], vec![500, 401, 429, 400]].concat();
    let provider = Provider::start(World { next: Mutex::new(next), ..World::default() }).await;
    let workspace = provider.workspace("");
    let gateway = provider.gateway(&workspace, &[]);
    for wanted in [400, 429, 502, 500, 503, 503, 503] {
        let reply = gateway.post(&question("front", "x")).send().await.expect("it answers");
        let after = reply.headers().get("retry-after").and_then(|after| after.to_str().ok()).map(str::to_owned);
        assert_eq!((reply.status().as_u16(), after.as_deref()), (wanted, Some("7")));
        let text = reply.text().await.expect("text");
        assert!(text.contains("no, ") && !text.contains(KEY), "{text}");
    }
    let before = provider.world.asked.lock().expect("it is whole").len();
    let mut refused = 0;
    for _ in 0..20 {
        let reply = gateway.post(&question("front", "x")).send().await.expect("it answers");
        assert!(reply.status() == 503 && reply.headers().contains_key("retry-after"));
        refused += usize::from(reply.text().await.expect("text").contains("again and again"));
    }
    let asked = provider.world.asked.lock().expect("it is whole").len() - before;
    assert!(refused > 10 && asked == 20 - refused, "{refused} of 20 are refused and the provider is not even asked: {asked}");
    provider.world.next.lock().expect("it is whole").clear();
    // It is well again, which one request finds out.
    let mut status = 503;
    while status == 503 {
        status = gateway.chat(question("front", "x")).await.0;
    }
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_wait_are_told_to_come_again_and_none_is_lost() {
    let provider = Provider::start(World { gate: Some(Semaphore::new(0)), ..World::default() }).await;
    let workspace = provider.workspace("    limits concurrency=2\n");
    let gateway = Arc::new(provider.gateway(&workspace, &["--queue", "3"]));
    let ask = |number: usize| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { (number, gateway.chat(question("front", &number.to_string())).await) })
    };
    let asked: Vec<_> = (0..9).map(ask).collect();
    // Two are there, three wait, and four are sent away at once.
    let (mut early, mut late) = (Vec::new(), Vec::new());
    let mut open = asked.into_iter().collect::<futures_util::stream::FuturesUnordered<_>>();
    while early.len() < 4 {
        early.push(StreamExt::next(&mut open).await.expect("there are more").expect("it ends"));
    }
    assert!(early.iter().all(|(_, (status, reply))| *status == 429 && reply["error"]["type"] == "rate_limit_error"), "{early:?}");
    provider.world.gate.as_ref().expect("there is one").add_permits(9);
    while let Some(answered) = StreamExt::next(&mut open).await {
        late.push(answered.expect("it ends"));
    }
    assert_eq!(late.len(), 5);
    assert!(late.iter().all(|(number, (status, reply))| *status == 200 && said(reply) == number.to_string()), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_is_said() {
    let provider = Provider { address: "127.0.0.1:1".into(), world: Arc::default() };
    let workspace = provider.workspace("");
    let (status, reply) = provider.gateway(&workspace, &[]).chat(question("front", "x")).await;
    assert!(status == 502 && reply["error"]["message"].as_str().is_some_and(|message| message.contains("127.0.0.1:1")), "{reply}");
    let (status, reply) = Gateway::start(&workspace, &[]).chat(question("front", "x")).await;
    assert!(status == 502 && reply["error"]["message"].as_str().is_some_and(|message| message.contains("GATE_KEY")), "{reply}");
}

/// What a server that dies does with a request.
#[derive(Clone, Copy)]
enum Death {
    /// It answers.
    None,
    /// It goes without a word.
    Silent,
    /// It goes in the middle of the head.
    Head,
    /// It goes in the middle of the answer.
    Body,
    /// It goes in the middle of a stream.
    Stream,
    /// It ends in the middle as if that were all.
    Short,
}

/// Answers each request by what stands in it, on a connection of its own, and dies of one in so many.
async fn mortal(listener: tokio::net::TcpListener, one_in: usize) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let Ok((mut connection, _)) = listener.accept().await else {
            return;
        };
        tokio::spawn(async move {
            let mut came = Vec::new();
            let body = loop {
                let mut part = [0; 4096];
                match connection.read(&mut part).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => came.extend_from_slice(&part[..read]),
                }
                let text = String::from_utf8_lossy(&came);
                if let Some(body) = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok()) {
                    break body;
                }
            };
            let text = body["messages"][0]["content"].as_str().expect("a question").to_owned();
            let number: usize = text.parse().expect("a number");
            let deaths = [Death::Silent, Death::Head, Death::Body, Death::Stream, Death::Short];
            let death = if number % one_in == one_in - 1 { deaths[number / one_in % deaths.len()] } else { Death::None };
            let answer = json!({ "choices": [{ "message": { "content": text } }] }).to_string();
            let whole = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            if body["stream"] == true {
                // It ends as if that were all.
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {}\n\n").await;
                return;
            }
            let said = match death {
                Death::None => whole,
                Death::Silent => String::new(),
                Death::Head => whole[..20].to_owned(),
                Death::Body => whole[..whole.len() - 5].to_owned(),
                Death::Short => format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{}", &answer[..answer.len() / 2]),
                Death::Stream => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{answer}\r\n", answer.len()),
            };
            let _ = connection.write_all(said.as_bytes()).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_servers_that_die_no_answer_is_wrong_and_none_is_lost_without_an_error() {
    let requests: usize = std::env::var("RETUNE_REQUESTS").map_or(1_000, |count| count.parse().expect("RETUNE_REQUESTS is a number"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let provider = Provider { address: listener.local_addr().expect("an address").to_string(), world: Arc::default() };
    tokio::spawn(mortal(listener, 40));
    let workspace = provider.workspace("    limits concurrency=64\n");
    let gateway = provider.gateway(&workspace, &["--queue", "64"]);
    let ask = |number: usize| {
        let request = gateway.post(&question("front", &number.to_string()));
        async move {
            let reply = request.send().await.expect("the gateway itself lives");
            let status = reply.status().as_u16();
            // An answer that breaks off must show that it did.
            let Ok(body) = reply.bytes().await else {
                return None;
            };
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            if status == 200 {
                assert_eq!(said(&body), number.to_string(), "the answer to another question");
                return Some(());
            }
            assert!(matches!(status, 502 | 503) && body["error"]["message"].is_string(), "{status} {body}");
            None
        }
    };
    let asked = futures_util::stream::iter((0..requests).map(ask));
    let answered: Vec<Option<()>> = StreamExt::collect(StreamExt::buffer_unordered(asked, 64)).await;
    let mut body = question("front", "0");
    body["stream"] = json!(true);
    let mut status = 503;
    while status == 503 {
        // A stream that breaks at once may break before its head has left.
        let Ok(reply) = gateway.post(&body).send().await else { break };
        status = reply.status().as_u16();
        assert!(status == 503 || reply.text().await.is_err(), "half a stream is not taken for a whole one");
    }
    assert_eq!(gateway.get("/healthz").send().await.expect("the gateway itself lives").status(), 200);
    let well = answered.iter().flatten().count();
    assert_eq!(answered.len(), requests);
    assert!(well > 0 && well < requests, "{well} of {requests} are answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_in_holds_no_place_for_long() {
    use std::io::Write;
    let provider = Provider::start(World::default()).await;
    let workspace = provider.workspace("    limits concurrency=1\n");
    let gateway = provider.gateway(&workspace, &["--patience", "1"]);
    let mut body = question("front", "endless");
    body["stream"] = json!(true);
    let body = body.to_string();
    let mut idle = std::net::TcpStream::connect(&gateway.place).expect("it is there");
    write!(idle, "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("it can be written");
    while provider.world.asked.lock().expect("it is whole").is_empty() {
        tokio::task::yield_now().await;
    }
    let (status, reply) = gateway.chat(question("front", "and I?")).await;
    assert_eq!((status, said(&reply)), (200, "and I?"));
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_is_half_written_stays_what_it_was_and_hides_no_other() {
    let provider = Provider::start(World::default()).await;
    let workspace = provider.workspace("");
    let gateway = provider.gateway(&workspace, &[]);
    assert_eq!(gateway.chat(question("front", "x")).await.0, 200);
    let text = workspace.read("deployments/front.kdl");
    for length in [0, 16, 40, text.len() - 10] {
        workspace.write("deployments/front.kdl", &text[..length]);
        assert_eq!(gateway.chat(question("front", "x")).await.0, 200, "{length} bytes");
        workspace.write("deployments/other.kdl", &text[..length]);
        let (status, models) = json_of(gateway.get("/v1/models")).await;
        assert_eq!((status, models["data"].as_array().map(Vec::len)), (200, Some(2)), "{length} bytes: {models}");
    }
    workspace.write("deployments/other.kdl", &text);
    assert_eq!(gateway.chat(question("other@1", "x")).await.0, 200);
    for name in ["other@01", "other@+1", "other@0", "other@2", "other@"] {
        assert_eq!(gateway.chat(question(name, "x")).await.0, 404, "{name}");
    }
}
