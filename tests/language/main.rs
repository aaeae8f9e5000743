//! The language of pipeline files: values, profiles, defaults, includes, matrices, budgets, warnings, layout and pictures.

#[path = "../common/mod.rs"]
mod common;

mod budgets;
mod files;
mod instances;
mod layout;
mod matrices;
mod overlays;
mod pictures;
mod values;

use common::{Done, Workspace};
use serde_json::Value;

/// A workspace with these files.
fn with(files: &[(&str, &str)]) -> Workspace {
    let workspace = Workspace::new();
    for (name, text) in files {
        workspace.write(name, text);
    }
    workspace
}

/// What `check` says, which must find something wrong.
fn wrong(files: &[(&str, &str)], arguments: &[&str]) -> Done {
    let mut all = vec!["check", "p.kdl"];
    all.extend(arguments);
    let done = with(files).retune(&all);
    assert_eq!(done.code, 2, "{}", done.stderr);
    done
}

/// What `check --json` finds.
fn found(workspace: &Workspace, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["check", "p.kdl", "--json"];
    all.extend(arguments);
    let done = workspace.retune(&all);
    let checked: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("it prints JSON: {}", done.stderr));
    checked["diagnostics"].as_array().expect("a list").clone()
}

fn codes(found: &[Value]) -> Vec<&str> {
    found.iter().map(|finding| finding["code"].as_str().expect("a code")).collect()
}

/// The names of all stages.
fn stages(workspace: &Workspace, arguments: &[&str]) -> Vec<String> {
    let mut all = vec!["graph", "p.kdl", "--format", "json"];
    all.extend(arguments);
    let done = workspace.retune(&all);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let stages: Value = serde_json::from_str(&done.stdout).expect("it prints JSON");
    stages.as_array().expect("a list").iter().map(|stage| stage["name"].as_str().expect("a name").to_owned()).collect()
}

/// A stage that writes what it is told, so that settings show.
fn says(name: &str, text: &str) -> String {
    format!("exec \"{name}\" {{\n    run #\"printf '%s' '{text}' > {name}.out\"#\n    output \"{name}.out\"\n}}\n")
}
