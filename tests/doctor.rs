//! What is missing on a machine, and how to get it.

mod common;

use common::{Done, Workspace, workspace};

fn doctor(workspace: &Workspace, more: &[&str]) -> Done {
    let mut command = workspace.command(&["doctor"]);
    let keys = ["OPENAI_API_KEY", "NEBIUS_API_KEY", "TOGETHER_API_KEY"];
    for key in keys {
        command.env_remove(key);
    }
    Done::from(command.args(more).output().expect("the program starts"))
}

#[test]
fn without_a_pipeline_it_tells_of_all_that_can_be_had() {
    let done = doctor(&Workspace::new(), &[]);
    assert_eq!(done.code, 1, "a pipeline is missing");
    for wanted in ["let `retune init` write one", "provider local     this machine, ", "provider openai ", "`export TOGETHER_API_KEY=...`"] {
        assert!(done.stdout.contains(wanted), "{wanted}: {}", done.stdout);
    }
    let missing = done.stdout.lines().filter(|line| line.starts_with("LOOK")).count();
    assert_eq!(missing, 1, "nobody needs these keys yet: {}", done.stdout);
}

#[test]
fn it_tells_what_a_pipeline_needs_and_how_to_get_it() {
    let stages = r#"
provider "box" {
    api "command"
    version "1"
    train "trains-nowhere --all"
    answer "cat questions.jsonl"
}
train "one" {
    examples "rows.jsonl"
    model "models/none"
    method "supervised" { epochs 1; }
}
train "two" {
    examples "rows.jsonl"
    provider "box"
    model "some"
    method "supervised" { epochs 1; }
}
train "three" {
    examples "rows.jsonl"
    provider "openai"
    model "gpt-4.1-nano-2025-04-14"
    method "supervised" { epochs 1; }
}
"#;
    let workspace = workspace(stages);
    workspace.write("rows.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n");
    workspace.write("models/.keep", "");
    let done = doctor(&workspace, &["p.kdl"]);
    assert_eq!(done.code, 1);
    let line = |name: &str| {
        done.stdout.lines().find(|line| line.contains(&format!("provider {name} "))).unwrap_or_else(|| panic!("{name}: {}", done.stdout)).to_owned()
    };
    assert!(
        line("local").starts_with("LOOK") && line("local").contains("there is no `models/none`") && line("local").contains("hf:OWNER/NAME@COMMIT"),
        "{}",
        line("local")
    );
    assert!(
        line("box").contains("there is no program `trains-nowhere`: ") && line("box").contains("knob \"PATH\"") && !line("box").contains("`cat`"),
        "{}",
        line("box")
    );
    assert!(line("openai").contains("`export OPENAI_API_KEY=...`"), "{}", line("openai"));
    let mut command = workspace.command(&["doctor", "p.kdl", "--json"]);
    let told = Done::from(command.env("OPENAI_API_KEY", "a-secret").output().expect("the program starts"));
    assert!(told.stdout.contains("its key is set") && !told.stdout.contains("a-secret"), "{}", told.stdout);
}

#[test]
fn nothing_is_missing_where_the_engine_of_the_program_does_all() {
    let workspace = Workspace::new();
    assert_eq!(workspace.retune(&["init", "."]).code, 0);
    let done = doctor(&workspace, &[]);
    assert_eq!(done.code, 0, "{}", done.stdout);
    assert!(done.stdout.contains("retune.kdl (5 stages)"), "{}", done.stdout);
}
