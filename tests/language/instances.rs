//! Which instances a name means, and which go together.

use super::{codes, found, stages, with, wrong};
use crate::common::{Workspace, colours, ran};

/// Data and trainings with an axis each.
fn grid(rest: &str) -> Workspace {
    let text = format!(
        "pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.csv\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    chat {{\n        user \"{{{{ text }}}}\"\n        assistant \"{{{{ answer }}}}\"\n    }}\n}}\ntrain \"model\" {{\n    matrix {{\n        epochs 1 2\n        rank 2 4\n    }}\n    data \"chat\"\n    model \"builtin:tiny\"\n    method \"supervised\" {{\n        epochs (param)\"epochs\"\n        lora rank=(param)\"rank\" alpha=16\n    }}\n}}\n{rest}"
    );
    with(&[("p.kdl", &text), ("rows.csv", &colours(30))])
}

fn judge(name: &str, nodes: &str) -> String {
    format!("evaluate \"{name}\" {{\n{nodes}\n    data \"chat\"\n    grader \"exact-match\"\n}}\n")
}

/// A command for each of some texts, which writes its text into a file.
fn texts(values: &str, rest: &str) -> String {
    format!("pipeline \"p\"\nexec \"x\" {{\n    matrix {{\n        text {values}\n    }}\n    run \"true ${{param.text}}\"\n}}\n{rest}")
}

#[test]
fn texts_that_would_be_one_number_are_several() {
    let workspace = with(&[("p.kdl", &texts("\"1.1\" \"1.10\" \"01\" \"1\"", ""))]);
    assert_eq!(stages(&workspace, &[]).len(), 4);
    assert_eq!(ran(&workspace.run(&["x[text=1.1]"], 0)), ["x[text=1.1]"]);
    assert_eq!(ran(&workspace.run(&["x[text=01]"], 0)), ["x[text=01]"]);
    assert_eq!(workspace.retune(&["run", "p.kdl", "x[text=1.0]"]).code, 2);
    let workspace = grid(&judge("q", "    model \"model[rank=4.0,epochs=1e0]\""));
    assert_eq!(stages(&workspace, &[]).last().map(String::as_str), Some("q"), "a number is one, however it is written");
}

#[test]
fn brackets_that_say_nothing_are_told() {
    for brackets in ["[4]", "[rank:4]", "[]", "[4,rank=2]", "[rank=2,rank=4]", "[rank=4", "[rank=4]x"] {
        let workspace = grid(&judge("q", &format!("    model \"model{brackets}\"")));
        let findings = found(&workspace, &[]);
        assert_eq!(codes(&findings), ["config::bad_instance"], "{brackets}");
        let text = workspace.read("p.kdl");
        let label = &findings[0]["labels"][0];
        let at = label["start"].as_u64().expect("it has a place") as usize;
        let part = &text[at..at + label["length"].as_u64().expect("it has a length") as usize];
        assert!(brackets.contains(part) && !part.contains("model"), "{brackets}: {part}");
        // Nothing is trained that was not asked for.
        let workspace = grid("");
        for words in [vec![format!("model{brackets}")], vec!["model".into(), "--force".into(), format!("model{brackets}")]] {
            let words: Vec<&str> = ["run", "p.kdl"].into_iter().chain(words.iter().map(String::as_str)).collect();
            let done = workspace.retune(&words);
            assert!(done.code == 2 && done.said().contains("axis=value"), "{brackets}: {}", done.stderr);
        }
    }
    let done = wrong(&[("p.kdl", &grid(&judge("q", "    model \"model[rank=4,epochs]\"")).read("p.kdl"))], &[]);
    assert!(done.stderr.contains("config::dangling_reference") && done.stderr.contains("epochs 1, 2; rank 2, 4"), "{}", done.stderr);
}

#[test]
fn the_order_of_nodes_decides_nothing() {
    let of = |nodes: [&str; 2]| {
        let all = |nodes: &[&str]| {
            let workspace = grid(&judge("q", &nodes.join("\n")));
            stages(&workspace, &[]).split_off(6)
        };
        let (one, other) = (all(&nodes), all(&[nodes[1], nodes[0]]));
        assert_eq!(one, other, "{nodes:?}");
        one
    };
    let all = ["q[epochs=1,rank=2]", "q[epochs=1,rank=4]", "q[epochs=2,rank=2]", "q[epochs=2,rank=4]"];
    assert_eq!(of(["    model \"model\"", "    baseline \"model[rank=2]\""]), all, "all are compared with one");
    assert_eq!(of(["    model \"model[rank=4]\"", "    baseline \"model\""]), all);
    assert_eq!(of(["    model \"model[rank=4]\"", "    baseline \"model[rank=2]\""]), ["q[epochs=1]", "q[epochs=2]"]);
    assert_eq!(of(["    model \"model[rank=4,epochs=1]\"", "    baseline \"model[rank=2]\""]), ["q[epochs=1]", "q[epochs=2]"]);
}

