//! Whoever is brought to what an alias stands for: files, copies of the model, messages, a deployment at Azure.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Workspace, colours_workspace};
use retune::model::{Adapter, Weights, base, load_adapter, load_weights};
use ring::hmac;
use serde_json::{Value, json};

fn deploy_with(workspace: &Workspace, lines: &str) {
    let text = workspace.read("p.kdl").replace("        batch-size 8\n", "        batch-size 8\n        lora rank=4 alpha=8\n");
    assert_eq!(text.matches("    alias \"colours\"\n").count(), 1);
    workspace.write("p.kdl", text.replace("    alias \"colours\"\n", &format!("    alias \"colours\"\n{lines}")));
}

const COPIES: &str = r#"    export "deploy/adapter" format="peft"
    export "deploy/model" format="safetensors"
    export "deploy/model.gguf" format="gguf"
    target "deploy/vllm.yaml" format="vllm" copy="deploy/model"
    target "deploy/Modelfile" format="ollama" copy="deploy/model.gguf"
    target "deploy/litellm.yaml" format="litellm" gateway="http://127.0.0.1:9/v1"
"#;

fn tiny() -> Weights {
    base("builtin:tiny", Path::new("")).expect("it is there").parameters().expect("it has some").to_weights()
}

fn bytes(workspace: &Workspace, path: &str) -> Vec<u8> {
    std::fs::read(workspace.path().join(path)).expect("it is there")
}

