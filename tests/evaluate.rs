//! Asking, grading and judging, through the program.

mod common;

use std::fmt::Display;

use common::Workspace;
use serde_json::Value;

/// A workspace whose model is a program: it says what stands in `answers` beside the question, else `no`, and notes what it was asked.
fn workspace<T: Display>(rows: &[(T, T)], evaluate: &str) -> Workspace {
    let workspace = Workspace::new();
    write_rows(&workspace, rows);
    let asked = workspace.path().join("asked");
    let answer = format!(
        "sed 's/.*\\\"content\\\":\\\"\\\\([^\\\"]*\\\\)\\\".*/\\\\1/' questions.jsonl | while read q; do echo \\\"$q\\\" >> {0}; grep -F \\\"$q=\\\" {1} | head -1 | sed 's/.*=//' | grep . || echo no; done | sed 's/.*/{{\\\"answer\\\": \\\"&\\\"}}/' > answers.jsonl",
        asked.display(),
        workspace.path().join("says").display()
    );
    let provider = format!(
        "provider \"tool\" {{\n    api \"command\"\n    version \"1\"\n    train \"mkdir model; echo w > model/adapter\"\n    answer \"{answer}\"\n}}\n"
    );
    let stages = "collect \"rows\" {\n    source \"rows.csv\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"{{ wanted }}\"\n    }\n    split train=0.0 validation=0.0 test=1.0 key=\"text\"\n}\n";
    workspace.write(
        "p.kdl",
        format!("pipeline \"p\"\n{provider}{stages}evaluate \"e\" {{\n    model \"m\"\n    provider \"tool\"\n    data \"chat\"\n{evaluate}}}\n"),
    );
    workspace.write("says", "");
    workspace
}

fn write_rows<T: Display>(workspace: &Workspace, rows: &[(T, T)]) {
    let lines: String = rows.iter().map(|(text, wanted)| format!("{text},{wanted}\n")).collect();
    workspace.write("rows.csv", format!("text,wanted\n{lines}"));
}

fn asked(workspace: &Workspace) -> usize {
    std::fs::read_to_string(workspace.path().join("asked")).map_or(0, |text| text.lines().count())
}

fn metrics(workspace: &Workspace) -> Value {
    let shown = workspace.retune(&["show", "e", "p.kdl", "--json"]);
    serde_json::from_str::<Value>(&shown.stdout).expect("JSON")["metrics"].clone()
}

fn made(workspace: &Workspace, output: &str) -> Value {
    assert_eq!(workspace.retune(&["get", "e", "p.kdl", "--to", "made"]).code, 0);
    serde_json::from_str(&workspace.read(&format!("made/{output}"))).expect("JSON")
}

#[test]
fn a_question_is_asked_once_whatever_else_changes() {
    let mut rows: Vec<(String, String)> = (0..20).map(|at| (format!("question {at}"), "no".to_owned())).collect();
    let workspace = workspace(&rows, "    grader \"exact-match\"\n");
    workspace.run(&[], 0);
    assert_eq!(asked(&workspace), 20);
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", text.replace("    grader \"exact-match\"\n", "    grader \"contains\"\n    gate \"contains\" min=0.5\n"));
    workspace.run(&[], 0);
    assert_eq!(asked(&workspace), 20, "a changed grader or gate asks nothing");
    rows.extend((20..30).map(|at| (format!("question {at}"), "yes".to_owned())));
    write_rows(&workspace, &rows);
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(asked(&workspace), 30, "ten new rows ask ten questions");
    assert!(done.stderr.contains("20 of 30 answers are there from before"), "{}", done.stderr);
    assert_eq!(metrics(&workspace)["contains"], 20.0 / 30.0);
    workspace.run(&["--force", "e"], 0);
    assert_eq!(asked(&workspace), 60, "by force all are asked again");
}

#[test]
fn parts_of_a_stage_that_ask_the_same_ask_it_once() {
    let rows: Vec<(String, String)> = (0..20).map(|at| (format!("question {at}"), "no".to_owned())).collect();
    let suite = "    suite \"again\" {\n        data \"chat\"\n        grader \"contains\"\n    }\n";
    let workspace = workspace(&rows, &format!("    grader \"exact-match\"\n{suite}"));
    workspace.run(&[], 0);
    assert_eq!((asked(&workspace), &metrics(&workspace)["again.contains"]), (20, &Value::from(1.0)));
    workspace.run(&["--force", "e"], 0);
    assert_eq!(asked(&workspace), 40, "by force too");
}

