//! What commands write, and what is there already.

mod common;

use common::{Workspace, failure, workspace};

fn exec(stages: &[(&str, &str, &[&str], &[&str])]) -> Workspace {
    let workspace = Workspace::new();
    let mut text = String::from("pipeline \"p\"\n");
    for (name, run, inputs, outputs) in stages {
        text += &format!("exec \"{name}\" {{\n    run {run:?}\n");
        inputs.iter().for_each(|input| text += &format!("    input {input:?}\n"));
        outputs.iter().for_each(|output| text += &format!("    output {output:?}\n"));
        text += "}\n";
    }
    workspace.write("p.kdl", text);
    workspace
}

#[test]
fn what_nobody_made_is_moved_aside_and_never_lost() {
    for (place, run, output) in
        [("out/mine.txt", "mkdir -p out; echo hi > out/made.txt", "out"), ("out/mine.txt", "echo hi > out", "out"), ("out", "echo hi > out", "out")]
    {
        let workspace = exec(&[("x", run, &[], &[output])]);
        workspace.write(place, "precious");
        workspace.run(&[], 0);
        let found =
            std::process::Command::new("grep").args(["-r", "precious", ".retune/displaced"]).current_dir(workspace.path()).output().expect("grep starts");
        assert!(!found.stdout.is_empty(), "{place}");
        assert!(workspace.ran(&[]).is_empty());
    }
}

#[test]
fn some_places_are_not_for_stages() {
    for output in [".git", ".git/config", ".retune/cas", "deployments", ".", "p.kdl", "p.lock.kdl"] {
        let workspace = exec(&[("x", "true", &[], &[output])]);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 2, "{output}");
        assert!(done.stderr.contains("cannot be an output"), "{}", done.stderr);
    }
}

#[test]
fn a_program_stays_one_on_its_way_through_the_store() {
    let workspace =
        exec(&[("make", "printf '#!/bin/sh\\necho made\\n' > tool; chmod +x tool", &[], &["tool"]), ("use", "./tool > out.txt", &["tool"], &["out.txt"])]);
    workspace.run(&[], 0);
    assert_eq!(workspace.read("out.txt"), "made\n");
    assert!(std::process::Command::new(workspace.path().join("tool")).output().is_ok(), "in the workspace too");
}

#[test]
fn a_script_that_becomes_a_program_is_another_input() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = exec(&[("x", "test -x s.sh && echo yes > o || echo no > o", &["s.sh"], &["o"])]);
    let script = workspace.write("s.sh", "true\n");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), "no\n");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    assert_eq!(workspace.ran(&[]), ["x"]);
    assert_eq!(workspace.read("o"), "yes\n");
}

#[test]
fn folders_come_out_as_they_went_in() {
    let workspace = exec(&[("make", "mkdir -p d/empty d/full; echo a > d/full/a", &[], &["d"]), ("use", "ls -d d/empty d/full/a > out", &["d"], &["out"])]);
    workspace.run(&[], 0);
    assert_eq!(workspace.read("out"), "d/empty\nd/full/a\n");
    let odd = exec(&[("make", "mkdir d; touch \"$(printf 'd/f\\377')\"", &[], &["d"])]);
    let done = odd.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("not UTF-8"), "{}", done.stderr);
}

#[test]
fn a_command_that_writes_into_its_input_is_told_so() {
    let workspace = exec(&[("a", "echo one > mid", &[], &["mid"]), ("b", "chmod +w mid; echo two >> mid; cp mid out", &["mid"], &["out"])]);
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("`mid`, an input, was written to"), "{}", done.stderr);
    assert_eq!(workspace.read("mid"), "one\n");
}

#[test]
fn a_command_that_writes_into_a_folder_that_a_stage_made_is_told_so() {
    for (write, said) in [
        ("chmod u+w o/x; echo evil >> o/x", "`o`, an input, was written to"),
        ("chmod u+w o/x; printf J | dd of=o/x bs=1 conv=notrunc", "`o`, an input, was written to"),
        ("echo lost > o/new", "wrote `o/new`, which no `output` declares"),
    ] {
        let write = format!("{write}; cat o/x > wb");
        let workspace = exec(&[("a", "mkdir o; echo hello > o/x; echo y > o/y", &[], &["o"]), ("b", &write, &["o"], &["wb"])]);
        let done = workspace.retune(&["run", "p.kdl"]);
        assert_eq!(done.code, 1, "{write}");
        assert!(done.stderr.contains(said), "{write}: {}", done.stderr);
        assert!(!workspace.path().join("wb").exists());
    }
}

