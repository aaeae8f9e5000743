//! What must not be paid for again, and what must not be said of it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Workspace, colours_workspace};
use crate::fake::{Fault, KEY, RUN, Server, edit, limited, undeployed};

fn lose_state(workspace: &Workspace) {
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
}

#[test]
fn retry_does_not_ask_again_for_a_job_that_may_have_been_made() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "visible=\"300ms\"");
    edit(&workspace, "    seed 3\n", "    seed 3\n    retry 3 delay=\"1ms\"\n");
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::LoseReply)];
    server.world().late = 20;
    let done = server.run(&workspace);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("whether the job was made is not known"), "{}", done.stderr);
    assert_eq!(server.billed(), 1);
    server.world().late = 0;
    let done = server.run(&workspace);
    assert_eq!((done.code, server.billed()), (0, 1), "{}", done.stderr);
}

#[test]
fn a_time_that_is_not_there_may_be_written_as_nothing() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["queued", "running", "succeeded"];
    server.world().dress = Some(|job, _| job["finished_at"] = json!(0));
    let done = server.run(&workspace);
    assert_eq!((done.code, server.billed()), (0, 1), "{}", done.stderr);
}

#[test]
fn an_address_that_is_not_openais_own_gets_the_key_in_the_suffix() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().dress = Some(|job, made| {
        job["suffix"] = made["suffix"].clone();
        job["metadata"] = Value::Null;
    });
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!done.stderr.contains("cannot be found again"), "{}", done.stderr);
    lose_state(&workspace);
    assert_eq!((server.run(&workspace).code, server.billed()), (0, 1));
}

#[test]
fn a_server_that_keeps_no_mark_is_said_to() {
    for dress in [
        |job: &mut Value, _: &Value| job["metadata"] = Value::Null,
        |job: &mut Value, made: &Value| {
            job["metadata"] = Value::Null;
            job["suffix"] = json!(made["suffix"].as_str().expect("a suffix")[..8]);
        },
    ] {
        let (server, workspace) = (Server::start(), colours_workspace());
        server.world().dress = Some(dress);
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains("the job cannot be found again"), "{}", done.stderr);
    }
}

#[test]
fn a_list_that_lags_does_not_make_two_workspaces_pay_twice() {
    two_workspaces_end_with_one_job(Vec::new());
}

#[test]
fn a_second_job_of_which_the_reply_was_lost_is_ended() {
    two_workspaces_end_with_one_job(vec![("POST /fine_tuning/jobs", Fault::LoseReply)]);
}

/// The second sees no job of the first's before it makes its own, where something may go wrong, nor right after that.
fn two_workspaces_end_with_one_job(faults: Vec<(&'static str, Fault)>) {
    let server = Server::start();
    server.world().life = vec!["running"];
    let (one, two) = (colours_workspace(), colours_workspace());
    let [mut first, mut second] = both_buy(&server, [&one, &two], faults);
    server.world().hidden = false;
    wait_for(|| server.world().jobs[1].cancelled);
    server.world().life = vec!["succeeded"];
    assert!(first.wait().expect("it ends").success() && second.wait().expect("it ends").success());
    assert_eq!(one.read("p.openai.lock.kdl"), two.read("p.openai.lock.kdl"));
}

#[test]
fn a_job_whose_reply_was_lost_is_ended_also_after_a_crash() {
    let server = Server::start();
    server.world().life = vec!["running"];
    let (one, two) = (colours_workspace(), colours_workspace());
    let [mut first, mut second] = both_buy(&server, [&one, &two], vec![("POST /fine_tuning/jobs", Fault::LoseReply)]);
    // It finds the one of the first workspace; its own does not show yet.
    let shown = std::mem::replace(&mut server.world().jobs[1].body["metadata"], json!({}));
    server.world().hidden = false;
    let follows = || std::fs::read_dir(two.path().join(".retune/jobs")).into_iter().flatten().flatten().any(|entry| holds(&entry.path(), "ftjob-1"));
    wait_for(follows);
    second.kill().expect("it can be killed");
    second.wait().expect("it ends");
    assert!(!server.world().jobs[1].cancelled, "it is not known of yet");
    server.world().jobs[1].body["metadata"] = shown;
    let mut second = started(&server, &two);
    wait_for(|| server.world().jobs[1].cancelled);
    server.world().life = vec!["succeeded"];
    assert!(first.wait().expect("it ends").success() && second.wait().expect("it ends").success());
    assert_eq!(one.read("p.openai.lock.kdl"), two.read("p.openai.lock.kdl"));
}

fn holds(file: &std::path::Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|all| all.contains(text))
}

