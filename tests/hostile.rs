//! Places and files that are not as one would wish.

mod common;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Done, Workspace};

fn copying(workspace: &Workspace, input: &str) {
    workspace.write(
        "p.kdl",
        format!("pipeline \"p\"\nexec \"x\" {{\n    run \"cat $(find . -type f -name 'i*') > o\"\n    input {input:?}\n    output \"o\"\n}}\n"),
    );
}

/// Runs a script where this user may mount, in a namespace of its own.
fn in_namespace(script: &str) -> Done {
    let output = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]).output();
    Done::from(output.expect("unshare (util-linux) is there, and user namespaces are allowed"))
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    // The disk is full at another moment each time: while the command writes, while the store takes its output, while that
    // appears in the workspace, while a record or the lock file is written.
    for kib in [200, 500, 700, 960, 1300, 1600] {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!(
            "mount -t tmpfs -o size={kib}k tmpfs {0}; cd {0}
            printf 'pipeline \"p\"\nexec \"small\" {{\n    run \"echo small > s\"\n    output \"s\"\n}}\nexec \"large\" {{\n    run \"cat s; head -c 600000 /dev/zero > l\"\n    input \"s\"\n    output \"l\"\n}}\n' > p.kdl
            head -c 100000 /dev/zero > filler || true
            {1} run p.kdl || true
            {1} cache verify || exit 51
            mount -o remount,size=30m tmpfs {0}
            {1} run p.kdl || exit 52
            test $(stat -c %s l) = 600000 || exit 53
            {1} run p.kdl --locked || exit 54",
            folder.path().display(),
            env!("CARGO_BIN_EXE_retune")
        );
        let done = in_namespace(&script);
        assert_eq!(done.code, 0, "{kib} KiB: {}\n{}", done.stdout, done.stderr);
        let full = done.stderr.contains("No space left on device");
        assert!(full || kib > 1300, "{kib} KiB: {}", done.stderr);
    }
}

#[test]
fn a_read_only_workspace_can_be_looked_at_and_not_run_in() {
    let workspace = Workspace::new();
    workspace.write("in", "a\n");
    copying(&workspace, "in");
    workspace.run(&[], 0);
    let script = format!(
        "mount --bind {0} {0}; mount -o remount,bind,ro {0}; cd {0}
        {1} plan p.kdl; {1} status p.kdl; {1} why x p.kdl; {1} show x p.kdl; {1} log x p.kdl; {1} runs; {1} cache verify
        {1} run p.kdl && exit 50; true",
        workspace.path().display(),
        env!("CARGO_BIN_EXE_retune")
    );
    let done = in_namespace(&script);
    assert_eq!(done.code, 0, "{}\n{}", done.stdout, done.stderr);
    assert!(done.stderr.contains("ead-only"), "{}", done.stderr);
    assert!(done.stdout.contains("nothing would run"), "{}", done.stdout);
}

#[test]
fn a_change_that_the_times_do_not_show_is_seen() {
    let workspace = Workspace::new();
    let input = workspace.write("in", "one\n");
    copying(&workspace, "in");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let set = |time| std::fs::File::options().append(true).open(&input).and_then(|file| file.set_modified(time)).expect("it is ours");
    set(long_ago);
    workspace.run(&[], 0);
    // Same size, and the clock turned back: only what the system itself keeps tells.
    workspace.write("in", "two\n");
    set(long_ago);
    assert_eq!(workspace.ran(&[]), ["x"]);
    // A time that is still to come says nothing about what happens until then.
    set(std::time::SystemTime::now() + std::time::Duration::from_secs(3600));
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("in", "thr\n");
    assert_eq!(workspace.ran(&[]), ["x"]);
    assert_eq!(workspace.read("o"), "thr\n");
}

#[test]
fn the_latest_run_is_the_last_one_made_where_the_clock_was_set_back() {
    let workspace = Workspace::new();
    let runs = workspace.path().join(".retune/runs");
    workspace.write("in", "one\n");
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"cat in; cp in o\"\n    input \"in\"\n    output \"o\"\n}\n");
    workspace.run(&[], 0);
    let first = std::fs::read_dir(&runs).expect("it is there").flatten().next().expect("one run").path();
    std::fs::rename(first, runs.join("28991231-235959.999-000001")).expect("it is ours");
    workspace.write("in", "two\n");
    workspace.run(&["--name", "second"], 0);
    let shown = workspace.retune(&["runs"]).stdout;
    assert!(shown.lines().nth(1).is_some_and(|line| line.contains("second")), "{shown}");
    assert_eq!(workspace.retune(&["log", "x", "p.kdl"]).stdout, "two\n");
}

