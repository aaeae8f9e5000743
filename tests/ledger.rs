//! What is kept, told and let go of: accepted results, runs side by side, provenance, the store itself.

mod common;

use common::{Workspace, colours, colours_workspace};
use serde_json::Value;

fn json(workspace: &Workspace, arguments: &[&str]) -> Value {
    let done = workspace.retune(arguments);
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).expect("it prints JSON")
}

/// Two commands, the second of which reads what the first writes.
fn pair() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("in", "1\n");
    workspace.write(
        "p.kdl",
        "pipeline \"p\"\nexec \"a\" {\n    run \"cat in > mid\"\n    input \"in\"\n    output \"mid\"\n}\nexec \"b\" {\n    run \"cat mid mid > out\"\n    input \"mid\"\n    output \"out\"\n}\n",
    );
    workspace.run(&[], 0);
    workspace
}

fn edit(workspace: &Workspace, from: &str, to: &str) {
    let text = workspace.read("p.kdl");
    assert!(text.contains(from));
    workspace.write("p.kdl", text.replace(from, to));
}

#[test]
fn an_accepted_result_is_kept_and_never_silently() {
    let workspace = pair();
    let before = workspace.read("p.lock.kdl");
    edit(&workspace, "cat mid mid", "cat  mid mid");
    let done = workspace.retune(&["accept", "b", "p.kdl", "--reason", "only a space"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("settings.run: \"cat mid mid > out\" -> \"cat  mid mid > out\""), "{}", done.stdout);
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(workspace.retune(&["run", "p.kdl", "--locked"]).code, 0);
    let lock = workspace.read("p.lock.kdl");
    assert_ne!(lock, before);
    assert!(lock.contains("accepted \"only a space\" from=\""), "{lock}");
    assert!(workspace.retune(&["status", "p.kdl"]).stdout.contains("accepted: only a space"));
    assert!(workspace.retune(&["show", "b", "p.kdl", "--provenance"]).stdout.contains("\"reason\":\"only a space\""));
    assert!(workspace.retune(&["runs"]).stdout.contains("b (kept)"));
    // A second edit: both reasons are kept, and what the result really comes from.
    edit(&workspace, "cat  mid mid", "cat   mid mid");
    assert_eq!(workspace.retune(&["accept", "b", "p.kdl", "--reason", "another space"]).code, 0);
    let lock = workspace.read("p.lock.kdl");
    assert_eq!(lock.matches("accepted \"").count(), 2, "{lock}");
    let provenance = workspace.retune(&["show", "b", "p.kdl", "--provenance"]).stdout;
    assert!(provenance.contains("\"run\":\"cat mid mid > out\""), "{provenance}");
    let reasons = [provenance.find("only a space"), provenance.find("another space")];
    assert!(reasons[0].is_some() && reasons[0] < reasons[1], "{provenance}");
    edit(&workspace, "cat   mid mid", "cat mid  mid");
    assert_eq!(workspace.ran(&[]), ["b"], "what is accepted is that one edit");
}

#[test]
fn what_cannot_be_accepted_is_said() {
    let workspace = pair();
    let refused = |arguments: &[&str]| {
        let done = workspace.retune(arguments);
        assert_eq!(done.code, 2, "{}", done.stdout);
        done.stderr
    };
    assert!(refused(&["accept", "b", "p.kdl", "--reason", "x"]).contains("up to date"));
    assert!(refused(&["accept", "b", "p.kdl"]).contains("--reason"));
    workspace.write("in", "2\n");
    assert!(refused(&["accept", "b", "p.kdl", "--reason", "x"]).contains("what it needs is stale itself"));
    edit(&workspace, "output \"mid\"", "output \"mid\"\n    output \"more\"");
    assert!(refused(&["accept", "a", "p.kdl", "--reason", "x"]).contains("lacks outputs"));
}

#[test]
fn an_evaluation_is_accepted_with_all_its_actions() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("grader \"exact-match\"", "grader \"exact-match\" ignore-case=#true"));
    assert_eq!(workspace.retune(&["accept", "quality", "p.kdl", "--reason", "all answers are lower case"]).code, 0);
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn frozen_stages_stay_and_others_run_always() {
    let workspace = pair();
    edit(&workspace, "input \"in\"\n", "input \"in\"\n    frozen\n");
    workspace.write("in", "2\n");
    assert!(workspace.ran(&[]).is_empty());
    assert!(workspace.retune(&["plan", "p.kdl"]).stdout.contains("frozen: kept whatever changed"));
    workspace.write(
        "p.kdl",
        workspace.read("p.kdl").replace("input \"in\"\n    frozen\n", "input \"in\"\n").replace("input \"mid\"\n", "input \"mid\"\n    frozen\n"),
    );
    let plan = json(&workspace, &["plan", "p.kdl", "b", "--json"]);
    assert_eq!(plan["stages"].as_array().map(Vec::len), Some(1), "what a frozen stage was made of is not asked for: {plan}");
    assert_eq!(workspace.run(&["b"], 0)["stages"].as_array().map(Vec::len), Some(1));
    assert_eq!(workspace.ran(&["b", "--force", "b"]), ["a", "b"], "by force it needs all again");
    workspace.write(
        "p.kdl",
        workspace.read("p.kdl").replace("input \"mid\"\n    frozen\n", "input \"mid\"\n").replace("input \"in\"\n", "input \"in\"\n    frozen\n"),
    );
    workspace.write("in", "3\n");
    edit(&workspace, "    frozen\n", "    always\n");
    assert_eq!(workspace.ran(&[]), ["a", "b"]);
    assert_eq!(workspace.ran(&[]), ["a"], "the same content makes nothing after it run");
    let refused = workspace.retune(&["accept", "a", "p.kdl", "--reason", "x"]);
    assert!(refused.stderr.contains("it runs every time"), "{}", refused.stderr);
    assert!(workspace.retune(&["plan", "p.kdl"]).stdout.contains("it runs every time"));
    edit(&workspace, "    always\n", "    always\n    frozen\n");
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("contradicts `frozen`"));
}

