//! Training at hosted providers, against servers on loopback that keep state, misbehave on demand and count what would be billed.

mod again;
#[path = "../common/mod.rs"]
mod common;
mod dialects;
mod fake;
mod fragile;
mod further;
mod imported;
mod judged;
mod lies;
mod methods;
mod money;
mod schema;
mod tape;
mod trouble;
mod world;

use common::{Done, colours_workspace};
use fake::{KEY, RUN, Server, limited};
use world::World;

#[test]
fn a_pipeline_runs_on_a_hosted_provider_and_pays_once() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let first = server.run(&workspace);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(server.billed(), 1);
    let questions = server.world().questions;
    assert!(questions > 20);
    let again = server.run(&workspace);
    assert_eq!(again.code, 0);
    assert_eq!((server.billed(), server.world().questions), (1, questions), "nothing is asked or paid again");
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1, "a workspace that lost its state finds the job by its key");
    assert_eq!(server.world().files.len(), 2, "and the files by their content");
    let disk = std::process::Command::new("grep").args(["-r", KEY, "."]).current_dir(workspace.path()).output().expect("grep starts");
    assert!(disk.stdout.is_empty(), "the key must not be on disk");
}

#[test]
fn a_job_is_found_on_the_second_page_and_where_filters_are_ignored() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    {
        // Others' jobs came since, and the server does not filter.
        let mut world = server.world();
        world.ignores_filter = true;
        for number in 0..5 {
            let mut body = world.jobs[0].body.clone();
            body["id"] = serde_json::json!(format!("ftjob-other-{number}"));
            body["metadata"] = serde_json::json!({ "retune_key": "another" });
            let other = world::other(body);
            world.jobs.push(other);
        }
    }
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.world().created.len(), 1);
}

/// Kills a run after each of its requests, or with RETUNE_JOB_KILLS at so many random moments.
#[test]
fn killed_at_each_request_it_still_pays_once() {
    killed(&["validating_files", "queued", "running", "somewhere_new", "succeeded"], "    seed 3\n");
}

#[test]
fn killed_at_each_request_a_job_that_is_stopped_early_is_the_same() {
    killed(&["running"], "    seed 3\n    early-stop patience=2\n");
}

fn killed(life: &[&'static str], settings: &str) {
    let losses = vec![(3.0, 3.1), (2.0, 2.2), (1.0, 2.4), (0.5, 2.6), (0.2, 2.9), (0.1, 3.0)];
    let start = || {
        let workspace = colours_workspace();
        workspace.write("p.kdl", workspace.read("p.kdl").replace("    seed 3\n", settings));
        workspace
    };
    // The address is part of the fingerprint, so that all of it happens at one.
    let server = Server::start();
    let (requests, lock, seconds) = {
        let workspace = start();
        *server.world() = World { life: life.to_vec(), losses: losses.clone(), ..World::default() };
        let began = std::time::Instant::now();
        assert_eq!(server.run(&workspace).code, 0);
        let requests = server.world().log.iter().take_while(|what| !what.contains("chat")).count();
        (requests, workspace.read("p.openai.lock.kdl"), began.elapsed().as_secs_f64())
    };
    let many: Option<usize> = std::env::var("RETUNE_JOB_KILLS").ok().map(|many| many.parse().expect("a number"));
    let moments: Vec<(usize, f64)> = match many {
        None => (1..=requests).map(|after| (after, 0.0)).collect(),
        Some(many) => (0..many).map(|n| (0, seconds * (n as f64 * 0.618_033_988_75).fract())).collect(),
    };
    for (after, time) in moments {
        let workspace = start();
        {
            let mut world = server.world();
            let wrong = std::mem::take(&mut world.wrong);
            *world = World { life: life.to_vec(), losses: losses.clone(), wrong, ..World::default() };
        }
        let mut child = server.command(&workspace, RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
        let began = std::time::Instant::now();
        while (server.world().log.len() < after || began.elapsed().as_secs_f64() < time) && child.try_wait().expect("it can be looked at").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "killed after request {after}, {time:.3} s: {}", done.stderr);
        assert_eq!(server.billed(), 1, "killed after request {after}, {time:.3} s");
        assert_eq!(workspace.read("p.openai.lock.kdl"), lock, "killed after request {after}, {time:.3} s");
    }
}

#[test]
fn ctrl_c_lets_go_and_jobs_and_cancel_pick_up() {
    use rustix::process::{Pid, Signal, kill_process};
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running"];
    let mut child = server.command(&workspace, RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    while !server.world().log.iter().any(|what| what.ends_with("/events")) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).expect("a process"), Signal::INT).expect("it is ours");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let jobs = |arguments: &[&str]| server.retune(&workspace, arguments);
    let listed = jobs(&["jobs"]).stdout;
    assert!(listed.contains("ftjob-1") && listed.contains("begun") && listed.contains("model"), "{listed}");
    assert!(jobs(&["jobs", "--refresh"]).stdout.contains("running"));
    assert!(jobs(&["jobs", "--pause", "ftjob-1"]).stdout.contains("is paused"));
    assert_eq!(jobs(&["jobs", "--resume", "ftjob-1"]).code, 0);
    assert!(!server.world().jobs[0].cancelled, "only `cancel` cancels");
    let early = jobs(&["jobs", "--delete", "ftjob-1"]);
    assert!(early.code == 1 && early.stderr.contains("retune cancel ftjob-1"), "{}", early.stderr);
    server.world().faults = vec![("POST /fine_tuning/jobs/id/cancel", fake::Fault::Status(400))];
    let refused = jobs(&["cancel", "ftjob-1"]);
    assert!(refused.code == 1 && !refused.stdout.contains("is over already"), "what runs on is not called over: {}", refused.stdout);
    let cancelled = jobs(&["cancel", "ftjob-1"]);
    assert!(cancelled.stdout.contains("ftjob-1 is cancelled"), "{}", cancelled.stdout);
    assert_eq!(jobs(&["cancel", "ftjob-9"]).code, 2);
    server.world().life.clear();
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 2, "what was cancelled is made anew");
    assert!(jobs(&["jobs", "--json"]).stdout.contains("\"status\": \"succeeded\""));
}

