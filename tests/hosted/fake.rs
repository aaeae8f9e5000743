//! A provider on loopback that speaks OpenAI's protocol, keeps state, misbehaves on demand and counts what would be billed. Every
//! request it gets and every reply it gives is held to its schema.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::common::{Done, Workspace};
use crate::fragile::{Cut, Fragile};
use crate::schema;
use crate::world::{Form, World, plain, refusal};

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It is done, and the reply is lost.
    LoseReply,
    /// It is done, and the connection is reset before a byte of the reply.
    Reset,
    /// It is not done, and answered with this status.
    Status(u16),
    /// It is done, and answered with this status.
    DoneAnd(u16),
    /// The same, with a code in the complaint.
    Coded(u16, &'static str),
    /// It is not done, answered with this status, and not to be sent again.
    Final(u16),
    /// 429, and to be tried again after so many milliseconds.
    TooMany(u64),
    /// It is done, and the reply breaks off in the middle.
    Truncate,
    /// It is done, and the reply takes its time.
    Slow(Duration),
    /// The reply never comes.
    Stall,
    /// The reply comes a byte at a time, and never to its end.
    Trickle,
    /// The reply is no JSON.
    Nonsense,
    /// It is not done, and answered with this status and text.
    Says(u16, &'static str),
}

type Shared = Arc<Mutex<World>>;

/// Takes a request, holds it to its schema, lets it go wrong where that is wanted.
async fn take(State(world): State<Shared>, ConnectInfo(cut): ConnectInfo<Cut>, request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().trim_start_matches("/v1").to_owned());
    let query: BTreeMap<String, String> = axum::extract::Query::try_from_uri(request.uri()).map(|query| query.0).unwrap_or_default();
    let plain: Vec<&str> = path.split('/').map(|part| if part.contains('-') { "id" } else { part }).collect();
    let what = format!("{method} {}", plain.join("/"));
    let fault = {
        let mut world = world.lock().expect("no test panics with it");
        world.log.push(what.clone());
        let place = world.faults.iter().position(|(waits, _)| what.starts_with(waits));
        place.map(|place| world.faults.remove(place).1)
    };
    match fault {
        Some(Fault::Status(status)) => return refusal(status, "try again", None),
        Some(Fault::Coded(status, code)) => return refusal(status, "no", Some(code)),
        Some(Fault::Final(status)) => {
            let mut reply = refusal(status, "do not ask again", None);
            reply.headers_mut().insert("x-should-retry", "false".parse().expect("a word"));
            return reply;
        }
        Some(Fault::TooMany(ms)) => {
            let mut reply = refusal(429, "too many", Some("rate_limit_exceeded"));
            reply.headers_mut().insert("retry-after-ms", ms.to_string().parse().expect("a number"));
            return reply;
        }
        Some(Fault::Stall) => std::future::pending::<()>().await,
        Some(Fault::Says(status, text)) => return (StatusCode::from_u16(status).expect("a status"), text).into_response(),
        Some(Fault::Nonsense) => return "<html>who are you?</html>".into_response(),
        _ => {}
    }
    let reply = answer(&world, &method, &path, &query, request).await;
    let status = reply.status().as_u16();
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", format!("req-{}", world.lock().expect("no test panics with it").log.len()).parse().expect("a name"));
    headers.insert("x-ratelimit-limit-requests", "5000".parse().expect("a number"));
    headers.insert("x-ratelimit-limit-tokens", "200000".parse().expect("a number"));
    if let Some(time) = world.lock().expect("no test panics with it").empty_for.take_if(|_| path == "/chat/completions") {
        headers.insert("x-ratelimit-remaining-requests", "0".parse().expect("a number"));
        headers.insert("x-ratelimit-reset-requests", time.parse().expect("a time"));
    }
    let body = to_bytes(reply.into_body(), usize::MAX).await.unwrap_or_default();
    if let Ok(value) = serde_json::from_slice::<Value>(&body) {
        let wrong = schema::reply(&method, &path, status, &value);
        world.lock().expect("no test panics with it").wrong.extend(wrong);
    }
    match fault {
        Some(Fault::LoseReply) => return Body::from_stream(broken(Vec::new())).into_response(),
        Some(Fault::Reset) => cut.now(),
        Some(Fault::DoneAnd(status)) => return refusal(status, "something went wrong", None),
        Some(Fault::Trickle) => {
            let bytes = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            return (headers, Body::from_stream(bytes)).into_response();
        }
        Some(Fault::Truncate) => return (headers, Body::from_stream(broken(body[..body.len() / 2].to_vec()))).into_response(),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    (StatusCode::from_u16(status).expect("a status"), headers, body).into_response()
}

/// A body that ends in an error.
fn broken(begins: Vec<u8>) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    let parts = [Ok(Bytes::from(begins)), Err(std::io::Error::other("the way back is gone"))];
    futures_util::stream::iter(parts)
}

