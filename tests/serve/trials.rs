//! Versions that are tried beside others: canaries that pass and that go back by themselves, shadows, and what users say.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::common::Workspace;
use crate::gateway::{Gateway, json_of, question, said};
use crate::upstream::{Provider, World};

/// A provider with the models `ft:a` and `ft:b`, and an alias whose second version is tried.
async fn tried(trial: &str, world: World) -> (Provider, Workspace, Gateway) {
    let provider = Provider::start(world).await;
    let workspace = provider.workspace("");
    let text = workspace.read("deployments/front.kdl").replace("current 1\n", &format!("current 1\n{trial}\n"));
    let second = text[text.find("version 1").expect("a version")..].replace("version 1", "version 2").replace("ft:a", "ft:b");
    workspace.write("deployments/front.kdl", format!("{text}\n{second}"));
    let gateway = provider.gateway(&workspace, &[]);
    (provider, workspace, gateway)
}

const CANARY: &str = "canary 2 percent=50.0 errors=0.1 slower=4.0 worse=0.1 confidence=0.9 answers=100000";

/// Asks until the alias has no trial any more. How often each model answered, by whether it was a success.
async fn ask(gateway: &Gateway, workspace: &Workspace) -> Vec<(u16, Value)> {
    let mut all = Vec::new();
    while workspace.read("deployments/front.kdl").contains("\ncanary ") {
        assert!(all.len() < 5000, "nothing is decided");
        let asked = (0..20).map(|at| gateway.chat(question("front", &format!("question {at}"))));
        all.extend(futures_util::future::join_all(asked).await);
    }
    all
}

