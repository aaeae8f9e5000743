//! What runs again after a change, and what does not.

mod common;

use common::{PIPELINE, Workspace, colours, colours_workspace, ran};

#[test]
fn what_changed_already_is_told_before_the_rest_is_known() {
    let workspace = Workspace::new();
    let stages = |command: &str| {
        format!(
            "pipeline \"p\"\nexec \"a\" {{\n    run \"cat in > mid\"\n    input \"in\"\n    output \"mid\"\n}}\nexec \"b\" {{\n    run \"{command}\"\n    input \"mid\"\n    output \"out\"\n}}\n"
        )
    };
    workspace.write("in", "1\n");
    workspace.write("p.kdl", stages("cat mid > out"));
    workspace.run(&[], 0);
    workspace.write("in", "2\n");
    workspace.write("p.kdl", stages("cat mid mid > out"));
    for arguments in [&["plan", "p.kdl"][..], &["why", "b", "p.kdl"]] {
        let told = workspace.retune(arguments).stdout;
        assert!(told.contains("settings.run") && told.contains("(p.kdl:8)") && told.contains("decided once `a` is done"), "{told}");
    }
}

#[test]
fn only_what_must_run_runs() {
    let workspace = colours_workspace();
    assert_eq!(workspace.ran(&[]), ["rows", "chat", "model", "quality", "production"]);
    let lock = workspace.read("p.lock.kdl");

    assert!(workspace.ran(&[]).is_empty(), "nothing changed");
    workspace.write("p.kdl", format!("// a comment\n\n\n{PIPELINE}"));
    assert!(workspace.ran(&[]).is_empty(), "a comment and blank lines");
    let (collect, rest) = PIPELINE.split_at(PIPELINE.find("prepare").expect("it is there"));
    let (head, collect) = collect.split_at(collect.find("collect").expect("it is there"));
    workspace.write("p.kdl", format!("{head}{rest}{collect}"));
    assert!(workspace.ran(&[]).is_empty(), "stages in another order");
    workspace.write("p.kdl", PIPELINE);
    workspace.write("data/rows.csv", colours(160));
    assert!(workspace.ran(&[]).is_empty(), "a file written again");
    workspace.write("data/rows.csv", colours(160).replace('\n', "\r\n"));
    assert!(workspace.ran(&[]).is_empty(), "other line endings");

    let repeated = colours(160) + colours(1).lines().last().expect("a row") + "\n";
    workspace.write("data/rows.csv", &repeated);
    assert_eq!(workspace.ran(&[]), ["rows", "chat"], "a repeated row");
    workspace.write("data/rows.csv", colours(160));
    assert!(workspace.ran(&[]).is_empty(), "back to what was");
    assert_eq!(workspace.read("p.lock.kdl"), lock);

    assert_eq!(workspace.ran(&["--set", "floor=0.4"]), ["quality"], "another gate: no question is asked again, and the same model is not deployed again");
    let events = workspace.retune(&["log", "quality", "p.kdl"]);
    assert_eq!(events.code, 0);
}

#[test]
fn why_names_the_field_and_the_file() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    workspace.write("p.kdl", PIPELINE.replace("epochs 2", "epochs 3"));
    let why = workspace.retune(&["why", "model", "p.kdl"]);
    assert!(why.stdout.contains("settings.method.epochs: 2 -> 3 (p.kdl:"), "{}", why.stdout);
    workspace.write("p.kdl", PIPELINE);
    workspace.write("data/rows.csv", colours(161));
    let why = workspace.retune(&["why", "rows", "p.kdl"]);
    assert!(why.stdout.contains("inputs.data/rows.csv: "), "{}", why.stdout);
    assert!(workspace.retune(&["why", "model", "p.kdl"]).stdout.contains("decided once `chat` is done"));
}

#[test]
fn a_gate_that_says_no_stops_the_deployment() {
    let workspace = colours_workspace();
    workspace.write("data/rows.csv", colours(60));
    let gated = workspace.run(&["--set", "floor=1.0", "--set", "epochs=1"], 3);
    assert_eq!(gated["status"], "gated");
    assert_eq!(gated["stages"][4]["status"], "skipped");
    assert!(!workspace.path().join("deployments").exists());
    let again = workspace.run(&["--set", "floor=1.0", "--set", "epochs=1"], 3);
    assert!(ran(&again).is_empty(), "the verdict is remembered");
    workspace.run(&["--set", "floor=1.0", "--set", "epochs=1", "--locked"], 3);
    let status = workspace.retune(&["status", "p.kdl", "--set", "floor=1.0", "--set", "epochs=1"]).stdout;
    assert!(status.contains("gated") && status.contains("the gates of `quality` say no"), "{status}");
}

