use serde_json::{Value, json};

use crate::common::{colours_workspace, workspace};
use crate::gateway::{Gateway, json_of, parts, question, said};

const TINY: &str = "builtin:tiny";

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole() {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &[]);
    let (status, models) = json_of(gateway.get("/v1/models")).await;
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!(TINY)));
    assert_eq!(json_of(gateway.get("/v1/models/builtin:tiny")).await.1["object"], "model");
    let (status, whole) = gateway.chat(question(TINY, "my card was stolen")).await;
    assert_eq!((status, &whole["object"], &whole["model"]), (200, &json!("chat.completion"), &json!(TINY)), "{whole}");
    let used = whole["usage"]["completion_tokens"].as_u64().expect("a number");
    assert!(used > 0 && whole["usage"]["total_tokens"].as_u64() > Some(used));
    let mut body = question(TINY, "my card was stolen");
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let parts = parts(gateway.post(&body)).await;
    assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = parts.iter().filter_map(|part| part["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, said(&whole));
    let reasons: Vec<&Value> = parts.iter().map(|part| &part["choices"][0]["finish_reason"]).filter(|reason| !reason.is_null()).collect();
    assert_eq!(reasons, [&whole["choices"][0]["finish_reason"]]);
    assert_eq!(parts.last().expect("there are parts")["usage"], whole["usage"]);
    assert!(parts.iter().all(|part| part["id"] == parts[0]["id"] && part["object"] == "chat.completion.chunk"));
}

#[tokio::test]
async fn settings_change_the_answer_as_they_say() {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &[]);
    let ask = |more: Value| {
        let mut body = question(TINY, &"a b ".repeat(20));
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        gateway.chat(body)
    };
    let (_, plain) = ask(json!({})).await;
    let whole = said(&plain).to_owned();
    let (_, short) = ask(json!({ "max_completion_tokens": 2 })).await;
    assert_eq!((&short["choices"][0]["finish_reason"], &short["usage"]["completion_tokens"]), (&json!("length"), &json!(2)));
    assert!(whole.starts_with(said(&short)) && whole.len() > 4, "{whole}");
    let stop: String = whole.chars().skip(2).take(3).collect();
    let (_, stopped) = ask(json!({ "stop": [stop] })).await;
    assert_eq!((&stopped["choices"][0]["finish_reason"], said(&stopped)), (&json!("stop"), &whole[..whole.find(&stop).expect("it is in it")]));
    let (_, seeded) = ask(json!({ "temperature": 2, "seed": 5, "n": 3, "logprobs": true, "top_logprobs": 2 })).await;
    let (_, again) = ask(json!({ "temperature": 2, "seed": 5, "n": 3, "logprobs": true, "top_logprobs": 2 })).await;
    assert_eq!(seeded["choices"], again["choices"], "a seed gives the same answers");
    let choices = seeded["choices"].as_array().expect("choices");
    assert_eq!(choices.len(), 3);
    assert!(choices[0]["message"]["content"] != choices[1]["message"]["content"] || choices[1]["message"]["content"] != choices[2]["message"]["content"]);
    let tokens = choices[0]["logprobs"]["content"].as_array().expect("tokens");
    assert!(tokens.iter().all(|token| token["logprob"].as_f64() <= Some(0.0) && token["top_logprobs"].as_array().map(Vec::len) == Some(2)));
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_and_says_why() {
    let workspace = workspace("");
    let gateway = Gateway::start(&workspace, &["--largest", "20000"]);
    let with = |field: &str, value: Value| {
        let mut body = question(TINY, "hello");
        body[field] = value;
        body
    };
    for (body, status, word) in [
        (question("nobody", "hello"), 404, "no model `nobody`"),
        (question("../../etc/passwd", "hello"), 404, "no model"),
        (question("builtin:tiny@2", "hello"), 404, "no model"),
        (question(TINY, ""), 400, "has no text"),
        (with("messages", json!([])), 400, "at least one"),
        (with("messages", json!([{ "role": "judge", "content": "x" }])), 400, "`judge`"),
        (with("messages", json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }])), 400, "image_url"),
        (with("model", Value::Null), 400, "`model`"),
        (with("temperature", json!(3)), 400, "`temperature`"),
        (with("temperature", json!("warm")), 400, "invalid type"),
        (with("n", json!(0)), 400, "`n`"),
        (with("stop", json!([""])), 400, "`stop`"),
        (with("top_logprobs", json!(2)), 400, "`logprobs`"),
        (with("tools", json!([{ "type": "function" }])), 400, "`tools`"),
        (with("response_format", json!({ "type": "json_schema", "json_schema": { "name": "a" } })), 400, "`response_format`"),
        (with("max_tokens", json!(0)), 200, ""),
        (with("max_completion_tokens", json!(0)), 400, "at least 1"),
        (question(TINY, &"a b ".repeat(4000)), 400, "more tokens than"),
        (question(TINY, &"etaoin".repeat(1500)), 400, "more tokens than"),
        (with("messages", json!([{ "role": "assistant", "content": { "a": 1 } }])), 400, "`content`"),
        (with("messages", json!([{ "role": "assistant", "content": null, "tool_calls": [] }])), 400, "`tool_calls`"),
        (question(TINY, &"long ".repeat(5000)), 413, "20000 bytes"),
    ] {
        let (found, reply) = gateway.chat(body).await;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(found == status && message.contains(word), "{status} {word}: {found} {reply}");
    }
    let (status, reply) = json_of(gateway.post(&json!(null)).body("{\"model\":")).await;
    assert!(status == 400 && reply["error"]["message"].as_str().is_some_and(|message| message.contains("no JSON")), "{reply}");
    assert_eq!(json_of(gateway.get("/v1/chat/completions")).await.0, 405);
    assert_eq!(json_of(gateway.get("/v1/nothing")).await.1["error"]["code"], "unknown_url");
    assert_eq!(gateway.chat(question(TINY, "hello")).await.0, 200, "and goes on");
}

