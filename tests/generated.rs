//! The files that are made from tables and types are those that these make now, and say what holds.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{Workspace, colours_workspace};
use retune::cli::generated;
use serde_json::Value;

#[test]
fn generated_files_are_not_stale() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: BTreeSet<&Path> = BTreeSet::new();
    let files = generated();
    for (path, text) in &files {
        let found = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(found == *text, "{} is stale: run `just generate`", path.display());
        folders.extend(path.parent());
    }
    for folder in folders {
        for entry in std::fs::read_dir(root.join(folder)).expect("it is there").flatten().filter(|entry| entry.path().is_file()) {
            let path = folder.join(entry.file_name());
            assert!(files.iter().any(|(known, _)| *known == path), "{} is made by nothing", path.display());
        }
    }
}

#[test]
fn the_schema_of_the_language_is_kdl_that_names_every_node() {
    let schema = Workspace::new().retune(&["schema", "pipeline.kdl"]).stdout;
    let document = kdl::KdlDocument::parse_v2(&schema).expect("it is KDL");
    let inside = document.get("document").and_then(kdl::KdlNode::children).expect("a document");
    let named: Vec<&str> = inside.nodes().iter().filter(|node| node.name().value() == "node").filter_map(|node| node.get(0)?.as_string()).collect();
    for node in retune::stage::LANGUAGE.nodes() {
        assert!(named.contains(&node.name), "{} is not in the schema", node.name);
    }
    assert_eq!(Workspace::new().retune(&["schema"]).stdout, schema);
    assert!(Workspace::new().retune(&["schema", "--list"]).stdout.lines().any(|name| name == "run"));
    assert_eq!(Workspace::new().retune(&["schema", "nothing"]).code, 2);
    assert!(Workspace::new().retune(&["schema", "rn"]).said().contains("did you mean `run`?"));
}

/// Whether what a command printed is as its schema says.
fn hold(workspace: &Workspace, name: &str, arguments: &[&str]) {
    let schema: Value = serde_json::from_str(&workspace.retune(&["schema", name]).stdout).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("it is one");
    let done = workspace.retune(arguments);
    let printed: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{arguments:?} prints JSON: {}", done.stderr));
    let wrong: Vec<String> = validator.iter_errors(&printed).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{arguments:?}: {wrong:?}");
    closed(&schema, &printed, name);
}

/// Makes sure that a schema speaks of the fields that are printed: one that allows anything holds for anything.
fn closed(schema: &Value, printed: &Value, name: &str) {
    let of = match printed {
        Value::Array(all) => (&schema["items"], all.first()),
        other => (schema, Some(other)),
    };
    let known = match of.0["$ref"].as_str() {
        Some(reference) => &schema["$defs"][reference.rsplit('/').next().expect("a name")],
        None => of.0,
    };
    for field in of.1.and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys()) {
        assert!(known["properties"].get(field).is_some() || known.get("oneOf").is_some(), "the schema {name} does not know `{field}`: {known}");
    }
}

#[test]
fn what_is_printed_is_as_its_schema_says() {
    let workspace = colours_workspace();
    hold(&workspace, "plan", &["plan", "p.kdl", "--json"]);
    hold(&workspace, "run", &["run", "p.kdl", "--json"]);
    hold(&workspace, "run", &["run", "p.kdl", "--json", "--set", "epochs=1", "--name", "again"]);
    hold(&workspace, "plan", &["status", "p.kdl", "--json"]);
    hold(&workspace, "check", &["check", "p.kdl", "--json"]);
    hold(&workspace, "check", &["check", "p.kdl", "--json", "--set", "epochs=x"]);
    hold(&workspace, "check-data", &["check", "p.kdl", "--data", "--provider", "openai", "--json"]);
    hold(&workspace, "graph", &["graph", "p.kdl", "--format", "json", "--status"]);
    hold(&workspace, "runs", &["runs", "--json"]);
    hold(&workspace, "diff", &["diff", "last~1", "last", "--json"]);
    hold(&workspace, "why", &["why", "model", "p.kdl", "--json"]);
    for stage in ["rows", "chat", "model", "quality", "production"] {
        hold(&workspace, "show", &["show", stage, "p.kdl", "--json"]);
    }
    hold(&workspace, "inspect", &["inspect", "chat", "p.kdl", "--row", "1", "--json"]);
    hold(&workspace, "jobs", &["jobs", "--json"]);
    hold(&workspace, "doctor", &["doctor", "p.kdl", "--json"]);
    hold(&workspace, "cache-du", &["cache", "du", "--json"]);
    hold(&workspace, "cache-verify", &["cache", "verify", "--json"]);
    hold(&workspace, "cache-gc", &["cache", "gc", "--json"]);
}

#[test]
fn what_is_stored_is_as_its_schema_says() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    let holds = |name: &str, texts: &mut dyn Iterator<Item = String>| {
        let schema: Value = serde_json::from_str(&workspace.retune(&["schema", name]).stdout).expect("a schema");
        let validator = jsonschema::validator_for(&schema).expect("it is one");
        let mut count = 0;
        for text in texts {
            let stored: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{name} is JSON: {text}"));
            let wrong: Vec<String> = validator.iter_errors(&stored).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}\n{text}");
            count += 1;
        }
        assert!(count > 0, "nothing was looked at for {name}");
    };
    let files = |folder: &str| {
        let entries = std::fs::read_dir(workspace.path().join(folder)).expect("it is there").flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    holds("stored-record", &mut files(".retune/actions").into_iter().map(|path| std::fs::read_to_string(path).expect("a record")));
    let events = files(".retune/runs").into_iter().filter_map(|run| std::fs::read_to_string(run.join("events.jsonl")).ok()).collect::<String>();
    holds("stored-event", &mut events.lines().map(str::to_owned));
    for (stage, outputs) in
        [("quality", &[("verdict", "stored-verdict"), ("metrics", "stored-metrics"), ("mistakes", "stored-mistakes")][..]), ("model", &[][..])]
    {
        workspace.retune(&["get", stage, "p.kdl", "--to", stage]);
        for (output, schema) in outputs {
            holds(schema, &mut std::iter::once(workspace.read(&format!("{stage}/{output}"))));
        }
    }
    holds("stored-score", &mut workspace.read("quality/scores").lines().map(str::to_owned));
    holds("stored-flight", &mut workspace.read("model/flight").lines().map(str::to_owned));
    holds("stored-model", &mut std::iter::once(workspace.read("model/model/model.json")));
}
