use super::{codes, found, stages, with, wrong};
use crate::common::{Workspace, colours, ran};

/// Commands that write their values into files of their own.
fn sweep(matrix: &str) -> String {
    format!(
        "pipeline \"p\"\nparams {{\n    epochs 1\n}}\nexec \"x\" {{\n    matrix {{\n{matrix}\n    }}\n    run \"printf '%s' '${{param.epochs}} ${{param.rank}}' > out-${{param.epochs}}-${{param.rank}}\"\n    output \"out-${{param.epochs}}-${{param.rank}}\"\n}}\n"
    )
}

#[test]
fn a_matrix_is_the_product_of_its_lists() {
    let workspace = with(&[("p.kdl", &sweep("rank 4 8\nepochs 1 2"))]);
    let all = ["x[epochs=1,rank=4]", "x[epochs=2,rank=4]", "x[epochs=1,rank=8]", "x[epochs=2,rank=8]"];
    assert_eq!(stages(&workspace, &[]), all);
    assert_eq!(workspace.ran(&[]).len(), 4);
    assert_eq!(workspace.read("out-2-8"), "2 8");
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("p.kdl", sweep("epochs 2 1 3\nrank 8 4"));
    let mut new = workspace.ran(&[]);
    new.sort();
    assert_eq!(new, ["x[epochs=3,rank=4]", "x[epochs=3,rank=8]"], "only the new instances run, whatever the order");
}

#[test]
fn combinations_are_left_out() {
    let workspace = with(&[("p.kdl", &sweep("rank 4 8\nepochs 1 2 3\nexclude epochs=3 rank=8\nexclude epochs=1"))]);
    assert_eq!(stages(&workspace, &[]), ["x[epochs=2,rank=4]", "x[epochs=3,rank=4]", "x[epochs=2,rank=8]"]);
    workspace.write("p.kdl", sweep("rank 4 8\nepochs 1 2 3\nonly epochs=3\nonly rank=8 epochs=1"));
    assert_eq!(stages(&workspace, &[]), ["x[epochs=3,rank=4]", "x[epochs=1,rank=8]", "x[epochs=3,rank=8]"]);
}

#[test]
fn some_or_all_instances_are_named() {
    let workspace = with(&[("p.kdl", &sweep("rank 4 8\nepochs 1 2"))]);
    assert_eq!(ran(&workspace.run(&["x[rank=4,epochs=2]"], 0)), ["x[epochs=2,rank=4]"]);
    assert_eq!(ran(&workspace.run(&["x[rank=8]"], 0)).len(), 2);
    assert_eq!(ran(&workspace.run(&["x"], 0)).len(), 1);
    assert_eq!(ran(&workspace.run(&["x[rank=4]", "--force", "x[epochs=2]"], 0)), ["x[epochs=2,rank=4]"], "of those that are forced the one that is asked for");
    assert!(workspace.retune(&["run", "p.kdl", "x[rank=4]", "--force", "x[rank=8]"]).said().contains("--force 'x[rank=8]'"));
    let several = workspace.retune(&["show", "x", "p.kdl"]);
    assert!(several.code == 2 && several.said().contains("has 4 instances"), "{}", several.stderr);
    assert_eq!(workspace.retune(&["show", "x[rank=4,epochs=2]", "p.kdl"]).code, 0);
    assert!(workspace.retune(&["log", "x[epochs=2,rank=4]", "p.kdl"]).code == 0, "its log is a file");
    assert_eq!(workspace.retune(&["show", "x[rank=5]", "p.kdl"]).code, 2);
}

