//! What a store or a lock file loses, or says wrongly: it is seen, said, and put back where that can be done.

mod common;

use common::Workspace;

/// A file, a folder, and what is made of both.
fn three() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("in", "1\n");
    workspace.write(
        "p.kdl",
        "pipeline \"p\"\nexec \"file\" {\n    run \"cat in > mid\"\n    input \"in\"\n    output \"mid\"\n}\nexec \"folder\" {\n    run \"mkdir many; cp in many/one; cp in many/two\"\n    input \"in\"\n    output \"many\"\n}\nexec \"end\" {\n    run \"cat mid many/* > out\"\n    input \"mid\"\n    input \"many\"\n    output \"out\"\n}\n",
    );
    workspace.run(&[], 0);
    workspace
}

fn remove(workspace: &Workspace, names: &[&str]) {
    names.iter().for_each(|name| std::fs::remove_dir_all(workspace.path().join(name)).expect("it is there"));
}

fn edit(workspace: &Workspace, name: &str, from: &str, to: &str) {
    let text = workspace.read(name);
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    workspace.write(name, text.replacen(from, to, 1));
}

#[test]
fn lost_objects_come_back_from_the_workspace() {
    let workspace = three();
    remove(&workspace, &[".retune/cas"]);
    let done = workspace.retune(&["cache", "verify"]);
    assert_eq!(done.code, 1);
    assert!(done.stdout.contains("belongs to a result and is missing"), "{}", done.stdout);
    let done = workspace.retune(&["get", "end", "p.kdl", "--to", "there"]);
    assert!(done.stderr.contains("missing"), "{}", done.stderr);
    assert!(workspace.ran(&[]).is_empty(), "all of it lies in the workspace");
    assert_eq!(workspace.retune(&["cache", "verify"]).code, 0);
    assert_eq!(workspace.retune(&["get", "end", "p.kdl", "--to", "there"]).code, 0);
    assert_eq!(workspace.read("there/out"), "1\n1\n1\n");
}

#[test]
fn lost_objects_that_are_nowhere_are_made_again() {
    let workspace = three();
    remove(&workspace, &[".retune/cas"]);
    workspace.write("out", "something else\n");
    workspace.write("many/three", "3\n");
    assert_eq!(workspace.ran(&[]), ["folder", "end"]);
    assert_eq!(workspace.read("out"), "1\n1\n1\n");
}

#[test]
fn lost_records_are_not_taken_for_results() {
    let workspace = three();
    remove(&workspace, &[".retune/actions"]);
    let shown = workspace.retune(&["show", "end", "p.kdl"]).stdout;
    assert!(shown.contains("no account of a result"), "{shown}");
    assert_eq!(workspace.retune(&["show", "end", "p.kdl", "--provenance"]).code, 1);
    assert_eq!(workspace.ran(&[]), ["file", "folder", "end"]);
}

#[test]
fn one_lost_object_is_seen_at_use() {
    let workspace = three();
    let digest = blake3::hash(b"1\n").to_string();
    std::fs::remove_file(workspace.path().join(format!(".retune/cas/{}/{}", &digest[..2], &digest[2..]))).expect("it is there");
    assert_eq!(workspace.retune(&["get", "file", "p.kdl", "--to", "there"]).code, 1);
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(workspace.retune(&["get", "file", "p.kdl", "--to", "there"]).code, 0);
}

#[test]
fn a_frozen_result_is_known_by_the_lock_file_alone() {
    let workspace = three();
    edit(&workspace, "p.kdl", "output \"mid\"", "output \"mid\"\n    frozen");
    edit(&workspace, "p.kdl", "output \"many\"", "output \"many\"\n    frozen");
    workspace.run(&[], 0);
    remove(&workspace, &[".retune"]);
    workspace.write("in", "2\n");
    assert_eq!(workspace.ran(&[]), ["end"]);
    assert_eq!(workspace.read("out"), "1\n1\n1\n");
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(workspace.retune(&["cache", "verify"]).code, 0);
}

#[test]
fn a_locked_run_believes_no_lock_file_that_says_something_else() {
    let workspace = three();
    let lock = workspace.read("p.lock.kdl");
    assert_eq!(workspace.retune(&["run", "p.kdl", "--locked"]).code, 0);
    let digest = blake3::hash(b"1\n1\n1\n").to_string();
    for (from, to) in [(digest.as_str(), "0".repeat(64).as_str()), ("output \"out\"", "output \"other\""), ("stage \"end\"", "stage \"and\"")] {
        workspace.write("p.lock.kdl", lock.replacen(from, to, 1));
        let done = workspace.retune(&["run", "p.kdl", "--locked"]);
        assert_eq!(done.code, 4, "{}", done.stderr);
        assert!(done.stderr.contains("does not say what is there of end"), "{}", done.stderr);
        assert_eq!(workspace.read("p.lock.kdl"), lock.replacen(from, to, 1), "it is not written");
    }
    std::fs::remove_file(workspace.path().join("p.lock.kdl")).expect("it is there");
    assert_eq!(workspace.retune(&["run", "p.kdl", "--locked"]).code, 4);
    assert!(!workspace.path().join("p.lock.kdl").exists());
    workspace.run(&[], 0);
    assert_eq!(workspace.read("p.lock.kdl"), lock);
    workspace.write("in", "2\n");
    let done = workspace.retune(&["run", "p.kdl", "--locked"]);
    assert!(done.stderr.contains("would be made again"), "{}", done.stderr);
}

#[test]
fn a_locked_run_holds_stages_that_always_run_to_their_last_result() {
    let workspace = three();
    edit(&workspace, "p.kdl", "output \"mid\"", "output \"mid\"\n    always");
    workspace.run(&[], 0);
    let summary = workspace.run(&["--locked"], 0);
    assert!(common::ran(&summary).is_empty());
    workspace.write("in", "2\n");
    assert_eq!(workspace.retune(&["run", "p.kdl", "--locked"]).code, 4);
}

#[test]
fn a_lock_file_that_became_unreadable_during_a_run_is_not_written_over() {
    let workspace = Workspace::new();
    let lock = workspace.path().join("p.lock.kdl");
    let pipeline = |more: &str| format!("pipeline \"p\"\nexec \"one\" {{\n    run \"echo 1 > out{more}\"\n    output \"out\"\n}}\n");
    workspace.write("p.kdl", pipeline(""));
    workspace.run(&[], 0);
    assert!(lock.exists(), "the lock file is where this test looks for it");
    // As a merge that is done meanwhile leaves it.
    workspace.write("p.kdl", pipeline(&format!("; printf '<<<<<<< ours\\n=======\\n>>>>>>> theirs\\n' > '{}'", lock.display())));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("merge conflict"), "{}", done.stderr);
    assert_eq!(workspace.read("p.lock.kdl"), "<<<<<<< ours\n=======\n>>>>>>> theirs\n");
    std::fs::remove_file(&lock).expect("it is there");
    workspace.write("p.kdl", pipeline(""));
    workspace.run(&[], 0);
}
