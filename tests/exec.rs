//! What a command sees, what it may leave behind, and how its attempts go.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::Workspace;
use serde_json::Value;

fn workspace(stages: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("p.kdl", format!("pipeline \"p\"\n{stages}"));
    workspace
}

/// Runs, wants it to fail, and tells what was said.
fn failure(workspace: &Workspace) -> String {
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    done.stderr
}

#[test]
fn a_program_gets_its_arguments_as_they_are() {
    let workspace = workspace("exec \"x\" {\n    run \"sh\" \"-c\" \"printf '%s|' \\\"$@\\\" > o\" \"sh\" \"a b\" \"$HOME\" \"*\"\n    output \"o\"\n}\n");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), "a b|$HOME|*|");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let said = failure(&workspace("exec \"x\" {\n    run \"no-such-program\" \"a\"\n    output \"o\"\n}\n"));
    assert!(said.contains("there is no program `no-such-program`") && said.contains("knob \"PATH\""), "{said}");
}

#[test]
fn a_command_sees_declared_variables_and_a_fixed_minimum() {
    let workspace =
        workspace("exec \"x\" {\n    run \"env | cut -d= -f1 | grep -v '^_$' | sort > o\"\n    output \"o\"\n    env \"SEEN\"\n    knob \"TURNED\"\n}\n");
    let run = |seen: &str, turned: &str| {
        let mut command = workspace.command(&["run", "p.kdl", "--json"]);
        let output = command.env("SEEN", seen).env("TURNED", turned).env("HIDDEN", "h").env("USER", "me").output().expect("it starts");
        common::ran(&serde_json::from_slice(&output.stdout).expect("it prints JSON"))
    };
    assert_eq!(run("1", "1"), ["x"]);
    assert_eq!(workspace.read("o"), "HOME\nLC_ALL\nPATH\nPWD\nSEEN\nTMPDIR\nTURNED\nTZ\nUSER\n");
    assert!(run("1", "2").is_empty(), "a knob changes nothing");
    assert_eq!(run("2", "2"), ["x"], "a declared variable does");
}

#[test]
fn the_fixed_minimum_is_the_same_on_every_machine_and_in_the_key() {
    let workspace = workspace("exec \"x\" {\n    run \"echo $PATH $USER $TZ $LC_ALL > o; [ -d $HOME ] && [ -z $(ls -A $HOME) ]\"\n    output \"o\"\n}\n");
    let run = |path: &str| {
        let output = workspace.command(&["run", "p.kdl", "--json"]).env("PATH", path).env("HOME", path).env("USER", path).output().expect("it starts");
        common::ran(&serde_json::from_slice(&output.stdout).expect("it prints JSON"))
    };
    assert_eq!(run("/one:/usr/bin:/bin"), ["x"]);
    assert!(workspace.read("o").starts_with("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"), "{}", workspace.read("o"));
    assert!(workspace.read("o").ends_with(" retune UTC C.UTF-8\n"), "{}", workspace.read("o"));
    assert!(run("/two:/usr/bin:/bin").is_empty());
    let record = workspace.retune(&["show", "x", "p.kdl", "--provenance"]).stdout;
    for part in ["PATH=/usr/local/sbin:", "USER=retune", "TZ=UTC", "LC_ALL=C.UTF-8", "HOME=(a folder of its own)"] {
        assert!(record.contains(part), "{part}: {record}");
    }
}

#[test]
fn programs_of_ones_own_are_found_where_their_path_is_declared() {
    let workspace = workspace("exec \"x\" {\n    run \"mine > o\"\n    output \"o\"\n}\n");
    let said = failure(&workspace);
    assert!(said.contains("knob \"PATH\""), "{said}");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    output", "    env \"PATH\"\n    output"));
    let run = |words: &str| {
        let bin = workspace.path().join(words);
        workspace.write(&format!("{words}/mine"), format!("#!/bin/sh\necho {words}\n"));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join("mine"), executable).expect("it is ours");
        let done = workspace.command(&["run", "p.kdl"]).env("PATH", format!("{}:/usr/bin:/bin", bin.display())).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        workspace.read("o")
    };
    assert_eq!(run("one"), "one\n");
    assert_eq!(run("two"), "two\n", "another PATH finds another program");
}

