//! What the documentation shows must hold.

mod common;

use std::path::Path;
use std::process::Command;

use common::Workspace;

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the file is there")
}

/// All pages, by their paths.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    let mut open = vec!["docs".to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).expect("it is there").flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                open.push(path);
            } else if path.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages
}

#[test]
fn every_block_of_kdl_is_one_that_is_checked() {
    for page in pages() {
        for fence in text(&page).lines().filter(|line| line.starts_with("```kdl")) {
            // Those that fail are held to their codes by tests/diagnostics.rs.
            let fails = fence == "```kdl fails" && page.starts_with("docs/errors/");
            // Those with the name of a file are run by tests/book.rs.
            let is_file = fence.ends_with(".kdl") && page.starts_with("docs/how-to/");
            assert!(fence == "```kdl" || fails || is_file, "{page}: {fence} is checked by nobody");
        }
    }
}

#[test]
fn the_pipelines_that_are_shown_are_right() {
    let mut count = 0;
    for page in pages() {
        for block in text(&page).split("```kdl\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let workspace = Workspace::new();
            workspace.write("p.kdl", block);
            let done = workspace.retune(&["check", "p.kdl"]);
            assert_eq!(done.code, 0, "{page}: {}", done.stderr);
            count += 1;
        }
    }
    assert!(count >= 5, "the pages show {count} pipelines");
}

#[test]
fn the_sample_pipelines_are_right_under_each_profile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = |pipeline: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retune"));
        let output = command.current_dir(root).args(["check", pipeline]).args(more).env("NO_COLOR", "1").output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{pipeline} {more:?}: {said}");
        said
    };
    let mut count = 0;
    for name in ["support-router", "medical-coder", "legal-clauses", "tutor", "brand-voice"] {
        let pipeline = format!("pipelines/{name}.kdl");
        assert_eq!(check(&pipeline, &[]), "", "{pipeline} is right as it is");
        for profile in text(&pipeline).lines().filter_map(|line| line.strip_prefix("profile \"")?.split('"').next().map(str::to_owned)) {
            let said = check(&pipeline, &["--profile", &profile]);
            assert!(profile != "openai" || said.contains("provider `openai` cannot express `learning-rate`"), "{said}");
            count += 1;
        }
    }
    assert_eq!(count, 8, "each has one for OpenAI, two have one with a judge, and one measures what only this machine can");
}

#[test]
fn every_command_of_the_readme_exists() {
    let help = Workspace::new().retune(&["--help"]).stdout;
    for command in [
        "init",
        "check",
        "fmt",
        "schema",
        "plan",
        "run",
        "status",
        "why",
        "accept",
        "show",
        "get",
        "log",
        "graph",
        "runs",
        "diff",
        "cache",
        "deployments",
        "rollback",
        "jobs",
        "cancel",
        "doctor",
    ] {
        assert!(text("README.md").contains(&format!("`{command}")), "{command} is not in the README");
        assert!(help.contains(&format!("  {command} ")), "{command} is not in the help");
    }
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    assert!(text("README.md").contains("`cargo test`"));
    assert!(text(".ci/run").lines().any(|line| line == "cargo test"));
}