#[test]
fn the_same_inputs_give_the_same_bytes_with_any_number_of_threads() {
    let locks = ["1", "2", "3"].map(|threads| {
        let workspace = colours_workspace();
        let done = workspace.command(&["run", "p.kdl"]).env("RAYON_NUM_THREADS", threads).output().expect("it starts");
        assert!(done.status.success());
        workspace.read("p.lock.kdl")
    });
    assert_eq!(locks[0], locks[1]);
    assert_eq!(locks[0], locks[2]);
}

#[test]
fn rolling_back_works_and_a_run_keeps_to_it() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    workspace.run(&["--set", "epochs=3"], 0);
    let back = workspace.retune(&["rollback", "colours"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert!(workspace.read("deployments/colours.kdl").contains("current 1"));
    let kept = workspace.run(&["--set", "epochs=3"], 0);
    assert!(ran(&kept).is_empty());
    assert!(workspace.read("deployments/colours.kdl").contains("current 1"));
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 2, "there is nothing before version 1");
    assert_eq!(workspace.retune(&["rollback", "colors"]).code, 2);
}

#[test]
fn locked_fails_where_something_would_be_made_again() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    workspace.run(&["--locked"], 0);
    let stale = workspace.retune(&["run", "p.kdl", "--locked", "--set", "epochs=4"]);
    assert_eq!(stale.code, 4);
    assert!(stale.stderr.contains("model"), "{}", stale.stderr);
}

#[test]
fn a_store_moved_to_another_path_serves_there() {
    let first = colours_workspace();
    first.run(&[], 0);
    let second = colours_workspace();
    let copied = std::process::Command::new("cp").arg("-r").args([first.path().join(".retune"), second.path().join(".retune")]).status();
    assert!(copied.expect("cp starts").success());
    assert!(second.ran(&[]).is_empty());
    assert!(second.read("deployments/colours.kdl").contains("current 1"), "the deployment is brought back as the store remembers it");
    assert_eq!(first.read("p.lock.kdl"), second.read("p.lock.kdl"));
}

#[test]
fn a_corrupt_object_is_found_and_made_again() {
    let workspace = Workspace::new();
    workspace.write("in.txt", "one\n");
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"a\" {\n    run \"cat in.txt > mid.txt\"\n    input \"in.txt\"\n    output \"mid.txt\"\n}\nexec \"b\" {\n    run \"cat mid.txt mid.txt > out.txt\"\n    input \"mid.txt\"\n    output \"out.txt\"\n}\n");
    workspace.run(&[], 0);
    let mid = retune::fingerprint::Digest::of(b"one\n").to_string();
    workspace.write(&format!(".retune/cas/{}/{}", &mid[..2], &mid[2..]), "two\n");
    std::fs::remove_file(workspace.path().join("mid.txt")).expect("it is there");
    let summary = workspace.run(&[], 0);
    assert_eq!(summary["status"], "ok");
    assert_eq!(workspace.read("mid.txt"), "one\n");
    assert_eq!(workspace.read("out.txt"), "one\none\n");
}

#[test]
fn what_is_done_by_force_is_done_from_nothing_and_what_never_ended_stays_resumable() {
    let workspace = Workspace::new();
    let stepping = "exec \"x\" {\n    run \"if [ -f steps/1 ]; then echo resumed > o; else echo half > steps/1; exit 3; fi\"\n    output \"o\"\n    checkpoints \"steps\"\n}\n";
    let other = "exec \"y\" {\n    run \"cat seed > y\"\n    input \"seed\"\n    output \"y\"\n}\n";
    workspace.write("p.kdl", format!("pipeline \"p\"\n{stepping}{other}"));
    workspace.write("seed", "0");
    workspace.run(&["x"], 1);
    for seed in 1..4 {
        workspace.write("seed", seed.to_string());
        workspace.run(&["y"], 0);
    }
    assert_eq!(workspace.retune(&["cache", "gc", "--keep-runs", "1"]).code, 0);
    workspace.run(&["x"], 0);
    assert_eq!(workspace.read("o"), "resumed\n", "three later runs of another stage push no checkpoint out");
    workspace.run(&["--force", "x", "x"], 1);
    workspace.run(&["--force", "x", "x"], 1);
}

#[test]
fn an_output_that_no_stage_writes_any_more_is_named() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"echo a > old.txt\"\n    output \"old.txt\"\n}\n");
    workspace.run(&[], 0);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("old.txt", "new.txt"));
    let told = workspace.retune(&["run", "p.kdl"]).stderr;
    assert!(told.contains("old.txt was written by `x` once, and no stage writes it now"), "{told}");
    let told = workspace.retune(&["run", "p.kdl"]).stderr;
    assert!(!told.contains("old.txt"), "{told}");
}
