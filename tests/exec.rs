//! How the attempts of a command go, and what becomes of them.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{Workspace, failure, workspace};
use serde_json::Value;

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
        for _ in 0..2 {
            let done = workspace.retune(&["run", "p.kdl"]);
            assert!(done.stderr.contains(&format!("reaches into `{output}`, which a stage writes")) && done.code != 0, "{}", done.stderr);
        }
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
    workspace.write("d/new", "newer");
    assert_eq!(workspace.retune(&["accept", "x", "p.kdl", "--reason", "a word"]).code, 0);
    workspace.write("d/a", "later");
    workspace.run(&[], 0);
    assert_eq!(delta()["reason"], "its last result was kept over an edit that it never saw");
}

#[test]
fn a_data_file_that_the_command_names_is_no_code() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"cp rows.csv all; cat $RETUNE_DELTA > o\"\n    input \"rows.csv\"\n    output \"all\"\n    output \"o\"\n    deltas \"files\"\n}\n",
    );
    workspace.write("rows.csv", "1\n");
    workspace.run(&[], 0);
    workspace.write("rows.csv", "1\n2\n");
    workspace.run(&[], 0);
    let delta: Value = serde_json::from_str(&workspace.read("o")).expect("JSON");
    assert_eq!((&delta["full"], &delta["changed"]), (&serde_json::json!(false), &serde_json::json!(["rows.csv"])));
}

#[test]
fn code_that_no_command_line_names_asks_for_everything_anew() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"cd src && sh m.sh; cat $RETUNE_DELTA > ../o\"\n    input \"src\"\n    input \"d\"\n    output \"o\"\n    deltas \"files\"\n}\n",
    );
    workspace.write("src/m.sh", ". ./model.sh\n");
    workspace.write("src/model.sh", "true\n");
    workspace.write("d/a", "1\n");
    workspace.run(&[], 0);
    workspace.write("d/b", "2\n");
    workspace.run(&[], 0);
    assert!(workspace.read("o").contains("\"full\": false"));
    workspace.write("src/model.sh", "true; true\n");
    workspace.run(&[], 0);
    assert!(workspace.read("o").contains("`src/model.sh` is a part of the command"), "{}", workspace.read("o"));
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
    let done = workspace.retune(&["run", "p.kdl", "--set", "a=b c"]);
    assert_eq!(done.code, 2, "there is no such parameter");
    workspace.write("p.kdl", workspace.read("p.kdl") + "params { a \"b\"; }\n");
    let done = workspace.retune(&["run", "p.kdl", "--set", "a=b c"]);
    let said = done.stderr;
    assert!(done.code == 1 && said.len() < 3000, "{} bytes", said.len());
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(said.contains("all it said is in its log") && done.stdout.contains("retune log x p.kdl --set 'a=b c'"), "{said} {}", done.stdout);
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

#[test]
#[cfg(target_os = "linux")]
fn a_command_ends_with_its_run_even_if_the_guard_was_killed_before() {
    use rustix::process::{Pid, Signal, kill_process};
    let kill = |process: &str| kill_process(Pid::from_raw(process.parse().expect("a number")).expect("a process"), Signal::KILL).expect("it is ours");
    for sandbox in ["off", "on", "strict"] {
        let workspace = workspace("");
        let outside = tempfile::tempdir().expect("a folder");
        let ready = outside.path().join("ready");
        let line = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", ready.display());
        workspace.write("p.kdl", format!("pipeline \"p\"\nexec \"x\" {{\n    run \"{line}\"\n    output \"o\"\n    sandbox \"{sandbox}\"\n}}\n"));
        let mut run = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        while !ready.exists() {
            assert!(run.try_wait().expect("it is ours").is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        let command = std::fs::read_to_string(&ready).expect("it is there").trim().to_owned();
        let is_guard = |process: &String| std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "stage-guard");
        let look = || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", run.id())).expect("it runs").flatten();
            let children = threads.flat_map(|thread| {
                let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                children.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            });
            children.into_iter().find(is_guard)
        };
        // It gives itself its name a moment after it was begun.
        let guard = std::iter::repeat_with(look).flatten().next().expect("it never ends");
        kill(&guard);
        kill(&run.id().to_string());
        run.wait().expect("it is ours");
        let goes_on = || std::fs::read_link(format!("/proc/{command}/exe")).is_ok();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while goes_on() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(!goes_on(), "sandbox {sandbox}: {command} goes on");
    }
}

#[test]
fn a_program_that_began_it_and_heeds_no_children_changes_nothing() {
    let workspace = workspace("exec \"x\" {\n    run \"grep SigIgn /proc/self/status > o\"\n    output \"o\"\n}\n");
    let line = "trap '' CHLD; exec \"$0\" run p.kdl";
    let done = std::process::Command::new("sh").args(["-c", line, env!("CARGO_BIN_EXE_retune")]).current_dir(workspace.path()).output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let ignored = u64::from_str_radix(workspace.read("o").trim_start_matches("SigIgn:").trim(), 16).expect("a mask");
    assert_eq!(ignored & 1 << 16, 0, "the command is to hear of its children (17)");
}

#[test]
fn a_script_that_names_no_shell_is_run_by_one() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = workspace("exec \"x\" {\n    run \"tool\" \"a b\" \"c\"\n    output \"o\"\n    knob \"PATH\"\n}\n");
    let tool = workspace.write("bin/tool", "echo \"$#: $1\" > o\n");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("/nowhere:{}:{}", workspace.path().join("bin").display(), std::env::var("PATH").expect("there is one"));
    let done = workspace.command(&["run", "p.kdl"]).env("PATH", path).output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(workspace.read("o"), "2: a b\n");
}

#[test]
fn nothing_stays_in_the_systems_list_of_what_stages_left_behind() {
    let list = "for child in $(cat /proc/$PPID/task/$PPID/children); do cat /proc/$child/stat; done > b";
    let workspace = workspace(&format!(
        "exec \"a\" {{\n    run \"sleep 1000 & setsid sleep 1000 & echo a > a\"\n    output \"a\"\n}}\nexec \"b\" {{\n    run \"{list}\"\n    input \"a\"\n    output \"b\"\n}}\n"
    ));
    workspace.run(&[], 0);
    assert!(!workspace.read("b").contains(") Z "), "{}", workspace.read("b"));
}

#[test]
fn a_bus_error_that_is_no_missing_page_of_an_input_ends_the_run() {
    use std::os::unix::process::ExitStatusExt;
    let workspace = workspace("exec \"x\" {\n    run \"kill -BUS $PPID; exec sleep 600\"\n    input \"big\"\n    output \"o\"\n}\n");
    workspace.write("big", "0123456789abcdef".repeat(2 << 20));
    let ended = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert_eq!(ended.signal(), Some(7));
}
