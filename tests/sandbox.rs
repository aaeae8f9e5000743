//! What a command sees and what it may write, in its sandbox and without it.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{Workspace, failure, workspace};

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
fn without_the_sandbox_the_whole_workspace_may_be_an_input_beside_other_stages() {
    let workspace = workspace(
        "exec \"x\" {\n    run \"until [ -e other ]; do :; done; cat in > o\"\n    input \".\"\n    output \"o\"\n    sandbox \"off\"\n    timeout \"60s\"\n}\nexec \"y\" {\n    run \"cat in > other\"\n    input \"in\"\n    output \"other\"\n}\n",
    );
    workspace.write("in", "1\n");
    workspace.run(&["--jobs", "2"], 0);
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn what_a_stage_keeps_on_its_way_is_no_input_of_others() {
    let workspace = workspace(
        "exec \"b\" {\n    run \"until [ -e steps/1 ]; do :; done; ls in > b.txt\"\n    input \".\"\n    output \"b.txt\"\n    sandbox \"off\"\n    timeout \"60s\"\n}\nexec \"c\" {\n    run \"echo 1 > steps/1; until [ -e b.txt ]; do :; done; echo x > x.txt\"\n    output \"x.txt\"\n    checkpoints \"steps\"\n    sandbox \"off\"\n    timeout \"60s\"\n}\n",
    );
    workspace.write("in", "1\n");
    workspace.run(&["--jobs", "2"], 0);
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn a_folder_that_is_called_as_checkpoints_in_a_sandbox_is_the_users() {
    let workspace = workspace(
        "exec \"a\" {\n    run \"echo 1 > models/1; echo 1 > a.txt\"\n    output \"a.txt\"\n    checkpoints \"models\"\n}\nexec \"b\" {\n    run \"cat models/mine > b.txt\"\n    input \"models/mine\"\n    output \"b.txt\"\n}\n",
    );
    workspace.write("models/mine", "1\n");
    workspace.run(&[], 0);
    workspace.write("models/mine", "2\n");
    assert_eq!(workspace.ran(&[]), ["b"]);
}

#[test]
fn the_lock_file_of_a_profile_with_dots_in_its_name_is_no_file_of_a_folder() {
    let workspace = workspace("exec \"x\" {\n    run \"ls > x.txt\"\n    input \".\"\n    output \"x.txt\"\n}\nprofile \"gpt-4.1\"\n");
    workspace.write("other.lock.kdl", "a 1\n");
    for profile in [&[][..], &["--profile", "gpt-4.1"]] {
        workspace.run(profile, 0);
        assert!(workspace.read("x.txt").contains("other.lock.kdl"));
        assert!(workspace.ran(profile).is_empty(), "its own lock file is no input of it");
    }
}
