//! Bad input: a clear message, the right exit code, nothing half-written.

mod common;

use common::{PIPELINE, Workspace, colours_workspace};

fn wrong(change: impl Fn(&str) -> String, wanted: &[&str]) {
    let workspace = Workspace::new();
    workspace.write("p.kdl", change(PIPELINE));
    for command in ["check", "run"] {
        let done = workspace.retune(&[command, "p.kdl"]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        for text in wanted {
            assert!(done.stderr.contains(text), "{text:?} is not in:\n{}", done.stderr);
        }
    }
    assert!(!workspace.path().join(".retune").exists(), "nothing may be written");
}

fn replaced(from: &'static str, to: &'static str) -> impl Fn(&str) -> String {
    move |text| {
        assert!(text.contains(from), "the pipeline has no {from:?}");
        text.replacen(from, to, 1)
    }
}

#[test]
fn mistakes_in_the_file_are_shown_at_their_place() {
    wrong(replaced("epochs (param)\"epochs\"", "epochs \"four\""), &["config::wrong_type", "must be an integer", "without quotes"]);
    wrong(replaced("batch-size 8", "batchsize 8"), &["config::unknown_node", "did you mean `batch-size`?"]);
    wrong(replaced("train=0.7", "trian=0.7"), &["config::unknown_property", "did you mean `train`?"]);
    wrong(replaced("train=0.7", "train=7"), &["config::bad_share", "from 0 to 1"]);
    wrong(replaced("train=0.7", "train=0.6"), &["config::contradiction", "add up to"]);
    wrong(replaced("data \"chat\"", "data \"chta\""), &["config::dangling_reference", "did you mean `chat`?"]);
    wrong(replaced("data \"chat\"", "data \"rows\""), &["config::wrong_reference", "is a collect stage"]);
    wrong(replaced("(param)\"floor\"", "(param)\"flor\""), &["config::unknown_param", "did you mean `floor`?"]);
    wrong(replaced("prepare \"chat\"", "prepare \"rows\""), &["config::duplicate_stage"]);
    wrong(replaced("{{ text }}", "{{ text"), &["config::bad_template"]);
    wrong(replaced("source \"data/rows.csv\"", "source \"../rows.csv\""), &["config::outside_path"]);
    wrong(replaced("pipeline \"colours\"", ""), &["config::unnamed_pipeline"]);
    wrong(replaced("alias \"colours\"", "alias \"a/b\""), &["cannot be an alias"]);
    wrong(|_| "pipeline \"p\"\nexec \"a\" {".into(), &["config::syntax"]);
    wrong(|_| format!("pipeline \"p\" {}", "{".repeat(5000)), &["config::too_deep"]);
}

#[test]
fn a_cycle_is_shown_whole() {
    let text = "pipeline \"p\"\nexec \"a\" {\n    run \"cat y > x\"\n    input \"y\"\n    output \"x\"\n}\nexec \"b\" {\n    run \"cat x > y\"\n    input \"x\"\n    output \"y\"\n}\n";
    wrong(|_| text.to_owned(), &["config::cycle", "a needs b", "b needs a"]);
}

#[test]
fn all_errors_of_a_file_are_in_one_report() {
    let workspace = Workspace::new();
    workspace.write(
        "p.kdl",
        PIPELINE.replace("epochs (param)\"epochs\"", "epochs 0").replace("grader \"exact-match\"", "grader \"exact\"").replace("alias", "alais"),
    );
    insta::assert_snapshot!(workspace.retune(&["check", "p.kdl"]).stderr);
}

#[test]
fn files_that_are_no_pipelines_are_refused() {
    let workspace = Workspace::new();
    assert_eq!(workspace.retune(&["check", "nowhere.kdl"]).code, 2);
    assert_eq!(workspace.retune(&["run"]).code, 2);
    workspace.write("empty.kdl", "");
    assert_eq!(workspace.retune(&["check", "empty.kdl"]).code, 2);
    workspace.write("binary.kdl", [0xff, 0xfe, 0, 1]);
    let done = workspace.retune(&["check", "binary.kdl"]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("config::not_text"), "{}", done.stderr);
}

#[test]
fn the_only_pipeline_here_need_not_be_named() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"echo 1 > o\"\n    output \"o\"\n}\n");
    workspace.write("prices.kdl", "price \"openai\" \"gpt\" training=1.5\n");
    assert_eq!(workspace.retune(&["run"]).code, 0);
    assert_eq!(workspace.retune(&["show", "x"]).code, 0);
    workspace.write("q.kdl", "pipeline \"q\"\nexec \"x\" {\n    run \"echo 1 > o\"\n    output \"o\"\n}\n");
    let several = workspace.retune(&["run"]);
    assert!(several.code == 2 && several.stderr.contains("p.kdl, q.kdl"), "{}", several.stderr);
}