#[test]
fn an_alias_at_one_provider_does_not_keep_the_model_of_another_that_has_its_name() {
    let (server, other, workspace) = (Server::start(), Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    undeployed(&workspace);
    limited(&other, &workspace, "concurrency=2");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("provider \"openai\"", "provider \"other\""));
    let done = other.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let named = |server: &Server| server.world().jobs[0].body["fine_tuned_model"].clone();
    let (here, there) = (named(&server), named(&other));
    assert_eq!(here, there, "both have the same name");
    let listed: Value = serde_json::from_str(&other.retune(&workspace, &["jobs", "--json"]).stdout).expect("JSON");
    let key = |provider: &str| {
        let job = listed.as_array().expect("a list").iter().find(|job| job["provider"] == provider).expect("it is there");
        job["key"].as_str().expect("a text")[..12].to_owned()
    };
    let used = server.retune(&workspace, &["jobs", "--delete", &key("openai")]);
    assert!(used.code != 0 && server.world().deleted.is_empty(), "{}", used.stderr);
    let deleted = other.retune(&workspace, &["jobs", "--delete", &key("other")]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    assert!(!other.world().deleted.is_empty() && server.world().deleted.is_empty());
    let deployments = workspace.retune(&["deployments"]);
    assert!(!deployments.stdout.contains("deleted"), "{}", deployments.stdout);
}

#[test]
fn a_lost_job_is_known_by_its_files_where_a_server_keeps_no_mark() {
    for shows_at_once in [true, false] {
        let (server, workspace) = (Server::start(), colours_workspace());
        limited(&server, &workspace, "visible=\"200ms\"");
        // One that learns from the same files with another seed is another.
        assert_eq!(server.run(&workspace).code, 0);
        edit(&workspace, "    seed 3\n", "    seed 4\n");
        server.world().dress = Some(|job, _| job["metadata"] = Value::Null);
        server.world().faults = vec![("POST /fine_tuning/jobs", Fault::LoseReply)];
        server.world().hidden = !shows_at_once;
        let done = server.run(&workspace);
        assert_eq!(done.code, i32::from(!shows_at_once), "{}", done.stderr);
        server.world().hidden = false;
        let again = server.run(&workspace);
        assert_eq!((again.code, server.billed()), (0, 2), "{}", again.stderr);
        assert!((done.stderr + &again.stderr).contains("ftjob-2 shows no key"));
    }
}

#[test]
fn a_job_that_was_there_before_is_not_taken_for_one_that_was_lost() {
    let server = Server::start();
    server.world().dress = Some(|job, made| {
        job["metadata"] = Value::Null;
        job["suffix"] = json!(made["suffix"].as_str().expect("a suffix")[..8]);
    });
    let (one, two) = (colours_workspace(), colours_workspace());
    limited(&server, &one, "visible=\"200ms\"");
    limited(&server, &two, "visible=\"200ms\"");
    assert_eq!(server.run(&one).code, 0);
    // Of the first request nothing comes; the reply to the second is lost.
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::Status(500))];
    let done = server.run(&two);
    assert!(done.code == 1 && done.stderr.contains("whether the job was made is not known"), "{}", done.stderr);
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::LoseReply)];
    let done = server.run(&two);
    assert!(done.code == 0 && done.stderr.contains("ftjob-2 shows no key"), "{}", done.stderr);
    assert_eq!(server.billed(), 2);
}

#[test]
fn jobs_that_nothing_tells_apart_are_left_to_the_user() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "visible=\"200ms\"");
    server.world().dress = Some(|job, _| job["metadata"] = Value::Null);
    server.world().hidden = true;
    for _ in 0..2 {
        server.world().faults = vec![("POST /fine_tuning/jobs", Fault::LoseReply)];
        assert_eq!(server.run(&workspace).code, 1);
    }
    server.world().hidden = false;
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("indistinct") && done.stderr.contains("`ftjob-2`"), "{}", done.stderr);
    let listed: Value = serde_json::from_str(&server.retune(&workspace, &["jobs", "--json"]).stdout).expect("JSON");
    let fingerprint = &listed[0]["key"].as_str().expect("a text")[..12];
    assert_eq!(server.retune(&workspace, &["jobs", "--forget", fingerprint]).code, 0);
    let done = server.run(&workspace);
    assert_eq!((done.code, server.billed()), (0, 3), "{}", done.stderr);
}

#[test]
fn a_job_that_was_cancelled_elsewhere_is_followed_by_the_one_that_was_kept() {
    let server = Server::start();
    server.world().life = vec!["running"];
    let (one, two) = (colours_workspace(), colours_workspace());
    let mut first = server.command(&one, RUN).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for(|| server.billed() == 1 && server.world().log.iter().any(|what| what == "GET /fine_tuning/jobs/id"));
    // The second follows the first's, cancels it, and makes one of its own.
    let mut second = started(&server, &two);
    wait_for(|| server.retune(&two, &["jobs"]).stdout.contains("ftjob-1"));
    second.kill().and_then(|()| second.wait()).expect("it was ours");
    first.kill().and_then(|()| first.wait()).expect("it was ours");
    assert_eq!(server.retune(&two, &["cancel", "ftjob-1"]).code, 0);
    server.world().life = vec!["succeeded"];
    assert_eq!((server.run(&two).code, server.billed()), (0, 2));
    let done = server.run(&one);
    assert!(done.code == 0 && done.stderr.contains("job ftjob-2 under our key is followed instead"), "{}", done.stderr);
    assert_eq!(server.billed(), 2);
}