#[test]
fn what_former_instances_left_is_no_input_of_a_glob() {
    let reader = "exec \"all\" {\n    run \"cat out-* > all.txt\"\n    input \"out-*\"\n    output \"all.txt\"\n}\n";
    let profile = "profile \"other\" {\n    exec \"x\" {\n        matrix {\n            rank 16\n        }\n    }\n}\n";
    let text = |ranks: &str| format!("{}{reader}{profile}", sweep(&format!("rank {ranks}\nepochs 1")));
    let workspace = with(&[("p.kdl", &text("4 8"))]);
    workspace.run(&[], 0);
    assert_eq!(workspace.read("all.txt"), "1 41 8");
    assert_eq!(workspace.retune(&["run", "p.kdl", "--profile", "other"]).code, 0);
    assert_eq!(workspace.read("all.txt"), "1 16", "and not what those without the profile left");
    workspace.write("p.kdl", text("4"));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(workspace.read("all.txt"), "1 4", "{}", done.stderr);
    assert!(done.said().contains("not read: out-1-16 and 1 more"), "{}", done.said());
    workspace.write("out-1-8", "mine");
    workspace.run(&[], 0);
    assert_eq!(workspace.read("all.txt"), "1 4mine", "what somebody wrote there is theirs");
}

#[test]
fn values_that_no_file_could_be_called_by_are_cut_short() {
    let text = "pipeline \"p\"\nexec \"x\" {\n    matrix {\n        model \"a/b c\" \"a/b d\" \"builtin:tiny\"\n    }\n    run \"printf '%s' '${param.model}' > 'out ${param.model}'\"\n    output \"out ${param.model}\"\n}\n";
    let workspace = with(&[("p.kdl", &text.replace("a/b", "a-b"))]);
    let names = stages(&workspace, &[]);
    assert!(names[0].starts_with("x[model=a-b-c~") && names[1].starts_with("x[model=a-b-d~") && names[2] == "x[model=builtin:tiny]", "{names:?}");
    assert_eq!(workspace.ran(&[]).len(), 3);
    assert_eq!(workspace.read("out a-b d"), "a-b d");
    assert_eq!(workspace.retune(&["show", "x[model=a-b d]", "p.kdl"]).code, 0, "as the file writes it");
}

const TRAINED: &str = r#"pipeline "p"
collect "rows" {
    source "rows.csv"
}
prepare "chat" {
    from "rows"
    chat {
        user "{{ text }}"
        assistant "{{ answer }}"
    }
    split train=0.6 validation=0.2 test=0.2 key="text" seed=1
}
train "model" {
    matrix {
        rate 0.0001 0.003
    }
    data "chat"
    model "builtin:tiny"
    method "supervised" {
        epochs 1
        batch-size 8
        learning-rate (param)"rate"
    }
}
"#;

fn trained(more: &str) -> Workspace {
    with(&[("p.kdl", &format!("{TRAINED}{more}")), ("rows.csv", &colours(60))])
}

#[test]
fn who_refers_to_a_matrix_follows_it() {
    let judged = "evaluate \"quality\" {\n    model \"model\"\n    data \"chat\"\n    grader \"exact-match\"\n}\nevaluate \"one\" {\n    model \"model[rate=0.003]\"\n    baseline \"model[rate=0.0001]\"\n    data \"chat\"\n    grader \"exact-match\"\n}\n";
    let workspace = trained(judged);
    let names = stages(&workspace, &[]);
    assert_eq!(names[2..], ["model[rate=0.0001]", "model[rate=0.003]", "quality[rate=0.0001]", "quality[rate=0.003]", "one"]);
    workspace.run(&[], 0);
    assert!(workspace.ran(&[]).is_empty());
    // What all instances of a matrix share is prepared once for each that has its own.
    let chat =
        TRAINED.replace("    from \"rows\"\n", "    matrix {\n        share 0.5 0.9\n    }\n    from \"rows\"\n    sample share=(param)\"share\" seed=1\n");
    workspace.write("p.kdl", format!("{chat}{judged}"));
    let names = stages(&workspace, &[]);
    assert_eq!(names.iter().filter(|name| name.starts_with("model[")).count(), 4);
    assert!(names.contains(&"quality[rate=0.003,share=0.5]".to_owned()), "{names:?}");
    assert!(names.contains(&"one[share=0.9]".to_owned()), "what is given is no part of the name: {names:?}");
}