#[test]
fn processes_that_ask_the_same_at_once_ask_it_once() {
    let rows: Vec<(String, String)> = (0..20).map(|at| (format!("question {at}"), "no".to_owned())).collect();
    let workspace = workspace(&rows, "    grader \"exact-match\"\n");
    let names = ["p.kdl", "q.kdl", "r.kdl"];
    for (at, name) in names.iter().enumerate().skip(1) {
        // Other data, in which the same questions stand.
        workspace.write(&format!("rows{at}.csv"), workspace.read("rows.csv") + &format!("another {at},no\n"));
        workspace.write(name, workspace.read("p.kdl").replace("rows.csv", &format!("rows{at}.csv")));
    }
    let started: Vec<_> = names.iter().map(|name| workspace.command(&["run", name]).stderr(std::process::Stdio::null()).spawn().expect("it starts")).collect();
    started.into_iter().for_each(|mut run| assert!(run.wait().expect("it is ours").success()));
    assert_eq!(asked(&workspace), 22);
}

#[test]
fn graders_measure_what_they_say() {
    let rows = [("q1", "fees"), ("q2", "fees"), ("q3", "cards"), ("q4", "loans")];
    let graders = "    grader \"label\"\n    grader \"length\"\n    grader \"similarity\" by=\"levenshtein\"\n    grader \"not\" name=\"short\" {\n        grader \"length\" min=2\n    }\n    grader \"weighted\" {\n        grader \"starts-with\" value=\"F\" ignore-case=#true weight=3\n        grader \"regex\" value=\"s$\"\n    }\n";
    let workspace = workspace(&rows, graders);
    workspace.write("says", "q1=Fees.\nq2=cards\nq3=cards\nq4=none of them\n");
    workspace.run(&[], 0);
    let metrics = metrics(&workspace);
    let close = |name: &str, wanted: f64| {
        let found = metrics[name].as_f64().unwrap_or(f64::NAN);
        assert!((found - wanted).abs() < 1e-9, "{name} is {found}: {metrics}");
    };
    close("accuracy", 0.5);
    close("accuracy.precision", (1.0 + 0.5) / 3.0);
    close("accuracy.recall", (0.5 + 1.0) / 3.0);
    close("length", 6.0 / 4.0);
    close("short", 0.75);
    close("weighted", (3.0 + 1.0 + 1.0) / 16.0);
    let shown = workspace.retune(&["show", "e", "p.kdl"]).stdout;
    assert!(shown.contains("METRIC") && shown.contains("accuracy     0.500 [0.150, 0.850]"), "{shown}");
    assert!(metrics["levenshtein.low"].as_f64() < metrics["levenshtein"].as_f64(), "{metrics}");
    assert!(metrics["accuracy.failures.high"].as_f64() > Some(0.5), "{metrics}");
    let mistakes = made(&workspace, "mistakes");
    assert_eq!((mistakes["worst"].as_array().map(Vec::len), &mistakes["taken_for"][0]["rows"]), (Some(2), &Value::from(1)), "{mistakes}");
    assert_eq!(mistakes["classes"][0]["class"], "loans");
}

#[test]
fn what_the_rows_cannot_tell_passes_only_where_the_pipeline_says_so() {
    let rows: Vec<(String, String)> = (0..20).map(|at| (format!("question {at}"), if at % 5 == 0 { "yes" } else { "no" }.to_owned())).collect();
    let gate = |how: &str| format!("    grader \"exact-match\"\n    gate \"accuracy\" min=0.75{how}\n");
    let workspace = workspace(&rows, &gate(""));
    workspace.run(&[], 0);
    for (how, code, outcome) in [(" inconclusive=\"ask\"", 3, "inconclusive"), (" inconclusive=\"fail\"", 3, "fail"), (" inconclusive=\"pass\"", 0, "pass")] {
        let text = workspace.read("p.kdl");
        let at = text.find("    gate ").expect("it is there");
        workspace.write("p.kdl", format!("{}    gate \"accuracy\" min=0.75{how}\n}}\n", &text[..at]));
        let done = workspace.retune(&["run", "p.kdl"]);
        assert_eq!(done.code, code, "{how}: {}", done.stderr);
        let verdict = made(&workspace, "verdict");
        assert_eq!(verdict["outcome"], outcome, "{verdict}");
        assert!(verdict["gates"][0]["reason"].as_str().is_some_and(|reason| reason.contains("the rows cannot tell")), "{verdict}");
    }
    assert_eq!(asked(&workspace), 20);
}