#[test]
fn losses_come_in_as_they_are_made_and_early_stop_keeps_the_best() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let text = workspace.read("p.kdl").replace("    seed 3\n", "    seed 3\n    early-stop patience=2\n    alarm \"gap\" over=0.5 then=\"warn\"\n");
    workspace.write("p.kdl", text);
    {
        let mut world = server.world();
        world.life = vec!["running"];
        world.losses = vec![(3.0, 3.1), (2.0, 2.2), (1.0, 2.4), (0.5, 2.6), (0.2, 2.9)];
    }
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("the checkpoint of step 2 is kept"), "{}", done.stderr);
    assert!(done.stderr.contains("over the training loss"), "{}", done.stderr);
    assert!(server.world().jobs[0].cancelled, "the rest is not paid for");
    let shown = server.retune(&workspace, &["show", "model", "p.kdl", "--profile", "openai"]).stdout;
    assert!(shown.contains("ft:checkpoint:2"), "{shown}");
    let events = walkdir::WalkDir::new(workspace.path().join(".retune/runs")).into_iter().flatten().find(|entry| entry.file_name() == "events.jsonl");
    let events = std::fs::read_to_string(events.expect("there is a run").path()).expect("a text");
    assert!(events.contains("{\"metrics\":{\"stage\":\"model\",\"step\":2"), "losses are in the ledger");
    assert!(events.contains("\"request_id\":\"req-"), "so is each request");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1);
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1, "a workspace that lost its state finds it too");
}

#[test]
fn a_job_that_is_over_when_it_is_looked_at_is_judged_all_the_same() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", text.replace("    seed 3\n", "    seed 3\n    alarm \"loss\" over=5 then=\"stop\"\n"));
    server.world().losses = vec![(90.0, 99.0)];
    assert_eq!(server.run(&workspace).code, 1);
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("p.kdl", text.replace("    seed 3\n", "    seed 3\n    early-stop patience=2\n"));
    server.world().losses = vec![(3.0, 3.1), (2.0, 2.2), (1.0, 2.4), (0.5, 2.6)];
    server.world().all_at_once = true;
    assert_eq!(server.run(&workspace).code, 0);
    let shown = server.retune(&workspace, &["show", "model", "p.kdl", "--profile", "openai"]).stdout;
    assert!(shown.contains("ft:checkpoint:2"), "the same as if it had been looked at meanwhile: {shown}");
}