#[test]
fn what_is_given_holds_for_the_others() {
    let gated = |model: &str| {
        let deploy = format!("deploy \"out\" {{\n    model \"{model}\"\n    requires \"q\"\n    alias \"a\"\n}}\n");
        grid(&format!("{}{deploy}", judge("q", "    model \"model\"")))
    };
    let workspace = gated("model[epochs=1,rank=4]");
    let graph = workspace.retune(&["graph", "p.kdl", "--format", "json"]).stdout;
    let graph: serde_json::Value = serde_json::from_str(&graph).expect("it is JSON");
    let out = graph.as_array().expect("a list").iter().find(|stage| stage["name"] == "out").expect("it is there");
    assert_eq!(out["needs"], serde_json::json!(["model[epochs=1,rank=4]", "q[epochs=1,rank=4]"]), "the figures of its own model alone");
}

#[test]
fn axes_of_one_name_that_are_not_one_are_told_of_in_lists_too() {
    let text = "pipeline \"p\"\ncollect \"c\" {\n    matrix {\n        n 2 8\n    }\n    source \"rows-${param.n}.csv\"\n}\nprepare \"chat\" {\n    matrix {\n        n 2 4\n    }\n    from \"c\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"${param.n} {{ answer }}\"\n    }\n}\n";
    let files = [("p.kdl", text), ("rows-2.csv", &colours(3)), ("rows-8.csv", &colours(3))];
    assert_eq!(codes(&found(&with(&files), &[])), ["config::ambiguous_axis"]);
    let given = text.replace("from \"c\"", "from \"c[n=2]\"\n    from \"c[n=8]\"");
    let workspace = with(&[("p.kdl", given.as_str()), files[1], files[2]]);
    assert_eq!(stages(&workspace, &[]), ["c[n=2]", "c[n=8]", "chat[n=2]", "chat[n=4]"], "what is given is as it is given");
}

#[test]
fn a_candidate_that_is_named_twice_is_one() {
    let select = "select \"best\" {\n    from \"model\"\n    from \"model[rank=4]\"\n    by \"train-loss\"\n    goal \"min\"\n    keep 5\n}\n";
    let done = wrong(&[("p.kdl", &grid(select).read("p.kdl")), ("rows.csv", &colours(30))], &[]);
    assert!(done.stderr.contains("5 of 4 cannot be kept"), "{}", done.stderr);
}

#[test]
fn equals_are_told_apart_whatever_the_order() {
    let text = |seeds: &str| {
        format!(
            "pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.csv\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    chat {{\n        user \"{{{{ text }}}}\"\n        assistant \"{{{{ answer }}}}\"\n    }}\n    split train=0.5 validation=0.25 test=0.25 seed=1\n}}\ntrain \"model\" {{\n    matrix {{\n        seed {seeds}\n    }}\n    data \"chat\"\n    model \"builtin:tiny\"\n    method \"supervised\" {{\n        epochs 1\n    }}\n    seed (param)\"seed\"\n}}\nevaluate \"q\" {{\n    model \"model\"\n    data \"chat\"\n    grader \"regex\" value=\".*\"\n}}\nselect \"best\" {{\n    from \"q\"\n    by \"regex\"\n    goal \"max\"\n}}\n"
        )
    };
    let chosen = |seeds: &str| {
        let workspace = with(&[("p.kdl", &text(seeds)), ("rows.csv", &colours(12))]);
        workspace.run(&[], 0);
        workspace.retune(&["get", "best", "p.kdl", "--to", "got"]);
        let choice: serde_json::Value = serde_json::from_str(&workspace.read("got/choice")).expect("it is JSON");
        assert_eq!(choice[0]["value"], choice[1]["value"], "they are equals");
        choice[0]["stage"].as_str().expect("it has a name").to_owned()
    };
    assert_eq!((chosen("1 2"), chosen("2 1")), ("q[seed=1]".into(), "q[seed=1]".into()));
}