#[test]
fn what_is_written_elsewhere_in_the_workspace_is_an_error_in_a_strict_sandbox() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let workspace = Workspace::new();
    workspace.write("data/in.txt", "in\n");
    let mine = workspace.path().join("mine.txt").display().to_string();
    let input = workspace.path().join("data/in.txt").display().to_string();
    let store = workspace.path().join(".retune/cas/new").display().to_string();
    let up = "../".repeat(4) + "stray.txt";
    for write in [
        format!("echo x > {mine}"),
        format!("echo x > {up}"),
        format!("echo x >> {input}"),
        format!("rm {input}"),
        format!("mkdir {store}"),
        format!("mv o {mine}"),
    ] {
        let stage = format!("exec \"x\" {{\n    run \"echo 1 > o; {write}\"\n    input \"data/in.txt\"\n    output \"o\"\n    sandbox \"strict\"\n}}\n");
        workspace.write("p.kdl", format!("pipeline \"p\"\n{stage}"));
        let said = failure(&workspace);
        assert!(said.contains("in the workspace a command writes only its outputs"), "{write}: {said}");
        assert!(!workspace.path().join("o").exists(), "{write}: nothing is published");
    }
    assert_eq!(workspace.read("data/in.txt"), "in\n");
    assert!(!workspace.path().join("mine.txt").exists());
    // What tools keep beyond the workspace is theirs.
    let cache = elsewhere.path().join("cache").display().to_string();
    workspace.write("p.kdl", format!("pipeline \"p\"\nexec \"x\" {{\n    run \"mkdir -p {cache}; echo 1 > {cache}/a; mkdir a b; echo 1 > a/o; mv a/o b/o; mv b/o o; rmdir a b; echo 1 > ck/step-1\"\n    output \"o\"\n    checkpoints \"ck\"\n    sandbox \"strict\"\n}}\n"));
    workspace.run(&[], 0);
}

#[test]
fn a_strict_sandbox_is_closed_to_other_stages_too() {
    let stage = |name: &str, run: &str| {
        format!("exec \"{name}\" {{\n    run \"{run}\"\n    output \"{name}.txt\"\n    checkpoints \"ck\"\n    sandbox \"strict\"\n}}\n")
    };
    let victim = stage(
        "victim",
        "echo right > victim.txt; echo right > ck/step-1; while [ ! -f $TMPDIR/../../../../../go ]; do sleep 0.02; done; cat ck/step-1 >> victim.txt",
    );
    let attack = "while [ -z $(ls ../*/victim.txt) ]; do sleep 0.02; done; for f in ../*/victim.txt ../../../checkpoints/*/*/step-1; do echo wrong > $f; done; echo done > attacker.txt";
    let workspace = workspace(&format!("{victim}{}", stage("attacker", attack)));
    let mut run = workspace.command(&["run", "p.kdl", "--jobs", "2", "--keep-going"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut told = BufReader::new(run.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("attacker") && !line.starts_with('>')), "the attacker is done");
    workspace.write("go", "");
    told.for_each(drop);
    run.wait().expect("it ends");
    assert_eq!(workspace.read("victim.txt"), "right\nright\n");
}

#[test]
fn a_touch_is_no_change_and_costs_nothing() {
    let workspace = workspace("");
    let ready = workspace.path().join("ready");
    workspace.write("in.txt", "1\n");
    workspace.write("p.kdl", format!("pipeline \"p\"\nexec \"x\" {{\n    run \"touch {0}; while [ -f {0} ]; do sleep 0.02; done; cat in.txt > o; echo more >> in.txt\"\n    input \"in.txt\"\n    output \"o\"\n}}\n", ready.display()));
    let run = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    while !ready.exists() {
        std::thread::yield_now();
    }
    std::fs::hard_link(workspace.path().join("in.txt"), workspace.path().join("backup.txt")).expect("it can be linked");
    workspace.write("in.txt", "1\n");
    std::fs::remove_file(&ready).expect("it is there");
    let done = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("changed its copy of the input in.txt"), "{said}");
    assert_eq!(workspace.read("o"), "1\n");
}

#[test]
fn a_file_that_became_a_program_is_not_called_changed() {
    let workspace = workspace("exec \"x\" {\n    run \"cat s.sh > o\"\n    input \"s.sh\"\n    output \"o\"\n}\n");
    let script = workspace.write("s.sh", "echo\n");
    workspace.run(&[], 0);
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    let why = workspace.retune(&["why", "x", "p.kdl"]).stdout;
    assert!(why.contains(", no program -> ") && why.contains(", a program"), "{why}");
}

