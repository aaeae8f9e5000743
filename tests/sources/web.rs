//! Files behind HTTP, by servers that change their mind, break off and lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::server::{Asked, Server, reply};
use super::{collecting, rows};

const TABLE: &str = "text,team\nwhere is my card,cards\nhow much is it,fees\n";

fn by_http(server: &Server, more: &str) -> crate::common::Workspace {
    collecting(&format!("\"{}\" {more}", server.url("/data/tickets.csv")))
}

#[test]
fn what_was_fetched_is_not_asked_for_again() {
    let server = Server::new(|_, _| reply(TABLE));
    let workspace = by_http(&server, "");
    assert_eq!(workspace.ran(&[]), ["rows", "chat"]);
    assert_eq!(rows(&workspace)[0], json!({ "text": "where is my card", "team": "cards" }));
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(server.asked().len(), 1, "the source is pinned");
}

#[test]
fn what_is_always_looked_at_makes_nothing_run_unless_it_changed() {
    let version = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&version);
    let server = Server::new(move |asked, _| {
        let tag = format!("\"v{}\"", now.load(Ordering::SeqCst));
        if asked.header("if-none-match") == Some(&tag) {
            return reply("").status("304 Not Modified");
        }
        reply(format!("{TABLE}row {tag},x\n")).header("etag", tag)
    });
    let workspace = by_http(&server, "{\n        refresh \"always\"\n    }");
    workspace.run(&[], 0);
    assert!(!workspace.ran(&[]).contains(&"chat".to_owned()), "what is the same makes nothing run");
    assert_eq!(server.asked().len(), 2);
    version.store(2, Ordering::SeqCst);
    assert!(workspace.ran(&[]).contains(&"chat".to_owned()));
    assert_eq!(rows(&workspace).len(), 3);
    let plan = workspace.retune(&["plan", "p.kdl"]);
    assert!(plan.stdout.contains("look at its source again"), "{}", plan.stdout);
    assert_eq!(workspace.retune(&["run", "p.kdl", "--locked"]).code, 0, "what is locked asks nobody");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn one_look_is_good_for_a_while() {
    let server = Server::new(|_, _| reply(TABLE));
    let workspace = by_http(&server, "{\n        refresh \"every\" \"24h\"\n    }");
    workspace.run(&[], 0);
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_ended() {
    let body: String = "text,team\n".to_owned() + &(0..5000).map(|row| format!("message {row},team {}\n", row % 7)).collect::<String>();
    let whole = body.clone();
    let server = Server::new(move |asked, number| match (number, asked.header("range")) {
        (0, _) => reply(&whole.as_bytes()[..40_000]).says(whole.len()).header("etag", "\"one\""),
        (1, Some(range)) => {
            let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().expect("a number");
            let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
            reply(&whole.as_bytes()[from..]).status("206 Partial Content").header("content-range", range).header("etag", "\"one\"")
        }
        _ => reply("").status("500 Internal Server Error"),
    });
    let workspace = by_http(&server, "");
    workspace.run(&[], 0);
    assert_eq!(rows(&workspace).len(), 5000);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[1].header("range"), asked[1].header("if-range")), (Some("bytes=40000-"), Some("\"one\"")));
}

#[test]
fn what_changed_while_it_was_fetched_is_fetched_anew() {
    let server = Server::new(move |asked, number| match number {
        0 => reply(&TABLE.as_bytes()[..20]).says(TABLE.len()).header("etag", "\"one\""),
        _ if asked.header("if-range") == Some("\"one\"") => reply("text,team\nnew,x\n").header("etag", "\"two\""),
        _ => reply("").status("404 Not Found"),
    });
    let workspace = by_http(&server, "");
    workspace.run(&[], 0);
    assert_eq!(rows(&workspace), [json!({ "text": "new", "team": "x" })]);
}

#[test]
fn a_server_that_goes_on_from_another_place_is_not_believed() {
    let server = Server::new(move |_, number| match number {
        0 => reply(&TABLE.as_bytes()[..20]).says(TABLE.len()).header("etag", "\"one\""),
        1 => reply(&TABLE.as_bytes()[5..]).status("206 Partial Content").header("content-range", "bytes 5-50/51").header("etag", "\"one\""),
        _ => reply(TABLE).header("etag", "\"one\""),
    });
    let workspace = by_http(&server, "");
    workspace.run(&[], 0);
    assert_eq!(rows(&workspace).len(), 2);
}

#[test]
fn what_cannot_be_reached_is_a_warning_where_there_is_a_last_look_and_refresh_allows_it() {
    let down = Arc::new(AtomicUsize::new(0));
    let is_down = Arc::clone(&down);
    let server = Server::new(move |_: &Asked, _| if is_down.load(Ordering::SeqCst) == 1 { reply("").status("503 Service Unavailable") } else { reply(TABLE) });
    let always = by_http(&server, "{\n        refresh \"always\"\n    }");
    always.run(&[], 0);
    down.store(1, Ordering::SeqCst);
    let done = always.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("warning: cannot reach") && done.stderr.contains("is used"), "{}", done.stderr);
    let fresh = by_http(&server, "{\n        refresh \"always\"\n    }");
    let done = fresh.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("source::unreachable") && done.stderr.contains("503"), "{}", done.stderr);
}

#[test]
fn what_is_pinned_by_its_content_is_that_content_or_an_error() {
    let server = Server::new(|_, _| reply(TABLE));
    let digest = blake3::hash(TABLE.as_bytes()).to_hex();
    by_http(&server, &format!("blake3=\"{digest}\"")).run(&[], 0);
    let other = by_http(&server, &format!("blake3=\"{}\"", blake3::hash(b"other").to_hex()));
    let done = other.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("is not the content that is pinned"), "{}", done.stderr);
}

#[test]
fn redirects_and_sizes_are_bounded() {
    let round = Server::new(|_, _| reply("").status("302 Found").header("location", "/again"));
    let done = by_http(&round, "").retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("redirect"), "{}", done.stderr);
    let on = Server::new(|asked, _| if asked.path == "/moved.csv" { reply(TABLE) } else { reply("").status("302 Found").header("location", "/moved.csv") });
    by_http(&on, "").run(&[], 0);
    let large = Server::new(|_, _| reply("x".repeat(1_500_000)));
    let done = by_http(&large, "largest=\"1MB\"").retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("is larger than 1000000 bytes"), "{}", done.stderr);
}

#[test]
fn a_token_is_sent_and_kept_nowhere() {
    let server =
        Server::new(
            |asked, _| {
                if asked.header("authorization") == Some("Bearer s3cret-t0ken") { reply(TABLE) } else { reply("who are you").status("401 Unauthorized") }
            },
        );
    let workspace = by_http(&server, "{\n        token (secret)\"TICKETS\"\n    }");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("`TICKETS`, which is not set"), "{}", done.stderr);
    let done = workspace.command(&["run", "p.kdl"]).env("TICKETS", "wrong").output().expect("it starts");
    assert!(String::from_utf8_lossy(&done.stderr).contains("401 Unauthorized"));
    let done = workspace.command(&["run", "p.kdl"]).env("TICKETS", "s3cret-t0ken").output().expect("it starts");
    assert!(done.status.success());
    let found = std::process::Command::new("grep").args(["-r", "s3cret", "."]).current_dir(workspace.path()).output().expect("grep starts");
    assert!(found.stdout.is_empty());
}
