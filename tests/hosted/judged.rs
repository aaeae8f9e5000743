//! Another model as a judge.

use serde_json::Value;

use crate::common::{Workspace, colours_workspace};
use crate::fake::{Server, edit, undeployed};

#[test]
fn a_judge_is_asked_once_for_each_answer_and_says_why() {
    let (server, workspace) = (Server::start(), colours_workspace());
    undeployed(&workspace);
    server.world().knows = vec![("# Rubric".to_owned(), "I think: {\"reason\": \"it is short\", \"score\": 8}".to_owned())];
    let judge = "    grader \"judge\" name=\"tone\" model=\"ft:judge\" provider=\"openai\" rubric=\"It is short.\" votes=2\n";
    edit(&workspace, "    grader \"exact-match\"", &format!("{judge}    grader \"exact-match\""));
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let asked = server.world().questions;
    let shown = |output: &str| {
        assert_eq!(server.retune(&workspace, &["get", "quality", "p.kdl", "--profile", "openai", "--to", "made"]).code, 0);
        workspace.read(&format!("made/{output}"))
    };
    let first: Value = serde_json::from_str(shown("scores").lines().next().expect("a row")).expect("JSON");
    assert_eq!((&first["score"], &first["reasons"]["tone"]), (&Value::from(0.8), &Value::from("it is short")), "{first}");
    assert!(first["others"]["accuracy"].is_number(), "{first}");
    edit(&workspace, "    gate \"accuracy\"", "    gate \"tone\" min=0.7\n    gate \"accuracy\"");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.world().questions, asked, "a gate asks nobody");
    edit(&workspace, "It is short.", "It is very short.");
    server.world().knows = vec![("# Rubric".to_owned(), "no idea".to_owned())];
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("are no JSON with what was asked for"), "{}", done.stderr);
    let again = server.world().questions;
    assert!(again > asked);
    server.world().knows = vec![("# Rubric".to_owned(), "{\"score\": 10}".to_owned())];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.world().questions - again, again - asked, "what said nothing is asked again");
}

/// The figures of the evaluation.
fn metrics(server: &Server, workspace: &Workspace) -> Value {
    let shown = server.retune(workspace, &["show", "quality", "p.kdl", "--profile", "openai", "--json"]);
    serde_json::from_str::<Value>(&shown.stdout).expect("JSON")["metrics"].clone()
}

#[test]
fn two_answers_are_compared_in_both_orders() {
    let (server, workspace) = (Server::start(), colours_workspace());
    undeployed(&workspace);
    let judge = "    grader \"pairwise\" model=\"ft:judge\" provider=\"openai\" rubric=\"It names a colour.\"\n";
    edit(&workspace, "    grader \"exact-match\"", &format!("    grader \"exact-match\"\n{judge}"));
    edit(&workspace, "    gate \"accuracy\"", "    gate \"pairwise.consistency\" min=0\n    gate \"accuracy\"");
    // Whatever stands first is better: that is no opinion.
    server.world().knows = vec![("# Answer A".to_owned(), "{\"reason\": \"it is first\", \"better\": \"A\"}".to_owned())];
    assert_eq!(server.run(&workspace).code, 0);
    let torn = metrics(&server, &workspace);
    assert_eq!((&torn["pairwise"], &torn["pairwise.consistency"], &torn["pairwise.ties"]), (&Value::from(0.5), &Value::from(0.0), &Value::from(1.0)), "{torn}");
    assert!(torn.get("pairwise.gain").is_none() && torn.get("baseline.pairwise").is_none(), "it is about both: {torn}");
    let asked = server.world().questions;
    // The baseline says `no idea`; who says so is worse, in either place.
    edit(&workspace, "It names a colour.", "It has an idea.");
    let better = |first: &str, winner: &str| (format!("# Answer A\n{first}"), format!("{{\"better\": \"{winner}\"}}"));
    server.world().knows = vec![better("no idea", "B"), better("", "A")];
    assert_eq!(server.run(&workspace).code, 0);
    let sure = metrics(&server, &workspace);
    assert_eq!((&sure["pairwise"], &sure["pairwise.consistency"]), (&Value::from(1.0), &Value::from(1.0)), "{sure}");
    let rows = sure["rows"].as_f64().expect("it is counted");
    assert!((server.world().questions - asked) as f64 - 2.0 * rows < 0.5, "each pair is asked about twice");
}

#[test]
fn answers_are_shown_to_moderation() {
    let (server, workspace) = (Server::start(), colours_workspace());
    undeployed(&workspace);
    edit(&workspace, "    grader \"exact-match\"", "    grader \"exact-match\"\n    grader \"moderation\" provider=\"openai\"");
    server.world().knows = vec![("is red".to_owned(), "number 33 is bad".to_owned())];
    edit(&workspace, "    gate \"accuracy\" min=(param)\"floor\"", "    gate \"moderation.failures.high\" max=0.9");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let found = metrics(&server, &workspace);
    let clean = found["moderation"].as_f64().expect("it is measured");
    assert!(clean > 0.3 && clean < 1.0 && found["baseline.moderation"] == 1.0, "{found}");
    assert_eq!(server.retune(&workspace, &["get", "quality", "p.kdl", "--profile", "openai", "--to", "made"]).code, 0);
    assert!(workspace.read("made/scores").contains("\"reasons\":{\"moderation\":\"hate"), "why it is flagged is told");
}

