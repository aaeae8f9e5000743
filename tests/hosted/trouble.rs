//! A server that loses, stalls, refuses and lies.

use std::time::Duration;

use crate::common::colours_workspace;
use crate::fake::{Fault, KEY, Server, limited};

#[test]
fn whatever_happens_to_the_request_that_makes_a_job_it_is_paid_for_once() {
    for fault in [Fault::LoseReply, Fault::Reset, Fault::Truncate, Fault::TooMany(20), Fault::Slow(Duration::from_millis(200))] {
        let (server, workspace) = (Server::start(), colours_workspace());
        limited(&server, &workspace, "visible=\"2s\"");
        server.world().faults = vec![("POST /fine_tuning/jobs", fault)];
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "{fault:?}: {}", done.stderr);
        assert_eq!(server.billed(), 1, "{fault:?}");
    }
    // Whatever begins with a 5 may come after it was done, or instead of it; so may, at a server that lies, that it was too soon.
    for fault in [Fault::DoneAnd(500), Fault::DoneAnd(501), Fault::DoneAnd(503), Fault::DoneAnd(429)] {
        let (server, workspace) = (Server::start(), colours_workspace());
        limited(&server, &workspace, "visible=\"3s\"");
        workspace.write("p.kdl", workspace.read("p.kdl").replace("    seed 3\n", "    seed 3\n    retry 3 delay=\"1ms\"\n"));
        server.world().faults = vec![("POST /fine_tuning/jobs", fault)];
        // It shows only after a while.
        server.world().late = 3;
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "{fault:?}: {}", done.stderr);
        assert_eq!(server.billed(), 1, "{fault:?}");
    }
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Coded(429, "insufficient_quota")] {
        let (server, workspace) = (Server::start(), colours_workspace());
        limited(&server, &workspace, "visible=\"300ms\"");
        server.world().faults = (0..4).map(|_| ("POST /fine_tuning/jobs", fault)).collect();
        assert_eq!(server.run(&workspace).code, 1, "{fault:?}");
        assert_eq!(server.billed(), 0);
        let asked = server.world().log.iter().filter(|what| *what == "POST /fine_tuning/jobs").count();
        assert_eq!(asked, 1, "it is never sent again in the same run");
        server.world().faults.clear();
        assert_eq!(server.run(&workspace).code, 0);
        assert_eq!(server.billed(), 1);
    }
}

#[test]
fn where_nobody_could_look_after_a_refusal_the_job_may_be_there() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "visible=\"500ms\"");
    // Too soon, and it is made; and then no list is to be had.
    let unharmed = ("GET /fine_tuning/jobs", Fault::Slow(Duration::ZERO));
    let refused = ("GET /fine_tuning/jobs", Fault::Status(403));
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::DoneAnd(429)), unharmed, unharmed, unharmed];
    server.world().faults.extend([refused; 40]);
    let done = server.run(&workspace);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("whether the job was made is not known"), "{}", done.stderr);
    // The next run finds no key of ours, and waits until it shows.
    server.world().faults.clear();
    server.world().late = 2;
    let done = server.run(&workspace);
    assert_eq!((done.code, server.billed()), (0, 1), "{}", done.stderr);
}

#[test]
fn the_next_run_waits_for_a_job_that_may_have_been_made() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "visible=\"500ms\"");
    // The reply is lost, and the list shows the job only in the next run, and not at once.
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::LoseReply)];
    server.world().late = 20;
    assert_eq!(server.run(&workspace).code, 1);
    server.world().late = 3;
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
}

#[test]
fn the_id_of_a_job_is_on_disk_before_anything_else_is_asked() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running"];
    // The look for jobs of others, right after it was made, takes for ever.
    let unharmed = ("GET /fine_tuning/jobs", Fault::Slow(Duration::ZERO));
    server.world().faults = vec![unharmed, unharmed, unharmed, ("GET /fine_tuning/jobs", Fault::Stall)];
    let mut child =
        server.command(&workspace, crate::fake::RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    while !server.world().faults.is_empty() && child.try_wait().expect("it can be looked at").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert!(server.retune(&workspace, &["jobs"]).stdout.contains("ftjob-1"), "it can be seen, and cancelled");
    // A server that keeps no mark of ours: only the disk knows it.
    server.world().jobs[0].body["metadata"] = serde_json::json!({});
    server.world().life.clear();
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1);
}

