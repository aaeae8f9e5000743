//! What the tests share: a workspace of their own and the program.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
        std::fs::write(&path, content).expect("the file can be written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect("the file can be read")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retune"));
        command.current_dir(self.path()).args(arguments).env("NO_COLOR", "1").env_remove("OPENAI_BASE_URL").env_remove("OPENAI_API_KEY");
        command
    }

    pub fn retune(&self, arguments: &[&str]) -> Done {
        Done::from(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs with `--json` and wants this exit code.
    pub fn run(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = vec!["run", "p.kdl", "--json"];
        all.extend(arguments);
        let done = self.retune(&all);
        assert_eq!(done.code, code, "{}", done.stderr);
        serde_json::from_str(&done.stdout).expect("it prints JSON")
    }

    /// Runs and tells which stages ran.
    pub fn ran(&self, arguments: &[&str]) -> Vec<String> {
        ran(&self.run(arguments, 0))
    }
}

/// A workspace with these stages in `p.kdl`.
pub fn workspace(stages: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("p.kdl", format!("pipeline \"p\"\n{stages}"));
    workspace
}

/// Runs, wants it to fail, and tells what was said.
pub fn failure(workspace: &Workspace) -> String {
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    done.stderr
}

pub fn ran(summary: &Value) -> Vec<String> {
    let stages = summary["stages"].as_array().expect("there are stages");
    stages.iter().filter(|stage| stage["status"] == "ran").map(|stage| stage["name"].as_str().expect("a name").to_owned()).collect()
}

pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// What was said on the way, as it was before lines were broken.
    pub fn said(&self) -> String {
        self.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Rows of a task that a small model learns in a moment: the colour that is named is the answer.
pub fn colours(rows: usize) -> String {
    let colours = ["red", "green", "blue", "yellow"];
    let places = ["house", "car", "bird", "sea", "door", "coat", "flower", "lamp", "boat", "chair", "table"];
    let mut text = String::from("text,answer\n");
    for row in 0..rows {
        let colour = colours[row * 7 % 4];
        text.push_str(&format!("the {} number {row} is {colour},{colour}\n", places[row % places.len()]));
    }
    text
}

/// A whole pipeline over `data/rows.csv`.
pub const PIPELINE: &str = r#"pipeline "colours"
params {
    epochs 2
    floor 0.5
    provider "local"
    base "builtin:tiny"
}
profile "openai" {
    params {
        provider "openai"
        base "gpt-4.1-nano-2025-04-14"
    }
}
collect "rows" {
    source "data/rows.csv"
}
prepare "chat" {
    from "rows"
    deduplicate "exact"
    chat {
        system "Name the colour."
        user "{{ text }}"
        assistant "{{ answer }}"
    }
    split train=0.7 validation=0.1 test=0.2 key="text" seed=1
}
train "model" {
    data "chat"
    provider (param)"provider"
    model (param)"base"
    method "supervised" {
        epochs (param)"epochs"
        batch-size 8
    }
    seed 3
}
evaluate "quality" {
    model "model"
    baseline (param)"base"
    data "chat" split="test"
    grader "exact-match"
    gate "accuracy" min=(param)"floor"
}
deploy "production" {
    model "model"
    requires "quality"
    alias "colours"
}
"#;

pub fn colours_workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("data/rows.csv", colours(160));
    workspace.write("p.kdl", PIPELINE);
    workspace
}