/// A run that goes on, and says nothing.
fn started(server: &Server, workspace: &Workspace) -> Child {
    server.command(workspace, RUN).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// Two runs that make the same job, where the second sees none of the first's and something may go wrong.
fn both_buy(server: &Server, [one, two]: [&Workspace; 2], faults: Vec<(&'static str, Fault)>) -> [Child; 2] {
    let first = started(server, one);
    wait_for(|| server.billed() == 1);
    server.world().hidden = true;
    server.world().faults = faults;
    let second = started(server, two);
    wait_for(|| server.billed() == 2);
    [first, second]
}

/// Waits until something holds.
fn wait_for(holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "it never comes to hold");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_key_that_is_written_with_escapes_does_not_come_out() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![("GET /fine_tuning/jobs", Fault::Says(401, r#"{"error":{"message":"no such key: sk-ab\u002Bcd\/efgh=="}}"#))];
    let done = server.command(&workspace, &[RUN, &["--record", "tape"]].concat()).env("OPENAI_API_KEY", "sk-ab+cd/efgh==").output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("[secret]") && !said.contains("sk-ab+cd"), "{said}");
    let disk = Command::new("grep").args(["-rF", "ab+cd", "."]).current_dir(workspace.path()).output().expect("grep starts");
    assert!(disk.stdout.is_empty(), "{}", String::from_utf8_lossy(&disk.stdout));
}

#[test]
fn an_answer_to_what_was_not_asked_is_refused_and_one_that_failed_is_asked_again() {
    let batched = || {
        let (server, workspace) = (Server::start(), colours_workspace());
        edit(&workspace, "    grader", "    generate batch=#true\n    grader");
        (server, workspace)
    };
    let (server, workspace) = batched();
    server.world().odd = Some("lies");
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("`9999`, which was not asked"), "{}", done.stderr);
    let (server, workspace) = batched();
    server.world().odd = Some("fails");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let asked: Vec<usize> =
        server.world().files.iter().filter(|(file, _)| file["purpose"] == "batch").map(|(_, text)| String::from_utf8_lossy(text).lines().count()).collect();
    assert!(asked.contains(&1), "only what failed is asked again: {asked:?}");
}

#[test]
fn a_job_that_takes_a_while_to_end_is_not_said_to_be_over() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running"];
    server.world().dress = Some(|job, _| {
        if job["status"] == "cancelled" {
            job["status"] = json!("running");
        }
    });
    let mut child = started(&server, &workspace);
    wait_for(|| server.billed() == 1 && server.world().log.iter().any(|what| what == "GET /fine_tuning/jobs/id"));
    child.kill().and_then(|()| child.wait()).expect("it was ours");
    let plan = server.retune(&workspace, &["plan", "p.kdl", "--profile", "openai", "--json"]);
    assert!(plan.stdout.contains("job ftjob-1 was begun for it"), "{}", plan.stdout);
    let done = server.retune(&workspace, &["cancel", "ftjob-1"]);
    assert!(done.code == 0 && done.stdout.contains("was asked to cancel") && !done.stdout.contains("is over already"), "{}{}", done.stdout, done.stderr);
    server.world().dress = None;
    server.world().life = vec!["succeeded"];
    let done = server.run(&workspace);
    assert_eq!((done.code, server.billed()), (0, 2), "{}", done.stderr);
}

#[test]
fn a_file_that_another_job_learns_from_is_not_deleted() {
    let (server, workspace) = (Server::start(), colours_workspace());
    undeployed(&workspace);
    assert_eq!(server.run(&workspace).code, 0);
    edit(&workspace, "    seed 3\n", "    seed 4\n");
    server.world().life = vec!["running"];
    let mut child = started(&server, &workspace);
    wait_for(|| server.billed() == 2);
    child.kill().and_then(|()| child.wait()).expect("it was ours");
    server.world().life = vec!["succeeded"];
    let done = server.retune(&workspace, &["jobs", "--delete", "ftjob-1"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let (files, deleted) = (server.world().files.len(), 1);
    assert_eq!((files, server.world().deleted.len()), (2, deleted));
}

#[test]
fn lists_that_are_nothing_and_words_that_move_the_cursor() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![("GET /fine_tuning/jobs", Fault::Says(200, r#"{"data":null,"has_more":false}"#))];
    assert_eq!(server.run(&workspace).code, 0);
    let (server, workspace) = (Server::start(), colours_workspace());
    let event =
        r#"{"data":[{"id":"e","object":"fine_tuning.job.event","created_at":1,"level":"info","message":"\u001b[2J\u0007hello\nmodel: ran"}],"has_more":false}"#;
    server.world().life = vec!["running", "succeeded"];
    server.world().faults = vec![("GET /fine_tuning/jobs/id/events", Fault::Says(200, event))];
    let done = server.run(&workspace);
    assert!(done.stderr.contains("hello model: ran") && !done.stderr.contains('\u{1b}'), "{}", done.stderr);
}

#[test]
fn words_that_are_not_known_are_read_as_far_as_they_go() {
    for (dress, code) in [
        ((|job: &mut Value, _: &Value| job["status"] = json!(job["status"].as_str().unwrap_or_default().to_uppercase())) as fn(&mut Value, &Value), 0),
        (
            |job, _| {
                if job["status"] == "succeeded" {
                    job["status"] = json!("all_done")
                }
            },
            0,
        ),
        (
            |job, _| {
                job["status"] = json!("expired");
                job["error"] = json!({ "code": "x", "message": "too late", "param": null });
            },
            1,
        ),
    ] {
        let (server, workspace) = (Server::start(), colours_workspace());
        server.world().life = vec!["running", "succeeded"];
        server.world().dress = Some(dress);
        let done = server.run(&workspace);
        assert_eq!(done.code, code, "{}", done.stderr);
        server.world().wrong.clear();
    }
}

#[test]
fn what_openai_bounds_is_bounded_and_what_has_no_field_is_said() {
    let (server, workspace) = (Server::start(), colours_workspace());
    edit(&workspace, "epochs 2", "epochs 51");
    let done = server.retune(&workspace, &["check", "p.kdl", "--profile", "openai"]);
    assert!(done.code == 2 && done.stderr.contains("takes at most 50 for `epochs`"), "{}", done.stderr);
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("train.jsonl", "{\"messages\":\"hello\"}\n".repeat(12));
    edit(&workspace, "    data \"chat\"\n    provider", "    examples \"train.jsonl\"\n    provider");
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("expected a list, found a text") && server.world().files.is_empty(), "{}", done.stderr);
    assert!(!done.stderr.contains(KEY));
}

#[test]
fn a_program_is_found_with_what_it_is_made_of() {
    let workspace = colours_workspace();
    let provider = "provider \"tool\" {\n    api \"command\"\n    version \"1\"\n    input \"tool/train.sh\"\n    train \"sh tool/train.sh\"\n    answer \"sh tool/train.sh answer\"\n}\npipeline \"colours\"";
    edit(&workspace, "pipeline \"colours\"", provider);
    let text = workspace.read("p.kdl").replace("provider \"local\"", "provider \"tool\"").replace("builtin:tiny", "some-base");
    workspace.write("p.kdl", text);
    workspace.write("tool/train.sh", "if [ \"$1\" = answer ]; then sed 's/.*is \\([a-z]*\\)\".*/{\"answer\": \"\\1\"}/' questions.jsonl > answers.jsonl; else mkdir model; echo w > model/adapter; fi\n");
    let done = workspace.retune(&["run", "p.kdl", "--json"]);
    assert!(done.code == 0 || done.code == 3, "{}", done.stderr);
    workspace.write("tool/train.sh", workspace.read("tool/train.sh") + "# another\n");
    let again = workspace.retune(&["run", "p.kdl", "--json"]);
    let summary: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert!(crate::common::ran(&summary).contains(&"model".to_owned()), "the script is a part of the fingerprint: {summary}");
}

#[test]
fn one_id_at_two_providers_is_told_apart_by_fingerprint() {
    let (server, other, workspace) = (Server::start(), Server::start(), colours_workspace());
    undeployed(&workspace);
    assert_eq!(server.run(&workspace).code, 0);
    limited(&other, &workspace, "concurrency=2");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("provider \"openai\"", "provider \"other\""));
    let done = other.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let refused = other.retune(&workspace, &["cancel", "ftjob-1"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("is a job at each of"), "{}", refused.stderr);
    let listed: Value = serde_json::from_str(&other.retune(&workspace, &["jobs", "--json"]).stdout).expect("JSON");
    let of_other = listed.as_array().expect("a list").iter().find(|job| job["provider"] == "other").expect("it is there");
    let fingerprint = &of_other["key"].as_str().expect("a text")[..12];
    let deleted = other.retune(&workspace, &["jobs", "--delete", fingerprint]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    let (here, there) = (server.world().deleted.len(), other.world().deleted.len());
    assert!(here == 0 && there > 0, "{here} {there}");
}
