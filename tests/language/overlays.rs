use super::{codes, found, says, with, wrong};

const STAGES: &str = r#"
collect "rows" {
    source "rows.csv"
}
prepare "chat" {
    from "rows"
    normalize unicode="nfc"
    chat {
        user "{{ text }}"
        assistant "{{ answer }}"
    }
    split train=0.8 validation=0.1 test=0.1 seed=1
}
train "one" {
    data "chat"
    model "builtin:tiny"
    method "supervised" {
        epochs 2
    }
}
train "two" {
    data "chat"
    model "builtin:tiny"
    method "supervised" {
        epochs 3
        batch-size 4
    }
    seed 9
}
"#;

/// What is planned, with all fingerprints that are known.
fn planned(text: &str, arguments: &[&str]) -> String {
    let workspace = with(&[("p.kdl", text), ("1.csv", "a\n1\n"), ("2.csv", "a\n2\n"), ("3.csv", "a\n3\n")]);
    let mut all = vec!["plan", "p.kdl", "--actions", "--json"];
    all.extend(arguments);
    let done = workspace.retune(&all);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("\"fingerprint\": \""), "{}", done.stdout);
    done.stdout
}

#[test]
fn defaults_fill_in_what_a_stage_does_not_say() {
    let workspace = |text: &str| {
        let workspace = with(&[("p.kdl", text), ("rows.csv", &crate::common::colours(40))]);
        workspace.run(&[], 0);
        workspace
    };
    let with_defaults = format!(
        "pipeline \"p\"\ndefaults {{\n    train {{\n        seed 5\n        method \"supervised\" {{\n            epochs 7\n            batch-size 8\n        }}\n    }}\n}}\n{STAGES}"
    );
    let done = workspace(&with_defaults);
    // Written out, it is the same pipeline.
    let written =
        STAGES.replace("epochs 2\n", "epochs 2\n        batch-size 8\n").replacen("    }\n}\ntrain \"two\"", "    }\n    seed 5\n}\ntrain \"two\"", 1);
    done.write("p.kdl", format!("pipeline \"p\"\n{written}"));
    assert!(done.ran(&[]).is_empty(), "the same fingerprints");
}

#[test]
fn a_profile_changes_stages_providers_and_the_budget() {
    let text = format!(
        "pipeline \"p\"\nprovider \"house\" {{\n    api \"openai\"\n    base-url \"http://127.0.0.1:9/v1\"\n    key (secret)\"KEY\"\n}}\nbudget usd=5.0\nprofile \"ci\" {{\n    provider \"house\" {{\n        base-url \"http://127.0.0.1:8/v1\"\n    }}\n    budget usd=0.5\n    train \"two\" {{\n        method \"supervised\" {{\n            epochs 1\n        }}\n    }}\n    prepare \"chat\" {{\n        split train=0.6 validation=0.2 test=0.2\n    }}\n}}\n{STAGES}"
    );
    let workspace = with(&[("p.kdl", &text), ("rows.csv", &crate::common::colours(40))]);
    workspace.run(&[], 0);
    let in_ci = workspace.run(&["--profile", "ci"], 0);
    assert_eq!(crate::common::ran(&in_ci), ["chat", "one", "two"]);
    let why = workspace.retune(&["why", "chat", "p.kdl", "--profile", "ci"]);
    assert_eq!(why.code, 0, "{}", why.stderr);
    // Written out, it is the same pipeline: `seed=1` of the split stayed, and so did `batch-size 4`.
    let written = STAGES.replace("train=0.8 validation=0.1 test=0.1", "train=0.6 validation=0.2 test=0.2").replace("epochs 3", "epochs 1");
    workspace.write("p.kdl", format!("pipeline \"p\"\n{written}"));
    assert!(workspace.ran(&[]).is_empty(), "the same fingerprints");
}

#[test]
fn what_may_stand_several_times_takes_the_place_of_all() {
    let base = "collect \"a\" {\n    source \"1.csv\"\n    source \"2.csv\"\n}\n";
    let text = format!("pipeline \"p\"\nprofile \"x\" {{\n    collect \"a\" {{\n        source \"3.csv\"\n    }}\n}}\n{base}");
    let written = format!("pipeline \"p\"\n{}", base.replace("\"1.csv\"", "\"3.csv\"").replace("    source \"2.csv\"\n", ""));
    assert_eq!(planned(&text, &["--profile", "x"]), planned(&written, &[]));
    assert_ne!(planned(&text, &[]), planned(&written, &[]));
}

#[test]
fn defaults_of_another_method_mean_nothing() {
    let text = format!("pipeline \"p\"\ndefaults {{\n    train {{\n        method \"dpo\" {{\n            beta 0.5\n        }}\n    }}\n}}\n{STAGES}");
    let workspace = with(&[("p.kdl", &format!("pipeline \"p\"\n{STAGES}")), ("rows.csv", &crate::common::colours(40))]);
    workspace.run(&[], 0);
    workspace.write("p.kdl", text);
    assert!(workspace.ran(&[]).is_empty(), "the same fingerprints");
}