#[test]
fn an_alarm_that_stops_cancels_the_job_and_fails() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    seed 3\n", "    seed 3\n    alarm \"loss\" over=5 then=\"stop\"\n"));
    {
        let mut world = server.world();
        world.life = vec!["running"];
        world.losses = vec![(3.0, 3.1), (90.0, 50.0)];
    }
    let done = server.run(&workspace);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("provider::alarm"), "{}", done.stderr);
    assert!(server.world().jobs[0].cancelled);
}

#[test]
fn a_job_that_failed_says_why_and_is_never_followed_again() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running", "failed"];
    let done = server.run(&workspace);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("line 3 is no example"), "{}", done.stderr);
    server.world().life.clear();
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 2);
}

#[test]
fn uploads_are_used_again_as_long_as_they_are_there() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    let uploads = || server.world().log.iter().filter(|what| *what == "POST /files").count();
    assert_eq!(uploads(), 2);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("batch-size 8", "batch-size 4"));
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!((uploads(), server.billed()), (2, 2), "the same content is not sent again");
    // One of them expires, and the other is deleted.
    server.world().files[0].0["expires_at"] = serde_json::json!(1000);
    server.world().files.remove(1);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("batch-size 4", "batch-size 2"));
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(uploads(), 4);
}

#[test]
fn a_batch_answers_all_questions_at_once_and_is_found_again() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    let scores = |workspace: &common::Workspace| workspace.retune(&["show", "quality", "p.kdl", "--profile", "openai", "--json"]).stdout;
    let accuracy = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["metrics"]["accuracy"].clone();
    let before = accuracy(&scores(&workspace));
    let fresh = colours_workspace();
    fresh.write("p.kdl", fresh.read("p.kdl").replace("    grader \"exact-match\"", "    generate batch=#true\n    grader \"exact-match\""));
    let chats = || server.world().log.iter().filter(|what| what.contains("chat")).count();
    let asked = chats();
    server.world().faults = vec![("POST /batches", fake::Fault::LoseReply)];
    assert_eq!(server.run(&fresh).code, 0);
    assert_eq!(chats(), asked, "nothing is asked one by one");
    assert_eq!(server.world().batches.len(), 2, "one for the model, one for the baseline, although a reply was lost");
    assert_eq!(accuracy(&scores(&fresh)), before);
    assert_eq!(fresh.read("p.openai.lock.kdl"), workspace.read("p.openai.lock.kdl"), "it is the same result");
    std::fs::remove_dir_all(fresh.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&fresh).code, 0);
    assert_eq!(server.world().batches.len(), 2, "a batch is found by its key");
}

#[test]
fn what_a_job_left_can_be_deleted_unless_an_alias_stands_for_it() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    let delete = |job: &str| server.retune(&workspace, &["jobs", "--delete", job]);
    let used = delete("ftjob-1");
    assert!(used.code == 2 && used.stderr.contains("`colours` stands for `ft:gpt-4.1-nano"), "{}", used.stderr);
    assert!(server.world().deleted.is_empty());
    fake::edit(&workspace, "    seed 3\n", "    seed 4\n");
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(delete("ftjob-1").code, 0);
    let deleted = server.world().deleted.len();
    assert_eq!((deleted, server.world().files.len()), (1, 0));
    assert_eq!(delete("ftjob-1").code, 0, "what is gone already need not be deleted");
    let back = workspace.retune(&["rollback", "colours"]);
    assert!(back.code == 2 && back.stderr.contains("no version before 2"), "a model that is gone is nothing to go back to: {}", back.stderr);
    fake::edit(&workspace, "    seed 4\n", "    seed 3\n");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 3, "a model that was deleted is no result any more, and is not followed");
}

#[test]
fn a_batch_that_is_let_go_is_said_to_go_on() {
    use rustix::process::{Pid, Signal, kill_process};
    let (server, workspace) = (Server::start(), colours_workspace());
    fake::edit(&workspace, "    grader", "    generate batch=#true\n    grader");
    assert_eq!(server.command(&workspace, &["run", "model", "p.kdl", "--profile", "openai"]).output().expect("it starts").status.code(), Some(0));
    // Nothing is heard of the batch for a while.
    server.world().faults = vec![("GET /batches/id", fake::Fault::Stall)];
    let child = server.command(&workspace, RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    while !server.world().log.iter().any(|what| what == "GET /batches/id") {
        std::thread::yield_now();
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).expect("a process"), Signal::INT).expect("it is ours");
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(130) && said.contains("batch batch-1 goes on at the provider"), "{said}");
    // One for the model, and one for what it is compared with.
    assert_eq!((server.run(&workspace).code, server.world().batches.len()), (0, 2));
}