#[test]
fn copies_of_the_model_are_what_was_deployed_and_go_back_with_it() {
    let workspace = colours_workspace();
    deploy_with(&workspace, COPIES);
    workspace.run(&[], 0);
    let adapter = |workspace: &Workspace| -> Adapter {
        let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| (name.to_owned(), bytes(workspace, &format!("deploy/adapter/{name}"))));
        load_adapter(tiny().architecture, &BTreeMap::from(files)).expect("an adapter")
    };
    let tiny = tiny();
    let first = adapter(&workspace);
    let merged = load_weights(tiny.architecture, &[&bytes(&workspace, "deploy/model/model.safetensors")]).expect("weights");
    assert_eq!(merged, first.merged(&tiny), "the weights are the base with what was learnt");
    assert_ne!(merged, tiny);
    let config: Value = serde_json::from_slice(&bytes(&workspace, "deploy/model/config.json")).expect("JSON");
    assert_eq!((&config["model_type"], config["hidden_size"].as_u64()), (&json!("llama"), Some(192)));
    let gguf = bytes(&workspace, "deploy/model.gguf");
    assert_eq!(&gguf[..8], b"GGUF\x03\0\0\0");
    assert!(workspace.read("deploy/vllm.yaml").contains("model: \"deploy/model\"\nserved-model-name: \"colours\"\n"));
    assert!(workspace.read("deploy/Modelfile").contains("\nFROM ./model.gguf\n"));
    assert!(workspace.read("deploy/litellm.yaml").contains("model: \"openai/colours\"\n      api_base: \"http://127.0.0.1:9/v1\""));
    assert!(workspace.ran(&[]).is_empty());

    std::fs::remove_dir_all(workspace.path().join("deploy/model")).expect("it is there");
    assert_eq!(workspace.ran(&[]), ["production"], "a copy that is gone is written again");
    assert_eq!(load_weights(tiny.architecture, &[&bytes(&workspace, "deploy/model/model.safetensors")]).expect("weights"), merged);

    workspace.run(&["--set", "epochs=3"], 0);
    assert_ne!(adapter(&workspace), first);
    assert_ne!(bytes(&workspace, "deploy/model.gguf"), gguf);
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 0);
    assert_eq!(adapter(&workspace), first, "they go back with it");
    assert_eq!(bytes(&workspace, "deploy/model.gguf"), gguf);
    assert!(
        std::fs::read_dir(workspace.path().join("deploy")).expect("a folder").all(|entry| !entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
}

/// A server that takes what it is sent down.
#[derive(Default)]
struct World {
    asked: Mutex<Vec<(Method, String, HeaderMap, String)>>,
    /// The replies to come, the last first; then all is well.
    next: Mutex<Vec<(u16, String)>>,
}

async fn reply(State(world): State<Arc<World>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    world.asked.lock().expect("it is whole").push((method, uri.to_string(), headers, String::from_utf8(body.to_vec()).expect("text")));
    let (status, text) = world.next.lock().expect("it is whole").pop().unwrap_or((200, "{}".to_owned()));
    (StatusCode::from_u16(status).expect("a status"), text)
}

/// A server on loopback, for as long as the runtime lives.
fn server(next: Vec<(u16, String)>) -> (tokio::runtime::Runtime, String, Arc<World>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().expect("a runtime");
    let world = Arc::new(World { next: Mutex::new(next), ..World::default() });
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = Router::new().fallback(reply).with_state(Arc::clone(&world));
    runtime.spawn(async move { axum::serve(listener, routes).await });
    (runtime, address, world)
}

const SECRET: &str = "YS1zZWNyZXQtb2YtMzItbGV0dGVycy1hbmQtbW9yZS0w";

fn retune(workspace: &Workspace, arguments: &[&str]) -> (i32, String) {
    let mut command = workspace.command(arguments);
    command.env("HOOK_SECRET", SECRET).env("AZURE_TOKEN", "token-0123456789");
    let done = command.output().expect("it runs");
    (done.status.code().expect("a code"), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_webhook_is_told_once_of_each_change_and_signed() {
    let workspace = colours_workspace();
    let ill = vec![(503, "down".to_owned()); 3];
    let (_runtime, address, world) = server(ill);
    deploy_with(&workspace, &format!("    webhook \"{address}/hook\" secret=(secret)\"HOOK_SECRET\"\n"));
    let (code, text) = retune(&workspace, &["run", "p.kdl"]);
    assert!(code == 1 && text.contains("stage::not_told") && text.contains("503"), "{text}");
    assert_eq!(world.asked.lock().expect("it is whole").len(), 3, "it is tried three times");
    assert!(workspace.read("deployments/colours.kdl").contains("current 1\n"), "the alias stands all the same");
    let (code, text) = retune(&workspace, &["run", "p.kdl"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(retune(&workspace, &["run", "p.kdl"]).0, 0);
    assert_eq!(retune(&workspace, &["run", "p.kdl", "--set", "epochs=3"]).0, 0);
    world.next.lock().expect("it is whole").push((400, "no".to_owned()));
    let (code, text) = retune(&workspace, &["rollback", "colours"]);
    assert!(code == 1 && text.contains("400") && text.contains("retune deployments --tell"), "{text}");
    assert_eq!(retune(&workspace, &["deployments", "--tell"]).0, 0);
    assert_eq!(retune(&workspace, &["deployments", "--tell"]).0, 0);

    let asked = world.asked.lock().expect("it is whole");
    let header = |headers: &HeaderMap, name: &str| headers[name].to_str().expect("text").to_owned();
    let versions: Vec<Value> = asked[3..].iter().map(|(.., body)| serde_json::from_str::<Value>(body).expect("JSON")["data"]["version"].clone()).collect();
    assert_eq!(versions, [json!(1), json!(2), json!(1), json!(1)]);
    let ids: Vec<String> = asked.iter().map(|(_, _, headers, _)| header(headers, "webhook-id")).collect();
    assert!(ids[0] == ids[3] && ids[3] != ids[4] && ids[4] != ids[5] && ids[3] != ids[5] && ids[5] == ids[6], "{ids:?}");
    for (_, _, headers, body) in asked.iter() {
        let signed = format!("{}.{}.{body}", header(headers, "webhook-id"), header(headers, "webhook-timestamp"));
        let signature = header(headers, "webhook-signature");
        let signature = STANDARD.decode(signature.strip_prefix("v1,").expect("a version")).expect("base64");
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET).expect("base64")), signed.as_bytes(), &signature).expect("it is signed");
        assert!(!body.contains(SECRET));
    }
    assert!(!workspace.read("deployments/colours.kdl").contains(SECRET));
}

#[test]
fn a_deployment_at_azure_is_switched_and_waited_for() {
    let workspace = common::workspace("");
    let state = |state: &str| (200, json!({ "properties": { "provisioningState": state, "model": { "name": "ft:b" } } }).to_string());
    let (_runtime, address, world) = server(vec![state("Succeeded"), state("Creating"), (201, state("Accepted").1)]);
    let zeros = "0".repeat(64);
    let version = |number: u32, name: &str| {
        format!(
            "\nversion {number} {{\n    deployed \"2026-11-26T00:00:00Z\"\n    model \"az {name}\" blake3=\"{zeros}\"\n    served provider=\"az\" base=\"a\" name=\"{name}\" api=\"azure\" url=\"https://example.com\" asked-as=\"front\" key=\"K\"\n    fingerprint \"{zeros}\"\n}}\n"
        )
    };
    let target = format!("azure \"{address}/subscriptions/s/deployments/front\" token=\"AZURE_TOKEN\" sku=\"Standard\" capacity=3 told=1\n");
    workspace.write("deployments/front.kdl", format!("alias \"front\"\ncurrent 2\n{target}{}{}", version(1, "ft:a"), version(2, "ft:b")));
    let (code, text) = retune(&workspace, &["deployments"]);
    assert!(code == 0 && text.contains("the deployment `front` at Azure does not know yet"), "{text}");
    let (code, text) = retune(&workspace, &["deployments", "--tell"]);
    assert_eq!(code, 0, "{text}");
    assert!(workspace.read("deployments/front.kdl").contains("capacity=3 told=2\n"));
    let asked = std::mem::take(&mut *world.asked.lock().expect("it is whole"));
    assert_eq!(asked.iter().map(|(method, ..)| method.as_str()).collect::<Vec<_>>(), ["PUT", "GET", "GET"]);
    let (_, uri, headers, body) = &asked[0];
    assert_eq!(uri, "/subscriptions/s/deployments/front?api-version=2024-10-01");
    assert_eq!(headers["authorization"], "Bearer token-0123456789");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        body,
        json!({ "sku": { "name": "Standard", "capacity": 3 }, "properties": { "model": { "format": "OpenAI", "name": "ft:b", "version": "1" } } })
    );

    // What fails is said, without the token, and tried again when that is asked for.
    let failed = json!({ "properties": { "provisioningState": "Failed" }, "error": { "message": "no quota for token-0123456789" } }).to_string();
    world.next.lock().expect("it is whole").push((200, failed));
    assert_eq!(workspace.retune(&["rollback", "front"]).code, 1, "without a token");
    let (code, text) = retune(&workspace, &["deployments", "--tell"]);
    assert!(code == 1 && text.contains("`Failed`") && text.contains("[secret]") && !text.contains("token-01"), "{text}");
}

#[test]
fn what_cannot_be_written_is_refused() {
    for (lines, wanted) in [
        ("    export \"deploy/model\" format=\"gguf\"\n", "is no place for `gguf`"),
        ("    target \"deploy/Modelfile\" format=\"ollama\"\n", "runs the model from a copy"),
        ("    export \"deploy\" format=\"peft\"\n    target \"deploy/m.env\"\n", "written by somebody else"),
        ("    webhook \"ftp://x\" secret=(secret)\"S\"\n", "is no address"),
        ("    webhook \"https://me:pw@x\" secret=(secret)\"S\"\n", "a name and a password"),
        ("    canary percent=10\n    shadow\n", "as a canary or as a shadow"),
        ("    canary percent=10 {\n        grader \"exact-match\"\n    }\n", "cannot grade an answer while it is given"),
        ("    azure \"a/b\" subscription=\"s\" resource-group=\"g\" account=\"a\" token=(secret)\"T\"\n", "no name of Azure's"),
    ] {
        let workspace = colours_workspace();
        deploy_with(&workspace, lines);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
    // Files that lie there already are somebody's.
    let workspace = colours_workspace();
    deploy_with(&workspace, COPIES);
    workspace.write("deploy/model/mine.txt", "mine");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("deploy/model"), "{}", done.stderr);
    assert_eq!(workspace.read("deploy/model/mine.txt"), "mine");
}

#[test]
fn a_version_that_is_declared_a_canary_waits_beside_the_current_one() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", text.replace("    alias \"colours\"\n", "    alias \"colours\"\n    canary percent=20\n"));
    assert_eq!(workspace.retune(&["run", "p.kdl"]).code, 0);
    assert!(workspace.read("deployments/colours.kdl").contains("current 1\n"));
    let done = workspace.retune(&["run", "p.kdl", "--set", "epochs=3"]);
    assert!(done.code == 0 && done.stderr.contains("tries version 2 (canary 20 %) beside version 1"), "{}", done.stderr);
    let alias = workspace.read("deployments/colours.kdl");
    assert!(alias.contains("current 1\ncanary 2 percent=20.0 errors=0.02 slower=1.5 worse=0.05 confidence=0.95 answers=10000\n"), "{alias}");
    assert!(workspace.ran(&["--set", "epochs=3"]).is_empty());
    // Without the word it is taken as it is.
    workspace.write("p.kdl", &text);
    assert_eq!(workspace.ran(&["--set", "epochs=3"]), ["production"]);
    let alias = workspace.read("deployments/colours.kdl");
    assert!(alias.contains("current 2\n") && !alias.contains("canary") && !alias.contains("version 3"), "{alias}");
}