fn current(workspace: &Workspace) -> String {
    workspace.read("deployments/front.kdl").lines().find_map(|line| line.strip_prefix("current ").map(str::to_owned)).expect("a version")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_goes_back_by_itself() {
    let (_provider, workspace, gateway) = tried(CANARY, World { ill: Some("ft:b"), ..World::default() }).await;
    let all = ask(&gateway, &workspace).await;
    let failed = all.iter().filter(|(status, _)| *status == 500).count();
    assert!((10..200).contains(&failed), "{failed} of {} failed", all.len());
    assert!(all.iter().all(|(status, reply)| *status == 500 || reply["model"] == "ft:a"));
    let text = workspace.read("deployments/front.kdl");
    assert_eq!(current(&workspace), "1");
    assert!(text.contains("rolled-back") && text.contains("why \"errors +"), "{text}");
    let deployments = workspace.retune(&["deployments"]);
    assert!(deployments.stdout.contains("version 2 of `front` went back: errors +"), "{}", deployments.stdout);
    let (status, reply) = gateway.chat(question("front", "after that")).await;
    assert_eq!((status, &reply["model"]), (200, &json!("ft:a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_becomes_the_current_version() {
    let (_provider, workspace, gateway) = tried(CANARY, World::default()).await;
    let all = ask(&gateway, &workspace).await;
    let new = all.iter().filter(|(_, reply)| reply["model"] == "ft:b").count();
    assert!(all.iter().all(|(status, _)| *status == 200) && new * 4 > all.len() && new * 4 < all.len() * 3, "{new} of {}", all.len());
    assert_eq!(current(&workspace), "2");
    assert_eq!(gateway.chat(question("front", "after that")).await.1["model"], "ft:b");
    assert_eq!(gateway.chat(question("front@1", "the one before")).await.1["model"], "ft:a", "a version is asked by its number still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_counted_on_when_the_gateway_was_stopped_between() {
    let (provider, workspace, gateway) = tried(CANARY, World::default()).await;
    futures_util::future::join_all((0..20).map(|_| gateway.chat(question("front", "x")))).await;
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.wait(), Some(0));
    let folder = std::fs::read_dir(workspace.path().join(".retune/serve/trials")).expect("a folder");
    let files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1);
    let kept: Value = serde_json::from_slice(&std::fs::read(&files[0]).expect("it is there")).expect("JSON");
    assert_eq!(kept["current"]["errors"]["count"].as_u64().zip(kept["tried"]["errors"]["count"].as_u64()).map(|(a, b)| a + b), Some(20));
    let gateway = provider.gateway(&workspace, &[]);
    ask(&gateway, &workspace).await;
    assert_eq!(current(&workspace), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_say_counts() {
    let (_provider, workspace, gateway) = tried(CANARY, World::default()).await;
    let client = reqwest::Client::new();
    let feedback = |id: String, score: f64| json_of(client.post(gateway.url("/v1/feedback")).json(&json!({ "id": id, "score": score })));
    let mut asked = 0;
    while workspace.read("deployments/front.kdl").contains("\ncanary ") {
        asked += 1;
        assert!(asked < 2000, "nothing is decided");
        let reply = gateway.post(&question("front", "x")).send().await.expect("it answers");
        let id = reply.headers()["x-request-id"].to_str().expect("a name").to_owned();
        let reply: Value = serde_json::from_slice(&reply.bytes().await.expect("a body")).expect("JSON");
        let score = if reply["model"] == "ft:b" { 0.0 } else { 1.0 };
        if feedback(id.clone(), score).await.0 == 400 {
            let is_open = workspace.read("deployments/front.kdl").contains("\ncanary ");
            assert!(!is_open, "only an answer that came after the decision has no trial to be graded for");
            break;
        }
        assert_eq!(feedback(id, score).await.0, 400, "an answer is graded once");
    }
    assert_eq!(feedback("nobody".into(), 2.0).await.0, 400);
    assert_eq!(current(&workspace), "1");
    assert!(workspace.read("deployments/front.kdl").contains("why \"scores -"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_takes_longer_goes_back_also_where_it_streams() {
    let (_provider, workspace, gateway) = tried(&CANARY.replace("slower=4.0", "slower=2.0"), World { slow: Some("ft:b"), ..World::default() }).await;
    let streamed = || async {
        let mut body = question("front", "x");
        body["stream"] = json!(true);
        gateway.post(&body).send().await.expect("it answers").bytes().await.expect("all of it")
    };
    let mut asked = 0;
    while workspace.read("deployments/front.kdl").contains("\ncanary ") {
        asked += 20;
        assert!(asked < 2000, "nothing is decided");
        futures_util::future::join_all((0..20).map(|_| streamed())).await;
    }
    let text = workspace.read("deployments/front.kdl");
    assert!(current(&workspace) == "1" && text.contains("why \"answers take"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_trial_begins_anew_and_one_whose_graders_are_not_known_is_not_taken() {
    let (_provider, workspace, gateway) = tried(&format!("{CANARY} graders=\"0123456789ab\""), World::default()).await;
    for _ in 0..30 {
        futures_util::future::join_all((0..20).map(|_| gateway.chat(question("front", "x")))).await;
    }
    assert_eq!(current(&workspace), "1", "errors and times are good enough, and grades are wanted");
    workspace.write("deployments/front.kdl", workspace.read("deployments/front.kdl").replace(" graders=\"0123456789ab\"", ""));
    assert_eq!(gateway.chat(question("front", "x")).await.0, 200);
    assert_eq!(current(&workspace), "1", "what was observed before is of another trial");
    ask(&gateway, &workspace).await;
    assert_eq!(current(&workspace), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_asked_the_same_and_nobody_hears_it() {
    let (provider, workspace, gateway) = tried("shadow 2 percent=100.0", World { ill: Some("ft:none"), ..World::default() }).await;
    for at in 0..30 {
        let (status, reply) = gateway.chat(question("front", &format!("question {at}"))).await;
        assert_eq!((status, &reply["model"], said(&reply)), (200, &json!("ft:a"), format!("question {at}").as_str()));
    }
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.wait(), Some(0));
    let asked: Mutex<_> = Mutex::new(provider.world.asked.lock().expect("it is whole").iter().filter(|(_, body)| body["model"] == "ft:b").count());
    assert!(*asked.lock().expect("it is whole") >= 29, "all were copied, but for one that the end may have cut off");
    assert_eq!(current(&workspace), "1");
    let told = workspace.retune(&["deployments"]).stdout;
    assert!(told.contains("shadow 100 %") && told.contains("% of ") && told.contains("answers were the same"), "{told}");
    assert_eq!(workspace.retune(&["rollback", "front"]).code, 0);
    let text = workspace.read("deployments/front.kdl");
    assert!(!text.contains("\nshadow ") && text.contains("rolled-back"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_are_logged_only_where_that_is_wanted() {
    let provider = Provider::start(World::default()).await;
    for (more, wanted) in [(&["--log", "requests.jsonl"][..], false), (&["--log", "requests.jsonl", "--log-contents"][..], true)] {
        let workspace = provider.workspace("");
        let gateway = provider.gateway(&workspace, more);
        gateway.chat(question("front", "a secret thing")).await;
        gateway.signal(rustix::process::Signal::TERM);
        gateway.wait();
        let line: Value = serde_json::from_str(workspace.read("requests.jsonl").trim()).expect("a line");
        let said = wanted.then_some("a secret thing");
        assert_eq!((line["answer"].as_str(), line["request"]["messages"][0]["content"].as_str()), (said, said));
    }
}
