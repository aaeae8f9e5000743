//! Dirt in data that must not pass for rows.

mod common;

use common::Workspace;

const PREPARE: &str = r#"pipeline "p"
collect "rows" {
    source "t.csv"
}
prepare "chat" {
    from "rows"
    DEDUPLICATE
    chat {
        user "{{ text }}"
        assistant "{{ team }}"
    }
    SPLIT
}
"#;

fn workspace(rows: &str, deduplicate: &str, split: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("t.csv", rows);
    workspace.write("p.kdl", PREPARE.replace("DEDUPLICATE", deduplicate).replace("SPLIT", split));
    workspace
}

fn rows(count: usize) -> String {
    (0..count).fold("id,text,team\n".to_owned(), |text, row| text + &format!("{row},question {},team {}\n", row / 6, row % 2))
}

#[test]
fn an_open_quote_costs_one_row_and_not_the_file() {
    let text = rows(300).replace("20,question 3,team 0", "20,question 3,\"team 0");
    let workspace = workspace(&text, "", "split");
    let summary = workspace.run(&[], 0);
    assert_eq!(summary["stages"][0]["metrics"]["rows"], 299.0);
    assert_eq!(summary["stages"][0]["metrics"]["rejected"], 1.0);
    assert_eq!(workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]).code, 0);
    assert!(workspace.read("out/rejected").contains("\"line\":22"), "{}", workspace.read("out/rejected"));
    assert!(workspace.read("out/rows").contains("\"line\":301"), "lines are counted on from there");
}

#[test]
fn quoted_fields_over_several_lines_are_rows() {
    let text = "id,text,team\n1,\"two\nlines, and a \"\"quote\"\"\",a\n2,plain,b\n";
    let summary = workspace(text, "", "split train=1.0 validation=0.0 test=0.0").run(&[], 0);
    assert_eq!(summary["stages"][0]["metrics"]["rows"], 2.0);
    assert_eq!(summary["stages"][0]["metrics"]["rejected"], 0.0);
}

#[test]
fn the_same_example_is_never_in_two_splits() {
    let workspace = workspace(&rows(600), "", "split train=0.5 validation=0.25 test=0.25 key=\"id\"");
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "chat", "p.kdl", "--to", "out"]).code, 0);
    let splits = ["out/train", "out/validation", "out/test"].map(|name| workspace.read(name));
    assert!(splits.iter().all(|split| !split.is_empty()));
    for (index, split) in splits.iter().enumerate() {
        for other in splits.iter().skip(index + 1) {
            assert!(split.lines().all(|line| other.lines().all(|there| there != line)));
        }
    }
    assert!(workspace.read("out/rejected").contains("already, under another key"));
}

#[test]
fn a_misspelt_field_is_an_error() {
    for (deduplicate, split) in [("deduplicate \"exact\" key=\"txet\"", "split"), ("", "split key=\"txet\"")] {
        let done = workspace(&rows(60), deduplicate, split).retune(&["run", "p.kdl"]);
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains("`txet`") && done.stderr.contains("`text`"), "{}", done.stderr);
    }
}

#[test]
fn a_model_is_not_judged_by_nothing() {
    let workspace = workspace(&rows(60), "", "");
    let kdl = workspace.read("p.kdl")
        + r#"evaluate "quality" {
    model "builtin:tiny"
    data "chat"
    grader "exact-match"
    gate "accuracy" max=1.0
}
"#;
    workspace.write("p.kdl", kdl);
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("the split is empty"), "{}", done.stderr);
}

#[test]
fn a_long_json_list_keeps_its_lines() {
    let workspace = workspace("", "", "split");
    let items: Vec<String> = (0..20_000).map(|row| format!("{{\"text\": \"q {row}\", \"team\": \"t\"}}")).collect();
    workspace.write("t.json", format!("[\n{}\n]\n", items.join(",\n")));
    workspace.write("p.kdl", workspace.read("p.kdl").replace("t.csv", "t.json"));
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]).code, 0);
    assert!(workspace.read("out/rows").lines().last().is_some_and(|line| line.contains("\"line\":20001")));
}
