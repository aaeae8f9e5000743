//! A server that loses, stalls, refuses and lies.

use std::time::Duration;

use crate::common::colours_workspace;
use crate::fake::{Fault, KEY, Server};

#[test]
fn whatever_happens_to_the_request_that_makes_a_job_it_is_paid_for_once() {
    for fault in [Fault::LoseReply, Fault::Truncate, Fault::TooMany(20), Fault::Slow(Duration::from_millis(200))] {
        let (server, workspace) = (Server::start(), colours_workspace());
        server.world().faults = vec![("POST /fine_tuning/jobs", fault)];
        let done = server.run(&workspace);
        assert_eq!(done.code, 0, "{fault:?}: {}", done.stderr);
        assert_eq!(server.billed(), 1, "{fault:?}");
    }
    // It was not done, and nobody can know: it fails, and the next run looks before it asks again.
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Status(409)] {
        let (server, workspace) = (Server::start(), colours_workspace());
        server.world().faults = vec![("POST /fine_tuning/jobs", fault)];
        assert_eq!(server.run(&workspace).code, 1, "{fault:?}");
        assert_eq!(server.billed(), 0);
        assert_eq!(server.run(&workspace).code, 0);
        assert_eq!(server.billed(), 1);
    }
}

#[test]
fn passing_trouble_is_overcome() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().faults = vec![
        ("GET /files", Fault::Status(500)),
        ("POST /files", Fault::LoseReply),
        ("POST /files", Fault::Status(408)),
        ("GET /fine_tuning/jobs", Fault::Truncate),
        ("GET /fine_tuning/jobs/id", Fault::Status(502)),
        ("GET /fine_tuning/jobs/id/events", Fault::Nonsense),
        ("POST /chat/completions", Fault::Status(503)),
        ("POST /chat/completions", Fault::Truncate),
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
    assert!(done.stderr.contains("credit"), "{}", done.stderr);
}

#[test]
fn a_server_that_says_nothing_is_given_up_within_its_patience() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let declared = format!(
        "provider \"openai\" {{\n    api \"openai\"\n    base-url \"http://{}/v1\"\n    limits patience=\"300ms\"\n}}\npipeline \"colours\"",
        server.address
    );
    workspace.write("p.kdl", workspace.read("p.kdl").replacen("pipeline \"colours\"", &declared, 1));
    server.world().faults = vec![("GET /fine_tuning/jobs", Fault::Stall)];
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
}

#[test]
fn answers_come_at_the_pace_that_is_allowed_at_once() {
    // Ideal: 300 answers, 64 at once, 20 ms each. That it is near that is for `just hosted-speed` to show; here only that they
    // do go at once: one after the other it would take six seconds.
    let (server, workspace) = (Server::start(), colours_workspace());
    let declared = format!(
        "provider \"openai\" {{\n    api \"openai\"\n    base-url \"http://{}/v1\"\n    limits concurrency=64\n}}\npipeline \"colours\"",
        server.address
    );
    workspace.write("p.kdl", workspace.read("p.kdl").replacen("pipeline \"colours\"", &declared, 1));
    server.world().latency = Duration::from_millis(20);
    assert_eq!(server.run(&workspace).code, 0);
    assert!(server.world().questions > 50);
}