#[test]
fn a_grader_or_gate_that_makes_no_sense_is_an_error_where_it_stands() {
    for (lines, wanted) in [
        ("    grader \"exact-match\" value=\"x\"\n", "`value` says nothing to the grader `exact-match`"),
        ("    grader \"exact-match\"\n    grader \"label\"\n", "`accuracy` stands twice in the metrics of this stage"),
        ("    grader \"regex\"\n", "needs `value=`"),
        ("    grader \"regex\" value=\"(\"\n", "a regular expression"),
        ("    grader \"json\" schema=\"{\\\"type\\\": 7}\"\n", "a JSON Schema"),
        ("    grader \"all\" {\n        grader \"label\"\n    }\n", "made of two graders or more"),
        ("    grader \"not\" {\n        grader \"length\"\n    }\n", "tells an amount"),
        ("    grader \"label\"\n    gate \"acuracy\" min=0.5\n", "did you mean `accuracy`?"),
        ("    grader \"label\"\n    gate \"accuracy\" over=\"baseline\"\n", "the stage names none"),
        ("    grader \"label\"\n    gate \"accuracy\" min=0.5 margin=0.1\n", "says nothing without `over=`"),
        ("    grader \"label\"\n    gate \"accuracy.f1\" min=0.5 inconclusive=\"ask\"\n", "has no interval"),
        ("    grader \"label\"\n    gate \"overfit-gap\" max=0.5\n", "compares with what `m` learnt"),
        ("    grader \"label\" name=\"rows\"\n", "is a figure of every evaluation"),
        ("    grader \"command\" run=\"x\" input=\"data\"\n", "write it as `./data`"),
        ("    gate \"accuracy\" min=0.5\n", "`evaluate` needs a `grader` inside"),
        ("    generate samples=3\n    grader \"label\"\n", "samples of the likeliest answer are all the same"),
        ("    grader \"label\"\n    grader \"latency\"\n", "does not tell what its answers take"),
        ("    grader \"perplexity\"\n", "`tool` does not tell how likely its models find an answer"),
        ("    grader \"pairwise\" model=\"m\" provider=\"tool\" rubric=\"x\"\n", "there is nothing to compare with"),
        ("    grader \"moderation\" provider=\"tool\"\n", "`tool` has no moderation"),
        ("    grader \"judge\" model=\"m\" provider=\"local\" rubric=\"x\"\n", "there is no local model `m`"),
        ("    grader \"json\" compare=\"names\"\n", "of JSON it is `whole` or `fields`"),
        ("    grader \"label\"\n    gate \"accuracy.pass@2\" min=0.5\n", "did you mean"),
        ("    grader \"label\"\n    gate \"loss-gap\" max=0.5\n", "no stage trains `m`"),
        ("    grader \"label\"\n    suite \"accuracy\" {\n        data \"chat\"\n        grader \"label\"\n    }\n", "is the name of a metric too"),
        ("    grader \"label\"\n    suite \"a b\" {\n        data \"chat\"\n        grader \"label\"\n    }\n", "cannot be the name of a suite"),
        ("    grader \"label\"\n    suite \"s\" {\n        data \"chat\"\n    }\n", "`evaluate` needs a `grader` inside"),
    ] {
        let workspace = workspace(&[("q", "a")], lines);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
}

#[test]
fn answers_that_nobody_needs_are_let_go() {
    let workspace = workspace(&[("q", "no")], "    grader \"exact-match\"\n");
    workspace.run(&[], 0);
    let answers = || {
        let entries = std::fs::read_dir(workspace.path().join(".retune/answers")).expect("it is there").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".jsonl")).count()
    };
    workspace.write("p.kdl", workspace.read("p.kdl").replace("data \"chat\"\n", "data \"chat\"\n    generate max-tokens=8\n"));
    workspace.run(&[], 0);
    assert_eq!(answers(), 2);
    assert_eq!(workspace.retune(&["cache", "gc"]).code, 0);
    assert_eq!(answers(), 2, "two runs count");
    assert_eq!(workspace.retune(&["cache", "gc", "--keep-runs", "1"]).code, 0);
    assert_eq!(answers(), 1);
    workspace.run(&[], 0);
    assert_eq!(asked(&workspace), 2);
}

#[test]
fn the_first_grader_is_the_one_by_which_rows_are_right() {
    let graders = ["    grader \"exact-match\"\n", "    grader \"length\" max=5 name=\"short\"\n"];
    let workspace = workspace(&[("q1", "no"), ("q2", "yes")], &graders.concat());
    workspace.run(&[], 0);
    let first = |workspace: &Workspace| {
        assert_eq!(workspace.retune(&["get", "e", "p.kdl", "--to", "made"]).code, 0);
        serde_json::from_str::<Value>(workspace.read("made/scores").lines().last().expect("a row")).expect("JSON")["score"].clone()
    };
    assert_eq!(first(&workspace), 0.0);
    workspace.write("p.kdl", workspace.read("p.kdl").replace(&graders.concat(), &format!("{}{}", graders[1], graders[0])));
    workspace.run(&[], 0);
    assert_eq!(first(&workspace), 1.0);
}