async fn answer(world: &Shared, method: &str, path: &str, query: &BTreeMap<String, String>, request: Request) -> Response {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if request.headers().get("authorization").is_none() {
        return refusal(401, "who are you?", Some("invalid_api_key"));
    }
    match (method, parts.as_slice()) {
        ("POST", ["files"] | ["uploads", _, "parts"]) => {
            let pause = world.lock().expect("no test panics with it").upload_pause;
            let request = if pause.is_zero() { request } else { slowly(request, pause) };
            let Some(form) = fields(request).await else {
                return refusal(400, "some of it is missing", None);
            };
            let shown = form.iter().map(|(name, (_, content))| (name.clone(), json!(String::from_utf8_lossy(content)))).collect();
            let mut world = world.lock().expect("no test panics with it");
            world.wrong.extend(schema::request(method, path, &Value::Object(shown)));
            match parts.as_slice() {
                ["uploads", id, "parts"] => world.keep_part(id, &form),
                _ => world.keep_file(&form),
            }
        }
        _ => {
            let Ok(bytes) = to_bytes(request.into_body(), usize::MAX).await else {
                return refusal(400, "some of it is missing", None);
            };
            let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let latency = {
                let mut world = world.lock().expect("no test panics with it");
                world.wrong.extend(schema::request(method, path, &body));
                world.latency
            };
            if parts == ["chat", "completions"] && !latency.is_zero() {
                {
                    let mut world = world.lock().expect("no test panics with it");
                    world.at_once.0 += 1;
                    world.at_once.1 = world.at_once.1.max(world.at_once.0);
                }
                tokio::time::sleep(latency).await;
                world.lock().expect("no test panics with it").at_once.0 -= 1;
            }
            plain(&mut world.lock().expect("no test panics with it"), method, &parts, query, body)
        }
    }
}

/// A request whose body is taken a piece at a time.
fn slowly(request: Request, pause: Duration) -> Request {
    let (parts, body) = request.into_parts();
    let pieces = futures_util::StreamExt::then(body.into_data_stream(), move |piece| async move {
        tokio::time::sleep(pause.mul_f64(piece.as_ref().map_or(0, Bytes::len) as f64 / f64::from(256 << 10))).await;
        piece
    });
    Request::from_parts(parts, Body::from_stream(pieces))
}

/// Nothing where the form breaks off.
async fn fields(request: Request) -> Option<Form> {
    let mut found = BTreeMap::new();
    let mut form = Multipart::from_request(request, &()).await.ok()?;
    while let Some(field) = form.next_field().await.ok()? {
        let (name, file) = (field.name().unwrap_or_default().to_owned(), field.file_name().unwrap_or_default().to_owned());
        found.insert(name, (file, field.bytes().await.ok()?));
    }
    Some(found)
}

pub struct Server {
    world: Shared,
    pub address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

/// A key that must never be seen again.
pub const KEY: &str = "sk-very-secret";

impl Server {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let world = Shared::default();
        let routes = Router::new().fallback(take).layer(axum::extract::DefaultBodyLimit::disable()).with_state(Arc::clone(&world));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("an address");
        let routes = routes.into_make_service_with_connect_info::<Cut>();
        runtime.spawn(async move { axum::serve(Fragile(listener), routes).await });
        Self { world, address, _runtime: runtime }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics with it")
    }

    /// The program with the way to this server in its environment.
    pub fn command(&self, workspace: &Workspace, arguments: &[&str]) -> std::process::Command {
        let mut command = workspace.command(arguments);
        command.env("OPENAI_BASE_URL", format!("http://{}/v1", self.address)).env("OPENAI_API_KEY", KEY);
        command
    }

    pub fn retune(&self, workspace: &Workspace, arguments: &[&str]) -> Done {
        Done::from(self.command(workspace, arguments).output().expect("the program starts"))
    }

    pub fn run(&self, workspace: &Workspace) -> Done {
        self.retune(workspace, RUN)
    }

    pub fn billed(&self) -> usize {
        self.world().jobs.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let wrong = std::mem::take(&mut self.world().wrong);
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
}

/// The whole pipeline at the hosted provider.
pub const RUN: &[&str] = &["run", "p.kdl", "--profile", "openai", "--json"];

/// Changes the pipeline of a workspace.
pub fn edit(workspace: &Workspace, from: &str, to: &str) {
    let text = workspace.read("p.kdl");
    assert!(text.contains(from), "{from}: {text}");
    workspace.write("p.kdl", text.replacen(from, to, 1));
}

/// Declares the provider with limits.
pub fn limited(server: &Server, workspace: &Workspace, limits: &str) {
    let declared =
        format!("provider \"openai\" {{\n    api \"openai\"\n    base-url \"http://{}/v1\"\n    limits {limits}\n}}\npipeline \"colours\"", server.address);
    edit(workspace, "pipeline \"colours\"", &declared);
}

/// Takes the deployment out of the pipeline.
pub fn undeployed(workspace: &Workspace) {
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", text.split_once("deploy ").expect("there is one").0);
}

/// Declares the evaluation of the pipeline a second time, as `second`, with a change so that it asks anew.
pub fn second_evaluation(workspace: &Workspace, from: &str, to: &str) {
    let text = workspace.read("p.kdl");
    let (_, evaluate) = text.split_once("evaluate ").expect("there is one");
    let (evaluate, _) = evaluate.split_once("deploy").expect("it ends");
    let second = evaluate.replace("\"quality\"", "\"second\"").replacen(from, to, 1);
    workspace.write("p.kdl", format!("{text}evaluate {second}"));
}
