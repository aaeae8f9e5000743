//! What people who looked for wrong results found: each once a wrong result called right, or work lost.

mod common;

use common::Workspace;

fn workspace(stages: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("p.kdl", format!("pipeline \"p\"\n{stages}"));
    workspace
}

fn edit(workspace: &Workspace, from: &str, to: &str) {
    let text = workspace.read("p.kdl");
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    workspace.write("p.kdl", text.replacen(from, to, 1));
}

fn failure(workspace: &Workspace) -> String {
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1, "{}", done.stdout);
    done.stderr
}

#[test]
fn a_folder_means_its_own_files_beside_one_that_a_stage_writes() {
    for sandbox in ["on", "off"] {
        let workspace = workspace(&format!(
            "exec \"gen\" {{\n    run \"echo made > data/g.txt\"\n    output \"data/g.txt\"\n}}\nexec \"all\" {{\n    run \"cat data/*.txt > f.out\"\n    input \"data\"\n    output \"f.out\"\n    sandbox \"{sandbox}\"\n}}\n"
        ));
        workspace.write("data/x.txt", "mine\n");
        workspace.run(&[], 0);
        assert_eq!(workspace.read("f.out"), "made\nmine\n", "sandbox {sandbox}");
        workspace.write("data/x.txt", "other\n");
        assert_eq!(workspace.ran(&[]), ["all"], "sandbox {sandbox}");
    }
}

#[test]
fn a_glob_that_reaches_into_what_a_stage_writes_is_an_error() {
    let text = |glob: &str| {
        format!(
            "exec \"gen\" {{\n    run \"mkdir -p data/gen\"\n    output \"data/gen\"\n}}\nexec \"all\" {{\n    run \"true > o\"\n    input \"{glob}\"\n    output \"o\"\n}}\n"
        )
    };
    for glob in ["data/**/*.csv", "data/*/*.csv", "**/*.csv"] {
        let done = workspace(&text(glob)).retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 2, "{glob}");
        assert!(done.stderr.contains("reaches into `data/gen`"), "{}", done.stderr);
    }
    for glob in ["data/*.csv", "data/gen/*.csv", "other/**/*.csv", "data/*"] {
        let done = workspace(&text(glob)).retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 0, "{glob}: {}", done.stderr);
    }
    let done = workspace("exec \"gen\" {\n    run \"true\"\n    output \"*.txt\"\n}\n").retune(&["check", "p.kdl"]);
    assert!(done.stderr.contains("no glob"), "{}", done.stderr);
}

#[test]
fn without_the_sandbox_what_a_stage_made_is_read_as_it_made_it() {
    let workspace = workspace(
        "exec \"up\" {\n    run \"echo 1 > up.txt\"\n    output \"up.txt\"\n}\nexec \"edit\" {\n    run \"sh\" \"-c\" \"echo mine > $TARGET; echo done > slow.txt\"\n    input \"up.txt\"\n    output \"slow.txt\"\n    knob \"TARGET\"\n}\nexec \"down\" {\n    run \"cat up.txt > down.txt\"\n    input \"up.txt\"\n    input \"slow.txt\"\n    output \"down.txt\"\n    sandbox \"off\"\n}\n",
    );
    let target = workspace.path().join("up.txt");
    let done = workspace.command(&["run", "p.kdl"]).env("TARGET", &target).output().expect("it starts");
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("up.txt changed while the stage ran"));
    assert_eq!(workspace.ran(&[]), ["down"], "what is only misplaced comes from the store");
    assert_eq!(workspace.read("down.txt"), "1\n");
}