#[test]
fn a_job_that_was_just_made_and_does_not_show_is_waited_for() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = (0..4).map(|_| ("GET /fine_tuning/jobs/id", Fault::Status(404))).collect();
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
}

#[test]
fn a_batch_is_made_once_whatever_is_answered() {
    let batched = |limits: &str| {
        let (server, workspace) = (Server::start(), colours_workspace());
        limited(&server, &workspace, limits);
        let text = workspace.read("p.kdl").replace("    baseline (param)\"base\"\n", "").replace("    grader", "    generate batch=#true\n    grader");
        workspace.write("p.kdl", text);
        (server, workspace)
    };
    for fault in [Fault::DoneAnd(503), Fault::DoneAnd(409), Fault::LoseReply, Fault::Reset, Fault::DoneAnd(429), Fault::TooMany(20)] {
        let (server, workspace) = batched("visible=\"5s\"");
        server.world().faults = vec![("POST /batches", fault)];
        server.world().late_batches = 2;
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "{fault:?}: {}", done.stderr);
        assert_eq!(server.world().batches.len(), 1, "{fault:?}");
    }
    // One that does not show within the time is looked for again by the next run.
    let (server, workspace) = batched("visible=\"200ms\"");
    server.world().faults = vec![("POST /batches", Fault::DoneAnd(503))];
    server.world().late_batches = 50;
    assert_eq!(server.run(&workspace).code, 1);
    server.world().late_batches = 1;
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.world().batches.len(), 1);
    // What one that expired had answered is paid for, and is not asked again.
    let (server, workspace) = batched("visible=\"200ms\"");
    server.world().expires = true;
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("are asked in another"), "{}", done.stderr);
    let questions = server.world().questions;
    let asked = server.world().batches.len();
    assert_eq!(asked, 2);
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    assert_eq!(server.run(&workspace).code, 0);
    let world = server.world();
    assert_eq!((world.questions, world.batches.len()), (questions, 2), "both are found again");
    drop(world);
    // A question that the filter refuses is a wrong answer, and no reason to lose all others.
    let (server, workspace) = batched("visible=\"200ms\"");
    server.world().refused = Some("number 1");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("counts as answered by nothing"), "{}", done.stderr);
}

#[test]
fn early_stop_goes_by_steps_and_needs_no_checkpoints() {
    let stopping = |patience: u32| {
        let (server, workspace) = (Server::start(), colours_workspace());
        workspace.write("p.kdl", workspace.read("p.kdl").replace("    seed 3\n", &format!("    seed 3\n    early-stop patience={patience}\n")));
        server.world().all_at_once = true;
        (server, workspace)
    };
    // A loss that falls steadily, told from the oldest on.
    let (server, workspace) = stopping(2);
    server.world().losses = vec![(3.0, 3.0), (2.0, 2.0), (1.0, 1.0), (0.5, 0.5)];
    server.world().oldest_first = true;
    assert_eq!(server.run(&workspace).code, 0);
    assert!(!server.world().jobs[0].cancelled);
    // A server without checkpoints: the finished model is kept.
    let (server, workspace) = stopping(2);
    server.world().losses = vec![(3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (0.5, 5.0)];
    server.world().faults = (0..9).map(|_| ("GET /fine_tuning/jobs/id/checkpoints", Fault::Status(404))).collect();
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("left no checkpoint"), "{}", done.stderr);
    // A job that cannot be cancelled runs on, and that is said.
    let (server, workspace) = stopping(2);
    server.world().life = vec!["running"];
    server.world().losses = vec![(3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (0.5, 5.0)];
    server.world().faults = vec![("POST /fine_tuning/jobs/id/cancel", Fault::Status(404))];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("runs on and costs"), "{}", done.stderr);
    assert_eq!(server.retune(&workspace, &["get", "model", "p.kdl", "--profile", "openai", "--to", "out"]).code, 0);
    assert!(workspace.read("out/losses").contains("1,3,2\n"), "what its events told is kept: {}", workspace.read("out/losses"));
}

