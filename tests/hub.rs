//! Models of the hub, by a server on loopback that breaks off, refuses and lies.

mod common;
#[path = "sources/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Done, Workspace};
use retune::model::ExportFormat;
use retune::provider::{ModelCard, ModelHandle};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::{Value, json};
use server::{Asked, Reply, Server, reply};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";
type Files = BTreeMap<String, Vec<u8>>;

/// `builtin:tiny` as its files would lie on the hub.
fn files() -> Files {
    let card = ModelCard { provider: "local".into(), base: "builtin:tiny".into(), name: String::new(), digest: None };
    let handle = ModelHandle { card, files: BTreeMap::new() };
    ExportFormat::Safetensors.files(&handle, std::path::Path::new("")).expect("it is written")
}

fn hex(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> String {
    digest(algorithm, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a hub says of files: the large ones by SHA-256, the others as git does.
fn description(files: &Files) -> Value {
    let sibling = |(name, bytes): (&String, &Vec<u8>)| {
        let mut blob = format!("blob {}\0", bytes.len()).into_bytes();
        blob.extend(bytes);
        let mut said = json!({ "rfilename": name, "size": bytes.len(), "blobId": hex(&SHA1_FOR_LEGACY_USE_ONLY, &blob) });
        if name.ends_with(".safetensors") {
            said["lfs"] = json!({ "sha256": hex(&SHA256, bytes), "size": bytes.len(), "pointerSize": 134 });
            said["blobId"] = json!("0".repeat(40));
        }
        said
    };
    let more = json!({ "rfilename": "README.md", "size": 3, "blobId": "0".repeat(40) });
    json!({ "id": "acme/tiny", "sha": COMMIT, "siblings": files.iter().map(sibling).chain([more]).collect::<Vec<_>>() })
}

/// Serves files as a hub does; `odd` may answer otherwise, by what is asked and how often that was asked before.
fn hub(files: Files, described: Value, odd: impl Fn(&Asked, &str, &[u8]) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::new(move |asked, _| {
        if asked.path == format!("/api/models/acme/tiny/revision/{COMMIT}?blobs=true") {
            return reply(described.to_string());
        }
        let name = asked.path.strip_prefix(&format!("/acme/tiny/resolve/{COMMIT}/")).unwrap_or_default();
        let Some(bytes) = files.get(name) else { return reply("").status("404 Not Found") };
        odd(asked, name, bytes).unwrap_or_else(|| content(asked, bytes))
    })
}

/// A file, or what is left of it.
fn content(asked: &Asked, bytes: &[u8]) -> Reply {
    let from = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let tag = hex(&SHA256, bytes);
    match from {
        Some(from) => reply(&bytes[from..])
            .status("206 Partial Content")
            .header("content-range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
            .header("etag", format!("\"{tag}\"")),
        None => reply(bytes).header("etag", format!("\"{tag}\"")),
    }
}

fn pipeline(model: &str) -> String {
    format!(
        "pipeline \"p\"\ntrain \"model\" {{\n    examples \"rows.jsonl\"\n    provider \"local\"\n    model \"{model}\"\n    method \"supervised\" {{\n        epochs 2\n        batch-size 8\n        learning-rate 3e-3\n        lora rank=4 alpha=8\n    }}\n}}\n"
    )
}

fn workspace(model: &str) -> Workspace {
    let workspace = Workspace::new();
    let row = |at: usize| {
        let said = |role: &str, content: String| json!({ "role": role, "content": content });
        format!("{}\n", json!({ "messages": [said("user", format!("number {at}")), said("assistant", format!("it is {}", at % 3))] }))
    };
    workspace.write("rows.jsonl", (0..40).map(row).collect::<String>());
    workspace.write("p.kdl", pipeline(model));
    workspace
}

fn of_the_hub() -> Workspace {
    workspace(&format!("hf:acme/tiny@{COMMIT}"))
}

fn run(workspace: &Workspace, server: &Server) -> Done {
    Done::from(with(workspace, server).output().expect("it starts"))
}

fn with(workspace: &Workspace, server: &Server) -> Command {
    let mut command = workspace.command(&["run", "p.kdl"]);
    command.env("HF_ENDPOINT", server.url("/")).env("HF_TOKEN", "hf_secret");
    command
}

fn adapter(workspace: &Workspace) -> Vec<u8> {
    let _ = std::fs::remove_dir_all(workspace.path().join("got"));
    assert_eq!(workspace.retune(&["get", "model", "p.kdl", "--to", "got"]).code, 0);
    let found = walkdir::WalkDir::new(workspace.path().join("got")).into_iter().flatten().find(|entry| entry.file_name() == "adapter_model.safetensors");
    std::fs::read(found.expect("an adapter").path()).expect("it is there")
}

fn times(server: &Server, name: &str) -> usize {
    server.asked().iter().filter(|asked| asked.path.ends_with(name)).count()
}

#[test]
fn a_model_is_downloaded_once_and_learns_as_its_files_do() {
    let own = workspace("builtin:tiny");
    assert_eq!(own.retune(&["run", "p.kdl"]).code, 0);
    let files = files();
    let server = hub(files.clone(), description(&files), |_, _, _| None);
    let workspace = of_the_hub();
    let more = "evaluate \"quality\" {\n    model \"model\"\n    baseline \"hf:acme/tiny@COMMIT\"\n    data \"chat\" split=\"test\"\n    grader \"perplexity\"\n}\ncollect \"rows\" {\n    source \"rows.jsonl\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    passthrough\n    split train=0.5 validation=0.2 test=0.3\n}\n";
    workspace.write("p.kdl", format!("{}{}", workspace.read("p.kdl"), more.replace("COMMIT", COMMIT)));
    let done = run(&workspace, &server);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(adapter(&workspace), adapter(&own), "the same weights, tokens and masks");
    assert_eq!(times(&server, WEIGHTS), 1, "the stages that want it share it");
    assert_eq!(times(&server, "README.md"), 0, "what nothing reads is not asked for");
    assert!(server.asked().iter().all(|asked| asked.header("authorization") == Some("Bearer hf_secret")));
    let asked = server.asked().len();
    workspace.write("rows.jsonl", format!("{}{}", workspace.read("rows.jsonl"), workspace.read("rows.jsonl").lines().next().expect("a row")));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "it is here, and nobody is asked: {}", done.stderr);
    assert_eq!(server.asked().len(), asked);
    let usage: Value = serde_json::from_str(&workspace.retune(&["cache", "du", "--json"]).stdout).expect("JSON");
    assert!(usage["models"]["files"].as_u64() >= Some(files.len() as u64), "{usage}");
    // What lies there is held to what was downloaded: a bit more or less is another model.
    let weights = workspace.path().join(".retune/models/acme/tiny").join(COMMIT).join(WEIGHTS);
    let mut bytes = std::fs::read(&weights).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 0x80;
    std::fs::write(&weights, bytes).expect("it can be written");
    let done = workspace.retune(&["run", "p.kdl", "--force", "model"]);
    assert!(done.code == 1 && done.said().contains("are not those that were downloaded"), "{}", done.stderr);
}

#[test]
fn what_was_deleted_comes_back_for_whoever_needs_it() {
    let files = files();
    let server = hub(files.clone(), description(&files), |_, _, _| None);
    let workspace = of_the_hub();
    let more = "collect \"rows\" {\n    source \"rows.jsonl\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    passthrough\n    split train=0.5 validation=0.2 test=0.3\n}\nevaluate \"quality\" {\n    model \"model\"\n    data \"chat\" split=\"test\"\n    grader \"exact-match\"\n}\ndeploy \"here\" {\n    model \"model\"\n    requires \"quality\"\n    alias \"tiny\"\n    export \"out/model.gguf\" format=\"gguf\"\n}\n";
    workspace.write("p.kdl", format!("{}{more}", workspace.read("p.kdl")));
    assert_eq!(run(&workspace, &server).code, 0);
    for arguments in [&["run", "p.kdl", "--force", "here"][..], &["inspect", "model", "p.kdl", "--row", "1"]] {
        std::fs::remove_dir_all(workspace.path().join(".retune/models")).expect("it is there");
        let _ = std::fs::remove_dir_all(workspace.path().join("out"));
        let done = Done::from(workspace.command(arguments).env("HF_ENDPOINT", server.url("")).output().expect("it starts"));
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
    }
}

#[test]
fn two_processes_that_want_it_at_once_share_one_download() {
    let files = files();
    let server = hub(files.clone(), description(&files), |_, _, _| None);
    let workspace = of_the_hub();
    let rate = |rate: &str| workspace.read("p.kdl").replace("3e-3", rate);
    let others = ["1e-3", "2e-3"].map(|each| {
        let name = format!("p{each}.kdl");
        workspace.write(&name, rate(each));
        let mut command = workspace.command(&["run", &name]);
        command.env("HF_ENDPOINT", server.url("")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    });
    for mut other in others {
        assert!(other.wait().expect("it ends").success());
    }
    assert_eq!(times(&server, WEIGHTS), 1);
    let left = std::fs::read_dir(workspace.path().join(".retune/models/acme/tiny")).expect("a folder").flatten();
    let left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(left, [COMMIT], "nothing half lies beside it");
}

#[test]
fn what_a_kill_left_whole_is_not_downloaded_again() {
    let files = files();
    let parts = format!(".retune/models/acme/tiny/{COMMIT}.part/.under-way");
    // Killed while the whole file was looked at.
    let server = hub(files.clone(), description(&files), |_, _, _| None);
    let workspace = of_the_hub();
    workspace.write(&format!("{parts}/{WEIGHTS}"), &files[WEIGHTS]);
    assert_eq!(run(&workspace, &server).code, 0);
    assert_eq!(times(&server, WEIGHTS), 0);
    // Killed between the last byte and the end: the server says that there is no more.
    let server = hub(files.clone(), description(&files), |asked, _, bytes| {
        let all = asked.header("range") == Some(&format!("bytes={}-", bytes.len()));
        all.then(|| reply("").status("416 Range Not Satisfiable").header("content-range", format!("bytes */{}", bytes.len())))
    });
    let workspace = of_the_hub();
    let name = blake3::hash(server.url(&format!("/acme/tiny/resolve/{COMMIT}/{WEIGHTS}")).as_bytes()).to_hex();
    workspace.write(&format!("{parts}/{name}.part"), &files[WEIGHTS]);
    workspace.write(&format!("{parts}/{name}.etag"), "\"tag\"");
    assert_eq!(run(&workspace, &server).code, 0);
    assert_eq!(times(&server, WEIGHTS), 1);
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let files = files();
    let store = Server::new({
        let files = files.clone();
        move |asked, _| content(asked, &files[WEIGHTS])
    });
    // The same machine by another name: another host.
    let elsewhere = store.url("/weights").replace("127.0.0.1", "localhost");
    let server =
        hub(files.clone(), description(&files), move |_, name, _| (name == WEIGHTS).then(|| reply("").status("302 Found").header("location", &elsewhere)));
    let done = run(&of_the_hub(), &server);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(server.asked().iter().all(|asked| asked.header("authorization").is_some()));
    let seen = store.asked();
    assert!(seen.len() == 1 && seen[0].header("authorization").is_none());
}

#[test]
fn a_download_goes_on_where_it_ended_also_in_another_run() {
    let files = files();
    let half = files[WEIGHTS].len() / 2;
    let attempts = Arc::new(AtomicUsize::new(0));
    let server = hub(files.clone(), description(&files), move |_, name, bytes| {
        let tag = format!("\"{}\"", hex(&SHA256, bytes));
        match (name, if name == WEIGHTS { attempts.fetch_add(1, Ordering::SeqCst) } else { 0 }) {
            (WEIGHTS, 0) => Some(reply(&bytes[..bytes.len() / 2]).says(bytes.len()).header("etag", tag)),
            (WEIGHTS, 1) => Some(reply("{\"error\": \"accept the licence first\"}").status("403 Forbidden")),
            _ => None,
        }
    });
    let workspace = of_the_hub();
    let done = run(&workspace, &server);
    assert!(done.code == 1 && done.said().contains("accept the licence first") && done.said().contains("HF_TOKEN"), "{}", done.stderr);
    let done = run(&workspace, &server);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let ranges: Vec<Option<String>> =
        server.asked().iter().filter(|asked| asked.path.ends_with(WEIGHTS)).map(|asked| asked.header("range").map(str::to_owned)).collect();
    let rest = Some(format!("bytes={half}-"));
    assert_eq!(ranges, [None, rest.clone(), rest]);
    assert_eq!(times(&server, "tokenizer.json"), 1, "what was here already is not asked for again");
}

#[test]
fn what_is_not_what_the_hub_says_is_not_used() {
    let files = files();
    for name in [WEIGHTS, "config.json"] {
        let server = hub(files.clone(), description(&files), move |asked, wanted, bytes| {
            let mut other = bytes.to_vec();
            let middle = other.len() / 2;
            other[middle] ^= 1;
            (wanted == name).then(|| content(asked, &other))
        });
        let workspace = of_the_hub();
        let done = run(&workspace, &server);
        assert!(done.code == 1 && done.said().contains(&format!("{name} of hf:acme/tiny@{COMMIT} has the digest")), "{}", done.stderr);
        assert_eq!(times(&server, name), 2, "it is asked for once more, from its beginning");
        let well = hub(files.clone(), description(&files), |_, _, _| None);
        let done = run(&workspace, &well);
        assert_eq!(done.code, 0, "nothing of it is left: {}", done.stderr);
    }
}

#[test]
fn a_hub_that_says_what_cannot_be_is_refused_by_what_is_wrong() {
    let files = files();
    let odd = |change: &dyn Fn(&mut Value)| {
        let mut described = description(&files);
        change(&mut described);
        let done = run(&of_the_hub(), &hub(files.clone(), described, |_, _, _| None));
        assert_eq!(done.code, 1);
        done.said()
    };
    let file = |described: &mut Value, name: &str, change: &dyn Fn(&mut Value)| {
        let all = described["siblings"].as_array_mut().expect("files");
        change(all.iter_mut().find(|file| file["rfilename"] == name).expect("it is there"));
    };
    for (said, wanted) in [
        (odd(&|described| described["sha"] = json!("f".repeat(40))), "describes the commit ffff"),
        (odd(&|described| file(described, WEIGHTS, &|file| file["rfilename"] = json!("pytorch_model.bin"))), "no weights as safetensors"),
        (odd(&|described| file(described, "tokenizer.json", &|file| file["rfilename"] = json!("spiece.model"))), "no tokenizer.json"),
        (odd(&|described| file(described, WEIGHTS, &|file| file["size"] = json!(1000))), "more than 1000 bytes"),
        (odd(&|described| file(described, WEIGHTS, &|file| file["lfs"] = Value::Null)), "has the digest"),
        (odd(&|described| file(described, "config.json", &|file| file["blobId"] = Value::Null)), "tells no digest of config.json"),
        (odd(&|described| *described = json!([])), "describes no model"),
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let index = json!({ "weight_map": { "model.norm.weight": "../../../evil.safetensors" } }).to_string().into_bytes();
    let mut sharded = files.clone();
    sharded.remove(WEIGHTS);
    sharded.insert("model.safetensors.index.json".into(), index);
    let done = run(&of_the_hub(), &hub(sharded.clone(), description(&sharded), |_, _, _| None));
    assert!(done.code == 1 && done.said().contains("which is no file beside it"), "{}", done.stderr);
}

#[test]
fn shards_are_brought_by_their_index() {
    let mut files = files();
    let weights = files.remove(WEIGHTS).expect("it is there");
    let tensors = safetensors::SafeTensors::deserialize(&weights).expect("it is read");
    let names = tensors.names();
    let (first, second) = names.split_at(names.len() / 2);
    let mut map = serde_json::Map::new();
    for (number, part) in [first, second].into_iter().enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", number + 1);
        let views = part.iter().map(|name| (*name, tensors.tensor(name).expect("it is there")));
        map.extend(part.iter().map(|name| ((*name).to_owned(), json!(file))));
        files.insert(file, safetensors::serialize(views, None).expect("it is written"));
    }
    files.insert("model.safetensors.index.json".into(), json!({ "weight_map": map }).to_string().into_bytes());
    let server = hub(files.clone(), description(&files), |_, _, _| None);
    let (workspace, own) = (of_the_hub(), workspace("builtin:tiny"));
    assert_eq!(run(&workspace, &server).code, 0);
    assert_eq!(own.retune(&["run", "p.kdl"]).code, 0);
    assert_eq!(adapter(&workspace), adapter(&own));
}

#[test]
fn a_name_that_moves_is_none() {
    for name in [
        "hf:acme/tiny@main",
        "hf:acme/tiny",
        "hf:acme/tiny@main.gguf",
        "hf:tiny@0123456789abcdef0123456789abcdef01234567",
        "hf:../tiny@0123456789abcdef0123456789abcdef01234567",
    ] {
        let workspace = workspace(name);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.said().contains("a whole commit of 40 digits"), "{name}: {}", done.stderr);
    }
    assert_eq!(of_the_hub().retune(&["check", "p.kdl"]).code, 0);
}