#[test]
fn two_runs_do_not_write_into_each_others_output() {
    let workspace = Workspace::new();
    let file = |n: u32| {
        format!("pipeline \"p\"\nexec \"s\" {{\n    run \"sleep 0.3; echo {n} > out.txt; sleep 0.3\"\n    output \"out.txt\"\n    sandbox \"off\"\n}}\n")
    };
    workspace.write("one.kdl", file(1));
    workspace.write("two.kdl", file(2));
    let start =
        |name: &str| workspace.command(&["run", name]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    let (mut one, mut two) = (start("one.kdl"), start("two.kdl"));
    assert!(one.wait().expect("it ends").success() && two.wait().expect("it ends").success());
    for (name, said) in [("one", "1\n"), ("two", "2\n")] {
        assert_eq!(workspace.retune(&["get", "s", &format!("{name}.kdl"), "--to", name]).code, 0);
        assert_eq!(workspace.read(&format!("{name}/out.txt")), said);
    }
}

#[test]
fn what_a_command_left_in_a_session_of_its_own_ends_with_it() {
    for sandbox in ["on", "off"] {
        let workspace = workspace(&format!(
            "exec \"a\" {{\n    run \"setsid sh -c 'echo $$ > $PIDS; exec sleep 60' > /dev/null 2>&1 & while [ ! -s $PIDS ]; do :; done; echo ok > a.txt\"\n    output \"a.txt\"\n    knob \"PIDS\"\n    sandbox \"{sandbox}\"\n}}\n"
        ));
        let pids = workspace.path().join("pids");
        let done = workspace.command(&["run", "p.kdl"]).env("PIDS", &pids).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let process = workspace.read("pids").trim().to_owned();
        assert!(!std::path::Path::new(&format!("/proc/{process}/environ")).exists(), "sandbox {sandbox}: {process} goes on");
    }
}

#[test]
fn each_attempt_has_a_temporary_folder_of_its_own() {
    let workspace = workspace(
        "exec \"a\" {\n    run \"echo a > $TMPDIR/work; echo $TMPDIR > a.txt\"\n    output \"a.txt\"\n}\nexec \"b\" {\n    run \"ls $TMPDIR > b.txt; echo $TMPDIR >> b.txt; cat a.txt >> b.txt\"\n    input \"a.txt\"\n    output \"b.txt\"\n}\n",
    );
    workspace.run(&[], 0);
    let text = workspace.read("b.txt");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "nothing of another stage lies in it: {text}");
    assert_ne!(lines[0], lines[1]);
    assert!(!std::path::Path::new(lines[0]).exists(), "it is gone");
}

#[test]
fn checkpoints_that_may_come_from_other_content_are_thrown_out() {
    let workspace = workspace(
        "exec \"t\" {\n    run \"[ -f ck/step-1 ] || cat in.txt > ck/step-1; [ -z $EDIT ] || echo BAD > $EDIT; cat in.txt >> ck/step-1; cat ck/step-1 > model\"\n    input \"in.txt\"\n    output \"model\"\n    checkpoints \"ck\"\n    knob \"EDIT\"\n    sandbox \"off\"\n}\n",
    );
    let input = workspace.write("in.txt", "GOOD\n");
    let done = workspace.command(&["run", "p.kdl"]).env("EDIT", &input).output().expect("it starts");
    assert_eq!(done.status.code(), Some(1));
    workspace.write("in.txt", "GOOD\n");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("model"), "GOOD\nGOOD\n");
}

#[test]
fn without_the_sandbox_a_file_that_comes_under_a_glob_publishes_nothing() {
    let workspace = workspace(
        "exec \"a\" {\n    run \"echo new > data/b.csv; cat data/*.csv > all.txt\"\n    input \"data/*.csv\"\n    output \"all.txt\"\n    sandbox \"off\"\n}\n",
    );
    workspace.write("data/a.csv", "a\n");
    assert!(failure(&workspace).contains("data/b.csv changed while the stage ran"));
}