#[test]
fn how_many_are_kept_may_be_an_axis_and_their_places_are_no_other() {
    let select = |matrix: &str, keep: &str| {
        format!(
            "select \"best\" {{\n    matrix {{\n        {matrix}\n    }}\n    from \"model\"\n    by \"train-loss\"\n    goal \"min\"\n    keep {keep}\n}}\n"
        )
    };
    let workspace = grid(&select("k 1 2", "(param)\"k\""));
    assert_eq!(stages(&workspace, &[])[6..], ["best[k=1,place=1]", "best[k=2,place=1]", "best[k=2,place=2]"]);
    let done = wrong(&[("p.kdl", &grid(&select("place 1 2", "2")).read("p.kdl")), ("rows.csv", &colours(30))], &[]);
    assert!(done.stderr.contains("config::bad_axis") && done.stderr.contains("`keep`"), "{}", done.stderr);
}

#[test]
fn long_names_and_commas_are_named_by_values() {
    let long = "m".repeat(30);
    let axes: String = (0..6).map(|axis| format!("axis-of-a-long-name-{axis} \"{long}\"\n")).collect();
    let taken: String = (0..6).map(|axis| format!("${{param.axis-of-a-long-name-{axis}}}")).collect();
    let text = format!(
        "pipeline \"p\"\nexec \"x\" {{\n    matrix {{\n        n 1 2\n        list \"a,b\" \"a,c\"\n{axes}    }}\n    run \"printf '%s' '${{param.n}} ${{param.list}}' > ran-${{param.n}}-${{param.list}}; true {taken}\"\n    output \"ran-${{param.n}}-${{param.list}}\"\n}}\n"
    );
    let workspace = with(&[("p.kdl", &text)]);
    let names = stages(&workspace, &[]);
    assert!(names.len() == 4 && names.iter().all(|name| name.starts_with("x[~")), "{names:?}");
    assert_eq!(ran(&workspace.run(&["x[n=2,list=a,c]"], 0)).len(), 1);
    assert_eq!(workspace.read("ran-2-a,c"), "2 a,c");
    assert_eq!(ran(&workspace.run(&[&names[0]], 0)), [names[0].clone()]);
}

#[test]
fn a_missing_instance_is_told_once() {
    let workspace = grid(&judge("q", "    model \"model[rank=7]\""));
    assert_eq!(codes(&found(&workspace, &[])), ["config::dangling_reference"]);
}

#[test]
fn an_axis_that_nothing_takes_is_told_of() {
    let workspace = with(&[("p.kdl", &texts("\"a\" \"b\"\n        other 1 2", ""))]);
    let findings = found(&workspace, &[]);
    assert_eq!(codes(&findings), ["config::unused_axis"]);
    assert!(findings[0]["message"].as_str().is_some_and(|message| message.contains("`other`")), "{findings:?}");
    // One that a stage after it takes is used.
    let workspace = grid(&judge("q", "    model \"model\""));
    assert!(codes(&found(&workspace, &[])).is_empty());
    let hidden = texts("\"a\" \"b\"", "params {\n    text \"c\"\n}\n");
    assert_eq!(codes(&found(&with(&[("p.kdl", &hidden)]), &[])), ["config::unused_param"], "an axis stands before it");
}

#[test]
fn a_wrong_matrix_hides_no_other_mistake_and_makes_none() {
    let text = "pipeline \"p\"\nexec \"x\" {\n    matrix {\n        n 1 1\n        m\n    }\n    run \"${param.n} ${param.m} ${param.zz}\"\n    bogus 1\n}\n";
    let findings = found(&with(&[("p.kdl", text)]), &[]);
    assert_eq!(codes(&findings), ["config::repeated_value", "config::bad_axis", "config::unknown_param", "config::unknown_node"]);
    let text = grid(&judge("q", "    model \"model[epochs=2,rank=2]\"")).read("p.kdl").replace("rank 2 4", "rank 2 2");
    assert_eq!(codes(&found(&with(&[("p.kdl", &text), ("rows.csv", &colours(9))]), &[])), ["config::repeated_value"]);
}

#[test]
fn labels_are_on_the_brackets_and_not_on_the_name() {
    let text = grid(&judge("q", "    model \"m4[4]\"")).read("p.kdl").replace("\"model\"", "\"m4\"");
    let workspace = with(&[("p.kdl", &text), ("rows.csv", &colours(9))]);
    let findings = found(&workspace, &[]);
    let start = usize::try_from(findings[0]["labels"][0]["start"].as_u64().expect("a place")).expect("it is small");
    assert_eq!(&text[start - 1..start + 2], "[4]");
}

