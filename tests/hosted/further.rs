//! A training that begins with a model of the same provider: each has its own word for that.

use serde_json::{Value, json};

use crate::dialects::{Answer, Elsewhere, azure, fireworks, together};

/// The bodies of two requests, one for each training of a chain.
fn bodies(answer: Answer, declaration: &str, place: &str) -> [Value; 2] {
    let server = Elsewhere::start(answer);
    let workspace = server.workspace(declaration, "");
    let further = "train \"further\" {\n    data \"chat\"\n    provider (param)\"provider\"\n    model \"model\"\n    method \"supervised\" {\n        epochs 1\n    }\n    seed 5\n}\n";
    workspace.write("p.kdl", format!("{}{further}", workspace.read("p.kdl")).replace("model \"model\"\n    requires", "model \"further\"\n    requires"));
    workspace.write("p.kdl", workspace.read("p.kdl").replace("evaluate \"quality\" {\n    model \"model\"", "evaluate \"quality\" {\n    model \"further\""));
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    server.sent("POST", place).try_into().unwrap_or_else(|sent| panic!("two: {sent:?}"))
}

#[test]
fn it_is_the_model_where_openais_protocol_is_spoken() {
    let declaration = "provider \"there\" {\n    api \"azure\"\n    base-url \"http://ADDRESS/openai/v1\"\n    key (secret)\"THEIR_KEY\"\n}";
    let [first, second] = bodies(azure, declaration, "/openai/v1/fine_tuning/jobs");
    assert_eq!((&first["model"], &second["model"]), (&json!("some-model"), &json!("some-model.ft-1")));
}

#[test]
fn it_is_a_checkpoint_at_together() {
    let declaration = "provider \"there\" {\n    api \"together\"\n    base-url \"http://ADDRESS/v1\"\n    key (secret)\"THEIR_KEY\"\n}";
    for place in ["/v1/fine-tunes", "/v1/fine-tunes/estimate-price"] {
        let [first, second] = bodies(together, declaration, place);
        assert_eq!((&first["model"], &first["from_checkpoint"]), (&json!("some-model"), &Value::Null), "{place}");
        assert_eq!((&second["model"], &second["from_checkpoint"]), (&Value::Null, &json!("us/some-model-1")), "{place}");
    }
}

#[test]
fn it_is_a_warm_start_at_fireworks() {
    let declaration =
        "provider \"there\" {\n    api \"fireworks\"\n    base-url \"http://ADDRESS/v1\"\n    account \"us\"\n    key-command \"echo their-secret\"\n}";
    let [first, second] = bodies(fireworks, declaration, "/v1/accounts/us/supervisedFineTuningJobs");
    assert_eq!((&first["baseModel"], &first["warmStartFrom"]), (&json!("some-model"), &Value::Null));
    assert_eq!((&second["baseModel"], &second["warmStartFrom"]), (&Value::Null, &first["outputModel"]));
}