#[test]
fn deltas_are_full_where_they_cannot_be_told() {
    let workspace = workspace(
        "exec \"split\" {\n    run \"mkdir parts; cp in/* parts\"\n    input \"in\"\n    output \"parts\"\n}\nexec \"index\" {\n    run \"sh\" \"index.sh\"\n    input \"index.sh\"\n    input \"parts\"\n    output \"index\"\n    deltas \"files\"\n}\n",
    );
    workspace.write("index.sh", "cat parts/* > index; cat $RETUNE_DELTA >> index\n");
    for name in ["a", "b"] {
        workspace.write(&format!("in/{name}"), name);
    }
    let full = |workspace: &Workspace| workspace.read("index").contains("\"full\": true");
    workspace.run(&[], 0);
    workspace.write("in/c", "c");
    workspace.run(&[], 0);
    assert!(!full(&workspace));
    workspace.write("index.sh", "cat parts/* > index; cat $RETUNE_DELTA >> index; true\n");
    workspace.run(&[], 0);
    assert!(workspace.read("index").contains("is a part of the command, and changed"));
    workspace.run(&["--force", "index"], 0);
    assert!(full(&workspace), "what is done by force is done from nothing");
    // What went into the last success is let go of.
    workspace.write("in/d", "d");
    workspace.run(&["split"], 0);
    assert_eq!(workspace.retune(&["cache", "gc", "--keep-runs", "0"]).code, 0);
    workspace.run(&[], 0);
    assert!(full(&workspace), "{}", workspace.read("index"));
}

#[test]
fn a_frozen_stage_lays_out_only_what_it_declares() {
    let workspace = workspace("exec \"a\" {\n    run \"echo x > x.txt; echo old > y.txt\"\n    output \"x.txt\"\n    output \"y.txt\"\n    frozen\n}\n");
    workspace.run(&[], 0);
    edit(&workspace, "    output \"y.txt\"\n", "");
    let text = workspace.read("p.kdl") + "exec \"b\" {\n    run \"echo new > y.txt\"\n    output \"y.txt\"\n}\n";
    workspace.write("p.kdl", text);
    workspace.run(&[], 0);
    for _ in 0..2 {
        assert!(workspace.ran(&[]).is_empty());
        assert_eq!(workspace.read("y.txt"), "new\n");
    }
    edit(&workspace, "output \"x.txt\"", "output \"x.txt\"\n    output \"z.txt\"");
    assert!(workspace.retune(&["plan", "p.kdl"]).stdout.contains("it is frozen, but its last result is gone or lacks an output"));
}

#[test]
fn what_a_kill_left_half_written_is_no_input() {
    let workspace = workspace(
        "exec \"all\" {\n    run \"ls -A . | grep -c part > ../all.txt; find . -name '*.part' | wc -l > all.txt\"\n    input \".\"\n    output \"all.txt\"\n}\n",
    );
    edit(&workspace, "ls -A . | grep -c part > ../all.txt; ", "");
    workspace.write(".gen.11499-1.part/1", "half\n");
    workspace.write(".mid.11499-3.part", "half\n");
    workspace.write("mine.part", "whole\n");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("all.txt").trim(), "1");
}

#[test]
fn a_locked_run_makes_nothing_again_over_a_damaged_store() {
    let workspace = workspace(
        "exec \"a\" {\n    run \"cat in > a; date +%N >> a\"\n    input \"in\"\n    output \"a\"\n}\nexec \"b\" {\n    run \"cp a b\"\n    input \"a\"\n    output \"b\"\n}\n",
    );
    workspace.write("in", "1\n");
    workspace.run(&[], 0);
    let digest = blake3::hash(workspace.read("a").as_bytes()).to_string();
    let object = workspace.path().join(format!(".retune/cas/{}/{}", &digest[..2], &digest[2..]));
    let size = workspace.read("a").len();
    std::fs::remove_file(&object).expect("it is there");
    std::fs::write(&object, "x".repeat(size)).expect("it can be written");
    std::fs::remove_file(workspace.path().join("a")).expect("it is there");
    let done = workspace.retune(&["run", "p.kdl", "--locked"]);
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(!done.stdout.contains("ran"), "{}", done.stdout);
}