#[test]
fn what_is_left_out_together_is_told_as_that() {
    let text = grid(&judge("q", "    model \"model[epochs=2,rank=4]\"")).read("p.kdl").replace("rank 2 4\n", "rank 2 4\n        exclude epochs=2 rank=4\n");
    let done = wrong(&[("p.kdl", &text), ("rows.csv", &colours(9))], &[]);
    assert!(done.said().contains("leaves them out together"), "{}", done.stderr);
    let inherited = judge("q", "    model \"model\"\n    baseline \"model[rank=${param.rank}]\"");
    let done = wrong(&[("p.kdl", &grid(&inherited).read("p.kdl")), ("rows.csv", &colours(9))], &[]);
    assert!(done.stderr.contains("config::unknown_param") || done.said().contains("cannot stand in a name"), "{}", done.stderr);
}

#[test]
fn what_a_select_cannot_go_by_is_told_before_anything_is_trained() {
    let select = |from: &str, by: &str| format!("select \"best\" {{\n    from \"{from}\"\n    by \"{by}\"\n    goal \"max\"\n}}\n");
    let codes_of = |from: &str, by: &str| {
        let workspace = grid(&format!("{}{}", judge("q", "    model \"model\""), select(from, by)));
        codes(&found(&workspace, &[])).into_iter().map(str::to_owned).filter(|code| code != "config::unused_stage").collect::<Vec<_>>()
    };
    assert_eq!(codes_of("q", "exact-match"), ["config::unknown_choice"], "its metric is called accuracy");
    assert!(codes_of("q", "accuracy").is_empty() && codes_of("q", "accuracy.low").is_empty());
    assert_eq!(codes_of("nosuch", "accuracy"), ["config::dangling_reference"], "and nothing beside");
    assert_eq!(codes_of("model[rank]", "train-loss"), ["config::bad_instance"]);
    assert_eq!(codes_of("chat", "train-loss"), ["config::wrong_reference"]);
}

#[test]
fn a_thousand_instances_are_put_together_by_their_values() {
    let numbers = (0..1000).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let text = grid("deploy \"out\" {\n    model \"model\"\n    requires \"q\"\n    alias \"a-${param.epochs}\"\n}\n").read("p.kdl");
    let text = text.replace("epochs 1 2\n        rank 2 4", &format!("epochs {}", &numbers[2..])).replace("rank=(param)\"rank\"", "rank=4");
    let workspace = with(&[("p.kdl", &format!("{text}{}", judge("q", "    model \"model\""))), ("rows.csv", &colours(9))]);
    let graph: serde_json::Value = serde_json::from_str(&workspace.retune(&["graph", "p.kdl", "--format", "json"]).stdout).expect("it is JSON");
    let outs = graph.as_array().expect("a list").iter().filter(|stage| stage["kind"] == "deploy");
    assert!(outs.clone().count() == 999 && outs.clone().all(|out| out["needs"].as_array().is_some_and(|needs| needs.len() == 2)));
}

