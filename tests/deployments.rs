//! Aliases and their versions.

mod common;

use common::{PIPELINE, colours_workspace};

fn current(workspace: &common::Workspace) -> String {
    let text = workspace.read("deployments/colours.kdl");
    text.lines().find_map(|line| line.strip_prefix("current ")).expect("there is a current version").to_owned()
}

#[test]
fn a_model_that_was_rolled_back_stays_so_whatever_the_gates() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    workspace.run(&["--set", "epochs=3"], 0);
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 0);
    assert_eq!(workspace.ran(&["--set", "epochs=3", "--set", "floor=0.45"]), ["quality"]);
    assert_eq!(current(&workspace), "1");
    workspace.run(&["--set", "epochs=3", "--force", "production"], 0);
    assert_eq!(current(&workspace), "3", "unless it is asked for");
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 0);
    assert_eq!(current(&workspace), "1", "version 2 was rolled back itself");
}

fn deploy_with(workspace: &common::Workspace, lines: &str) {
    let text = workspace.read("p.kdl");
    assert_eq!(text.matches("    alias \"colours\"\n").count(), 1);
    workspace.write("p.kdl", text.replace("    alias \"colours\"\n", &format!("    alias \"colours\"\n{lines}")));
}

#[test]
fn an_alias_is_asked_after_the_switch_and_each_version_has_a_card() {
    let workspace = colours_workspace();
    deploy_with(
        &workspace,
        "    live-check questions=4 agreement=1.0\n    card {\n        intended-use \"Names colours | hues\"\n        limits \"No shades\"\n        license \"MIT\"\n    }\n",
    );
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 0 && done.stderr.contains("answers as it was judged: 4 of 4"), "{}", done.stderr);
    assert!(workspace.read("deployments/colours.kdl").contains("live-check \"passed\""));
    let card = workspace.read("deployments/colours-1.md");
    let wanted = ["# colours, version 1", "- Names colours | hues", "## Data", "| method.epochs | 2 |", "| accuracy at least 0.5 | pass |", "| accuracy | "];
    for text in wanted {
        assert!(card.contains(text), "{text:?} is not in:\n{card}");
    }
    assert!(workspace.ran(&[]).is_empty());
    std::fs::remove_file(workspace.path().join("deployments/colours-1.md")).expect("it is there");
    assert_eq!(workspace.ran(&[]), ["production"], "a card that is gone is written again");
    assert_eq!((current(&workspace), workspace.read("deployments/colours-1.md")), ("1".to_owned(), card));
    // A check that a kill left open is made by the next run.
    let text = workspace.read("deployments/colours.kdl");
    workspace.write("deployments/colours.kdl", text.replace("live-check \"passed\"", "live-check \"open\""));
    assert_eq!(workspace.ran(&[]), ["production"]);
    assert_eq!(workspace.read("deployments/colours.kdl"), text);
}

#[test]
fn a_verdict_on_another_model_deploys_nothing() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", text.replace("    grader \"exact-match\"\n", "    grader \"exact-match\"\n    frozen\n"));
    let done = workspace.retune(&["run", "p.kdl", "--set", "epochs=3"]);
    assert!(done.code == 1 && done.stderr.contains("stage::stale_verdict"), "{}", done.stderr);
    assert_eq!(current(&workspace), "1");
}

