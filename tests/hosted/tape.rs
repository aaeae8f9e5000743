//! Exchanges that are recorded once and replayed without a network.

use crate::common::{Done, Workspace, colours_workspace};
use crate::fake::{KEY, RUN, Server};

fn recorded() -> (Server, Workspace) {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().life = vec!["queued", "running", "succeeded"];
    let done = server.retune(&workspace, &[RUN, &["--record", "tape"]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    (server, workspace)
}

#[test]
fn a_recorded_run_replays_without_network_or_key() {
    let (server, workspace) = recorded();
    let lock = workspace.read("p.openai.lock.kdl");
    let text: String = walkdir::WalkDir::new(workspace.path().join("tape"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| std::fs::read_to_string(entry.path()).expect("a text"))
        .collect();
    assert!(!text.contains(KEY) && !text.to_lowercase().contains("authorization"));
    let fresh = colours_workspace();
    let requests = server.world().log.len();
    let tape = workspace.path().join("tape");
    let arguments = [RUN, &["--replay", tape.to_str().expect("a path")]].concat();
    let done = Done::from(server.command(&fresh, &arguments).env_remove("OPENAI_API_KEY").output().expect("it starts"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(fresh.read("p.openai.lock.kdl"), lock);
    assert_eq!(server.world().log.len(), requests, "nothing was sent");
    let provenance = |workspace: &Workspace| workspace.retune(&["show", "model", "p.kdl", "--profile", "openai", "--provenance"]).stdout;
    assert!(provenance(&fresh).contains("came from a recording") && !provenance(&workspace).contains("came from a recording"));
}

#[test]
fn what_was_never_recorded_is_shown_beside_the_nearest() {
    let (server, workspace) = recorded();
    workspace.write("p.kdl", workspace.read("p.kdl").replace("Name the colour.", "Name that colour."));
    let done = server.retune(&workspace, &[RUN, &["--replay", "tape"]].concat());
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("provider::not_recorded") && done.stderr.contains("recorded"), "{}", done.stderr);
    assert_eq!(server.retune(&workspace, &[RUN, &["--replay", "nowhere"]].concat()).code, 1);
}
