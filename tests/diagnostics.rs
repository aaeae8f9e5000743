//! Every code of the pipeline file has an example that brings it about, a snapshot of what is said, and a page.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{Done, Workspace};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// All codes that the sources name.
fn codes() -> BTreeSet<String> {
    fn gather(folder: &Path, codes: &mut BTreeSet<String>) {
        for path in entries(folder) {
            if path.is_dir() {
                gather(&path, codes);
            } else {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let named = text.split("config::").skip(1).map(|rest| rest.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap_or_default());
                let in_code = |(before, name): (&str, &str)| (before.ends_with("code(") || before.ends_with('"')).then(|| name.to_owned());
                codes.extend(text.split("config::").zip(named).filter_map(in_code).filter(|name| !name.is_empty()));
            }
        }
    }
    let mut codes = BTreeSet::new();
    gather(&root().join("src/config"), &mut codes);
    assert!(codes.contains("invalid") && codes.contains("cycle"), "{codes:?}");
    codes
}

/// What the example of a code says.
fn said(code: &str) -> Done {
    let workspace = Workspace::new();
    let folder = root().join("tests/diagnostics").join(code);
    let mut line = "check p.kdl".to_owned();
    // Some are made below, and have nothing to keep.
    for path in if folder.is_dir() { entries(&folder) } else { Vec::new() } {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let text = std::fs::read_to_string(&path).expect("a text");
        match name {
            "command" => text.trim().clone_into(&mut line),
            "told.json" => drop(workspace.write(".retune/providers/house.json", text)),
            _ => drop(workspace.write(name, text)),
        }
    }
    // What would be too much for a repository.
    match code {
        "not_text" => drop(workspace.write("p.kdl", b"pipeline \"\xff\xfe\"")),
        "too_large" => {
            let file = std::fs::File::create(workspace.path().join("p.kdl")).expect("it can be written");
            file.set_len(65 << 20).expect("it can be long");
        }
        "too_many_includes" => {
            let names = (0..1000).map(|number| format!("{number}.kdl"));
            let lines: String = names
                .map(|name| {
                    workspace.write(&name, "");
                    format!("include \"{name}\"\n")
                })
                .collect();
            workspace.write("p.kdl", format!("pipeline \"p\"\n{lines}"));
        }
        _ => {}
    }
    let (variables, arguments): (Vec<&str>, Vec<&str>) =
        line.split(' ').partition(|word| word.contains('=') && word.starts_with(|c: char| c.is_ascii_uppercase()));
    let mut command = workspace.command(&arguments);
    command.envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    Done::from(command.output().expect("it starts"))
}

#[test]
fn every_code_has_an_example_that_brings_it_about() {
    for code in codes() {
        let done = said(&code);
        let name = format!("config::{code}");
        let is_warning = done.code == 0;
        assert!(
            done.stderr.lines().any(|line| line.trim_start_matches("Error: ").trim_start_matches("Warning: ") == name),
            "{name} is not said:\n{}",
            done.stderr
        );
        assert!(done.code == 2 || is_warning, "{name}: {}", done.stderr);
        assert!(done.stderr.contains("help: "), "{name} says nothing of what to do:\n{}", done.stderr);
        insta::with_settings!({ snapshot_path => "snapshots/diagnostics", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(code.as_str(), done.stderr);
        });
        assert_eq!(is_warning, done.stderr.contains('⚠'), "{name}: {}", done.stderr);
    }
}

#[test]
fn every_example_is_of_a_code() {
    let codes = codes();
    for path in entries(&root().join("tests/diagnostics")) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        assert!(codes.contains(&name), "tests/diagnostics/{name} is of no code");
    }
    for path in entries(&root().join("docs/errors")) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        assert!(name == "README" || codes.contains(&name), "docs/errors/{name}.md is of no code");
    }
}

#[test]
fn every_code_has_a_page_that_shows_its_example() {
    let all = std::fs::read_to_string(root().join("docs/errors/README.md")).expect("the list is there");
    for code in codes() {
        let page = std::fs::read_to_string(root().join(format!("docs/errors/{code}.md"))).unwrap_or_else(|_| panic!("docs/errors/{code}.md is there"));
        assert!(page.starts_with(&format!("# `config::{code}`: ")), "{page}");
        assert!(all.contains(&format!("({code}.md)")), "{code} is not in the list");
        if let Ok(example) = std::fs::read_to_string(root().join(format!("tests/diagnostics/{code}/p.kdl"))) {
            assert!(page.contains(&format!("```kdl fails\n{example}```")), "docs/errors/{code}.md does not show the example");
        }
    }
}