#[test]
fn the_sample_pipeline_runs_with_only_the_provider_changed() {
    let (server, workspace) = (Server::start(), common::Workspace::new());
    workspace.write(".git/HEAD", "");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    for entry in walkdir::WalkDir::new(&source).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let name = entry.path().strip_prefix(&source).expect("it is below").to_str().expect("a name").to_owned();
        workspace.write(&format!("pipelines/{name}"), std::fs::read(entry.path()).expect("it can be read"));
    }
    let run = || server.retune(&workspace, &["run", "pipelines/support-router.kdl", "--profile", "openai", "--json"]);
    // The fake repeats the last word, which is no team: its gates say no, and that is as it should be.
    let done = run();
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
    // One that has learnt the teams passes, and is deployed.
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row");
        let said = |place: usize| row["messages"][place]["content"].as_str().expect("a text").to_owned();
        (said(1), said(2))
    };
    let got = workspace.retune(&["get", "chat", "pipelines/support-router.kdl", "--profile", "openai", "--to", "out"]);
    assert_eq!(got.code, 0, "{}", got.stderr);
    server.world().knows = workspace.read("out/test").lines().map(row).collect();
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    let done = run();
    assert_eq!((done.code, server.billed()), (0, 1), "{}{}", done.stdout, done.stderr);
    assert!(workspace.read("deployments/support-router.kdl").contains("ft:gpt-4.1-nano"));
}

#[test]
fn a_large_file_goes_in_parts_at_once() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "largest-request=\"2kB\"");
    server.world().faults = vec![("POST /uploads/id/parts", fake::Fault::Status(500)), ("POST /uploads/id/complete", fake::Fault::LoseReply)];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let world = server.world();
    assert!(world.largest <= 2000, "{} bytes in one request", world.largest);
    let train = world.files.iter().map(|(_, content)| content).max_by_key(|content| content.len()).expect("there are files");
    assert!(train.len() > 10_000 && std::str::from_utf8(train).is_ok_and(|text| text.lines().all(|line| line.starts_with("{\"messages\""))), "it is whole");
    drop(world);
}

#[test]
fn another_provider_trains_again_and_makes_nothing_before_that_again() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.run(&["--name", "here"], 0);
    let moved = server.retune(&workspace, &[RUN, &["--name", "there"]].concat());
    assert_eq!(moved.code, 0, "{}", moved.stderr);
    let summary: serde_json::Value = serde_json::from_str(&moved.stdout).expect("JSON");
    assert_eq!(common::ran(&summary), ["model", "quality", "production"]);
    let compared = server.retune(&workspace, &["diff", "here", "there"]).stdout;
    assert!(compared.contains("context.provider.name: \"local\" -> \"openai\""), "{compared}");
    assert!(compared.contains("the same in both: chat, rows"), "{compared}");
}

#[test]
fn a_server_whose_clock_is_wrong_changes_nothing() {
    for skew in [-10_000_000_000_i64, 10_000_000_000] {
        let (server, workspace) = (Server::start(), colours_workspace());
        server.world().skew = skew;
        assert_eq!(server.run(&workspace).code, 0);
        std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
        assert_eq!(server.run(&workspace).code, 0);
        assert_eq!(server.billed(), 1);
    }
}

#[test]
fn nothing_is_sent_where_no_stage_names_the_provider() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.retune(&workspace, &["run", "p.kdl", "--json"]).code, 0);
    assert!(server.world().log.is_empty());
}

#[test]
fn without_a_key_the_message_says_so() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let done = Done::from(server.command(&workspace, RUN).env_remove("OPENAI_API_KEY").output().expect("it starts"));
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("OPENAI_API_KEY"), "{}", done.stderr);
    let done = Done::from(server.command(&workspace, RUN).env("OPENAI_API_KEY", "sk-a\nb").output().expect("it starts"));
    assert!(done.stderr.contains("provider::bad_key"), "{}", done.stderr);
    let done = Done::from(server.command(&workspace, RUN).env("OPENAI_BASE_URL", "127.0.0.1:9/v1").output().expect("it starts"));
    assert!(done.code == 2 && done.stderr.contains("`OPENAI_BASE_URL` is no address"), "{}", done.stderr);
}