#[test]
fn a_job_that_shows_late_is_waited_for() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::LoseReply)];
    // The first list is before it is made.
    server.world().late = 6;
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
}

#[test]
fn a_job_that_somebody_pauses_is_followed_until_it_goes_on() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running", "paused", "paused", "running", "succeeded"];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
    assert!(done.stderr.contains("is paused"), "a person is told what it waits for: {}", done.stderr);
}

#[test]
fn a_job_that_failed_is_not_bought_again_by_retry() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    seed 3\n", "    seed 3\n    retry 3 delay=\"1ms\"\n"));
    server.world().life = vec!["failed"];
    assert_eq!(server.run(&workspace).code, 1);
    assert_eq!(server.billed(), 1);
}

#[test]
fn two_workspaces_at_once_end_with_one_job() {
    let server = Server::start();
    server.world().life = vec!["running", "running", "running", "succeeded"];
    let (one, two) = (colours_workspace(), colours_workspace());
    // Neither sees the other's job before it makes its own.
    server.world().late = 2;
    let start = |workspace: &crate::common::Workspace| {
        server.command(workspace, crate::fake::RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts")
    };
    let (mut first, mut second) = (start(&one), start(&two));
    assert!(first.wait().expect("it ends").success() && second.wait().expect("it ends").success());
    let alive = server.world().jobs.iter().filter(|job| !job.cancelled).count();
    assert_eq!(alive, 1);
    assert_eq!(one.read("p.openai.lock.kdl"), two.read("p.openai.lock.kdl"));
}

#[test]
fn a_job_object_that_is_written_in_another_way_is_followed_all_the_same() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running", "running", "succeeded"];
    let mut child =
        server.command(&workspace, crate::fake::RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    while server.world().jobs.is_empty() && child.try_wait().expect("it can be looked at").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    {
        let mut world = server.world();
        let body = &mut world.jobs[0].body;
        body["created_at"] = serde_json::json!("2026-01-01T00:00:00Z");
        body["trained_tokens"] = serde_json::json!({ "in": 1 });
        body["result_files"] = serde_json::json!("none");
    }
    std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
    // Such a job is in no description.
    server.world().wrong.clear();
}

#[test]
fn answers_are_kept_as_they_come_and_a_refused_question_is_a_wrong_answer() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().latency = Duration::from_millis(30);
    let mut child =
        server.command(&workspace, crate::fake::RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    while server.world().questions < 20 && child.try_wait().expect("it can be looked at").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    server.world().refused = Some("number 1 ");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("answers are there from before"), "{}", done.stderr);
}

#[test]
fn a_job_that_is_gone_can_be_forgotten() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "visible=\"100ms\"");
    server.world().life = vec!["running", "failed"];
    server.world().faults = (0..20).map(|_| ("GET /fine_tuning/jobs/id", Fault::Status(404))).collect();
    let done = server.run(&workspace);
    assert!(done.stderr.contains("provider::job_gone"), "{}", done.stderr);
    server.world().faults.clear();
    server.world().jobs.clear();
    assert_eq!(server.run(&workspace).code, 1);
    assert_eq!(server.retune(&workspace, &["jobs", "--forget", "ftjob-1"]).code, 0);
    server.world().life.clear();
    assert_eq!(server.run(&workspace).code, 0);
}

#[test]
fn passing_trouble_is_overcome() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![
        ("GET /files", Fault::Status(500)),
        ("POST /files", Fault::LoseReply),
        ("POST /files", Fault::Reset),
        ("POST /files", Fault::Status(408)),
        ("GET /fine_tuning/jobs", Fault::Truncate),
        ("GET /fine_tuning/jobs/id", Fault::Status(502)),
        ("GET /fine_tuning/jobs/id", Fault::Reset),
        ("GET /fine_tuning/jobs/id/events", Fault::Nonsense),
        ("POST /chat/completions", Fault::Status(503)),
        ("POST /chat/completions", Fault::Truncate),
        ("POST /chat/completions", Fault::Reset),
    ];
    server.world().faults.extend((0..12).map(|_| ("POST /chat/completions", Fault::TooMany(5))));
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.billed(), 1);
    assert!(server.world().faults.is_empty(), "{:?}", server.world().faults);
}