#[test]
fn a_folder_with_a_dot_in_its_name_is_not_passed_over() {
    for output in ["runs/lr0.1", "runs/exp.final"] {
        let workspace = workspace(&format!(
            "exec \"a\" {{\n    run \"mkdir -p {output}; echo 1 > {output}/m.json\"\n    output \"{output}\"\n}}\nexec \"best\" {{\n    run \"cat runs/*/m.json > best.txt\"\n    input \"runs/*/m.json\"\n    output \"best.txt\"\n}}\n"
        ));
        workspace.write("runs/mine/m.json", "0\n");
        let first = workspace.retune(&["run", "p.kdl"]);
        let second = workspace.retune(&["run", "p.kdl"]);
        let said = format!("{}{}", first.stderr, second.stderr);
        assert!(said.contains(&format!("reaches into `{output}`, which a stage writes")) && second.code != 0, "{said}");
    }
}

#[test]
fn the_last_outputs_are_the_commands_own() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"mkdir idx; [ ! -f $RETUNE_PREVIOUS/idx/big ] || mv $RETUNE_PREVIOUS/idx/big idx/big; cat in.txt >> idx/big; head -c 2000000 /dev/zero >> idx/big; [ ! -f fail ]\"\n    input \"in.txt\"\n    input \"f*\"\n    output \"idx\"\n    deltas \"files\"\n}\n",
    );
    workspace.write("in.txt", "1\n");
    workspace.write("f", "");
    workspace.run(&[], 0);
    let before = std::fs::metadata(workspace.path().join("idx/big")).expect("it is there").len();
    workspace.write("in.txt", "2\n");
    workspace.write("fail", "");
    workspace.run(&[], 1);
    assert_eq!(std::fs::metadata(workspace.path().join("idx/big")).expect("it is there").len(), before, "a failed attempt changes nothing");
    assert_eq!(workspace.retune(&["cache", "verify"]).code, 0);
}

#[test]
fn what_no_output_declares_is_an_error() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"echo a > o; echo b > other; mkdir -p __pycache__ .cache; echo c > .cache/c; echo d > __pycache__/d; echo e > $TMPDIR/e\"\n    output \"o\"\n}\n",
    );
    let said = failure(&workspace);
    assert!(said.contains("wrote `other`, which no `output` declares"), "{said}");
    assert!(!workspace.path().join("o").exists(), "nothing is published");
}

#[test]
fn an_undeclared_file_is_not_found() {
    let workspace = workspace("exec \"x\" {\n    run \"cat hidden.txt > o\"\n    output \"o\"\n}\n");
    workspace.write("hidden.txt", "a\n");
    assert!(failure(&workspace).contains("No such file"));
}

#[test]
fn without_the_sandbox_it_works_in_the_workspace_with_a_warning() {
    let workspace = workspace("exec \"x\" {\n    run \"cat ../hidden.txt > ../o\"\n    output \"o\"\n    directory \"sub\"\n    sandbox \"off\"\n}\n");
    workspace.write("hidden.txt", "a\n");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("runs in the workspace itself"), "{}", done.stderr);
    assert_eq!(workspace.read("o"), "a\n");
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("o", "mine\n");
    assert_eq!(workspace.ran(&[]).len(), 0, "what is only misplaced comes from the store");
    assert_eq!(workspace.read("o"), "a\n");
    workspace.write("o", "precious\n");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("cat ", "cat -u "));
    workspace.run(&[], 0);
    let aside = walkdir::WalkDir::new(workspace.path().join(".retune/displaced")).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let kept: Vec<String> = aside.map(|entry| std::fs::read_to_string(entry.path()).expect("a file")).collect();
    assert!(kept.contains(&"precious\n".to_owned()), "{kept:?}");
    // What an attempt left behind is in nobody's way, and what was there before comes back.
    workspace
        .write("p.kdl", workspace.read("p.kdl").replace("> ../o", "> ../o; echo half > ../o; false").replace("sandbox", "retry 1 delay=\"1ms\"\n    sandbox"));
    assert!(failure(&workspace).contains("ended with exit code 1"));
    assert_eq!(workspace.read("o"), "a\n");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("; echo half > ../o; false", ""));
    workspace.run(&[], 0);
}