#[test]
fn nothing_that_is_moved_aside_overwrites_another() {
    let workspace = workspace("exec \"s\" {\n    run \"mkdir -p a; echo 1 > a/b; echo 2 > a_b\"\n    output \"a/b\"\n    output \"a_b\"\n}\n");
    workspace.write("a/b", "precious 1\n");
    workspace.write("a_b", "precious 2\n");
    workspace.run(&[], 0);
    let kept: Vec<String> = walkdir::WalkDir::new(workspace.path().join(".retune/displaced"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| std::fs::read_to_string(entry.path()).expect("a file"))
        .collect();
    assert!(kept.contains(&"precious 1\n".to_owned()) && kept.contains(&"precious 2\n".to_owned()), "{kept:?}");
}

#[test]
fn what_took_hours_is_kept_where_a_look_at_it_says_no() {
    let workspace = workspace(
        "exec \"t\" {\n    run \"echo HOURS > model.bin; echo log > train.log; echo '{\\\"loss\\\": NaN}' > m.json\"\n    output \"model.bin\"\n    metrics \"m.json\"\n}\n",
    );
    assert!(failure(&workspace).contains(".retune/displaced/rejected/t"));
    assert_eq!(workspace.read(".retune/displaced/rejected/t/model.bin"), "HOURS\n");
    edit(&workspace, "echo log > train.log; ", "");
    assert!(failure(&workspace).contains("cannot be read as metrics"));
    assert_eq!(workspace.read(".retune/displaced/rejected/t/model.bin"), "HOURS\n");
}

#[test]
fn links_to_folders_in_an_output_are_followed() {
    let workspace = workspace(
        "exec \"t\" {\n    run \"mkdir -p model/step-2; echo w > model/step-2/w; ln -s step-2 model/latest\"\n    output \"model\"\n}\nexec \"u\" {\n    run \"cat model/latest/w model/step-2/w > o\"\n    input \"model\"\n    output \"o\"\n}\n",
    );
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), "w\nw\n");
    edit(&workspace, "ln -s step-2", "ln -s ../model");
    assert!(failure(&workspace).contains("store::circle"));
}

#[test]
fn runs_that_did_nothing_push_no_checkpoint_out() {
    let workspace = workspace(
        "exec \"t\" {\n    run \"echo 9 > ck/step-9; false\"\n    output \"o\"\n    checkpoints \"ck\"\n}\nexec \"n\" {\n    run \"true > n.txt\"\n    output \"n.txt\"\n}\n",
    );
    workspace.run(&["t"], 1);
    for _ in 0..11 {
        workspace.run(&["n"], 0);
    }
    assert_eq!(workspace.retune(&["cache", "gc"]).code, 0);
    edit(&workspace, "false", "false ");
    edit(&workspace, "false ", "false");
    let done = workspace.retune(&["run", "p.kdl", "t"]);
    assert!(done.stderr.contains("resumes from step 9"), "{}", done.stderr);
}

