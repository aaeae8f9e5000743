//! SIGKILL at any moment, many times, and many processes at once. `RETUNE_KILLS` and `RETUNE_PROCESSES` make it long (`just crash`).

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use common::{Workspace, ran};
use retune::ledger::{Event, runs};
use serde_json::Value;

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

const STAGES: usize = 24;

/// Stages of fan-in 2 that each take a moment, a folder among the outputs, and data that is collected and prepared.
fn graph(workspace: &Workspace, pause: &str) {
    let mut text = String::from("pipeline \"p\"\n");
    for stage in 0..STAGES {
        let inputs = if stage < 4 { vec!["in0".to_owned(), format!("in{}", stage % 3)] } else { vec![format!("d{}", stage - 4), format!("d{}", stage - 3)] };
        let read = inputs.iter().map(|input| if stage < 4 { input.clone() } else { format!("{input}/sum") }).collect::<Vec<_>>().join(" ");
        text += &format!("exec \"s{stage}\" {{\n    run \"{pause}mkdir d{stage}; cat {read} | tail -c 200 > d{stage}/sum; echo {stage} > d{stage}/name\"\n");
        inputs.iter().for_each(|input| text += &format!("    input \"{input}\"\n"));
        text += &format!("    output \"d{stage}\"\n}}\n");
    }
    text += "collect \"rows\" {\n    source \"rows.csv\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    deduplicate \"exact\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"{{ answer }}\"\n    }\n    split\n}\n";
    workspace.write("p.kdl", text);
    workspace.write("rows.csv", common::colours(400));
    for input in 0..3 {
        workspace.write(&format!("in{input}"), format!("{input}\n"));
    }
}

/// A stream of numbers that is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Every key whose result was stored, and that no stage was begun again after that.
fn nothing_twice(workspace: &Workspace) {
    let mut done: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut all = runs(&workspace.path().join(".retune/runs"));
    all.reverse();
    for run in all {
        let mut keys: BTreeMap<(String, String), String> = BTreeMap::new();
        for event in &run.events {
            match event {
                Event::ActionStarted { stage, action, key, .. } => {
                    let before = done.get(&(stage.clone(), action.clone()));
                    assert_ne!(before, Some(key), "{stage} was done again in {} after its result was stored", run.id);
                    keys.insert((stage.clone(), action.clone()), key.clone());
                }
                Event::ActionDone { stage, action, .. } => {
                    let place = (stage.clone(), action.clone());
                    done.extend(keys.get(&place).cloned().map(|key| (place, key)));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn killed_at_any_moment_the_next_run_ends_as_if_nothing_had_been() {
    let kills = setting("RETUNE_KILLS", 24);
    let undisturbed = Workspace::new();
    graph(&undisturbed, "");
    undisturbed.run(&[], 0);
    let lock = undisturbed.read("p.lock.kdl");
    let mut dice = Dice(7);
    let mut workspace = Workspace::new();
    for kill in 0..kills {
        if kill % 4 == 0 {
            workspace = Workspace::new();
            graph(&workspace, "");
        }
        let mut child = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_micros(500 + dice.below(60_000)));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(workspace.retune(&["cache", "verify"]).code, 0, "kill {kill}: every object is what its name says");
        if kill % 4 == 3 {
            workspace.run(&[], 0);
            assert_eq!(workspace.read("p.lock.kdl"), lock, "kill {kill}");
            assert!(workspace.ran(&[]).is_empty(), "kill {kill}: it is not settled");
            nothing_twice(&workspace);
            // What a dead run left is cleared away by the next that does anything.
            workspace.run(&["--force", "s0"], 0);
            let left = std::fs::read_dir(workspace.path().join(".retune/tmp")).expect("it is there").flatten();
            let left: Vec<_> = left.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            assert!(left.is_empty(), "kill {kill}: {left:?}");
        }
    }
}

#[test]
fn many_processes_at_once_do_each_stage_once() {
    let most = setting("RETUNE_PROCESSES", 8);
    let mut processes = 2;
    while processes <= most {
        let workspace = Workspace::new();
        graph(&workspace, "sleep 0.01; ");
        // A second pipeline in the same workspace, which shares a stage with the first under another name.
        workspace.write(
            "q.kdl",
            "pipeline \"q\"\nexec \"same\" {\n    run \"echo q > q.txt; sleep 0.05\"\n    output \"q.txt\"\n}\nexec \"more\" {\n    run \"cat q.txt q.txt > r.txt\"\n    input \"q.txt\"\n    output \"r.txt\"\n}\n",
        );
        let start = |number: usize| {
            let pipeline = if number % 4 == 3 { "q.kdl" } else { "p.kdl" };
            workspace.command(&["run", pipeline, "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        };
        let children: Vec<_> = (0..processes).map(start).collect();
        // Who only reads never waits, and sees something whole.
        for _ in 0..3 {
            assert_eq!(workspace.retune(&["plan", "p.kdl", "--json"]).code, 0);
            assert_eq!(workspace.retune(&["runs"]).code, 0);
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{processes} at once: {}", String::from_utf8_lossy(&output.stderr));
            for stage in ran(&serde_json::from_slice::<Value>(&output.stdout).expect("it prints JSON")) {
                *counts.entry(stage).or_default() += 1;
            }
        }
        let wanted = STAGES + 2 + if processes > 3 { 2 } else { 0 };
        assert_eq!(counts.len(), wanted, "{processes} at once");
        assert!(counts.values().all(|&count| count == 1), "{processes} at once: {counts:?}");
        assert!(workspace.ran(&[]).is_empty());
        processes *= 2;
    }
}
