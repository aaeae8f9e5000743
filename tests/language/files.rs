use super::{Done, codes, found, says, stages, with, wrong};

#[test]
fn what_a_file_includes_stands_there() {
    let main = format!("pipeline \"p\"\ninclude \"parts/common.kdl\"\n{}", says("x", "${param.who}"));
    let workspace = with(&[
        ("p.kdl", &main),
        ("parts/common.kdl", "include \"more.kdl\"\nparams {\n    who \"${param.base}!\"\n}\n"),
        ("parts/more.kdl", &format!("params {{\n    base \"me\"\n}}\n{}", says("y", "${param.who}"))),
    ]);
    assert_eq!(stages(&workspace, &[]), ["y", "x"], "in the place of the node that includes it");
    assert_eq!(workspace.ran(&[]).len(), 2);
    assert_eq!(workspace.read("x.out"), "me!");
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("parts/common.kdl", "include \"more.kdl\"\nparams {\n    who \"you\"\n}\n");
    assert_eq!(workspace.ran(&[]).len(), 2, "a change of an included file shows");
    assert_eq!(workspace.read("y.out"), "you");
    let why = workspace.retune(&["why", "y", "p.kdl", "--json"]);
    assert_eq!(why.code, 0, "{}", why.stderr);
}

#[test]
fn a_mistake_is_shown_in_the_file_that_it_is_in() {
    let workspace = with(&[
        ("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\nexec \"x\" {\n    run 1\n    output \"o\"\n}\n"),
        ("a.kdl", "// ü\n\nexec \"y\" {\n    rnu \"true\"\n    output \"q\"\n}\n"),
    ]);
    let found = found(&workspace, &[]);
    assert_eq!(codes(&found), ["config::wrong_type", "config::unknown_node"], "all errors of all files, in order");
    let place = |at: usize| (found[at]["labels"][0]["file"].as_str().expect("a file").to_owned(), found[at]["labels"][0]["line"].as_i64());
    assert_eq!(place(0), ("p.kdl".into(), Some(4)));
    assert_eq!(place(1), ("a.kdl".into(), Some(4)));
    let shown = workspace.retune(&["check", "p.kdl"]).stderr;
    assert!(shown.contains("[a.kdl:4:5]") && shown.contains("[p.kdl:4:9]"), "{shown}");
}

#[test]
fn what_cannot_be_read_hides_nothing_of_the_rest() {
    let workspace = with(&[
        ("p.kdl", "pipeline \"p\"\ninclude \"gone.kdl\"\ninclude \"a.kdl\"\nexec \"x\" {\n    rnu \"true ${param.elsewhere}\"\n    output \"o\"\n}\n"),
        ("a.kdl", "exec \"y\" {\n"),
    ]);
    assert_eq!(codes(&found(&workspace, &[])), ["config::unreadable_include", "config::unknown_node", "config::syntax"]);
}

#[test]
fn two_places_in_two_files_are_both_shown() {
    let text = says("x", "1");
    let done = wrong(&[("p.kdl", &format!("pipeline \"p\"\ninclude \"a.kdl\"\n{text}")), ("a.kdl", &text)], &[]);
    assert!(done.stderr.contains("config::duplicate_stage") && done.stderr.contains("p.kdl:3") && done.stderr.contains("a.kdl:1"), "{}", done.stderr);
}

#[test]
fn files_that_cannot_be_taken_in_are_told() {
    let cycle = wrong(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\n"), ("a.kdl", "include \"p.kdl\"\n")], &[]);
    assert!(cycle.stderr.contains("config::include_cycle") && cycle.stderr.contains("a.kdl:1"), "{}", cycle.stderr);
    let own = wrong(&[("p.kdl", "pipeline \"p\"\ninclude \"p.kdl\"\n")], &[]);
    assert!(own.stderr.contains("config::include_cycle"), "{}", own.stderr);
    let twice = wrong(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\ninclude \"./a.kdl\"\n"), ("a.kdl", "")], &[]);
    assert!(twice.stderr.contains("config::included_twice"), "{}", twice.stderr);
    let gone = wrong(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\n")], &[]);
    assert!(gone.stderr.contains("config::unreadable_include") && gone.stderr.contains("p.kdl:2:9"), "{}", gone.stderr);
    let syntax = wrong(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\n"), ("a.kdl", "exec \"x\" {\n")], &[]);
    assert!(syntax.stderr.contains("config::syntax") && syntax.stderr.contains("a.kdl:"), "{}", syntax.stderr);
    let named = wrong(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\n"), ("a.kdl", "pipeline \"q\"\n")], &[]);
    assert!(named.stderr.contains("config::repeated"), "{}", named.stderr);
    let binary = with(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\n")]);
    binary.write("a.kdl", [0xff, 0xfe, 0]);
    assert!(binary.retune(&["check", "p.kdl"]).stderr.contains("UTF-8"));
}

