//! Another model as a judge.

use serde_json::Value;

use crate::common::colours_workspace;
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
    assert!(done.code == 1 && done.stderr.contains("are no JSON with a score"), "{}", done.stderr);
    let again = server.world().questions;
    assert!(again > asked);
    server.world().knows = vec![("# Rubric".to_owned(), "{\"score\": 10}".to_owned())];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.world().questions - again, again - asked, "what said nothing is asked again");
}