#[test]
fn the_best_is_passed_on() {
    let select = |keep: usize, goal: &str| {
        format!(
            "select \"best\" {{\n    from \"model\"\n    by \"validation-loss\"\n    goal \"{goal}\"\n    keep {keep}\n}}\nevaluate \"final\" {{\n    model \"best\"\n    data \"chat\"\n    grader \"exact-match\"\n}}\ndeploy \"out\" {{\n    model \"best\"\n    requires \"final\"\n    alias \"a${{param.n}}\"\n}}\n"
        )
    };
    let one = |goal: &str| select(1, goal).replace("a${param.n}", "a");
    let workspace = trained(&one("min"));
    workspace.run(&[], 0);
    let shown = workspace.retune(&["show", "best", "p.kdl", "--json"]).stdout;
    assert!(shown.contains("model[rate=0.003]"), "the higher rate learns faster: {shown}");
    workspace.retune(&["get", "best", "p.kdl", "--to", "got"]);
    let choice: serde_json::Value = serde_json::from_str(&workspace.read("got/choice")).expect("it is JSON");
    assert_eq!(choice[0]["stage"], "model[rate=0.003]");
    assert!(choice[0]["value"].as_f64() < choice[1]["value"].as_f64() && choice[0]["chosen"] == true && choice[1]["chosen"] == false);
    // Another one that is worse changes nothing after the choice.
    workspace.write("p.kdl", format!("{}{}", TRAINED.replace("0.0001 0.003", "0.0001 0.003 0.00001"), one("min")));
    assert_eq!(workspace.ran(&[]), ["model[rate=0.00001]", "best"]);
    workspace.write("p.kdl", format!("{TRAINED}{}", one("max")));
    assert_eq!(workspace.ran(&[]), ["best", "final", "out"]);
    // How many are kept may be a parameter.
    let kept = select(2, "min").replace("keep 2", "keep (param)\"k\"").replace("${param.n}", "${param.place}");
    workspace.write("p.kdl", format!("{}{kept}", TRAINED.replace("pipeline \"p\"", "pipeline \"p\"\nparams {\n    k 2\n}")));
    assert_eq!(stages(&workspace, &[])[4..6], ["best[place=1]", "best[place=2]"]);
    // Two are kept, and each is followed by stages of its own.
    workspace.write("p.kdl", format!("{TRAINED}{}", select(2, "min").replace("${param.n}", "${param.place}")));
    let names = stages(&workspace, &[]);
    assert_eq!(names[4..], ["best[place=1]", "best[place=2]", "final[place=1]", "final[place=2]", "out[place=1]", "out[place=2]"]);
    workspace.run(&[], 0);
    let aliases = workspace.retune(&["deployments"]).stdout;
    assert!(aliases.contains("a1") && aliases.contains("a2"), "{aliases}");
}

#[test]
fn the_best_by_what_was_judged() {
    let workspace = trained(
        "evaluate \"quality\" {\n    model \"model\"\n    data \"chat\"\n    grader \"exact-match\"\n}\nselect \"best\" {\n    from \"quality\"\n    by \"accuracy\"\n    goal \"max\"\n}\nevaluate \"final\" {\n    model \"best\"\n    data \"chat\"\n    grader \"exact-match\"\n    gate \"loss-gap\" max=10.0\n}\n",
    );
    let done = workspace.run(&[], 0);
    assert_eq!(ran(&done).len(), 8);
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", text.replace("by \"accuracy\"", "by \"acuracy\""));
    let refused = workspace.retune(&["run", "p.kdl"]);
    assert!(refused.code == 2 && refused.said().contains("`by` cannot be \"acuracy\""), "{}", refused.stderr);
    workspace.write("p.kdl", text.replace("by \"accuracy\"", "by \"accuracy.f1\""));
    let refused = workspace.retune(&["run", "p.kdl"]);
    assert!(refused.code == 2 && refused.said().contains("`by` cannot be \"accuracy.f1\""), "{}", refused.stderr);
}

