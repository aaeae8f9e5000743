//! A training that begins with what another has made.

mod common;

use common::{Workspace, colours_workspace};
use serde_json::Value;

/// So small a rate that nothing is learnt.
const NOTHING: &str = "learning-rate 1e-9\n        lora rank=4 alpha=8";

fn further(model: &str, method: &str, sizes: &str, data: &str) -> String {
    format!(
        "train \"further\" {{\n    data \"{data}\"\n    provider \"local\"\n    model \"{model}\"\n    method \"{method}\" {{\n        epochs 1\n        batch-size 8\n        {sizes}\n    }}\n    seed 5\n}}\nevaluate \"kept\" {{\n    model \"further\"\n    baseline \"model\"\n    data \"chat\" split=\"test\"\n    grader \"exact-match\"\n}}\n"
    )
}

fn metric(summary: &Value, stage: &str, name: &str) -> f64 {
    let stages = summary["stages"].as_array().expect("stages");
    let stage = stages.iter().find(|found| found["name"] == stage).expect("a stage");
    stage["metrics"][name].as_f64().unwrap_or_else(|| panic!("{name} in {stage}"))
}

fn with(stages: &str) -> Workspace {
    let workspace = colours_workspace();
    workspace.write("p.kdl", format!("{}{stages}", workspace.read("p.kdl")));
    workspace
}

/// A first training, and one that learns nothing more.
fn chain(first: &str, second: &str) -> Workspace {
    let workspace = with(&further("model", "supervised", second, "chat"));
    workspace.write("p.kdl", workspace.read("p.kdl").replacen("batch-size 8", &format!("batch-size 8\n        {first}"), 1));
    workspace
}

#[test]
fn it_goes_on_where_the_other_ended() {
    // An adapter after an adapter, an adapter after all weights, all weights after an adapter.
    for (first, second) in [("lora rank=4 alpha=8", NOTHING), ("learning-rate 3e-3", NOTHING), ("lora rank=2 alpha=8", "learning-rate 1e-9")] {
        let summary = chain(first, second).run(&[], 0);
        let (before, after) = (metric(&summary, "quality", "accuracy"), metric(&summary, "kept", "accuracy"));
        assert!(before > 0.8 && metric(&summary, "quality", "baseline.accuracy") < 0.2, "{first}: {summary}");
        assert!((before - after).abs() < 0.04, "{first}, {second}: {before} and then {after}");
    }
}

#[test]
fn it_is_done_again_where_the_other_is_and_only_then() {
    let workspace = chain("lora rank=4 alpha=8", NOTHING);
    let text = workspace.read("p.kdl").replace("    model \"model\"\n    requires \"quality\"\n", "    model \"further\"\n    requires \"kept\"\n    card\n");
    workspace.write("p.kdl", text);
    workspace.run(&[], 0);
    let card = workspace.read("deployments/colours-1.md");
    assert!(card.contains("before that, model"), "{card}");
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("p.kdl", workspace.read("p.kdl").replace("floor 0.5", "floor 0.4"));
    assert!(!workspace.ran(&[]).contains(&"further".to_owned()));
    workspace.write("p.kdl", workspace.read("p.kdl").replace("seed 3", "seed 4"));
    assert!(workspace.ran(&[]).contains(&"further".to_owned()));
    // It is a model like any other: its files are whole.
    assert_eq!(workspace.retune(&["get", "further", "p.kdl", "--to", "out"]).code, 0);
    assert!(workspace.path().join("out/model/model.safetensors").is_file());
    assert!(workspace.read("out/model/model.json").contains("\"base\": \"builtin:tiny\""));
}

#[test]
fn pairs_make_better_what_has_learnt_to_answer() {
    let pairs = "prepare \"pairs\" {\n    from \"rows\"\n    preference {\n        system \"Name the colour.\"\n        user \"{{ text }}\"\n        preferred \"{{ answer }}\"\n        other \"I do not know.\"\n    }\n    split train=0.7 validation=0.1 test=0.2 key=\"text\" seed=1\n}\n";
    let sizes = "beta 0.1\n        learning-rate 1e-4\n        lora rank=4 alpha=8";
    let workspace = with(&format!("{pairs}{}", further("model", "dpo", sizes, "pairs")));
    let summary = workspace.run(&[], 0);
    assert!(metric(&summary, "kept", "accuracy") > 0.8, "{summary}");
    // The model that it is measured against is the one that it began with: there both answers are as likely as before.
    assert!(metric(&summary, "further", "validation-loss") < 2_f64.ln(), "{summary}");
}

#[test]
fn it_may_begin_with_the_best_of_a_sweep() {
    let sweep = "select \"best\" {\n    from \"model\"\n    by \"validation-loss\"\n    goal \"min\"\n}\n";
    let workspace = with(&format!("{sweep}{}", further("best", "supervised", NOTHING, "chat")));
    let text = workspace.read("p.kdl").replacen("    seed 3\n", "    seed 3\n    matrix {\n        rate 1e-9 3e-3\n    }\n", 1);
    let text = text.replacen("batch-size 8", "batch-size 8\n        learning-rate (param)\"rate\"", 1);
    let text = text.replace("    model \"model\"\n", "    model \"best\"\n").replace("baseline \"model\"", "baseline \"best\"");
    workspace.write("p.kdl", text);
    let summary = workspace.run(&[], 0);
    assert!(metric(&summary, "kept", "accuracy") > 0.8, "{summary}");
}

#[test]
fn what_cannot_be_tuned_further_is_said() {
    let check = |stages: &str| {
        let workspace = with(stages);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        done.said()
    };
    let elsewhere = further("model", "supervised", "", "chat").replace("provider \"local\"", "provider \"openai\"");
    assert!(check(&elsewhere).contains("`openai` cannot tune further what `model` made at `local`"));
    assert!(check(&further("model", "supervised", "from-scratch", "chat")).contains("this begins with the model of `model`, and `from-scratch` with none"));
    assert!(check(&further("further", "supervised", "", "chat")).contains("config::cycle"));
    let circle =
        format!("{}select \"best\" {{\n    from \"further\"\n    by \"validation-loss\"\n    goal \"min\"\n}}\n", further("best", "supervised", "", "chat"));
    assert!(check(&circle).contains("config::cycle"));
    let workspace = colours_workspace();
    workspace.write("p.kdl", workspace.read("p.kdl").split("evaluate").next().expect("its head"));
    let done = workspace.retune(&["check", "p.kdl"]);
    assert!(!done.stderr.contains("config::unused_stage"), "a training may be the end of a pipeline: {}", done.stderr);
}