#[tokio::test]
async fn an_answer_that_is_to_be_json_is_an_object() {
    let gateway = Gateway::start(&workspace(""), &[]);
    let mut whole = 0;
    for seed in 0..16 {
        let mut body = question(TINY, "where is my card");
        body["response_format"] = json!({ "type": "json_object" });
        // So freely that what is open is closed soon.
        (body["seed"], body["temperature"], body["max_tokens"]) = (json!(seed), json!(2), json!(200));
        let (status, reply) = gateway.chat(body).await;
        assert_eq!(status, 200, "{reply}");
        let is_object = serde_json::from_str::<Value>(said(&reply)).is_ok_and(|value| value.is_object());
        assert_eq!(is_object, reply["choices"][0]["finish_reason"] == "stop", "{reply}");
        whole += u32::from(is_object);
    }
    assert!(whole > 0, "some are whole before the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_answers_as_the_model_that_was_judged_and_goes_back_without_a_restart() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "quality", "p.kdl", "--to", "first"]).code, 0);
    workspace.run(&["--set", "epochs=3"], 0);
    assert_eq!(workspace.retune(&["get", "quality", "p.kdl", "--to", "second", "--set", "epochs=3"]).code, 0);
    let gateway = Gateway::start(&workspace, &[]);
    let asked = |model: &'static str, folder: &'static str| {
        let rows: Vec<Value> = workspace.read(&format!("{folder}/scores")).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(rows.len() > 10);
        let gateway = &gateway;
        async move {
            for row in rows {
                let mut body = question(model, row["asked"].as_str().expect("a question"));
                body["messages"].as_array_mut().expect("a list").insert(0, json!({ "role": "system", "content": "Name the colour." }));
                let (status, reply) = gateway.chat(body).await;
                assert_eq!((status, said(&reply)), (200, row["answer"].as_str().expect("an answer")), "{row}");
            }
        }
    };
    asked("colours", "second").await;
    asked("colours@1", "first").await;
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 0);
    asked("colours", "first").await;
    asked("colours@2", "second").await;
    let metrics = gateway.get("/metrics").send().await.expect("it answers").text().await.expect("text");
    assert!(metrics.contains("retune_requests_total{model=\"colours\",status=\"200\",end=\"whole\"}"), "{metrics}");
}

#[tokio::test]
async fn a_version_of_an_alias_is_a_baseline_by_the_gateway() {
    let workspace = colours_workspace();
    workspace.run(&["--set", "epochs=1", "--set", "floor=0.0"], 0);
    let gateway = Gateway::start(&workspace, &[]);
    let provider =
        format!("provider \"gateway\" {{\n    api \"openai-compatible\"\n    base-url \"{}\"\n    key (secret)\"GATE_KEY\"\n}}\n", gateway.url("/v1"));
    let text = workspace.read("p.kdl").replace("    baseline (param)\"base\"\n", "    baseline \"colours@1\"\n    provider \"gateway\"\n");
    workspace.write("p.kdl", text + &provider);
    let run = |arguments: &[&str]| {
        let done =
            workspace.command(&[&["run", "p.kdl", "--json", "--set", "epochs=3"], arguments].concat()).env("GATE_KEY", "none").output().expect("it runs");
        serde_json::from_slice::<Value>(&done.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)))
    };
    let before = run(&[]);
    let judged = |summary: &Value| summary["stages"].as_array().expect("a list").iter().find(|stage| stage["name"] == "quality").expect("it is there").clone();
    let metrics = &judged(&before)["metrics"];
    let figure = |name: &str| metrics[name].as_f64().unwrap_or_else(|| panic!("{name}: {before}"));
    assert!((figure("accuracy") - figure("baseline.accuracy") - figure("accuracy.gain")).abs() < 1e-9);
    // It is deployed now, and what it was compared with is the version before still.
    assert!(workspace.read("deployments/colours.kdl").contains("current 2\n"));
    assert_eq!(judged(&run(&[]))["status"], "cached");
    let (_, told) = gateway.chat(question("colours@1", "the car number 1 is yellow")).await;
    assert!(!said(&told).is_empty());
}