#[test]
fn what_makes_no_sense_is_told() {
    let train = |inside: &str| TRAINED.replace("rate 0.0001 0.003", inside);
    for (text, code) in [
        (train("rate"), "config::bad_axis"),
        (train("rate 1 { x }"), "config::bad_axis"),
        (train("rate a=1"), "config::bad_axis"),
        (train("\"a b\" 1"), "config::bad_axis"),
        (train("rate 0.1 1e-1"), "config::repeated_value"),
        (train("rate 1 \"1\""), "config::repeated_value"),
        (train("rate 0.1\n        rate 0.2"), "config::repeated"),
        (train("rate 0.1\n        exclude rat=0.1"), "config::unknown_cell"),
        (train("rate 0.1\n        exclude rate=0.3"), "config::unknown_cell"),
        (train("rate 0.1\n        exclude rate=0.1"), "config::empty_matrix"),
        (train("rate 0.1\n        exclude"), "config::missing_value"),
        (train(""), "config::missing_value"),
        (train("rate 0.1 \"x\""), "config::wrong_type"),
        (TRAINED.replace("data \"chat\"", "data \"chat[x=1]\""), "config::dangling_reference"),
        (format!("{TRAINED}evaluate \"q\" {{\n    model \"model[rate=7]\"\n    data \"chat\"\n    grader \"exact-match\"\n}}\n"), "config::dangling_reference"),
        (format!("{TRAINED}deploy \"d\" {{\n    model \"model\"\n    alias \"a\"\n}}\n"), "config::same_for_all"),
        (format!("{TRAINED}select \"s\" {{\n    from \"model\"\n    by \"accuracy\"\n    goal \"max\"\n}}\n"), "config::unknown_choice"),
        (format!("{TRAINED}select \"s\" {{\n    from \"model\"\n    by \"train-loss\"\n    goal \"min\"\n    keep 3\n}}\n"), "config::contradiction"),
        (sweep("rank 1 2\nepochs 1 2").replace("out-${param.epochs}-${param.rank}", "out"), "config::same_for_all"),
        (
            format!(
                "{TRAINED}evaluate \"q\" {{\n    matrix {{\n        rate 1 2\n    }}\n    model \"model\"\n    data \"chat\"\n    grader \"exact-match\"\n}}\n"
            ),
            "config::ambiguous_axis",
        ),
    ] {
        let done = wrong(&[("p.kdl", &text)], &[]);
        assert!(done.stderr.contains(code), "{code} is not in:\n{}", done.stderr);
    }
}

#[test]
fn too_many_are_refused_before_they_are_made() {
    let many = (0..2000).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let text = sweep(&format!("rank {many}\nepochs {many}"));
    let found = found(&with(&[("p.kdl", &text)]), &[]);
    assert_eq!(codes(&found), ["config::too_many_instances"]);
}

#[test]
fn a_matrix_can_take_parameters_and_be_made_smaller_by_a_profile() {
    let text = sweep("rank 4 (param)\"epochs\"\nepochs 1 2").replace(
        "exec \"x\"",
        "profile \"ci\" {\n    exec \"x\" {\n        matrix {\n            rank 2\n            epochs 1\n        }\n    }\n}\nexec \"x\"",
    );
    let workspace = with(&[("p.kdl", &text)]);
    assert_eq!(stages(&workspace, &[]).len(), 4);
    assert_eq!(stages(&workspace, &["--set", "epochs=9"])[1], "x[epochs=2,rank=4]");
    assert!(stages(&workspace, &["--set", "epochs=9"]).contains(&"x[epochs=1,rank=9]".to_owned()));
    assert_eq!(stages(&workspace, &["--profile", "ci"]), ["x[epochs=1,rank=2]"]);
}