#[test]
fn stages_are_meant_with_what_is_above_and_below_them() {
    let workspace = pair();
    let more = workspace.read("p.kdl") + "exec \"c\" {\n    run \"cat in > other\"\n    input \"in\"\n    output \"other\"\n}\n";
    workspace.write("p.kdl", more);
    workspace.write("in", "3\n");
    assert_eq!(workspace.ran(&["a+"]), ["a", "b"]);
    workspace.write("in", "4\n");
    assert_eq!(workspace.ran(&["+b"]), ["a", "b"]);
    workspace.write("in", "5\n");
    assert_eq!(workspace.ran(&["a"]), ["a"]);
    assert_eq!(workspace.ran(&[]), ["b", "c"]);
}

#[test]
fn two_runs_are_compared_in_all_that_matters() {
    let workspace = colours_workspace();
    workspace.run(&["--name", "small", "--tag", "try"], 0);
    workspace.write("data/rows.csv", colours(164).replace("the house number 0 is red,red", "the house number 0 is red,crimson"));
    workspace.run(&["--set", "epochs=1", "--set", "floor=0.0"], 0);
    let diff = json(&workspace, &["diff", "small", "last", "--json"]);
    assert_eq!((&diff["a"]["name"], &diff["a"]["tags"]), (&Value::from("small"), &serde_json::json!(["try"])));
    let stage = |name: &str| diff["stages"].as_array().expect("stages").iter().find(|stage| stage["name"] == name).expect("it differs").clone();
    assert!(stage("model")["changes"].to_string().contains("settings.method.epochs"));
    let rows = &stage("chat")["rows"];
    let sum = |field: &str| rows.as_array().expect("rows").iter().filter_map(|rows| rows[field].as_u64()).sum::<u64>();
    assert_eq!((sum("added"), sum("removed"), sum("changed")), (4, 0, 1), "{rows}");
    assert!(stage("quality")["predictions"]["rows"].as_u64() > Some(10));
    assert!(stage("quality")["metrics"].to_string().contains("accuracy"));
    let text = workspace.retune(&["diff", "last~1", "last"]).stdout;
    for wanted in ["settings.method.epochs: 2 -> 1", "crimson", "accuracy", "(small)", "fixed"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(json(&workspace, &["diff", "last", "last", "--json"])["stages"], serde_json::json!([]));
    assert_eq!(json(&workspace, &["runs", "--tag", "try", "--json"]).as_array().map(Vec::len), Some(1));
    let unknown = workspace.retune(&["diff", "nobody", "last"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("there is no run `nobody`"), "{}", unknown.stderr);
}

#[test]
fn provenance_names_materials_code_and_machine() {
    let workspace = pair();
    let text = workspace.retune(&["show", "b", "p.kdl", "--provenance"]).stdout;
    let statement: Value = serde_json::from_str(text.trim()).expect("one line of JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"][0]["name"], "b/out");
    assert_eq!(statement["subject"][0]["digest"]["blake3"], blake3::hash(b"1\n1\n").to_hex().as_str());
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["blake3"], blake3::hash(b"1\n").to_hex().as_str());
    assert_eq!(definition["externalParameters"]["settings"]["run"], "cat mid mid > out");
    assert_eq!(statement["predicate"]["runDetails"]["builder"]["version"]["retune"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn provenance_knows_the_commit_and_whether_the_tree_is_clean() {
    let workspace = Workspace::new();
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(workspace.path()).args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]).args(arguments);
        let output = git.output().expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    workspace.write("p.kdl", "pipeline \"p\"\nexec \"x\" {\n    run \"echo a > o\"\n    output \"o\"\n}\n");
    git(&["init", "-q"]);
    git(&["add", "p.kdl"]);
    git(&["commit", "-qm", "one"]);
    workspace.run(&[], 0);
    let source = |workspace: &Workspace| {
        let text = workspace.retune(&["show", "x", "p.kdl", "--provenance"]).stdout;
        let statement: Value = serde_json::from_str(text.trim()).expect("one line of JSON");
        statement["predicate"]["buildDefinition"]["resolvedDependencies"][0].clone()
    };
    assert_eq!(source(&workspace)["digest"]["gitCommit"], git(&["rev-parse", "HEAD"]));
    assert_eq!(source(&workspace)["annotations"]["dirty"], false);
    edit(&workspace, "echo a", "echo b");
    workspace.run(&[], 0);
    assert_eq!(source(&workspace)["annotations"]["dirty"], true);
    git(&["commit", "-aqm", "two"]);
    workspace.write("beside.txt", "no material");
    edit(&workspace, "echo b", "echo c");
    git(&["commit", "-aqm", "three"]);
    workspace.run(&[], 0);
    assert_eq!(source(&workspace)["annotations"]["dirty"], false, "what no stage reads is no matter");
    workspace.write("data/new.txt", "material that no commit holds");
    edit(&workspace, "run \"echo c > o\"", "run \"cat data/* > o\"\n    input \"data/*\"");
    git(&["commit", "-aqm", "four"]);
    workspace.run(&[], 0);
    let text = workspace.retune(&["show", "x", "p.kdl", "--provenance"]).stdout;
    assert!(text.contains("\"dirty\":true") || text.contains("\"dirty\": true"), "{text}");
}

#[test]
fn what_nobody_needs_goes_and_the_rest_stays() {
    let workspace = pair();
    for number in 2..6 {
        workspace.write("in", format!("{number}\n"));
        workspace.run(&[], 0);
    }
    let objects = |workspace: &Workspace| json(workspace, &["cache", "du", "--json"])["objects"]["files"].as_u64().expect("a count");
    let before = objects(&workspace);
    let planned = json(&workspace, &["cache", "gc", "--keep-runs", "2", "--dry-run", "--json"]);
    assert_eq!(objects(&workspace), before, "a dry run lets go of nothing");
    let swept = json(&workspace, &["cache", "gc", "--keep-runs", "2", "--json"]);
    assert_eq!(planned, swept);
    assert_eq!(swept["records"]["files"], 6, "two results of each of three runs");
    assert_eq!(objects(&workspace), 4);
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("in", "4\n");
    assert!(workspace.ran(&[]).is_empty(), "the run before is kept too");
    workspace.write("in", "2\n");
    assert_eq!(workspace.ran(&[]), ["a", "b"]);
}

#[test]
fn deployed_models_outlive_their_runs() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    workspace.run(&["--set", "epochs=1", "--set", "floor=0.0"], 0);
    assert_eq!(workspace.retune(&["cache", "gc", "--keep-runs", "0"]).code, 0);
    assert_eq!(workspace.retune(&["cache", "verify"]).code, 0);
    assert_eq!(workspace.retune(&["rollback", "colours"]).code, 0);
    assert!(workspace.ran(&["--set", "epochs=1", "--set", "floor=0.0"]).is_empty());
}