#[test]
fn profiles_that_are_not_in_force_are_checked_too() {
    let text = format!(
        "pipeline \"p\"\nprofile \"gpu\" {{\n    params {{\n        nothing 1\n    }}\n    train \"oen\" {{\n        seed 1\n    }}\n    train \"one\" {{\n        sead 1\n    }}\n    prpare \"chat\"\n}}\nprofile \"gpu\" {{}}\n{STAGES}"
    );
    let found = found(&with(&[("p.kdl", &text)]), &[]);
    assert_eq!(codes(&found), ["config::unknown_param", "config::nothing_to_override", "config::unknown_node", "config::unknown_node", "config::repeated"]);
    assert!(found[1]["help"].as_str().expect("help").contains("did you mean `one`?"));
    let unset = format!("pipeline \"p\"\nprofile \"gpu\" {{\n    train \"one\" {{\n        model (env)\"RETUNE_MODEL_OF_NOBODY\"\n    }}\n}}\n{STAGES}");
    let workspace = with(&[("p.kdl", &unset)]);
    assert_eq!(workspace.retune(&["check", "p.kdl"]).code, 0, "what it takes of the environment need not be there");
    assert_eq!(workspace.retune(&["check", "p.kdl", "--profile", "gpu"]).code, 2);
}

#[test]
fn stages_that_a_profile_speaks_of_run_again_where_they_are_kept_compiled() {
    let text = format!("pipeline \"p\"\nprofile \"ci\" {{\n    exec \"y\" {{\n        timeout \"5s\"\n    }}\n}}\n{}{}", says("x", "1"), says("y", "2"));
    let workspace = with(&[("p.kdl", &text)]);
    for number in 0..4 {
        workspace.run(&[], 0);
        std::fs::write(workspace.path().join("x.out"), format!("{number}")).expect("it is ours");
        workspace.run(&["--force", "x"], 0);
        workspace.run(&["--profile", "ci", "--force", "x"], 0);
    }
}

#[test]
fn what_lies_over_or_under_a_stage_may_take_its_axes() {
    let text = "pipeline \"p\"\ndefaults {\n    exec {\n        matrix {\n            a 1 2\n        }\n        env \"PATH\"\n    }\n}\nprofile \"ci\" {\n    exec \"x\" {\n        run \"echo ${param.a} ci > o${param.a}\"\n    }\n}\nexec \"x\" {\n    run \"echo ${param.a} > o${param.a}\"\n    output \"o${param.a}\"\n}\n";
    let workspace = with(&[("p.kdl", text)]);
    workspace.run(&["--profile", "ci"], 0);
    assert_eq!((workspace.read("o1").as_str(), workspace.read("o2").as_str()), ("1 ci\n", "2 ci\n"));
}

#[test]
fn a_profile_says_each_thing_once_and_has_the_name_of_a_file() {
    let text = |profile: &str| format!("pipeline \"p\"\nparams {{\n    e 1\n}}\n{profile}\n{}", says("x", "${param.e}"));
    for (profile, code) in [
        ("profile \"ci\" { params { e 1; e 2 } }", "config::repeated"),
        ("profile \"ci\" { exec \"x\" { timeout \"1s\" }; exec \"x\" { timeout \"2s\" } }", "config::repeated"),
        ("profile \"ci\" { budget usd=1; budget usd=2 }", "config::repeated"),
        ("profile \"../evil\"", "config::bad_name"),
        ("profile \"\"", "config::bad_name"),
        ("profile \"ci\" { params { e (param)\"late\" } }\nparams { late 2 }", "config::unknown_param"),
    ] {
        assert!(wrong(&[("p.kdl", &text(profile))], &[]).stderr.contains(code), "{profile}");
    }
}

#[test]
fn defaults_that_are_wrong_are_told_once() {
    let text = format!(
        "pipeline \"p\"\ndefaults {{\n    train {{\n        sead 1\n    }}\n    train \"one\" {{\n        seed 1\n    }}\n    provider \"local\"\n}}\n{STAGES}"
    );
    let found = found(&with(&[("p.kdl", &text)]), &[]);
    assert_eq!(codes(&found), ["config::unknown_node", "config::surplus_argument", "config::unknown_node"]);
}

#[test]
fn an_unknown_profile_offers_the_nearest() {
    let text = format!("pipeline \"p\"\nprofile \"ci\" {{}}\n{}", says("x", "1"));
    assert!(wrong(&[("p.kdl", &text)], &["--profile", "cl"]).stderr.contains("did you mean `ci`?"));
}