#[test]
fn without_the_sandbox_an_input_that_changes_meanwhile_publishes_nothing() {
    for write in ["echo 2 > d/2", "echo 2 > made"] {
        let workspace = workspace(&format!(
            "exec \"a\" {{\n    run \"echo 1 > made\"\n    output \"made\"\n}}\nexec \"x\" {{\n    run \"{write}; cat d/* made > o\"\n    input \"d\"\n    input \"made\"\n    output \"o\"\n    sandbox \"off\"\n}}\n"
        ));
        workspace.write("d/1", "1\n");
        assert!(failure(&workspace).contains("changed while the stage ran"), "{write}");
        workspace.write("p.kdl", workspace.read("p.kdl").replace(&format!("{write}; "), ""));
        workspace.run(&[], 0);
        assert!(workspace.ran(&[]).is_empty());
    }
}

#[test]
fn metrics_are_read_from_json() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"echo '{\\\"loss\\\": 0.5, \\\"test\\\": {\\\"accuracy\\\": 1, \\\"note\\\": \\\"x\\\"}}' > m.json\"\n    metrics \"m.json\"\n}\n",
    );
    let summary = workspace.run(&[], 0);
    assert_eq!(summary["stages"][0]["metrics"], serde_json::json!({ "loss": 0.5, "test.accuracy": 1.0 }));
    let shown = workspace.retune(&["show", "x", "p.kdl"]).stdout;
    assert!(shown.contains("test.accuracy"), "{shown}");
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"echo nothing > m.json\"\n    metrics \"m.json\"\n}\n");
    assert!(failure(&workspace).contains("`m.json` cannot be read as metrics"));
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"echo '{}' > m.json\"\n    metrics \"m.json\"\n}\n");
    assert!(failure(&workspace).contains("there is no number in it"));
}

#[test]
fn what_fails_for_a_moment_is_tried_again() {
    let workspace = workspace("");
    let count = workspace.path().join("count");
    let stage = |times: u32| {
        format!(
            "pipeline \"p\"\nexec \"x\" {{\n    run \"echo . >> {count}; test $(wc -l < {count}) -ge 3 && echo made > o\"\n    output \"o\"\n    retry {times} delay=\"10ms\"\n}}\n",
            count = count.display()
        )
    };
    workspace.write("p.kdl", stage(1));
    assert!(failure(&workspace).contains("attempt 1 of 2: the command ended with exit code 1"));
    std::fs::remove_file(&count).expect("it was written");
    workspace.write("p.kdl", stage(2));
    workspace.run(&[], 0);
    assert_eq!(workspace.read("count"), ".\n.\n.\n");
    let shown: Value = serde_json::from_str(&workspace.retune(&["show", "x", "p.kdl", "--json"]).stdout).expect("it prints JSON");
    assert_eq!(shown["actions"][0]["record"]["attempts"], 3);
}

#[test]
fn what_takes_too_long_is_ended_with_all_its_children() {
    let workspace = workspace("");
    let alive = workspace.path().join("alive");
    workspace.write(
        "p.kdl",
        format!(
            "pipeline \"p\"\nexec \"x\" {{\n    run \"trap '' TERM; (trap '' TERM; sleep 1000) & echo $! > {}; wait; sleep 1000\"\n    output \"o\"\n    timeout \"300ms\"\n}}\n",
            alive.display()
        ),
    );
    assert!(failure(&workspace).contains("it took longer than 300ms"));
    let child = workspace.read("alive").trim().to_owned();
    let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn a_killed_attempt_leaves_its_checkpoints_to_the_next() {
    let workspace = workspace("");
    let ready = workspace.path().join("ready");
    workspace.write(
        "p.kdl",
        format!(
            "pipeline \"p\"\nexec \"x\" {{\n    run \"if [ -f steps/step-7 ]; then cat steps/step-7 > o; else echo half > steps/step-7; touch {}; sleep 1000; fi\"\n    output \"o\"\n    checkpoints \"steps\"\n}}\n",
            ready.display()
        ),
    );
    let mut child = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while !ready.exists() {
        assert!(child.try_wait().expect("it is ours").is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("resumes from step 7"), "{}", done.stderr);
    assert_eq!(workspace.read("o"), "half\n");
    let provenance = workspace.retune(&["show", "x", "p.kdl", "--provenance"]).stdout;
    assert!(provenance.contains("resumed from step 7"), "{provenance}");
    assert!(!workspace.path().join(".retune/checkpoints").read_dir().is_ok_and(|mut inside| inside.next().is_some()), "they are gone when it is done");
}

#[test]
fn checkpoints_go_with_retries_and_without_the_sandbox() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"if [ -f steps/step-3 ]; then cat steps/step-3 > o; else echo half > steps/step-3; echo no; exit 3; fi\"\n    output \"o\"\n    checkpoints \"steps\"\n    sandbox \"off\"\n    retry 1 delay=\"10ms\"\n}\n",
    );
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("attempt 1 of 2: the command ended with exit code 3; again in 1"), "{}", done.stderr);
    assert_eq!(workspace.read("o"), "half\n");
    assert!(!workspace.path().join("steps").is_symlink(), "the link is gone with the attempt");
}