/// The names that a stage needs, by the graph.
fn needs(workspace: &Workspace, stage: &str) -> Vec<String> {
    let graph: serde_json::Value = serde_json::from_str(&workspace.retune(&["graph", "p.kdl", "--format", "json"]).stdout).expect("it prints JSON");
    let stages = graph.as_array().expect("there are stages");
    let found = stages.iter().find(|found| found["name"] == stage).unwrap_or_else(|| panic!("{stage}: {graph}"));
    found["needs"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Preparations by texts, and trainings that name them by a text of their own.
fn named_by_texts(axes: &str, texts: &str) -> Workspace {
    let text = format!(
        "pipeline \"p\"\ncollect \"rows\" {{ source \"rows.csv\"; }}\nprepare \"c\" {{\n    matrix {{ {axes}; }}\n    from \"rows\"\n    chat {{ system \"${{param.t}} ${{param.s}}\"; user \"{{{{ text }}}}\"; assistant \"{{{{ answer }}}}\"; }}\n}}\n\
         train \"m\" {{\n    matrix {{ u {texts}; }}\n    data \"c[t=${{param.u}}]\"\n    model \"builtin:tiny\"\n    method \"supervised\" {{ epochs 1; }}\n}}\n"
    );
    with(&[("p.kdl", &text), ("rows.csv", &colours(10))])
}

#[test]
fn blanks_tell_texts_apart() {
    let workspace = named_by_texts("t \"a\" \"a \" \"\" \" \"; s 1", "\"a\" \"a \" \" \"");
    let names = stages(&workspace, &[]);
    let m: Vec<&String> = names.iter().filter(|name| name.starts_with("m[")).collect();
    let of: Vec<Vec<String>> = m.iter().map(|name| needs(&workspace, name)).collect();
    assert_eq!(of.len(), 3, "{names:?}");
    assert!(of[0] != of[1] && of[1] != of[2] && of[0] != of[2] && of.iter().all(|needs| needs.len() == 1), "each has data of its own: {of:?}");
    assert_eq!(of[0], ["c[s=1,t=a]"]);
}

#[test]
fn a_text_that_looks_like_axes_is_no_axis() {
    let workspace = named_by_texts("t \"a\" \"a,s=1\"; s 1 2", "\"a,s=1\"");
    let findings = found(&workspace, &[]);
    assert_eq!(codes(&findings), ["config::bad_instance"], "it may be both: {findings:?}");
    let workspace = named_by_texts("t \"a\" \"b,v=1\"; s 1 2", "\"b,v=1\"");
    assert!(found(&workspace, &[]).is_empty());
    assert_eq!(stages(&workspace, &[]).iter().filter(|name| name.starts_with("m[")).count(), 2, "there is no axis `v`, so that it is the text");
}

#[test]
fn what_cannot_be_chosen_by_is_told_before_anything_is_trained() {
    let select = |from: &str, by: &str| format!("select \"best\" {{\n    from \"{from}\"\n    by \"{by}\"\n    goal \"max\"\n}}\n");
    let suite = "    suite \"safe\" {\n        data \"chat\"\n        grader \"exact-match\"\n    }\n";
    let judge = judge("q", &format!("    model \"model\"\n{suite}"));
    for (by, is_told) in
        [("accuracy", true), ("accuracy.low", true), ("safe.accuracy", true), ("accuracy.nonsense", false), ("accuracy.gain", false), ("safe.nothing", false)]
    {
        let workspace = grid(&format!("{judge}{}", select("q", by)));
        let findings = found(&workspace, &[]);
        assert_eq!(codes(&findings) == ["config::unknown_choice"], !is_told, "{by}: {findings:?}");
    }
    let workspace = grid(&select("model", "validation-loss"));
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    from \"rows\"\n", "    from \"rows\"\n    split train=0.9 validation=0.0 test=0.1\n"));
    let findings = found(&workspace, &[]);
    assert!(findings.len() == 1 && findings[0]["help"].as_str().is_some_and(|help| help.contains("without validation rows")), "{findings:?}");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("by \"validation-loss\"", "by \"train-loss\""));
    assert!(found(&workspace, &[]).is_empty());
}

#[test]
fn a_wrong_matrix_is_one_mistake() {
    let keep = "select \"best\" {\n    from \"model\"\n    by \"train-loss\"\n    goal \"min\"\n    keep 3\n}\n";
    let workspace = grid(keep);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("rank 2 4", "rank 2 4 4"));
    assert_eq!(codes(&found(&workspace, &[])), ["config::repeated_value"]);
    let twice = "pipeline \"p\"\nexec \"x\" {\n    matrix { s 1 2; }\n    matrix { t 1; }\n    run \"true ${param.s} ${param.t}\"\n}\n";
    assert_eq!(codes(&found(&with(&[("p.kdl", twice)]), &[])), ["config::repeated"]);
    let alike = "pipeline \"p\"\nexec \"x\" {\n    matrix { s 1.0 \"1.0\"; }\n    run \"true ${param.s}\"\n}\n";
    assert_eq!(codes(&found(&with(&[("p.kdl", alike)]), &[])), ["config::repeated_value"], "no name could tell them apart");
    let mixed = "pipeline \"p\"\ncollect \"c\" {\n    matrix { f \"a\" \"a\"; }\n    source \"${param.f}.csv\"\n}\nprepare \"d\" {\n    from \"c\"\n    mix 1 2\n    chat { user \"{{ text }}\"; assistant \"{{ answer }}\"; }\n}\n";
    assert_eq!(codes(&found(&with(&[("p.kdl", mixed), ("a.csv", &colours(5))]), &[])), ["config::repeated_value"]);
}