#[test]
fn what_cannot_be_checked_live_is_an_error() {
    for (from, to, wanted) in [
        ("    requires \"quality\"\n", "    live-check\n", "no answers that could be compared"),
        ("    alias \"colours\"\n", "    alias \"colours\"\n    live-check provider=\"local\"\n", "aliases are known to servers only"),
        ("    grader \"exact-match\"\n", "    grader \"exact-match\"\n    generate temperature=1\n", "draws its answers"),
    ] {
        let workspace = colours_workspace();
        if to.contains("temperature") {
            deploy_with(&workspace, "    live-check\n");
        }
        workspace.write("p.kdl", workspace.read("p.kdl").replacen(from, to, 1));
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
}

#[test]
fn targets_say_what_the_alias_stands_for_and_go_back_with_it() {
    let workspace = colours_workspace();
    let targets = "    target \"deploy/model.env\"\n    target \"deploy/model.json\"\n    target \"deploy/model.kdl\"\n";
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    alias \"colours\"\n", &format!("    alias \"colours\"\n{targets}")));
    workspace.write("deploy/model.json", "{\"mine\": true}\n");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("deploy/model.json") && workspace.read("deploy/model.json").contains("mine"), "{}", done.stderr);
    std::fs::remove_file(workspace.path().join("deploy/model.json")).expect("it is there");
    workspace.run(&[], 0);
    let shell = || {
        let line = ". deploy/model.env; echo $RETUNE_ALIAS $RETUNE_VERSION $RETUNE_PROVIDER $RETUNE_MODEL $RETUNE_BASE";
        let done = std::process::Command::new("sh").args(["-c", line]).current_dir(workspace.path()).output().expect("it starts");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(shell(), "colours 1 local weights builtin:tiny");
    let json = || serde_json::from_str::<serde_json::Value>(&workspace.read("deploy/model.json")).expect("JSON");
    assert_eq!((&json()["version"], &json()["artifact"].as_str().map(str::len)), (&"1".into(), &Some(64)));
    assert!(workspace.read("deploy/model.kdl").contains("alias \"colours\"\nversion \"1\"\n"));
    assert!(workspace.ran(&[]).is_empty());
    workspace.run(&["--set", "epochs=3"], 0);
    assert_eq!(json()["version"], "2");
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 0);
    assert_eq!((shell(), &json()["version"]), ("colours 1 local weights builtin:tiny".to_owned(), &"1".into()));
    // What somebody took away comes back, and is no new version.
    std::fs::remove_file(workspace.path().join("deploy/model.env")).expect("it is there");
    assert_eq!(workspace.ran(&[]), ["production"]);
    assert_eq!((current(&workspace), shell()), ("1".to_owned(), "colours 1 local weights builtin:tiny".to_owned()));
    for (path, wanted) in [("model.yaml", "how `model.yaml` is to be written is not known"), ("../x.env", "outside"), ("deployments/x.env", "deployments")] {
        workspace.write("q.kdl", workspace.read("p.kdl").replace("deploy/model.env", path));
        let done = workspace.retune(&["check", "q.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{path}: {}", done.stderr);
    }
}

#[test]
fn pipelines_that_share_an_alias_lose_no_version() {
    let workspace = colours_workspace();
    let names = ["a.kdl", "b.kdl", "c.kdl"];
    for (name, seed) in names.iter().zip(10..) {
        workspace.write(name, PIPELINE.replace("epochs 2", "epochs 1").replace("seed 3", &format!("seed {seed}")).replace("floor 0.5", "floor 0.0"));
        assert_eq!(workspace.retune(&["run", name, "model", "quality"]).code, 0);
    }
    let children = names.map(|name| workspace.command(&["run", name]).stdout(std::process::Stdio::null()).spawn().expect("it starts"));
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(workspace.read("deployments/colours.kdl").matches("\nversion ").count(), 3);
}

#[test]
fn two_runs_of_different_stages_keep_each_other_in_the_lock_file() {
    let workspace = common::Workspace::new();
    // Each waits until the other has begun, so that both runs are under way when either ends.
    let stage = |name: &str, other: &str| {
        let root = workspace.path().display();
        format!(
            "exec \"{name}\" {{\n    run \"touch {root}/{name}.began; until test -e {root}/{other}.began; do :; done; echo {name} > {name}\"\n    output \"{name}\"\n}}\n"
        )
    };
    workspace.write("p.kdl", format!("pipeline \"p\"\n{}{}", stage("one", "two"), stage("two", "one")));
    let children = ["one", "two"].map(|name| workspace.command(&["run", "p.kdl", name]).stdout(std::process::Stdio::null()).spawn().expect("it starts"));
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(workspace.retune(&["run", "p.kdl", "--locked"]).code, 0);
}