fn fails(data: Option<&[u8]>, wanted: &str) {
    let workspace = Workspace::new();
    workspace.write("p.kdl", PIPELINE);
    if let Some(data) = data {
        workspace.write("data/rows.csv", data);
    }
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains(wanted), "{wanted:?} is not in:\n{}", done.stderr);
    assert!(std::fs::read_dir(workspace.path().join(".retune/actions")).expect("it is there").next().is_none(), "nothing may be published");
}

#[test]
fn bad_data_fails_the_stage_that_reads_it() {
    fails(None, "data::no_source");
    fails(Some(b""), "data::no_rows");
    fails(Some(b"text,answer\n"), "data::no_rows");
    fails(Some(b"\x00\x01\x02binary"), "data::binary");
    fails(Some(b"text,text\na,b\n"), "two columns are called");
}

#[test]
fn bad_rows_are_kept_aside_with_their_place() {
    let workspace = colours_workspace();
    let mut data = common::colours(60).into_bytes();
    data.extend_from_slice(b"too,many,fields\n\xff\xfe,red\nonly one\n");
    workspace.write("data/rows.csv", &data);
    workspace.run(&["rows"], 0);
    workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]);
    let rejected = workspace.read("out/rejected");
    let lines: Vec<&str> = rejected.lines().collect();
    assert_eq!(lines.len(), 3, "{rejected}");
    assert!(lines[0].contains("\"line\":62") && lines[0].contains("expected 2 fields, found 3"), "{rejected}");
    assert!(lines[1].contains("\"line\":63") && lines[1].contains("not UTF-8"), "{rejected}");
    assert!(lines[2].contains("\"line\":64"), "{rejected}");
}

#[test]
fn a_failed_stage_leaves_the_others_in_the_cache() {
    let workspace = Workspace::new();
    let text = |run: &str| {
        format!(
            "pipeline \"p\"\nexec \"good\" {{\n    run \"echo 1 > good\"\n    output \"good\"\n}}\nexec \"bad\" {{\n    run \"{run}\"\n    input \"good\"\n    output \"bad\"\n}}\n"
        )
    };
    workspace.write("p.kdl", text("echo oh no; exit 7"));
    let failed = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("exit code 7") && failed.stderr.contains("oh no"), "{}", failed.stderr);
    workspace.write("p.kdl", text("cp good bad"));
    assert_eq!(workspace.ran(&[]), ["bad"]);
}

#[test]
fn a_command_sees_only_what_it_declares() {
    let workspace = Workspace::new();
    workspace.write("secret.txt", "x");
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"a\" {\n    run \"cat secret.txt > out\"\n    output \"out\"\n}\n");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("declared inputs"), "{}", done.stderr);
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"a\" {\n    run \"echo ${FROM_OUTSIDE:-unset} > out\"\n    output \"out\"\n}\n");
    workspace.command(&["run", "p.kdl"]).env("FROM_OUTSIDE", "1").status().expect("it starts");
    assert_eq!(workspace.read("out"), "unset\n");
}