#[test]
fn deltas_tell_what_changed_and_a_full_run_is_asked_for_where_that_is_not_safe() {
    let stage = |run: &str| {
        format!(
            "pipeline \"p\"\nexec \"x\" {{\n    run \"cat $RETUNE_DELTA > o; ls $RETUNE_PREVIOUS > seen{run}\"\n    input \"d\"\n    output \"o\"\n    output \"seen\"\n    deltas \"files\"\n}}\n"
        )
    };
    let workspace = Workspace::new();
    workspace.write("p.kdl", stage(""));
    for name in ["a", "b", "c"] {
        workspace.write(&format!("d/{name}"), name);
    }
    let delta = || serde_json::from_str::<Value>(&workspace.read("o")).expect("it is JSON");
    workspace.run(&[], 0);
    assert_eq!(
        (delta()["full"].as_bool(), delta()["reason"].as_str()),
        (Some(true), Some("there is no last success to build on, or all was asked for by `--force`"))
    );
    workspace.write("d/b", "other");
    workspace.write("d/new", "new");
    std::fs::remove_file(workspace.path().join("d/c")).expect("it is there");
    workspace.run(&[], 0);
    let found = delta();
    assert_eq!(found["full"], false);
    assert_eq!(
        (&found["added"], &found["changed"], &found["removed"]),
        (&serde_json::json!(["d/new"]), &serde_json::json!(["d/b"]), &serde_json::json!(["d/c"]))
    );
    assert_eq!(workspace.read("seen"), "o\nseen\n");
    workspace.write("p.kdl", stage("; true"));
    workspace.run(&[], 0);
    assert_eq!(delta()["reason"], "its settings changed");
}

#[test]
fn deltas_of_rows_name_the_lines() {
    let workspace = Workspace::new();
    workspace.write("in", "one\ntwo\n");
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"a\" {\n    run \"cp in mid\"\n    input \"in\"\n    output \"mid\"\n}\nexec \"b\" {\n    run \"cat $RETUNE_DELTA > o\"\n    input \"mid\"\n    output \"o\"\n    deltas \"rows\"\n}\n");
    workspace.run(&[], 0);
    workspace.write("in", "two\nthree\n");
    workspace.run(&[], 0);
    let delta: Value = serde_json::from_str(&workspace.read("o")).expect("it is JSON");
    assert_eq!(delta["rows"]["mid"], serde_json::json!({ "added": ["three"], "removed": ["one"] }));
}

#[test]
fn gpus_are_given_out_by_name() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"echo $CUDA_VISIBLE_DEVICES > o\"\n    output \"o\"\n    resources gpu=1\n}\nexec \"y\" {\n    run \"true\"\n    resources gpu=3\n}\n",
    );
    let output = workspace.command(&["run", "p.kdl", "--keep-going"]).env("CUDA_VISIBLE_DEVICES", "GPU-7,GPU-8").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("it asks for 3 GPUs and this machine has 2 GPUs"), "{said}");
    assert_eq!(workspace.read("o"), "GPU-7\n");
}

