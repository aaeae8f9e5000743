//! What jobs are told beside supervised examples, from the pipeline to the server.

use serde_json::{Value, json};

use crate::common::{Workspace, colours_workspace};
use crate::fake::Server;

/// A workspace whose model learns from ready rows, by a method of its own.
fn workspace(rows: impl Fn(usize) -> Value, method: &str, more: &str) -> Workspace {
    let workspace = colours_workspace();
    workspace.write("rows.jsonl", (0..20).map(|n| format!("{}\n", rows(n))).collect::<String>());
    let text = workspace.read("p.kdl").replacen("    data \"chat\"\n    provider", "    examples \"rows.jsonl\"\n    provider", 1);
    let (before, after) = text.split_once("    method \"supervised\" {").expect("it is there");
    let (_, after) = after.split_once("    }\n").expect("it ends");
    workspace.write("p.kdl", format!("{before}{method}{more}{after}"));
    workspace
}

fn asked(n: usize) -> Value {
    json!([{ "role": "user", "content": format!("the door number {n} is red") }])
}

/// What the one job was asked for, after everything went well.
fn created(workspace: &Workspace) -> Value {
    let server = Server::start();
    let done = server.run(workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let again = server.run(workspace);
    assert_eq!((again.code, server.billed()), (0, 1), "{}", again.stderr);
    let world = server.world();
    let sent = String::from_utf8(world.files[0].1.clone()).expect("a text");
    assert_eq!(sent, workspace.read("rows.jsonl"), "the rows go as they are");
    world.created[0].clone()
}

#[test]
fn pairs_of_answers_train_by_dpo() {
    let rows = |n: usize| {
        let answer = |text: &str| json!([{ "role": "assistant", "content": text }]);
        json!({ "input": { "messages": asked(n) }, "preferred_output": answer("red"), "non_preferred_output": answer("perhaps it is red") })
    };
    let workspace = workspace(rows, "    method \"dpo\" {\n        epochs 2\n        beta 0.2\n    }\n", "");
    let body = created(&workspace);
    assert_eq!(body["method"], json!({ "type": "dpo", "dpo": { "hyperparameters": { "n_epochs": 2, "beta": 0.2 } } }));
    // A row without its pair is named before anything is uploaded.
    workspace.write("rows.jsonl", workspace.read("rows.jsonl") + "{\"messages\":[]}\n");
    let server = Server::start();
    let done = server.run(&workspace);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("line 21") && done.stderr.contains("`input`"), "{}", done.stderr);
    assert!(server.world().files.is_empty());
}

#[test]
fn graded_answers_train_by_reinforcement() {
    let grader = json!({ "type": "string_check", "name": "colour", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.colour}}" });
    let workspace = workspace(
        |n| json!({ "messages": asked(n), "colour": "red" }),
        "    method \"reinforcement\" {\n        epochs 1\n        grader \"grader.json\"\n        effort \"low\"\n        compute-multiplier 1.5\n        eval-interval 5\n        eval-samples \"auto\"\n    }\n",
        "",
    );
    workspace.write("grader.json", grader.to_string());
    let body = created(&workspace);
    assert_eq!(body["method"]["type"], "reinforcement");
    let hyper = json!({ "n_epochs": 1, "reasoning_effort": "low", "compute_multiplier": 1.5, "eval_interval": 5 });
    assert_eq!(body["method"]["reinforcement"], json!({ "grader": grader, "hyperparameters": hyper }));
    // The grader is part of what the model is: another one trains again.
    workspace.write("grader.json", grader.to_string().replace("eq", "ilike"));
    let plan = workspace.retune(&["plan", "p.kdl", "--profile", "openai", "--json"]).stdout;
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let model = plan["stages"].as_array().expect("stages").iter().find(|stage| stage["name"] == "model").expect("it is there");
    assert!(model["reasons"].to_string().contains("grader.json"), "{model}");
}

#[test]
fn a_training_is_reported_to_wandb_where_that_is_wanted() {
    let workspace = workspace(
        |n| json!({ "messages": [asked(n)[0], { "role": "assistant", "content": "red" }] }),
        "    method \"supervised\" {\n        epochs 2\n    }\n",
        "    report \"wandb\" project=\"colours\" entity=\"us\"\n",
    );
    let body = created(&workspace);
    assert_eq!(body["integrations"], json!([{ "type": "wandb", "wandb": { "project": "colours", "entity": "us" } }]));
    assert_eq!(body["method"], json!({ "type": "supervised", "supervised": { "hyperparameters": { "n_epochs": 2 } } }));
}
