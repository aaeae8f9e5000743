//! Servers that say what is not so, and words that are taken for something else.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Done, colours_workspace};
use crate::fake::{Fault, RUN, Server, edit, limited, second_evaluation};

#[test]
fn a_list_that_is_none_buys_no_second_job() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    let foreign = r#"{"object":"list","data":[{"id":"ftjob-9","status":"succeeded"}],"has_more":true}"#;
    for (lie, said) in [
        (r#"{"error":{"message":"upstream timed out"}}"#, "missing field"),
        (r#"{"object":"list","jobs":[]}"#, "missing field"),
        (r#"{"object":"list","data":[],"has_more":true}"#, "does not go on"),
        (foreign, "does not go on"),
    ] {
        std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
        server.world().faults = (0..2).map(|_| ("GET /fine_tuning/jobs", Fault::Says(200, lie))).collect();
        let done = server.run(&workspace);
        let folded = done.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(done.code == 1 && folded.contains(said), "{}", done.stderr);
    }
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1);
}

#[test]
fn a_key_that_is_a_word_changes_no_result() {
    let run = |key: &str| {
        let (server, workspace) = (Server::start(), colours_workspace());
        let done = Done::from(server.command(&workspace, RUN).env("OPENAI_API_KEY", key).output().expect("it starts"));
        assert_eq!(done.code, 0, "{key}: {}", done.stderr);
        std::fs::remove_dir_all(workspace.path().join(".retune")).expect("it is there");
        let done = Done::from(server.command(&workspace, RUN).env("OPENAI_API_KEY", key).output().expect("it starts"));
        assert_eq!((done.code, server.billed()), (0, 1), "{key}: {}", done.stderr);
        let shown = workspace.retune(&["show", "quality", "p.kdl", "--profile", "openai", "--json"]).stdout;
        serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["metrics"]["accuracy"].clone()
    };
    // A label, a field of every list, nothing, and a part of the model's name.
    for key in ["blue", "data", "null", "nano"] {
        assert_eq!(run(key), 1.0, "{key}");
    }
}

#[test]
fn an_alarm_holds_where_events_cannot_be_read_to_their_end() {
    let (server, workspace) = (Server::start(), colours_workspace());
    edit(&workspace, "    seed 3\n", "    seed 3\n    alarm \"loss\" over=1.5 then=\"stop\"\n");
    {
        let mut world = server.world();
        world.life = vec!["running", "succeeded"];
        world.losses = vec![(1.0, 1.1)];
        let heard_once = [("GET /fine_tuning/jobs/id/events", Fault::Slow(Duration::ZERO))];
        world.faults = heard_once.into_iter().chain((0..9).map(|_| ("GET /fine_tuning/jobs/id/events", Fault::Status(404)))).collect();
    }
    // The result file tells a loss of 2.
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("provider::alarm"), "{}", done.stderr);
    // So it does where the events can be read, and leave that one out.
    let (server, workspace) = (Server::start(), colours_workspace());
    edit(&workspace, "    seed 3\n", "    seed 3\n    alarm \"loss\" over=1.5 then=\"stop\"\n");
    server.world().life = vec!["running", "succeeded"];
    server.world().losses = vec![(1.0, 1.1)];
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("provider::alarm"), "{}", done.stderr);
}

#[test]
fn a_checkpoint_list_that_cannot_be_had_is_said_to_cost() {
    let (server, workspace) = (Server::start(), colours_workspace());
    edit(&workspace, "    seed 3\n", "    seed 3\n    early-stop patience=2\n");
    {
        let mut world = server.world();
        world.life = vec!["running"];
        world.losses = vec![(3.0, 3.1), (2.0, 2.2), (1.0, 2.4), (0.5, 2.6)];
        world.faults = vec![("GET /fine_tuning/jobs/id/checkpoints", Fault::Says(401, "{}"))];
    }
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("job ftjob-1 runs on and costs until the next run stops it"), "{}", done.stderr);
    assert_eq!(server.run(&workspace).code, 0);
    assert!(server.world().jobs[0].cancelled);
}

