//! What the documentation shows must hold.

mod common;

use std::path::Path;

use common::Workspace;

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the file is there")
}

#[test]
fn the_pipelines_that_are_shown_are_right() {
    let readme = text("README.md");
    let blocks: Vec<&str> = readme.split("```kdl\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the README shows a pipeline");
    for block in blocks {
        let workspace = Workspace::new();
        workspace.write("p.kdl", block);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
}

#[test]
fn the_sample_pipeline_is_right_with_each_provider() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", text("pipelines/support-router.kdl"));
    assert_eq!(workspace.retune(&["check", "p.kdl"]).code, 0);
    let hosted = workspace.retune(&["check", "p.kdl", "--profile", "openai"]);
    assert_eq!(hosted.code, 0);
    assert!(hosted.stderr.contains("cannot express `lora`"), "{}", hosted.stderr);
}

#[test]
fn every_command_of_the_readme_exists() {
    let help = Workspace::new().retune(&["--help"]).stdout;
    for command in ["check", "plan", "run", "status", "why", "show", "get", "log", "graph", "runs", "deployments", "rollback"] {
        assert!(text("README.md").contains(&format!("`{command}")), "{command} is not in the README");
        assert!(help.contains(&format!("  {command} ")), "{command} is not in the help");
    }
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    assert!(text("README.md").contains("`cargo test`"));
    assert!(text(".ci/run").lines().any(|line| line == "cargo test"));
}