#[test]
fn where_some_stand_in_several_places_all_have_a_place() {
    let best = "select \"best\" {\n    matrix { k 1 2; }\n    from \"model\"\n    by \"train-loss\"\n    goal \"min\"\n    keep (param)\"k\"\n}\ndeploy \"out\" {\n    model \"best\"\n    requires \"q\"\n    alias \"a${param.k}-${param.place}\"\n}\n";
    let workspace = grid(&format!("{best}{}", judge("q", "    model \"best\"")));
    let names = stages(&workspace, &[]);
    for wanted in ["best[k=1,place=1]", "best[k=2,place=1]", "best[k=2,place=2]", "out[k=1,place=1]"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted}: {names:?} {:?}", found(&workspace, &[]));
    }
    let one = grid(&format!(
        "select \"best\" {{\n    from \"model\"\n    by \"train-loss\"\n    goal \"min\"\n    keep 1\n}}\n{}",
        judge("q", "    model \"best[place=2]\"")
    ));
    let findings = found(&one, &[]);
    assert!(findings[0]["help"].as_str().is_some_and(|help| help.contains("`best` has no instances")), "{findings:?}");
}

#[test]
fn the_log_is_that_of_the_values_that_are_meant() {
    let text = "pipeline \"p\"\nparams { who \"base\"; }\nexec \"x\" {\n    run \"echo I am ${param.who} > o; cat o\"\n    output \"o\"\n}\n";
    let workspace = with(&[("p.kdl", text)]);
    workspace.run(&[], 0);
    workspace.run(&["--set", "who=zed"], 0);
    assert!(workspace.retune(&["log", "x", "p.kdl"]).stdout.contains("I am base"));
    assert!(workspace.retune(&["log", "x", "p.kdl", "--set", "who=zed"]).stdout.contains("I am zed"));
    let none = workspace.retune(&["log", "x", "p.kdl", "--set", "who=nobody"]);
    assert!(none.code == 1 && none.stderr.contains("no run of p.kdl, with this profile and these values,"), "{}", none.stderr);
}

/// Data by seeds, and one training of each.
fn seeded(rest: &str) -> Workspace {
    let text = format!(
        "pipeline \"p\"\nparams {{ seed 1; }}\ncollect \"rows\" {{ source \"rows.csv\"; }}\nprepare \"chat\" {{\n    matrix {{ seed 1 2; }}\n    from \"rows\"\n    chat {{ user \"{{{{ text }}}}\"; assistant \"{{{{ answer }}}}\"; }}\n    split train=0.6 validation=0.2 test=0.2 seed=(param)\"seed\"\n}}\n\
         train \"router\" {{\n    data \"chat\"\n    model \"builtin:tiny\"\n    method \"supervised\" {{ epochs 1; }}\n}}\n{rest}"
    );
    with(&[("p.kdl", &text), ("rows.csv", &colours(30))])
}

#[test]
fn what_is_given_of_one_stage_holds_beside_an_open_name_of_another() {
    let of = |nodes: &str| {
        let workspace = seeded(&format!("evaluate \"q\" {{\n    model \"router\"\n{nodes}\n    grader \"exact-match\"\n}}\n"));
        let names: Vec<String> = stages(&workspace, &[]).into_iter().filter(|name| name.starts_with("q[")).collect();
        names.iter().map(|name| (name.clone(), needs(&workspace, name))).collect::<Vec<_>>()
    };
    let first = vec![("q[seed=1]".to_owned(), vec!["chat[seed=1]".to_owned(), "router[seed=1]".to_owned()])];
    assert_eq!(of("    data \"chat[seed=1]\""), first);
    assert_eq!(of("    data \"chat[seed=1]\"\n    baseline \"router[seed=1]\""), first, "no model is judged by rows of another split");
    assert_eq!(of("    data \"chat\"\n    baseline \"router[seed=1]\"").len(), 2, "each by its own rows");
}

#[test]
fn a_name_takes_no_axis_that_the_stage_has_from_others() {
    let judge =
        |baseline: &str| format!("evaluate \"e\" {{\n    model \"router\"\n    baseline \"{baseline}\"\n    data \"chat\"\n    grader \"exact-match\"\n}}\n");
    let workspace = seeded(&judge("router[seed=${param.seed}]"));
    assert_eq!(needs(&workspace, "e[seed=2]"), ["chat[seed=2]", "router[seed=1]", "router[seed=2]"], "the parameter is meant");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("params { seed 1; }\n", ""));
    assert_eq!(codes(&found(&workspace, &[])), ["config::unknown_param"]);
}