#[test]
fn an_upload_may_take_longer_than_the_server_may_say_nothing() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let row = |n: usize| {
        format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{n} {}\"}},{{\"role\":\"assistant\",\"content\":\"a\"}}]}}\n", "w ".repeat(40_000))
    };
    workspace.write("big.jsonl", (0..300).map(row).collect::<String>());
    edit(&workspace, "    data \"chat\"\n    provider", "    examples \"big.jsonl\"\n    provider");
    limited(&server, &workspace, "patience=\"1500ms\"");
    // 24 MB at 8 MB a second, of which no more than a few fit into the buffers on the way.
    server.world().upload_pause = Duration::from_millis(32);
    let done = server.retune(&workspace, &["run", "p.kdl", "model", "--profile", "openai"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let sent = server.world().log.iter().filter(|what| *what == "POST /files").count();
    assert_eq!(sent, 1, "it is sent once");
    let stalled = colours_workspace();
    limited(&server, &stalled, "patience=\"100ms\"");
    server.world().faults = (0..6).map(|_| ("POST /files", Fault::Stall)).collect();
    let done = server.run(&stalled);
    assert!(done.code == 1 && done.stderr.contains("nothing moved for 100ms"), "{}", done.stderr);
}

#[test]
fn a_file_that_is_still_looked_at_is_waited_for() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().file_looks = 2;
    let done = server.run(&workspace);
    assert_eq!((done.code, server.billed()), (0, 1), "{}", done.stderr);
    assert!(server.world().log.iter().filter(|what| *what == "GET /files/id").count() >= 4, "both files are asked after");
    // OpenAI has no such status, others do.
    server.world().wrong.clear();
}

#[test]
fn answers_that_were_cut_off_are_told_of() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().cut = true;
    let done = server.run(&workspace);
    assert!(done.stderr.contains("answers were cut off at 32 tokens"), "{}", done.stderr);
    let events = walkdir::WalkDir::new(workspace.path().join(".retune/runs")).into_iter().flatten().find(|entry| entry.file_name() == "events.jsonl");
    let events = std::fs::read_to_string(events.expect("there is a log").path()).expect("it can be read");
    assert!(events.contains("\"cut-off\":"), "{events}");
}

#[test]
fn all_stages_of_a_run_share_the_places_for_requests() {
    let (server, workspace) = (Server::start(), colours_workspace());
    limited(&server, &workspace, "concurrency=2");
    server.world().latency = Duration::from_millis(5);
    second_evaluation(&workspace, "    grader", "    generate max-tokens=9\n    grader");
    let done = server.retune(&workspace, &["run", "p.kdl", "--profile", "openai", "--jobs", "8"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.world().at_once.1, 2);
}

#[test]
fn the_first_ctrl_c_asks_no_further_question() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    let undisturbed = std::mem::take(&mut server.world().questions);
    let workspace = colours_workspace();
    limited(&server, &workspace, "concurrency=1");
    server.world().latency = Duration::from_millis(40);
    let mut child = server.command(&workspace, RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    while server.world().questions < 5 && child.try_wait().expect("it can be looked at").is_none() {
        std::thread::yield_now();
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).expect("a process"), Signal::INT).expect("it is ours");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let asked = server.world().questions;
    assert!(asked < 20, "{asked} were asked");
    server.world().latency = Duration::ZERO;
    let done = server.run(&workspace);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.world().questions, undisturbed, "none is asked twice");
}

#[test]
fn what_a_failed_attempt_did_not_answer_may_be_spent_by_the_next() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("prices.kdl", "price \"openai\" \"gpt-4.1-nano-2025-04-14\" training=0 input=0 output=1000000\n");
    edit(&workspace, "    baseline (param)\"base\"\n", "");
    edit(&workspace, "    grader", "    generate max-tokens=10\n    retry 3 delay=\"1ms\"\n    grader");
    assert_eq!(server.run(&workspace).code, 0);
    let questions = server.world().questions;
    let fresh = colours_workspace();
    fresh.write("prices.kdl", workspace.read("prices.kdl"));
    fresh.write("p.kdl", format!("budget usd={}.0\n{}", questions * 10, workspace.read("p.kdl")));
    server.world().faults = vec![("POST /chat/completions", Fault::Final(503))];
    let done = server.run(&fresh);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("attempt 1 of 4"), "{}", done.stderr);
}

#[test]
fn a_budget_that_cannot_hold_is_told_by_the_plan() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("p.kdl", format!("budget usd=5.0\n{}", workspace.read("p.kdl").replace("gpt-4.1-nano-2025-04-14", "unheard-of")));
    let plan = server.retune(&workspace, &["plan", "p.kdl", "--profile", "openai"]);
    assert!(plan.code == 0 && plan.stdout.contains("what nobody told the price of is over any"), "{}", plan.stdout);
}