#[test]
fn a_folder_in_the_workspace_holds_what_its_stage_made_and_nothing_else() {
    let workspace = exec(&[("a", "mkdir o; echo 1 > o/a; echo 2 > o/b", &[], &["o"]), ("b", "cat o/* > t", &["o"], &["t"])]);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("output \"t\"", "output \"t\"\n    sandbox \"off\""));
    workspace.run(&[], 0);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("; echo 2 > o/b", ""));
    workspace.run(&[], 0);
    assert!(!workspace.path().join("o/b").exists());
    assert_eq!(workspace.read("t"), "1\n");
    workspace.write("o/mine", "precious\n");
    workspace.write("o/__pycache__/x.pyc", "");
    workspace.run(&[], 0);
    assert!(!workspace.path().join("o/mine").exists());
    let kept = std::process::Command::new("grep").args(["-r", "precious", ".retune/displaced"]).current_dir(workspace.path()).output().expect("grep starts");
    assert!(!kept.stdout.is_empty());
    workspace.write("o/__pycache__/x.pyc", "");
    assert!(workspace.ran(&[]).is_empty());
    assert!(workspace.path().join("o/__pycache__/x.pyc").exists(), "what Python leaves behind is in nobody's way");
}

#[test]
fn a_frozen_output_comes_back() {
    let workspace = exec(&[("a", "echo 1 > o", &[], &["o"])]);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("output", "frozen\n    output"));
    workspace.run(&[], 0);
    std::fs::remove_file(workspace.path().join("o")).expect("it is there");
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(workspace.read("o"), "1\n");
}

#[test]
fn an_input_that_changes_meanwhile_publishes_nothing() {
    let workspace = exec(&[]);
    let place = workspace.write("in.txt", "v1\n");
    workspace.write(
        "p.kdl",
        format!(
            "pipeline \"p\"\nexec \"x\" {{\n    run \"cat in.txt > out.txt; echo v2 > {}\"\n    input \"in.txt\"\n    output \"out.txt\"\n}}\n",
            place.display()
        ),
    );
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("in.txt changed while the stage ran"), "{}", done.stderr);
    assert!(!workspace.path().join("out.txt").exists());
}

#[test]
fn a_folder_as_input_leaves_out_what_retune_writes() {
    let workspace = exec(&[("x", "ls > o.txt", &["."], &["o.txt"])]);
    workspace.write("data.txt", "a\n");
    workspace.run(&[], 0);
    assert!(workspace.ran(&[]).is_empty());
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn getting_writes_over_nothing() {
    let workspace = exec(&[("x", "echo made > o.txt", &[], &["o.txt"])]);
    workspace.run(&[], 0);
    workspace.write("to/o.txt", "mine\n");
    assert_eq!(workspace.retune(&["get", "x", "p.kdl", "--to", "to"]).code, 1);
    assert_eq!(workspace.read("to/o.txt"), "mine\n");
    assert_eq!(workspace.retune(&["get", "x", "p.kdl", "--to", "new"]).code, 0);
    assert_eq!(workspace.retune(&["get", "x", "p.kdl", "--to", "new"]).code, 0, "what it wrote itself it may write again");
}

#[test]
fn a_killed_run_leaves_no_command_behind() {
    use std::io::{BufRead, BufReader};
    let workspace = exec(&[("x", "(sleep 1000 & echo $! > started; mv started ready; wait); true", &[], &["o"])]);
    let mut child = workspace.command(&["run", "p.kdl"]).stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("> x"))));
    let tmp = workspace.path().join(".retune/tmp");
    let ready = || walkdir::WalkDir::new(&tmp).into_iter().flatten().find(|entry| entry.file_name() == "ready").map(|entry| entry.into_path());
    let ready = loop {
        if let Some(ready) = ready() {
            break ready;
        }
        std::thread::yield_now();
    };
    let sleeper = std::fs::read_to_string(ready).expect("it was written before it was moved");
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let place = std::path::PathBuf::from("/proc").join(sleeper.trim());
    let alive = || std::fs::read_to_string(place.join("stat")).is_ok_and(|stat| !stat.contains(") Z"));
    while alive() {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_only_missing_from_its_place_is_not_stale() {
    let workspace = exec(&[("b", "cat o.txt > p.txt", &["o.txt"], &["p.txt"]), ("a", "echo made > o.txt", &[], &["o.txt"])]);
    workspace.run(&[], 0);
    for name in ["o.txt", "p.txt"] {
        std::fs::remove_file(workspace.path().join(name)).expect("it was made");
    }
    assert!(workspace.ran(&["--locked"]).is_empty());
    assert_eq!((workspace.read("o.txt"), workspace.read("p.txt")), ("made\n".into(), "made\n".into()));
}

/// Two files of a folder that one stage makes from two files, and a stage that reads of it what `input` says.
fn part_of_a_folder(input: &str, run: &str) -> Workspace {
    let make = "mkdir -p d/sub; cp x.src d/x.txt; cp y.src d/y.txt; cp y.src d/sub/z.csv";
    let workspace = exec(&[("make", make, &["x.src", "y.src"], &["d"]), ("read", run, &[input], &["o"])]);
    workspace.write("x.src", "x\n");
    workspace.write("y.src", "y\n");
    workspace
}

#[test]
fn one_file_of_a_folder_is_all_that_is_found_of_it_and_all_that_counts() {
    let workspace = part_of_a_folder("d/x.txt", "ls d > o; cat d/x.txt >> o");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), "x.txt\nx\n");
    workspace.write("y.src", "other\n");
    assert_eq!(workspace.ran(&[]), ["make"], "nobody reads the other file");
    workspace.write("x.src", "new\n");
    assert_eq!(workspace.ran(&[]), ["make", "read"]);
    assert_eq!(workspace.read("o"), "x.txt\nnew\n");
    let why = workspace.retune(&["plan", "p.kdl", "--json"]);
    assert_eq!(why.code, 0, "{}", why.stderr);
}

