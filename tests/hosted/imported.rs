use crate::common::{Workspace, colours_workspace};
use crate::fake::Server;

#[test]
fn a_job_is_imported_by_its_id() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    let id = server.world().jobs[0].body["id"].as_str().expect("it has one").to_owned();
    let elsewhere = Workspace::new();
    let done = server.retune(&elsewhere, &["import", &id, "--to", "router.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let pipeline = elsewhere.read("router.kdl");
    for wanted in [id.as_str(), "provider \"openai\"", "model \"gpt-4.1-nano-2025-04-14\"", "epochs 2"] {
        assert!(pipeline.contains(wanted), "{wanted}: {pipeline}");
    }
    assert!(!pipeline.contains(crate::fake::KEY));
    let checked = server.retune(&elsewhere, &["check", "router.kdl"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);

    let unknown = server.retune(&elsewhere, &["import", "ftjob-none"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("404"), "{} {}", unknown.code, unknown.stderr);
    let keyless = server.command(&elsewhere, &["import", &id]).env_remove("OPENAI_API_KEY").output().expect("the program starts");
    assert!(String::from_utf8_lossy(&keyless.stderr).contains("OPENAI_API_KEY"));
}
