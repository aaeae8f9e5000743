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