#[test]
fn the_log_is_followed_while_it_runs() {
    let workspace = workspace("");
    let go = workspace.path().join("go");
    workspace.write(
        "p.kdl",
        format!(
            "pipeline \"p\"\nexec \"x\" {{\n    run \"echo first; while [ ! -f {} ]; do sleep 0.02; done; echo second; touch o\"\n    output \"o\"\n}}\n",
            go.display()
        ),
    );
    let mut run = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut told = BufReader::new(run.stderr.take().expect("it is piped")).lines();
    assert!(told.any(|line| line.is_ok_and(|line| line.starts_with("> x"))));
    let mut log = workspace.command(&["log", "x", "p.kdl", "-f"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(log.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("first"));
    workspace.write("go", "");
    assert_eq!(lines.next().as_deref(), Some("second"));
    assert_eq!(lines.next(), None);
    assert!(run.wait().expect("it is ours").success() && log.wait().expect("it is ours").success());
}

#[test]
fn an_interruption_while_it_waits_to_try_again_is_one() {
    use rustix::process::{Pid, Signal, kill_process};
    let workspace = workspace("exec \"x\" {\n    run \"false\"\n    output \"o\"\n    retry 1 delay=\"1h\"\n}\n");
    let mut run = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut told = BufReader::new(run.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("attempt 1 of 2")));
    kill_process(Pid::from_raw(run.id().cast_signed()).expect("a process"), Signal::INT).expect("it is ours");
    assert_eq!(run.wait().expect("it is ours").code(), Some(130));
}

#[test]
fn settings_that_make_no_sense_together_are_said() {
    for (lines, wanted) in [
        ("env \"A\"\n    knob \"A\"", "part of the fingerprint and not to be"),
        ("env \"A=B\"", "must be the name of an environment variable"),
        ("knob \"\"", "must be the name of an environment variable"),
        ("knob \"TMPDIR\"", "is a folder of each attempt"),
        ("metrics \"o\"", "`o` is written twice"),
        ("checkpoints \"o\"", "keeps its checkpoints where its output `o` is"),
        ("timeout \"0s\"", "a time above 0"),
    ] {
        let workspace = workspace(&format!("exec \"x\" {{\n    run \"true\"\n    output \"o\"\n    {lines}\n}}\n"));
        let done = workspace.retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains(wanted), "{lines}: {}", done.stderr);
    }
    let empty = workspace("exec \"x\" {\n    run \" \"\n    output \"o\"\n}\n");
    assert!(empty.retune(&["check", "p.kdl"]).stderr.contains("runs nothing"));
}

#[test]
fn a_failure_shows_the_end_of_what_was_said_and_no_more() {
    let workspace =
        workspace("exec \"x\" {\n    run \"head -c 5000000 /dev/zero | tr '\\\\0' x; printf '\\\\033[31mred\\\\033[0m'; false\"\n    output \"o\"\n}\n");
    let said = failure(&workspace);
    assert!(said.len() < 3000, "{} bytes", said.len());
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(said.contains("retune log x"), "{said}");
}

#[test]
fn the_first_interruption_lets_what_runs_end_and_the_second_ends_it() {
    use rustix::process::{Pid, Signal, kill_process};
    for signals in [1, 2] {
        let workspace = workspace("");
        let ready = workspace.path().join("ready");
        let stage = |name: &str, more: &str| {
            format!("exec \"{name}\" {{\n    run \"touch {}; sleep 1; echo {name} > {name}.txt\"\n{more}    output \"{name}.txt\"\n}}\n", ready.display())
        };
        workspace.write("p.kdl", format!("pipeline \"p\"\n{}{}", stage("x", ""), stage("y", "    input \"x.txt\"\n")));
        let mut run = workspace.command(&["run", "p.kdl"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut told = BufReader::new(run.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        while !ready.exists() {
            std::thread::yield_now();
        }
        let process = Pid::from_raw(run.id().cast_signed()).expect("a process");
        kill_process(process, Signal::INT).expect("it is ours");
        assert!(told.any(|line| line.starts_with("stopping")));
        if signals == 2 {
            kill_process(process, Signal::INT).expect("it is ours");
        }
        assert_eq!(run.wait().expect("it is ours").code(), Some(130));
        assert_eq!(workspace.path().join("x.txt").exists(), signals == 1);
        assert!(!workspace.path().join("y.txt").exists());
        let left = workspace.ran(&[]);
        assert_eq!(left.len(), if signals == 1 { 1 } else { 2 });
        assert_eq!(workspace.read("y.txt"), "y\n");
    }
}