#[test]
fn graders_of_openai_are_used_as_they_are_written() {
    let (server, workspace) = (Server::start(), colours_workspace());
    undeployed(&workspace);
    edit(
        &workspace,
        "    grader \"exact-match\"",
        "    grader \"exact-match\"\n    grader \"openai\" input=\"grader.json\" provider=\"openai\" name=\"theirs\"",
    );
    let likeness = |name: &str| serde_json::json!({ "type": "text_similarity", "name": name, "evaluation_metric": "fuzzy_match", "input": "{{ sample.output_text }}", "reference": "{{ item.wanted }}" });
    let model = serde_json::json!({
        "type": "score_model", "name": "style", "model": "ft:judge", "range": [0, 10],
        "input": [{ "role": "user", "content": "# Rubric\nIs {{ sample.output_text }} a colour, asked {{ item.asked }}?" }],
    });
    let grader =
        serde_json::json!({ "type": "multi", "name": "all", "graders": { "near": likeness("near"), "style": model }, "calculate_output": "near * style" });
    workspace.write("grader.json", grader.to_string());
    server.world().knows = vec![("Reply with one JSON".to_owned(), "{\"score\": 7}".to_owned())];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let found = metrics(&server, &workspace);
    assert_eq!(found["theirs"], 7.0, "{found}");
    assert!(found["baseline.theirs"].as_f64().is_some_and(|score| score < 6.0), "{found}");
    let asked = server.world().questions;
    workspace.write("grader.json", grader.to_string().replace("near * style", "near + style"));
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!((server.world().questions, &metrics(&server, &workspace)["theirs"]), (asked, &Value::from(8.0)), "another formula asks nobody");
    workspace.write("grader.json", grader.to_string().replace("item.wanted", "item.absent"));
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("grader.json") && done.stderr.contains("the row has no `item.absent`"), "{}", done.stderr);
    workspace.write("grader.json", "{\"type\": \"python\"}");
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("`python` is not run here"), "{}", done.stderr);
}

#[test]
fn calls_of_tools_are_asked_for_and_compared() {
    let (server, workspace) = (Server::start(), Workspace::new());
    let tool = serde_json::json!({ "type": "function", "function": { "name": "paint", "parameters": { "type": "object" } } });
    let row = |at: usize, colour: &str| {
        let call = serde_json::json!({ "id": "c", "type": "function", "function": { "name": "paint", "arguments": format!("{{\"colour\": \"{colour}\"}}") } });
        let messages = serde_json::json!([{ "role": "user", "content": format!("paint wall {at} red") }, { "role": "assistant", "tool_calls": [call] }]);
        serde_json::json!({ "messages": messages, "tools": [tool] }).to_string()
    };
    let rows: Vec<String> = (0..10).map(|at| row(at, if at < 7 { "red" } else { "blue" })).collect();
    workspace.write("rows.jsonl", rows.join("\n"));
    let graders = "    grader \"tool-call\"\n    grader \"tool-call\" compare=\"names\" name=\"named\"\n    grader \"cost\"\n    grader \"latency\"\n";
    workspace.write(
        "p.kdl",
        format!("pipeline \"p\"\nprofile \"openai\" {{\n}}\ncollect \"rows\" {{\n    source \"rows.jsonl\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    passthrough\n    split train=0.0 validation=0.0 test=1.0\n}}\nevaluate \"quality\" {{\n    model \"ft:gpt-4.1-nano-2025-04-14:me::1\"\n    provider \"openai\"\n    data \"chat\"\n{graders}}}\n"),
    );
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let found = metrics(&server, &workspace);
    assert_eq!((&found["tool-call"], &found["named"]), (&Value::from(0.7), &Value::from(1.0)), "{found}");
    assert!(found["cost.total"].as_f64().is_some_and(|usd| usd > 0.0) && found["latency.p50"].as_f64().is_some_and(|seconds| seconds > 0.0), "{found}");
    edit(&workspace, "ft:gpt-4.1-nano-2025-04-14:me::1", "ft:unheard-of::1");
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("has no price for answers of `ft:unheard-of::1`"), "what is not known is not nothing: {}", done.stderr);
    let asked = server.world().last.clone();
    assert!(asked["tools"][0]["function"]["name"] == "paint" && asked["messages"].as_array().map(Vec::len) == Some(1), "{asked}");
}

#[test]
fn an_alias_that_answers_in_another_way_goes_back_by_itself() {
    let (server, workspace) = (Server::start(), colours_workspace());
    // The model is of this machine, and whoever serves the alias is not up to it.
    let check = "    live-check provider=\"openai\" questions=3\n    target \"deploy/model.env\"\n";
    edit(&workspace, "    alias \"colours\"\n", &format!("    alias \"colours\"\n{check}"));
    let run = |more: &[&str]| server.retune(&workspace, &[&["run", "p.kdl"], more].concat());
    let done = run(&[]);
    assert!(done.code == 1 && done.stderr.contains("stage::live_check") && done.stderr.contains("0 of 3 answers are the same"), "{}", done.stderr);
    assert!(done.stderr.contains("it went back to nothing"), "{}", done.stderr);
    assert_eq!(server.world().last["model"], "colours", "it is asked by its alias");
    let alias = || workspace.read("deployments/colours.kdl");
    assert!(alias().contains("current 0") && alias().contains("live-check \"failed\""), "{}", alias());
    assert!(!workspace.path().join("deploy/model.env").exists(), "nothing says otherwise");
    assert_eq!(run(&[]).code, 0, "what failed is not tried again by itself");
    assert!(alias().contains("current 0"), "{}", alias());
    edit(&workspace, check, "    target \"deploy/model.env\"\n");
    assert_eq!(run(&["--force", "production"]).code, 0);
    assert!(alias().contains("current 2") && workspace.path().join("deploy/model.env").exists(), "{}", alias());
    edit(&workspace, "    target", "    live-check provider=\"openai\" questions=3\n    target");
    assert_eq!(run(&["--set", "epochs=3"]).code, 1);
    assert!(alias().contains("current 2") && alias().matches("live-check \"failed\"").count() == 2, "{}", alias());
}