#[test]
fn a_result_below_a_stage_that_always_runs_can_be_accepted() {
    let workspace = workspace(
        "exec \"a\" {\n    run \"echo 1 > a\"\n    output \"a\"\n    always\n}\nexec \"b\" {\n    run \"cat a > b\"\n    input \"a\"\n    output \"b\"\n}\n",
    );
    workspace.run(&[], 0);
    edit(&workspace, "cat a", "cat  a");
    let done = workspace.retune(&["accept", "b", "p.kdl", "--reason", "a space"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(workspace.ran(&[]), ["a"]);
}

#[test]
fn metrics_of_one_name_are_told_apart_or_refused() {
    let workspace = workspace(
        "exec \"t\" {\n    run \"echo '{\\\"loss\\\": 1}' > a.json; echo '{\\\"loss\\\": 2}' > b.json\"\n    metrics \"a.json\"\n    metrics \"b.json\"\n}\n",
    );
    assert!(failure(&workspace).contains("`loss` is there twice"));
}

#[test]
fn a_listener_that_cannot_hear_is_said_so() {
    let workspace = workspace("exec \"t\" {\n    run \"true > o\"\n    output \"o\"\n}\n");
    let done = workspace.retune(&["run", "p.kdl", "--events", "/dev/full"]);
    assert_eq!(done.code, 0);
    assert!(done.stderr.contains("not all events could be told"), "{}", done.stderr);
}

#[test]
fn a_locked_run_sees_a_state_that_came_back() {
    let workspace = workspace("exec \"x\" {\n    run \"cat a > f\"\n    input \"a\"\n    output \"f\"\n}\n");
    for content in ["1", "2"] {
        workspace.write("a", content);
        workspace.run(&[], 0);
    }
    workspace.write("a", "1");
    let done = workspace.retune(&["run", "p.kdl", "--locked"]);
    assert_eq!(done.code, 4, "{}", done.stdout);
    assert!(done.stderr.contains("does not say what is there of x"), "{}", done.stderr);
}

#[test]
fn an_older_run_takes_back_nothing_that_a_newer_one_made() {
    let stages = "exec \"fz\" {\n    run \"date +%N > f\"\n    input \"a\"\n    output \"f\"\n    frozen\n}\nexec \"x\" {\n    run \"cat b > g\"\n    input \"b\"\n    output \"g\"\n}\nexec \"slow\" {\n    run \"[ -z $GO ] || { touch $GO.began; while [ ! -e $GO ]; do sleep 0.01; done; }; cat a > s\"\n    input \"a\"\n    output \"s\"\n    knob \"GO\"\n}\n";
    let workspace = workspace(stages);
    workspace.write("a", "1\n");
    workspace.write("b", "1\n");
    workspace.run(&[], 0);
    workspace.write("a", "2\n");
    let go = workspace.path().join("go");
    let mut older =
        workspace.command(&["run", "p.kdl"]).env("GO", &go).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    while !workspace.path().join("go.began").exists() {
        std::thread::yield_now();
    }
    workspace.run(&["fz", "--force", "fz"], 0);
    edit(&workspace, "cat b > g", "cat  b > g");
    assert_eq!(workspace.retune(&["accept", "x", "p.kdl", "--reason", "a space"]).code, 0);
    let (forced, lock) = (workspace.read("f"), workspace.read("p.lock.kdl"));
    workspace.write("go", "");
    assert!(older.wait().expect("it ends").success());
    let after = workspace.read("p.lock.kdl");
    let part =
        |text: &str, stage: &str| text.split(&format!("stage \"{stage}\"")).nth(1).and_then(|rest| rest.split("\n}\n").next()).expect("it is there").to_owned();
    assert_eq!((part(&after, "fz"), part(&after, "x")), (part(&lock, "fz"), part(&lock, "x")));
    workspace.run(&[], 0);
    assert_eq!(workspace.read("f"), forced);
}

#[test]
fn metrics_are_files_of_a_sane_size() {
    for command in ["mkfifo m", "ln -s /dev/zero m", "mkdir m"] {
        let workspace = workspace(&format!("exec \"x\" {{\n    run \"{command}\"\n    metrics \"m\"\n}}\n"));
        assert!(failure(&workspace).contains("it is no file of at most 16 MiB"), "{command}");
    }
}

#[test]
fn a_frozen_result_outlives_the_lock_file_and_history_outlives_an_edit_of_it() {
    let workspace = workspace("exec \"fz\" {\n    run \"date +%N > f\"\n    input \"a\"\n    output \"f\"\n    frozen\n}\n");
    workspace.write("a", "1\n");
    workspace.run(&["--name", "first"], 0);
    let made = workspace.read("f");
    workspace.write("a", "2\n");
    std::fs::remove_file(workspace.path().join("p.lock.kdl")).expect("it is there");
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(workspace.read("f"), made);
    std::fs::OpenOptions::new().write(true).truncate(true).open(workspace.path().join("p.lock.kdl")).expect("it is there");
    assert!(workspace.retune(&["diff", "first", "last"]).stdout.contains("the same results"));
}

#[test]
fn what_lies_where_checkpoints_are_to_appear_is_named() {
    let workspace = workspace("exec \"x\" {\n    run \"true > o\"\n    output \"o\"\n    checkpoints \"steps\"\n    sandbox \"off\"\n}\n");
    workspace.write("steps/mine", "precious");
    assert!(failure(&workspace).contains("stage::in_the_way"));
    assert_eq!(workspace.read("steps/mine"), "precious");
}
