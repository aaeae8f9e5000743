//! Sources outside of the workspace: servers, databases, commands.

#[path = "../common/mod.rs"]
mod common;
mod elsewhere;
mod server;
mod web;

use common::Workspace;
use serde_json::Value;

/// A workspace that collects from one source, with what is declared of it, and counts what comes after it.
pub fn collecting(source: &str) -> Workspace {
    common::workspace(&format!(
        "collect \"rows\" {{\n    source {source}\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    chat {{\n        user \"{{{{ text }}}}\"\n        assistant \"{{{{ team }}}}\"\n    }}\n}}\n"
    ))
}

/// The fields of the rows that it collects.
pub fn rows(workspace: &Workspace) -> Vec<Value> {
    let done = workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let rows = workspace.read("out/rows").lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["fields"].clone()).collect();
    std::fs::remove_dir_all(workspace.path().join("out")).expect("it is there");
    rows
}