#[test]
fn a_file_that_is_written_meanwhile_is_never_taken_for_what_it_was() {
    let workspace = Workspace::new();
    let input = workspace.write("in", "x".repeat(1 << 20));
    copying(&workspace, "in");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u8.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                std::fs::write(&input, vec![b'a' + round % 26; 1 << 20]).expect("it is ours");
            }
        });
        for _ in 0..10 {
            let done = workspace.retune(&["run", "p.kdl"]);
            assert!(done.code == 0 || done.stderr.contains("changed while"), "{}", done.stderr);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), workspace.read("in"));
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_ends_nothing() {
    let workspace = Workspace::new();
    let input = workspace.write("in", "x");
    copying(&workspace, "in");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::File::options().write(true).open(&input).expect("it is ours");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.set_len(64 << 20).and_then(|()| file.set_len(1000)).expect("it is ours");
            }
        });
        let codes: Vec<Option<i32>> = (0..30).map(|_| workspace.command(&["plan", "p.kdl"]).output().expect("it starts").status.code()).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(codes.iter().all(Option::is_some), "a signal ended it: {codes:?}");
    });
}

#[test]
fn a_large_file_is_an_input_of_several_stages() {
    let workspace = Workspace::new();
    let stage = |name: &str| {
        format!("exec \"{name}\" {{\n    run \"find big -type f -exec head -c 3 {{}} + > {name}.txt\"\n    input \"big\"\n    output \"{name}.txt\"\n}}\n")
    };
    workspace.write("p.kdl", format!("pipeline \"p\"\n{}{}{}", stage("a"), stage("b"), stage("c").replace("    input", "    sandbox \"strict\"\n    input")));
    let large = workspace.write("big/base", "one");
    std::fs::File::options().write(true).open(large).and_then(|file| file.set_len(256 << 20)).expect("it is ours");
    workspace.run(&["--jobs", "3"], 0);
    assert_eq!(workspace.read("a.txt") + &workspace.read("b.txt") + &workspace.read("c.txt"), "oneoneone");
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn links_are_followed_and_those_in_a_circle_are_said() {
    let workspace = Workspace::new();
    workspace.write("data/inner/i1", "1\n");
    workspace.write("elsewhere/i2", "2\n");
    let link = |to: &Path, from: &str| std::os::unix::fs::symlink(to, workspace.path().join(from)).expect("it can be made");
    link(Path::new("../elsewhere"), "data/other");
    link(Path::new("inner/i1"), "data/i3");
    copying(&workspace, "data");
    workspace.run(&[], 0);
    let mut lines: Vec<String> = workspace.read("o").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["1", "1", "2"]);
    workspace.write("elsewhere/i2", "3\n");
    assert_eq!(workspace.ran(&[]), ["x"], "what lies behind a link counts");
    link(Path::new(".."), "data/inner/up");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("a link leads back to a folder above it"), "{}", done.stderr);
}

#[test]
fn names_may_hold_what_a_file_system_allows() {
    let workspace = Workspace::new();
    let names = ["i\nnewline", "i\ttab", "i space", "i\\backslash", "i\"quote", "iü漢", "i*?[x]", "i'"];
    for name in names {
        workspace.write(&format!("data/{name}"), "a\n");
    }
    // Enough of them that they go into the key as one.
    for number in 0..80 {
        workspace.write(&format!("data/i{number}"), "a\n");
    }
    copying(&workspace, "data");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("cat $(find . -type f -name 'i*')", "find data -type f -exec cat {} +"));
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o").lines().count(), names.len() + 80);
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("data/i\nnewline", "b\n");
    let why = workspace.retune(&["why", "x", "p.kdl"]).stdout;
    assert!(why.contains("data/i\nnewline") || why.contains("data/i\\nnewline"), "{why}");
    assert_eq!(workspace.ran(&[]), ["x"]);
    let odd = std::ffi::OsStr::from_bytes(b"data/i\xff");
    std::fs::write(workspace.path().join(odd), "a\n").expect("it can be written");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("not UTF-8"), "{}", done.stderr);
}

#[test]
fn outputs_that_are_links_or_programs_in_folders_come_out_right() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"mkdir -p d; echo a > d/a; ln -s a d/b; printf '#!/bin/sh\\\\necho ran\\\\n' > d/tool; chmod +x d/tool\"\n    output \"d\"\n}\nexec \"y\" {\n    run \"d/tool > o; cat d/b >> o\"\n    input \"d\"\n    output \"o\"\n}\n");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("o"), "ran\na\n");
    assert!(std::fs::metadata(workspace.path().join("d/tool")).expect("it is there").permissions().mode() & 0o111 != 0);
}
