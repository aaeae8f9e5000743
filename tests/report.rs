//! The page that people look at, and the figures in the terminal.

mod common;

use common::{Workspace, colours, colours_workspace};

const SWEEP: &str = r#"pipeline "p"
collect "rows" {
    source "rows.csv"
}
prepare "chat" {
    from "rows"
    chat {
        user "{{ text }}"
        assistant "{{ answer }}"
    }
    split train=0.6 validation=0.2 test=0.2 key="text" seed=3
}
train "model" {
    matrix {
        rate 0.0001 0.003
        prompt "short" "long"
    }
    data "chat"
    model "builtin:tiny"
    method "supervised" {
        epochs 1
        learning-rate (param)"rate"
    }
    suffix "${param.prompt}"
}
"#;

fn page(workspace: &Workspace, arguments: &[&str]) -> String {
    let mut all = vec!["report"];
    all.extend(arguments);
    let done = workspace.retune(&all);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("report.html"), "{}", done.stdout);
    let text = workspace.read("report.html");
    assert!(text.len() < 2_000_000);
    // It asks nothing of anybody, and runs nothing.
    for never in ["http://", "https://", "<script", "@import", "url(//"] {
        let own = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains(never), "{never}");
    }
    text
}

#[test]
fn a_page_about_a_pipeline_has_all_of_it() {
    let workspace = colours_workspace();
    workspace.write("data/rows.csv", colours(160).replace("the house number 0", "<script>alert(1)</script> the house number 0"));
    let before = page(&workspace, &["p.kdl"]);
    assert!(before.contains("have no result here yet") && before.contains("never done here"), "nothing was done yet");
    assert_eq!(workspace.retune(&["run", "p.kdl"]).code, 0);
    let text = page(&workspace, &["p.kdl"]);
    for wanted in [
        "<html lang=\"en\">",
        "All stages are up to date",
        "class=\"drawing\"",
        "Through the operators",
        "kept: step",
        "Gates are met".to_lowercase().as_str(),
        "95 % interval",
        "Time and money",
        "Provenance",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(text.to_lowercase().contains(&wanted.to_lowercase()), "{wanted}");
    }
    // Each target of a link is there, and each id stands once.
    for link in text.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert_eq!(text.matches(&format!("id=\"{link}\"")).count(), 1, "{link}");
    }
    let figures = workspace.retune(&["metrics", "p.kdl"]);
    assert!(figures.stdout.contains("up to date") && figures.stdout.contains("accuracy"), "{}", figures.stdout);
    let all: serde_json::Value = serde_json::from_str(&workspace.retune(&["metrics", "p.kdl", "--json"]).stdout).expect("it is JSON");
    assert!(all.as_array().expect("a list").iter().any(|stage| stage["metrics"]["accuracy.low"].is_number()));
    // A stage that would be made again is told as it is.
    workspace.write("data/rows.csv", colours(150));
    let stale = page(&workspace, &["p.kdl"]);
    assert!(stale.contains("would be made again") && stale.contains(">stale<"));
}

#[test]
fn a_page_about_two_runs_tells_what_differs() {
    let workspace = colours_workspace();
    assert_eq!(workspace.retune(&["run", "p.kdl", "--name", "first"]).code, 0);
    let text = workspace.read("p.kdl");
    assert!(text.contains("epochs "), "{text}");
    let epochs = text.lines().find(|line| line.trim().starts_with("epochs ")).expect("it says how often").to_owned();
    workspace.write("p.kdl", text.replace(&epochs, "        epochs 1"));
    let _ = workspace.retune(&["run", "p.kdl"]);
    let found = page(&workspace, &["first", "last", "p.kdl"]);
    assert!(found.contains("(first)") && found.contains("epochs") && found.contains("B - A"), "{found}");
    assert_eq!(workspace.retune(&["report", "first", "p.kdl"]).code, 2, "one run is no two");
    assert_eq!(workspace.retune(&["report", "first", "nobody", "p.kdl"]).code, 2);
}

#[test]
fn a_page_about_a_sweep_has_a_line_for_each_instance() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", SWEEP);
    workspace.write("rows.csv", colours(60));
    workspace.run(&["model[rate=0.003]"], 0);
    let text = page(&workspace, &["--matrix", "model", "p.kdl"]);
    assert_eq!(text.matches("class=\"line").count(), 2 + 2 * 2, "two lines through the axes, and two losses with their legends");
    assert!(text.contains("2 have none yet") && text.contains(">best<") && text.contains(">long<"), "{text}");
    assert_eq!(workspace.retune(&["report", "--matrix", "nothing", "p.kdl"]).code, 2);
    assert_eq!(workspace.retune(&["report", "--matrix", "model", "a", "b", "p.kdl"]).code, 2);
}

#[test]
fn shells_are_offered_what_is_there() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", SWEEP);
    workspace.write("rows.csv", colours(20));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = workspace.retune(&["completions", shell]);
        assert!(script.code == 0 && script.stdout.contains("retune"), "{shell}: {}", script.stderr);
    }
    let offered = |words: &[&str]| {
        let mut command = workspace.command(&["--"]);
        command.args(words).env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string()).env("_CLAP_IFS", "\n");
        let output = command.output().expect("the program starts");
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let stages = offered(&["retune", "run", "mo"]);
    assert!(stages.contains(&"model".to_owned()) && stages.contains(&"model[prompt=long,rate=0.003]".to_owned()), "{stages:?}");
    assert!(offered(&["retune", "show", ""]).contains(&"chat".to_owned()));
    assert!(offered(&["retune", "che"]).contains(&"check".to_owned()));
}

#[test]
fn manual_pages_are_of_all_commands() {
    let workspace = Workspace::new();
    assert!(workspace.retune(&["man"]).stdout.contains(".TH retune 1"));
    assert_eq!(workspace.retune(&["man", "--to", "man"]).code, 0);
    let help = workspace.retune(&["help"]).stdout;
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   "))) {
        if command != "help" {
            assert!(workspace.read(&format!("man/retune-{command}.1")).contains("SYNOPSIS"), "{command}");
        }
    }
}

#[test]
fn a_run_is_as_loud_as_one_likes() {
    let workspace = common::workspace("exec \"x\" {\n    run \"date > out\"\n    output \"out\"\n}\n");
    let done = workspace.retune(&["run", "p.kdl", "--quiet"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "", ""));
    workspace.write("p.kdl", workspace.read("p.kdl").replace("date", "date; exit 3"));
    let failed = workspace.retune(&["run", "p.kdl", "-q"]);
    assert!(failed.code == 1 && failed.stderr.contains("exit code 3"), "{}", failed.stderr);
    assert_eq!(workspace.retune(&["run", "p.kdl", "-q", "-v"]).code, 2);
}