#[test]
fn a_pipeline_in_parts_is_found_compiled_again() {
    let workspace = with(&[("p.kdl", "pipeline \"p\"\ninclude \"a.kdl\"\n"), ("a.kdl", &says("x", "1"))]);
    // It is kept where there is a place for it, which the first run makes.
    workspace.run(&[], 0);
    workspace.run(&[], 0);
    let compiled = || {
        let folder = std::fs::read_dir(workspace.path().join(".retune/compiled")).expect("it is kept");
        folder.flatten().map(|file| file.metadata().and_then(|meta| meta.modified()).expect("a time")).collect::<Vec<_>>()
    };
    let before = compiled();
    assert!(workspace.ran(&[]).is_empty());
    assert_eq!(compiled(), before, "it was not written anew");
    workspace.write("a.kdl", says("y", "2"));
    assert_eq!(workspace.ran(&[]), ["y"]);
}

#[test]
fn files_of_one_name_in_two_folders_are_two_pipelines() {
    let workspace = with(&[("a/p.kdl", &format!("pipeline \"a\"\n{}", says("x", "a"))), ("b/p.kdl", &format!("pipeline \"b\"\n{}", says("y", "b")))]);
    std::fs::create_dir(workspace.path().join(".retune")).expect("a folder can be made");
    let run = |folder: &str| {
        let mut command = workspace.command(&["run"]);
        command.arg("p.kdl").current_dir(workspace.path().join(folder));
        Done::from(command.output().expect("the program starts"))
    };
    for _ in 0..2 {
        for folder in ["a", "b"] {
            let done = run(folder);
            assert!(done.code == 0 && !done.stderr.contains("no stage"), "{}", done.stderr);
        }
    }
    assert_eq!((workspace.read("x.out"), workspace.read("y.out")), ("a".into(), "b".into()));
    for folder in ["a", "b"] {
        let done = run(folder);
        assert!(done.stdout.contains("up to date"), "{}", done.stderr);
    }
    // The same from elsewhere.
    let done = workspace.retune(&["run", "a/p.kdl"]);
    assert!(done.stdout.contains("up to date"), "{}", done.stderr);
}

#[test]
fn the_workspace_is_that_of_the_file_whatever_leads_there() {
    let text = "pipeline \"p\"\nexec \"x\" {\n    run \"sort in.txt > result.txt\"\n    input \"in.txt\"\n    output \"result.txt\"\n}\n";
    let workspace = with(&[("one/in.txt", "1\n"), ("one/result.txt", "mine"), ("two/p.kdl", text), ("two/in.txt", "2\n")]);
    std::fs::create_dir(workspace.path().join("one/.git")).expect("a folder can be made");
    let mut command = workspace.command(&["run", "../two/p.kdl"]);
    let done = Done::from(command.current_dir(workspace.path().join("one")).output().expect("the program starts"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!((workspace.read("one/result.txt"), workspace.read("two/result.txt")), ("mine".into(), "2\n".into()));
    std::os::unix::fs::symlink("../two", workspace.path().join("one/link")).expect("a link can be made");
    let done = workspace.retune(&["run", "one/link/p.kdl"]);
    assert!(done.stdout.contains("up to date"), "{}", done.stdout);
}

#[test]
fn what_a_stage_said_is_what_it_said_in_this_pipeline() {
    let workspace = with(&[
        ("a/p.kdl", "pipeline \"a\"\nexec \"x\" {\n    run \"echo of a\"\n}\n"),
        ("b/p.kdl", "pipeline \"b\"\nexec \"x\" {\n    run \"echo of b\"\n}\n"),
    ]);
    std::fs::create_dir(workspace.path().join(".retune")).expect("a folder can be made");
    for pipeline in ["a/p.kdl", "b/p.kdl"] {
        assert_eq!(workspace.retune(&["run", pipeline]).code, 0);
    }
    assert!(workspace.retune(&["log", "x", "a/p.kdl"]).stdout.contains("of a"));
    assert!(workspace.retune(&["log", "x", "b/p.kdl"]).stdout.contains("of b"));
}

#[test]
fn a_profile_has_a_lock_file_of_its_own_or_is_told() {
    let text = "pipeline \"p\"\nprofile \"ci\" { params { a 2; }; }\nparams { a 1; }\nexec \"x\" { run \"echo ${param.a} > o\"; output \"o\"; }\n";
    let workspace = with(&[("p.kdl", text), ("p.ci.kdl", &text.replace("output \"o\"", "output \"o2\"").replace("> o", "> o2"))]);
    let done = workspace.retune(&["run", "p.kdl", "--profile", "ci"]);
    assert!(done.code == 2 && done.said().contains("would share one lock file"), "{}", done.stderr);
    assert_eq!(workspace.retune(&["run", "p.kdl"]).code, 0);
    let next = workspace.retune(&["run", "p.ci.kdl", "--set", "a=3"]);
    assert_eq!(next.code, 0, "{}", next.stderr);
}

#[test]
fn a_file_that_a_stage_writes_is_no_value() {
    for spelled in ["p.txt", "./p.txt", "d/../p.txt"] {
        let text = format!(
            "pipeline \"p\"\nparams {{ q (file)\"{spelled}\"; }}\nexec \"a\" {{ run \"echo new > p.txt\"; output \"p.txt\"; }}\nexec \"b\" {{ run \"echo ${{param.q}} > q.txt\"; output \"q.txt\"; }}\n"
        );
        let workspace = with(&[("p.kdl", &text), ("p.txt", "old"), ("d/x", "")]);
        assert_eq!(workspace.retune(&["check", "p.kdl"]).code, 2, "{spelled}");
    }
}
