//! Killed at a bad moment, and two at once.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{Workspace, colours, colours_workspace};

/// Runs until a line of progress begins like this, then SIGKILLs. True if it came that far.
fn kill_at(workspace: &Workspace, wanted: &str) -> bool {
    let mut command = workspace.command(&["run", "p.kdl"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let reached = lines.map_while(Result::ok).any(|line| line.starts_with(wanted));
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    reached
}

#[test]
fn killed_in_each_stage_the_result_is_the_same() {
    let undisturbed = colours_workspace();
    undisturbed.run(&[], 0);
    let lock = undisturbed.read("p.lock.kdl");
    let moments = [
        "> rows (collect)",
        "> chat (prepare)",
        "> model (train)",
        "  model: ran",
        "> quality (generate-baseline)",
        "> quality (generate)",
        "> quality (verdict)",
        "> production (deploy)",
        "  production: ran",
    ];
    for moment in moments {
        let workspace = colours_workspace();
        assert!(kill_at(&workspace, moment), "never came to {moment}");
        workspace.run(&[], 0);
        assert_eq!(workspace.read("p.lock.kdl"), lock, "killed at {moment}");
        assert!(workspace.ran(&[]).is_empty(), "killed at {moment}, it is not settled after a run");
        let versions = workspace.read("deployments/colours.kdl").matches("version ").count();
        assert_eq!(versions, 1, "killed at {moment}");
    }
}

#[test]
fn killed_again_and_again_it_comes_to_its_end() {
    let workspace = colours_workspace();
    for moment in ["> rows", "> chat", "> model", "> quality (generate)", "> production"] {
        kill_at(&workspace, moment);
    }
    workspace.run(&[], 0);
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let workspace = colours_workspace();
    let start = || {
        let mut command = workspace.command(&["run", "p.kdl", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    for child in [start(), start()] {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut begun: Vec<String> = retune::ledger::runs(&workspace.path().join(".retune/runs"))
        .into_iter()
        .flat_map(|run| run.events)
        .filter_map(|event| match event {
            retune::ledger::Event::ActionStarted { stage, action, .. } => Some(format!("{stage} {action}")),
            _ => None,
        })
        .collect();
    begun.sort();
    let each = ["generate", "generate-baseline", "grade", "verdict"].map(|action| format!("quality {action}"));
    let others = ["chat prepare", "model train", "production deploy"].map(str::to_owned);
    assert_eq!(begun, others.into_iter().chain(each).chain(["rows collect".to_owned()]).collect::<Vec<_>>());
}

#[test]
fn a_clone_with_the_store_and_the_deployments_does_nothing() {
    let first = colours_workspace();
    first.run(&[], 0);
    let second = colours_workspace();
    for folder in [".retune", "deployments"] {
        let copied = std::process::Command::new("cp").arg("-r").args([first.path().join(folder), second.path().join(folder)]).status();
        assert!(copied.expect("cp starts").success());
    }
    assert!(second.ran(&[]).is_empty());
}

#[test]
fn the_losses_of_every_step_are_kept_and_the_best_checkpoint_counts() {
    let workspace = colours_workspace();
    workspace.write("data/rows.csv", colours(160));
    let summary = workspace.run(&[], 0);
    let metrics = &summary["stages"][2]["metrics"];
    assert_eq!(workspace.retune(&["get", "model", "p.kdl", "--to", "out"]).code, 0);
    let losses = workspace.read("out/losses");
    let rows: Vec<Vec<&str>> = losses.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(losses.lines().next(), Some("step,train_loss,valid_loss,full_valid_loss"));
    assert_eq!(rows.len() as f64, metrics["steps"].as_f64().expect("a count"));
    assert!(rows.iter().all(|row| row[1].parse::<f64>().is_ok() && row[2].parse::<f64>().is_ok()), "{losses}");
    let best = rows.iter().filter_map(|row| Some((row[3].parse::<f64>().ok()?, row[0].parse::<f64>().ok()?)));
    let (loss, step) = best.min_by(|a, b| a.0.total_cmp(&b.0)).expect("the whole was measured");
    assert!((loss - metrics["validation-loss"].as_f64().expect("a loss")).abs() < 1e-6);
    assert_eq!(step, metrics["best-step"].as_f64().expect("a step"));
}

#[test]
fn a_state_folder_that_cannot_be_made_is_said_and_nothing_is_written() {
    let workspace = colours_workspace();
    workspace.write(".retune", "not a folder");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("cannot use the workspace"), "{}", done.stderr);
    assert!(!workspace.path().join("p.lock.kdl").exists());
}

#[test]
fn a_killed_training_goes_on_from_its_checkpoint_and_makes_the_same_bytes() {
    let undisturbed = colours_workspace();
    undisturbed.run(&["--set", "epochs=4", "--set", "floor=0.0"], 0);
    let workspace = colours_workspace();
    for lora in ["", "lora rank=2"] {
        let text = common::PIPELINE.replace("batch-size 8\n", &format!("batch-size 8\n        {lora}\n"));
        workspace.write("p.kdl", text.replace("seed 3\n", "seed 3\n    checkpoints \"steps\" every=3\n"));
        let mut child = workspace
            .command(&["run", "p.kdl", "--set", "epochs=4", "--set", "floor=0.0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let kept = || {
            let all = walkdir::WalkDir::new(workspace.path().join(".retune/checkpoints")).into_iter().flatten();
            all.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("step-") && name != "step-3")).count()
        };
        while kept() == 0 {
            assert!(child.try_wait().expect("it is ours").is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let done = workspace.retune(&["run", "p.kdl", "--set", "epochs=4", "--set", "floor=0.0"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains("model: resumes from step "), "{}", done.stderr);
        if lora.is_empty() {
            assert_eq!(workspace.read("p.lock.kdl"), undisturbed.read("p.lock.kdl"));
        } else {
            let resumed = workspace.read("p.lock.kdl");
            assert!(workspace.retune(&["run", "p.kdl", "--set", "epochs=4", "--set", "floor=0.0", "--force", "model"]).code == 0);
            assert_eq!(workspace.read("p.lock.kdl"), resumed);
        }
        assert!(std::fs::read_dir(workspace.path().join(".retune/checkpoints")).is_ok_and(|mut left| left.next().is_none()));
    }
}