#[test]
fn nothing_goes_while_a_run_is_live() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let workspace = Workspace::new();
    let go = workspace.path().join("go");
    workspace.write(
        "p.kdl",
        format!("pipeline \"p\"\nexec \"x\" {{\n    run \"while [ ! -f {} ]; do sleep 0.02; done; touch o\"\n    output \"o\"\n}}\n", go.display()),
    );
    let mut run = workspace.command(&["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut told = BufReader::new(run.stderr.take().expect("it is piped")).lines();
    assert!(told.any(|line| line.is_ok_and(|line| line.starts_with("> x"))));
    let done = workspace.retune(&["cache", "gc"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("a run is live"), "{}", done.stderr);
    workspace.write("go", "");
    assert!(run.wait().expect("it is ours").success());
    assert_eq!(workspace.retune(&["cache", "gc"]).code, 0);
}

#[test]
fn a_damaged_object_is_found_and_made_again() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = pair();
    let digest = blake3::hash(b"1\n1\n").to_hex();
    let place = workspace.path().join(format!(".retune/cas/{}/{}", &digest[..2], &digest[2..]));
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    std::fs::write(&place, "0\n1\n").expect("it is ours");
    let done = workspace.retune(&["cache", "verify"]);
    assert_eq!(done.code, 1);
    assert!(done.stdout.contains("was corrupt and is set aside"), "{}", done.stdout);
    std::fs::remove_file(workspace.path().join("out")).expect("it is there");
    assert_eq!(workspace.ran(&[]), ["b"]);
    assert_eq!(workspace.read("out"), "1\n1\n");
    assert_eq!(workspace.retune(&["cache", "verify"]).code, 0);
}

#[test]
fn every_event_is_told_as_it_happens() {
    let workspace = colours_workspace();
    workspace.run(&["--events", "events.jsonl"], 0);
    let text = workspace.read("events.jsonl");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let count = |kind: &str| events.iter().filter(|event| event.get(kind).is_some()).count();
    assert_eq!((count("run-started"), count("run-done"), count("stage-done")), (1, 1, 5));
    assert_eq!(count("action-started"), 8);
    assert!(count("progress") > 3);
    let place = |wanted: &str| text.find(wanted).unwrap_or_else(|| panic!("there is {wanted}"));
    let of = |kind: &str, stage: &str| place(&format!("{{\"{kind}\":{{\"stage\":\"{stage}\""));
    assert!(of("stage-done", "rows") < of("action-started", "model"), "a stage is told of as it ends");
    let done = workspace.retune(&["run", "p.kdl", "--events", "p.kdl"]);
    assert_eq!(done.code, 2, "a file that holds something else is not written to");
    assert!(done.stderr.contains("holds something else than events"), "{}", done.stderr);
}

#[test]
fn names_of_runs_are_one_word_and_mean_one_thing() {
    let workspace = pair();
    for name in ["", "two words", "last", "last~1", "a\nb"] {
        assert_eq!(workspace.retune(&["run", "p.kdl", "--name", name]).code, 2, "{name:?}");
    }
    assert_eq!(workspace.retune(&["run", "p.kdl", "--tag", ""]).code, 2);
    assert_eq!(workspace.retune(&["run", "p.kdl", "q.kdl"]).code, 2);
    let done = workspace.retune(&["run", "p.kdl", "a", "--force", "b"]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("none of the stages asked for needs `b`"), "{}", done.stderr);
}

#[test]
fn a_plan_may_be_of_some_stages() {
    let workspace = pair();
    workspace.write("in", "2\n");
    let names = |arguments: &[&str]| -> Vec<String> {
        let plan = json(&workspace, arguments);
        plan["stages"].as_array().expect("stages").iter().map(|stage| stage["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&["plan", "p.kdl", "a", "--json"]), ["a"]);
    assert_eq!(names(&["plan", "p.kdl", "a+", "--json"]), ["a", "b"]);
}

#[test]
fn a_failure_is_found_again_in_history() {
    let workspace = pair();
    edit(&workspace, "cat in > mid", "sleep 0.1; false");
    let summary = workspace.run(&[], 1);
    assert!(summary["stages"][0]["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.1), "{summary}");
    assert_eq!(summary["stages"][1]["notes"], serde_json::json!(["`a` failed"]));
    assert!(workspace.retune(&["runs"]).stdout.contains("a (failed)"));
    assert!(workspace.retune(&["diff", "last", "last"]).stdout.contains("what did not come to its end left none"));
    // It fails before its command begins.
    std::fs::remove_file(workspace.path().join("in")).expect("it is there");
    workspace.run(&[], 1);
    let log = workspace.retune(&["log", "a", "p.kdl"]).stdout;
    assert!(log.contains("the source `in` matches no file"), "{log}");
}

#[test]
fn a_reader_that_closes_early_is_no_error() {
    let workspace = pair();
    for arguments in [&["show", "b", "p.kdl"][..], &["plan", "p.kdl"], &["graph", "p.kdl"], &["runs"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let done = workspace.command(arguments).stdout(writer).output().expect("it starts");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
    let done = workspace.command(&["show", "b", "p.kdl"]).stdout(full).output().expect("it starts");
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("cannot write the result"));
}

#[test]
fn a_log_that_is_cut_anywhere_still_loads() {
    let workspace = pair();
    let runs = workspace.path().join(".retune/runs");
    let run = std::fs::read_dir(&runs).expect("there are runs").flatten().next().expect("a run");
    let whole = std::fs::read(run.path().join("events.jsonl")).expect("it is there");
    let all = retune::ledger::runs(&runs)[0].events.len();
    let mut seen = 0;
    for end in 0..=whole.len() {
        std::fs::write(run.path().join("events.jsonl"), &whole[..end]).expect("it is ours");
        let events = retune::ledger::runs(&runs)[0].events.len();
        // A line counts from its last byte on, whether its line break came through or not.
        assert!(events >= seen && events <= seen + 1, "cut at {end}");
        seen = events;
    }
    assert_eq!(seen, all);
    workspace.run(&[], 0);
}

#[test]
fn a_plan_tells_what_it_will_take() {
    let workspace = colours_workspace();
    workspace.run(&[], 0);
    let plan = json(&workspace, &["plan", "p.kdl", "--set", "epochs=4", "--json"]);
    let model = &plan["stages"][2];
    assert!(model["seconds"].as_f64() > Some(0.0), "{model}");
    let summary = workspace.run(&["--set", "epochs=4"], 0);
    assert_eq!(model["tokens"], summary["stages"][2]["metrics"]["trained-tokens"], "counted exactly for a model that is here");
    let text = workspace.retune(&["plan", "p.kdl", "--profile", "openai"]).stdout;
    assert!(text.contains("tokens, $0.0"), "{text}");
}

/// A folder of so many small files that they are kept in a pack.
fn many(workspace: &Workspace, tag: &str) {
    workspace.write(
        "p.kdl",
        format!(
            "pipeline \"p\"\nexec \"many\" {{\n    run \"mkdir d; for n in $(seq 300); do echo {tag} $n > d/$n; done; head -c 100000 /dev/zero > d/large\"\n    output \"d\"\n}}\nexec \"sum\" {{\n    run \"cat d/* | cksum > s\"\n    input \"d\"\n    output \"s\"\n}}\n"
        ),
    );
}

#[test]
fn many_small_files_are_kept_in_one() {
    let workspace = Workspace::new();
    many(&workspace, "a");
    workspace.run(&[], 0);
    assert!(json(&workspace, &["cache", "du", "--json"])["objects"]["files"].as_u64() < Some(8));
    let sum = workspace.read("s");
    assert!(workspace.ran(&[]).is_empty());
    std::fs::remove_dir_all(workspace.path().join("d")).expect("it is there");
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(workspace.read("d/300"), "a 300\n");
    many(&workspace, "b");
    workspace.run(&[], 0);
    assert_ne!(workspace.read("s"), sum);
    assert_eq!(json(&workspace, &["cache", "verify", "--json"])["objects"], 2 * 300 + 1 + 2 + 2);
    assert_eq!(workspace.retune(&["cache", "gc", "--keep-runs", "0"]).code, 0);
    assert_eq!(json(&workspace, &["cache", "verify", "--json"])["objects"], 300 + 1 + 1 + 1);
    assert!(workspace.ran(&[]).is_empty());
}

#[test]
fn a_damaged_pack_is_found_and_made_again() {
    let workspace = Workspace::new();
    many(&workspace, "a");
    workspace.run(&[], 0);
    let packs = workspace.path().join(".retune/packs");
    let pack = std::fs::read_dir(&packs).expect("it is there").flatten().next().expect("a pack").path();
    let mut bytes = std::fs::read(&pack).expect("it is there");
    bytes[3] ^= 1;
    std::fs::write(&pack, &bytes).expect("it is ours");
    let verified = workspace.retune(&["cache", "verify"]);
    assert_eq!(verified.code, 1, "{}", verified.stderr);
    assert!(verified.stdout.contains("missing"), "all that the pack held is told of: {}", verified.stdout);
    workspace.run(&[], 0);
    std::fs::write(&pack, bytes).expect("it is ours");
    std::fs::remove_dir_all(workspace.path().join("d")).expect("it is there");
    assert_eq!(workspace.ran(&[]), ["many"], "the same content makes nothing after it run");
    assert_eq!(workspace.read("d/1"), "a 1\n");
    assert_eq!(workspace.retune(&["cache", "verify"]).code, 0);
}