#[test]
fn an_empty_account_is_not_asked_again() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![("GET /fine_tuning/jobs", Fault::Coded(429, "insufficient_quota"))];
    let done = server.run(&workspace);
    assert_eq!(done.code, 1);
    assert_eq!(server.world().log.iter().filter(|what| *what == "GET /fine_tuning/jobs").count(), 1);
    assert!(done.stderr.contains("to wait does not help"), "{}", done.stderr);
}

#[test]
fn a_server_that_says_nothing_is_given_up_within_its_patience() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "patience=\"300ms\"");
    server.world().faults = vec![("GET /fine_tuning/jobs", Fault::Stall), ("GET /models", Fault::Trickle)];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_server_that_repeats_the_key_does_not_bring_it_out() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![("GET /fine_tuning/jobs", Fault::Coded(401, KEY))];
    let done = server.run(&workspace);
    assert_eq!(done.code, 1);
    assert!(!done.stderr.contains(KEY) && !done.stdout.contains(KEY), "{}", done.stderr);
    // Nor where it stands in what is kept: the answer of a model, and the name of a job.
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["running", KEY, "succeeded"];
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let disk = std::process::Command::new("grep").args(["-r", KEY, "."]).current_dir(workspace.path()).output().expect("grep starts");
    assert!(disk.stdout.is_empty() && !done.stderr.contains(KEY), "{}", String::from_utf8_lossy(&disk.stdout));
}

#[test]
fn all_stages_of_a_run_share_what_is_allowed_in_a_minute() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "requests-per-minute=300 concurrency=64");
    let more = |tokens: u32| {
        format!(
            "evaluate \"more-{tokens}\" {{\n    model \"model\"\n    data \"chat\" split=\"test\"\n    generate max-tokens={tokens}\n    grader \"exact-match\"\n}}\n"
        )
    };
    let text = workspace.read("p.kdl").replace("    baseline (param)\"base\"\n", "");
    workspace.write("p.kdl", text + &more(8) + &more(9));
    let began = std::time::Instant::now();
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let world = server.world();
    // A tenth of a minute's worth at once and the rest as it comes back: however slow this machine is, no answer may come before
    // that. Were there a bucket for each of the three stages, they would.
    assert!(world.asked.len() > 60, "{}", world.asked.len());
    for (number, at) in world.asked.iter().enumerate() {
        let allowed = 30.0 + at.duration_since(began).as_secs_f64() * 5.0;
        assert!(number as f64 <= allowed, "question {number} came when {allowed:.1} were allowed");
    }
}

#[test]
fn an_account_that_is_empty_is_not_asked_before_it_fills_up() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "concurrency=1");
    server.world().empty_for = Some("900ms");
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let world = server.world();
    // However slow this machine is, it cannot come earlier.
    let wait = world.asked[1].duration_since(world.asked[0]);
    assert!(wait >= Duration::from_millis(850), "the second question came after {wait:?}");
}

#[test]
fn a_wait_that_is_told_in_milliseconds_is_one_of_milliseconds() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![("POST /fine_tuning/jobs", Fault::TooMany(70))];
    let done = server.retune(&workspace, &["run", "p.kdl", "--profile", "openai"]);
    assert_eq!((done.code, server.billed()), (0, 1), "{}", done.stderr);
    let waits: Vec<&str> = done.stderr.lines().filter_map(|line| line.split_once("again in ")).map(|(_, wait)| wait).collect();
    assert!(waits.iter().any(|wait| wait.ends_with("ms") && wait.len() <= "99.99ms".len()), "{waits:?} {}", done.stderr);
}

#[test]
fn answers_come_at_the_pace_that_is_allowed_at_once() {
    // Ideal: 300 answers, 64 at once, 20 ms each. That it is near that is for `just hosted-speed` to show; here only that they
    // do go at once: one after the other it would take six seconds.
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "concurrency=64");
    server.world().latency = Duration::from_millis(20);
    assert_eq!(server.run(&workspace).code, 0);
    let most = server.world().at_once.1;
    assert!((17..=64).contains(&most), "{most} at once");
}