#[test]
fn slices_groups_and_what_was_learnt_by_heart_are_measured() {
    let evaluate =
        "    grader \"exact-match\"\n    slice by=\"channel\"\n    cluster by=\"customer\"\n    gate \"slice-gap\" max=0.9\n    gate \"overfit-gap\" max=0.9\n";
    let workspace = workspace::<&str>(&[], evaluate);
    let line = |at: usize| format!("question {at},no,{},customer {}\n", if at.is_multiple_of(3) { "web" } else { "phone" }, at / 4);
    workspace.write("rows.csv", format!("text,wanted,channel,customer\n{}", (0..160).map(line).collect::<String>()));
    let text = workspace.read("p.kdl");
    let carried = text.replace(
        "    split train=0.0 validation=0.0 test=1.0",
        "    slice by=\"channel\"\n    slice by=\"customer\"\n    split train=0.5 validation=0.0 test=0.5",
    );
    let carried = carried.replace("evaluate \"e\" {\n    model \"m\"\n    provider \"tool\"\n", "train \"m\" {\n    data \"chat\"\n    provider \"tool\"\n    model \"base\"\n    method \"supervised\" {\n        epochs 1\n    }\n}\nevaluate \"e\" {\n    model \"m\"\n");
    workspace.write("p.kdl", &carried);
    // On the phone it is wrong half of the time.
    workspace.write("says", (0..160).filter(|at| at % 6 == 1).map(|at| format!("question {at}=yes\n")).collect::<String>());
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let metrics = metrics(&workspace);
    let figure = |name: &str| metrics[name].as_f64().unwrap_or_else(|| panic!("{name}: {metrics}"));
    assert!(figure("slice-gap") > 0.05 && figure("slice-gap.low") < figure("slice-gap"), "{metrics}");
    assert!(figure("overfit-gap").abs() < 0.3 && figure("overfit-gap.high") > figure("overfit-gap"), "{metrics}");
    let mistakes = made(&workspace, "mistakes");
    let slices = mistakes["slices"].as_array().expect("a list");
    assert_eq!(slices.iter().map(|slice| slice["value"].as_str().expect("a text")).collect::<Vec<_>>(), ["phone", "web"], "{mistakes}");
    assert_eq!(asked(&workspace), 160, "half to judge, and half to see what was learnt by heart");
    workspace.write("p.kdl", carried.replace("    slice by=\"customer\"\n", ""));
    let done = workspace.retune(&["check", "p.kdl"]);
    assert!(done.code == 2 && done.stderr.contains("`chat` does not carry the field `customer` through"), "{}", done.stderr);
    workspace.write("p.kdl", carried.replace("    slice by=\"channel\"\n    cluster", "    cluster"));
    let done = workspace.retune(&["check", "p.kdl"]);
    assert!(done.code == 2 && done.stderr.contains("the stage names none"), "{}", done.stderr);
}

#[test]
fn a_command_grades_by_lines_of_json() {
    let grader = "    grader \"command\" name=\"own\" run=\"sh grade.sh\" input=\"grade.sh\"\n    gate \"own\" min=0.4\n";
    let workspace = workspace(&[("q1", "a"), ("q2", "b")], grader);
    workspace.write("grade.sh", "while read line; do case \"$line\" in *q1*) echo '{\"score\": 1, \"reason\": \"good\"}';; *) echo '{\"score\": 0}';; esac; done < rows.jsonl > scores.jsonl\n");
    workspace.run(&[], 0);
    assert_eq!(metrics(&workspace)["own"], 0.5);
    let asked_before = asked(&workspace);
    for (script, wanted) in [
        ("echo '{\"score\": 2}' > scores.jsonl", "the score 2 is not from 0 to 1"),
        ("echo '{\"score\": 1}' > scores.jsonl", "1 scores for 2 answers"),
        ("true", "scores.jsonl"),
        ("echo nonsense > scores.jsonl", "line 1"),
    ] {
        workspace.write("grade.sh", script);
        let done = workspace.retune(&["run", "p.kdl"]);
        assert!(done.code == 1 && done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
    assert_eq!(asked(&workspace), asked_before);
    workspace.write(
        "p.kdl",
        workspace.read("p.kdl").replace(
            "    grader \"command\"",
            "    grader \"not\" {\n        grader \"judge\" rubric=\"x\" model=\"m\" provider=\"tool\"\n    }\n    grader \"command\"",
        ),
    );
    let done = workspace.retune(&["check", "p.kdl"]);
    assert!(done.code == 2 && done.stderr.contains("`judge` stands by itself"), "{}", done.stderr);
}
