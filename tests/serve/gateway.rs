//! A gateway that runs, and a client for it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::Workspace;

pub struct Gateway {
    process: Child,
    /// Its host and port.
    pub place: String,
    client: reqwest::Client,
}

impl Gateway {
    pub fn start(workspace: &Workspace, more: &[&str]) -> Self {
        Self::begin(workspace, more, &[])
    }

    /// The same with variables of the environment.
    pub fn begin(workspace: &Workspace, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let arguments = [&["serve", "p.kdl", "--listen", "127.0.0.1:0"], more].concat();
        let mut command = workspace.command(&arguments);
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let place = lines.by_ref().find_map(|line| {
            let place = line.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/v1")).map(str::to_owned);
            said.push(line);
            place
        });
        std::thread::spawn(move || lines.for_each(drop));
        let client = reqwest::Client::builder().build().expect("a client");
        Self { process, place: place.unwrap_or_else(|| panic!("it ended: {said:?}")), client }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.place)
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(self.url("/v1/chat/completions")).header("content-type", "application/json").body(body.to_string())
    }

    /// Asks for a chat completion: the status and what came.
    pub async fn chat(&self, body: Value) -> (u16, Value) {
        json_of(self.post(&body)).await
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.process.id().cast_signed()).expect("a process"), signal).expect("it is ours");
    }

    pub fn wait(mut self) -> Option<i32> {
        self.process.wait().expect("it is ours").code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub async fn json_of(request: reqwest::RequestBuilder) -> (u16, Value) {
    let reply = request.send().await.expect("it answers");
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.expect("a body")).expect("JSON"))
}

/// The parts of a stream, up to `[DONE]`, which must come.
pub async fn parts(request: reqwest::RequestBuilder) -> Vec<Value> {
    let reply = request.send().await.expect("it answers");
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    let text = reply.text().await.expect("it comes to its end");
    let mut data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"));
    data.into_iter().map(|part| serde_json::from_str(part).expect("JSON")).collect()
}

/// A question to a model, with the likeliest answer.
pub fn question(model: &str, text: &str) -> Value {
    json!({ "model": model, "temperature": 0, "max_completion_tokens": 24, "messages": [{ "role": "user", "content": text }] })
}

/// What is said in an answer.
pub fn said(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().expect("an answer")
}
