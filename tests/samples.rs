//! Several answers to a question, several sets of questions, and what answers take: with the local engine.

mod common;

use common::{Workspace, colours_workspace};
use serde_json::Value;

fn workspace(evaluate: &str) -> Workspace {
    let workspace = colours_workspace();
    let text = workspace.read("p.kdl");
    let from = text.find("    grader \"exact-match\"").expect("it is graded");
    let to = text.find("deploy").expect("it is deployed");
    workspace.write("p.kdl", format!("{}{evaluate}}}\n", &text[..from]));
    assert!(to > from);
    workspace
}

fn edit(workspace: &Workspace, old: &str, new: &str) {
    let text = workspace.read("p.kdl");
    assert_eq!(text.matches(old).count(), 1, "{old}");
    workspace.write("p.kdl", text.replace(old, new));
}

fn metrics(workspace: &Workspace) -> Value {
    let shown = workspace.retune(&["show", "quality", "p.kdl", "--json"]);
    serde_json::from_str::<Value>(&shown.stdout).expect("JSON")["metrics"].clone()
}

fn figure(metrics: &Value, name: &str) -> f64 {
    metrics[name].as_f64().unwrap_or_else(|| panic!("there is no {name} in {metrics}"))
}

#[test]
fn a_question_is_asked_several_times_and_more_answers_are_only_added() {
    let workspace = workspace("    generate samples=3 temperature=2\n    grader \"exact-match\"\n    gate \"accuracy.pass@3\" min=0.1 inconclusive=\"pass\"\n");
    edit(&workspace, "    epochs 2\n", "    epochs 1\n");
    workspace.run(&[], 0);
    let three = metrics(&workspace);
    let (mean, two, all) = (figure(&three, "accuracy"), figure(&three, "accuracy.pass@2"), figure(&three, "accuracy.pass@3"));
    assert!(0.0 < mean && mean < two && two < all && all <= 1.0, "{three}");
    assert!(figure(&three, "accuracy.pass@3.low") <= all && figure(&three, "accuracy.gain") > 0.0, "{three}");
    let scores = |to: &str| {
        assert_eq!(workspace.retune(&["get", "quality", "p.kdl", "--to", to]).code, 0);
        workspace.read(&format!("{to}/scores"))
    };
    let before = scores("three");
    let first: Value = serde_json::from_str(before.lines().next().expect("a row")).expect("JSON");
    assert_eq!(first["again"].as_array().map(Vec::len), Some(2), "{first}");
    workspace.run(&["--force", "quality"], 0);
    assert_eq!(scores("again"), before, "the same questions have the same answers");
    edit(&workspace, "samples=3", "samples=5");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 0 && done.stderr.contains("78 of 130 answers are there from before"), "{}", done.stderr);
    let rows: Vec<Value> = scores("five").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (row, earlier) in rows.iter().zip(before.lines()) {
        let earlier: Value = serde_json::from_str(earlier).expect("JSON");
        assert_eq!((&row["answer"], &row["again"][0], &row["again"][1]), (&earlier["answer"], &earlier["again"][0], &earlier["again"][1]));
    }
}

#[test]
fn what_answers_take_is_measured_and_asked_for_once() {
    let workspace = workspace("    grader \"exact-match\"\n");
    workspace.run(&[], 0);
    edit(
        &workspace,
        "    grader \"exact-match\"\n",
        "    grader \"exact-match\"\n    grader \"latency\" max=60\n    grader \"cost\"\n    gate \"latency.p95\" max=60\n    gate \"cost.total\" max=0\n",
    );
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 0 && done.stderr.contains("26 of 26 answers are there from before"), "{}", done.stderr);
    let measured = metrics(&workspace);
    assert!(figure(&measured, "latency.p95") > 0.0 && figure(&measured, "latency.p50") <= figure(&measured, "latency.p95"), "{measured}");
    assert_eq!((figure(&measured, "latency"), figure(&measured, "cost")), (1.0, 0.0), "{measured}");
}

#[test]
fn a_model_that_learnt_foresees_what_is_wanted() {
    let workspace = workspace(
        "    grader \"exact-match\"\n    grader \"perplexity\"\n    gate \"perplexity\" max=2\n    gate \"perplexity\" min=100\n    gate \"loss-gap\" max=5\n",
    );
    workspace.run(&[], 3);
    let measured = metrics(&workspace);
    assert!(figure(&measured, "perplexity") >= 1.0 && figure(&measured, "baseline.perplexity") > figure(&measured, "perplexity"), "{measured}");
    assert!(figure(&measured, "perplexity.gain") < 0.0 && figure(&measured, "loss-gap").abs() < 5.0, "{measured}");
}

#[test]
fn suites_have_questions_graders_and_gates_of_their_own() {
    let suite = "    suite \"forgetting\" {\n        data \"chat\" split=\"validation\"\n        grader \"contains\"\n        grader \"length\" max=1 name=\"short\"\n        gate \"contains\" min=0.1\n    }\n";
    let workspace = workspace(&format!("    grader \"exact-match\"\n    gate \"accuracy\" min=0.1\n{suite}"));
    workspace.run(&[], 0);
    let measured = metrics(&workspace);
    assert_eq!((figure(&measured, "rows"), figure(&measured, "forgetting.rows")), (26.0, 19.0), "{measured}");
    assert!(figure(&measured, "forgetting.contains") > 0.1 && figure(&measured, "forgetting.short.gain").abs() <= 1.0, "{measured}");
    // A suite asks in a way that others asked in: what is there is taken.
    edit(&workspace, "split=\"validation\"", "split=\"test\"");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 0 && done.stderr.contains("26 of 26 answers are there from before"), "{}", done.stderr);
    edit(&workspace, "gate \"contains\" min=0.1", "gate \"contains\" max=0.01");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 3 && done.stderr.contains("gate not met: forgetting.contains at most 0.01"), "{}", done.stderr);
    edit(&workspace, "    suite \"forgetting\"", "    suite \"regression\"");
    workspace.run(&[], 3);
    assert_eq!(figure(&metrics(&workspace), "regression.rows"), 26.0);
}