#[test]
fn a_glob_or_a_folder_in_a_folder_means_what_lies_there() {
    for (input, found) in [("d/*.txt", "d/x.txt\nd/y.txt\n"), ("d/sub", "d/sub/z.csv\n"), ("d/**/*.csv", "d/sub/z.csv\n"), ("./d//sub/", "d/sub/z.csv\n")] {
        let workspace = part_of_a_folder(input, "find d -type f | sort > o");
        workspace.run(&[], 0);
        assert_eq!(workspace.read("o"), found, "{input}");
        assert!(workspace.ran(&[]).is_empty(), "{input}");
    }
}

#[test]
fn two_inputs_may_mean_one_file_of_a_folder() {
    let workspace = part_of_a_folder("d/*.txt", "find d -type f | sort > o");
    let text = workspace.read("p.kdl").replace("    input \"d/*.txt\"", "    input \"d/*.txt\"\n    input \"d/x.txt\"");
    workspace.write("p.kdl", text);
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), "d/x.txt\nd/y.txt\n");
}

#[test]
fn a_part_that_a_folder_does_not_have_is_an_error() {
    for input in ["d/nope.txt", "d/*.json", "d/x.txt/deeper"] {
        let workspace = part_of_a_folder(input, "true > o");
        let done = workspace.retune(&["run", "p.kdl"]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        let part = input.trim_start_matches("d/");
        assert!(done.stderr.contains(&format!("the folder `d` was made without a file at `{part}`")), "{}", done.stderr);
    }
}

#[test]
fn deltas_tell_of_the_part_of_a_folder_that_is_read() {
    let workspace = part_of_a_folder("d/*.txt", "cat \"$RETUNE_DELTA\" > o");
    let text = workspace.read("p.kdl").replace("    output \"o\"", "    deltas \"files\"\n    output \"o\"");
    workspace.write("p.kdl", text);
    workspace.run(&[], 0);
    workspace.write("y.src", "other\n");
    workspace.run(&[], 0);
    let delta: serde_json::Value = serde_json::from_str(&workspace.read("o")).expect("it is JSON");
    assert_eq!((delta["full"].as_bool(), &delta["changed"]), (Some(false), &serde_json::json!(["d/y.txt"])), "{delta}");
}

#[test]
fn what_a_stage_writes_is_not_reached_through_a_link() {
    for (from, to, input) in [("e", "d", "e/x.txt"), ("e.txt", "d/x.txt", "e.txt"), ("e", "d", "e"), ("e", "d", "e/*.txt")] {
        let workspace = part_of_a_folder(input, "true > o");
        std::fs::create_dir(workspace.path().join("d")).expect("it can be made");
        workspace.write("d/x.txt", "of old\n");
        std::os::unix::fs::symlink(to, workspace.path().join(from)).expect("it can be made");
        let done = workspace.retune(&["run", "p.kdl", "read"]);
        assert_eq!(done.code, 1, "{input}: {}", done.stderr);
        assert!(done.stderr.contains("leads to `d/x.txt`, which a stage writes"), "{}", done.stderr);
    }
}

#[test]
fn a_file_in_the_way_of_a_folder_makes_room_and_is_kept() {
    for sandbox in ["on", "off"] {
        let workspace = exec(&[("x", "echo hi > out/made.txt", &[], &["out/made.txt"])]);
        let text = workspace.read("p.kdl").replace("    run", &format!("    sandbox \"{sandbox}\"\n    run"));
        workspace.write("p.kdl", text);
        workspace.write("out", "precious");
        let done = workspace.retune(&["run", "p.kdl"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(workspace.read("out/made.txt"), "hi\n");
        assert!(done.stderr.contains("kept as .retune/displaced"), "{}", done.stderr);
        let found = std::process::Command::new("grep").args(["-r", "precious", ".retune/displaced"]).current_dir(workspace.path()).output();
        assert!(!found.expect("grep starts").stdout.is_empty(), "sandbox {sandbox}");
    }
}

#[test]
fn an_output_that_is_written_past_the_folder_is_named() {
    let workspace = Workspace::new();
    let place = workspace.path().join("o.txt").display().to_string();
    workspace.write("p.kdl", format!("pipeline \"p\"\nexec \"x\" {{\n    run \"echo hi > {place}\"\n    output \"o.txt\"\n}}\n"));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("wrote `o.txt` in the workspace itself"), "{}", done.stderr);
    workspace.write("o.txt", "of old");
    let text = workspace.read("p.kdl").replace("echo hi", "true").replace(&format!("> {place}"), "");
    workspace.write("p.kdl", text);
    assert!(workspace.retune(&["run", "p.kdl"]).stderr.contains("did not write `o.txt`"), "what lay there before is not of the command");
}

#[test]
fn messages_name_what_a_command_made_as_it_knows_it() {
    for (run, said) in [
        ("mkdir d; mkfifo d/pipe", "d/pipe is neither"),
        ("mkdir d; ln -s nowhere d/l", "d/l is a link to something"),
        ("mkdir d; ln -s . d/l", "d/l is a link to a folder"),
    ] {
        let workspace = exec(&[("x", run, &[], &["d"])]);
        let done = workspace.retune(&["run", "p.kdl"]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        let folded = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(folded.contains(said) && !folded.contains(".retune/tmp"), "{}", done.stderr);
    }
}

#[test]
fn a_file_that_somebody_put_into_an_output_is_theirs_even_where_the_store_knows_its_content() {
    let workspace = exec(&[("x", "mkdir d; cp v d/r.txt", &["v"], &["d"])]);
    workspace.write("v", "1\n");
    workspace.run(&[], 0);
    std::fs::copy(workspace.path().join("d/r.txt"), workspace.path().join("d/best.txt")).expect("it can be copied");
    workspace.write("v", "2\n");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 0 && done.stderr.contains("kept as .retune/displaced"), "{}", done.stderr);
    let found =
        std::process::Command::new("find").args([".retune/displaced", "-name", "best.txt"]).current_dir(workspace.path()).output().expect("find starts");
    assert!(!found.stdout.is_empty());
}

#[test]
fn what_a_command_does_to_the_rights_of_an_input_is_seen_by_no_other() {
    let make = "echo 'echo hi' > tool.sh";
    let see = "if [ -x tool.sh ]; then echo exec; else echo plain; fi > c.txt";
    let workspace = exec(&[
        ("make", make, &[], &["tool.sh"]),
        ("b", "chmod 700 tool.sh; ./tool.sh > b.txt", &["tool.sh"], &["b.txt"]),
        ("c", see, &["tool.sh", "b.txt"], &["c.txt"]),
    ]);
    workspace.run(&[], 0);
    assert_eq!(workspace.read("c.txt"), "plain\n");
}

#[test]
fn nothing_that_outlives_its_stage_writes_into_the_next() {
    let leave = "export TMPDIR=/tmp; setsid sh -c 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo evil > b.txt; sleep 0.02; done' > /dev/null 2>&1 & sleep 0.1; rm -f b.txt; echo a > a.txt; rm -f b.txt";
    let workspace = exec(&[("a", leave, &[], &["a.txt"]), ("b", "echo good > b.txt; sleep 0.3", &["a.txt"], &["b.txt"])]);
    for _ in 0..3 {
        let done = workspace.retune(&["run", "p.kdl", "--force", "a", "--force", "b"]);
        // That it left something beside its output may be seen as well.
        assert!(done.code == 1 || workspace.read("b.txt") == "good\n", "{}", done.stderr);
    }
}

#[test]
fn a_change_of_code_asks_for_everything_anew_however_the_line_names_it() {
    for (directory, run, code, output) in [
        ("sub", "sh embed.sh > o; cat \"$RETUNE_DELTA\" >> o", "sub/embed.sh", "sub/o"),
        ("", "sh e.sh --config=cfg > o; cat \"$RETUNE_DELTA\" >> o", "cfg", "o"),
    ] {
        let workspace = Workspace::new();
        let begin = if directory.is_empty() { String::new() } else { format!("    directory \"{directory}\"\n") };
        let inputs = if directory.is_empty() { "    input \"e.sh\"\n    input \"cfg\"\n" } else { "    input \"sub/embed.sh\"\n" };
        workspace.write(
            "p.kdl",
            format!("pipeline \"p\"\nexec \"x\" {{\n    run {run:?}\n{begin}{inputs}    input \"docs\"\n    deltas \"files\"\n    output \"{output}\"\n}}\n"),
        );
        workspace.write("docs/a", "a\n");
        workspace.write("e.sh", "true\n");
        workspace.write(code, "true\n");
        workspace.run(&[], 0);
        workspace.write("docs/a", "b\n");
        workspace.run(&[], 0);
        assert!(workspace.read(output).contains("\"full\": false"), "{}", workspace.read(output));
        workspace.write(code, "true # another\n");
        workspace.run(&[], 0);
        assert!(workspace.read(output).contains("\"full\": true"), "{}", workspace.read(output));
    }
}

#[test]
fn a_model_learns_from_one_file_of_a_folder_that_a_stage_made() {
    let workspace = Workspace::new();
    let row = "{\\\"messages\\\":[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"hi\\\"},{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":\\\"ho\\\"}]}";
    workspace.write(
        "p.kdl",
        format!(
            "pipeline \"p\"\nexec \"make\" {{\n    run \"mkdir d; echo '{row}' > d/train.jsonl; echo no > d/other\"\n    output \"d\"\n}}\ntrain \"t\" {{\n    examples \"d/train.jsonl\"\n    model \"builtin:tiny\"\n    method \"supervised\" {{\n        epochs 1\n    }}\n}}\n"
        ),
    );
    assert_eq!(workspace.ran(&[]), ["make", "t"]);
}

#[test]
fn an_output_has_one_spelling_however_it_is_written() {
    for (output, read) in [("out//a.txt", "out/*.txt"), ("out/./a.txt", "out/a.txt"), ("./out/a.txt", "out/**/*.txt"), ("./out/", "out/a.txt")] {
        let workspace = workspace(&format!(
            "exec \"make\" {{\n    run \"mkdir -p out; echo made > out/a.txt\"\n    output \"{output}\"\n}}\nexec \"use\" {{\n    input \"{read}\"\n    run \"cat out/*.txt > all.txt\"\n    output \"./all.txt\"\n}}\n"
        ));
        assert_eq!(workspace.ran(&[]), ["make", "use"], "{output}");
        assert!(workspace.read("all.txt").contains("made"), "{output}");
        assert!(workspace.ran(&[]).is_empty(), "{output}");
        workspace.write("p.kdl", workspace.read("p.kdl").replace("echo made", "echo anew"));
        let done = workspace.retune(&["run", "p.kdl"]);
        assert!(done.code == 0 && !done.stderr.contains("was written by"), "{output}: {}", done.stderr);
        assert!(workspace.read("all.txt").contains("anew"), "{output}");
    }
}

#[test]
fn an_output_behind_a_link_into_the_workspace_is_told_by_its_own_name() {
    let workspace = workspace("exec \"y\" {\n    run \"mkdir -p lnk; echo new > lnk/y.txt\"\n    output \"lnk/y.txt\"\n}\n");
    std::fs::create_dir(workspace.path().join("real")).expect("it can be made");
    std::os::unix::fs::symlink("real", workspace.path().join("lnk")).expect("a link can be made");
    let said = failure(&workspace);
    assert!(said.contains("`lnk/y.txt` is `real/y.txt`, by a link"), "{said}");
    // Elsewhere, on a larger disk for one, it may lie.
    let disk = tempfile::tempdir().expect("a temporary folder");
    std::fs::remove_file(workspace.path().join("lnk")).expect("it is there");
    std::os::unix::fs::symlink(disk.path(), workspace.path().join("lnk")).expect("a link can be made");
    workspace.run(&[], 0);
    assert!(disk.path().join("y.txt").exists());
}
