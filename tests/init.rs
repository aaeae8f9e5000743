//! What `init` writes runs as it is.

mod common;

use common::{Workspace, ran};
use serde_json::Value;

fn runs(template: &str) {
    let workspace = Workspace::new();
    let done = workspace.retune(&["init", "--template", template]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.ends_with("next: retune run\n"), "{}", done.stdout);
    let checked = workspace.retune(&["check", "--deny", "warnings"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let laid_out = workspace.retune(&["fmt", "--check"]);
    assert_eq!(laid_out.code, 0, "{}", laid_out.stdout);
    let run = workspace.retune(&["run", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run: Value = serde_json::from_str(&run.stdout).expect("it prints JSON");
    assert!(!ran(&run).is_empty());
    let again = workspace.retune(&["run", "--json"]);
    assert_eq!(ran(&serde_json::from_str(&again.stdout).expect("it prints JSON")), Vec::<String>::new());
}

#[test]
fn support_runs() {
    runs("support");
}

#[test]
fn medical_runs() {
    runs("medical");
}

#[test]
fn legal_runs() {
    runs("legal");
}

#[test]
fn education_runs() {
    runs("education");
}

#[test]
fn content_runs() {
    runs("content");
}

#[test]
fn preference_runs() {
    runs("preference");
}

#[test]
fn exec_runs() {
    runs("exec");
}

#[test]
fn the_profile_of_the_sample_is_right() {
    let workspace = Workspace::new();
    workspace.retune(&["init"]);
    let hosted = workspace.retune(&["check", "--profile", "hosted"]);
    assert_eq!(hosted.code, 0, "{}", hosted.stderr);
}

#[test]
fn below_a_workspace_its_paths_begin_there() {
    let workspace = Workspace::new();
    workspace.write(".retune/x", "");
    workspace.write("data/messages.csv", "of another\n");
    for template in ["support", "exec"] {
        let done = workspace.retune(&["init", template, "--template", template]);
        assert!(done.code == 0 && done.stdout.contains("the workspace is "), "{}", done.stdout);
        let ran = workspace.retune(&["run", &format!("{template}/retune.kdl")]);
        assert!(ran.code == 0, "{template}: {}", ran.stderr);
        assert!(!workspace.path().join(template).join(".gitignore").exists(), "what is ignored lies above");
    }
    assert!(workspace.path().join("exec/work/counts.txt").exists());
}

#[test]
fn nothing_is_written_over() {
    let workspace = Workspace::new();
    workspace.write("new/data/messages.csv", "mine\n");
    let done = workspace.retune(&["init", "new"]);
    assert!(done.code == 2 && done.stderr.contains("engine::taken"), "{}", done.stderr);
    assert_eq!(workspace.read("new/data/messages.csv"), "mine\n");
    assert!(!workspace.path().join("new/retune.kdl").exists(), "nothing was written");
    workspace.write("other/.gitignore", "mine\n");
    assert_eq!(workspace.retune(&["init", "other"]).code, 0);
    assert_eq!(workspace.read("other/.gitignore"), "mine\n");
    assert!(
        workspace.retune(&["init", "--template", "nothing"]).stderr.contains("possible values: support, medical, legal, education, content, preference, exec")
    );
}
