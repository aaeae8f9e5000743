use super::{codes, found, says, with, wrong};

fn written(text: &str, files: &[(&str, &str)], arguments: &[&str]) -> String {
    let workspace = with(files);
    workspace.write("p.kdl", text);
    workspace.run(arguments, 0);
    workspace.read("x.out")
}

#[test]
fn parameters_stand_in_strings() {
    let text = format!("pipeline \"p\"\nparams {{\n    who \"me\"\n    count 3\n    rate 0.25\n    flag #true\n}}\n{}", {
        let line = "${param.who} ${param.count} ${param.rate} ${param.flag} ${HOME_OF_NOBODY:-none} $${param.who}";
        format!("exec \"x\" {{\n    run \"printf '%s' '{}' > x.out\"\n    output \"x.out\"\n}}\n", line.replace("'none'", "none"))
    });
    assert_eq!(written(&text, &[], &[]), "me 3 0.25 true ${HOME_OF_NOBODY:-none} ${param.who}");
}

#[test]
fn a_parameter_may_take_those_before_it() {
    let text = |first: &str| {
        format!(
            "pipeline \"p\"\nparams {{\n{first}\n    all \"${{param.who}}!\"\n}}\nexec \"x\" {{\n    run \"printf '%s' '${{param.all}}' > x.out\"\n    output \"x.out\"\n}}\n"
        )
    };
    assert_eq!(written(&text("    who \"me\""), &[], &[]), "me!");
    assert_eq!(written(&text("    who \"me\""), &[], &["--set", "who=you"]), "you!", "also where it is set anew");
    let later = "pipeline \"p\"\nparams {\n    all \"${param.who}!\"\n    who \"me\"\n}\n";
    assert!(wrong(&[("p.kdl", later)], &[]).stderr.contains("config::unknown_param"));
}

#[test]
fn the_content_of_a_file_is_a_value_and_part_of_the_fingerprint() {
    let workspace = with(&[("say.txt", "one")]);
    workspace.write(
        "p.kdl",
        "pipeline \"p\"\nparams {\n    said (file)\"say.txt\"\n}\nexec \"x\" {\n    run \"printf '%s' '${param.said}' > x.out\"\n    output \"x.out\"\n}\n",
    );
    assert_eq!(workspace.ran(&[]), ["x"]);
    assert!(workspace.ran(&[]).is_empty());
    workspace.write("say.txt", "two");
    assert_eq!(workspace.ran(&[]), ["x"]);
    assert_eq!(workspace.read("x.out"), "two");
    std::fs::remove_file(workspace.path().join("say.txt")).expect("it is ours");
    let gone = workspace.retune(&["run", "p.kdl"]);
    assert!(gone.code == 2 && gone.stderr.contains("config::unreadable_value"), "{}", gone.stderr);
}

#[test]
fn the_environment_is_part_of_the_fingerprint() {
    let workspace = with(&[]);
    workspace.write(
        "p.kdl",
        "pipeline \"p\"\nparams {\n    said (env)\"RETUNE_SAYS\"\n}\nexec \"x\" {\n    run \"printf '%s' '${param.said}' > x.out\"\n    output \"x.out\"\n}\n",
    );
    for said in ["one", "two"] {
        let done = workspace.command(&["run", "p.kdl"]).env("RETUNE_SAYS", said).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(workspace.read("x.out"), said);
    }
    let unset = workspace.retune(&["check", "p.kdl"]);
    assert!(unset.code == 2 && unset.stderr.contains("config::unset_variable"), "{}", unset.stderr);
}

#[test]
fn a_value_of_another_type_names_both_places() {
    let text = format!(
        "pipeline \"p\"\nparams {{\n    epochs 4\n}}\nprofile \"ci\" {{\n    params {{\n        epochs \"one\"\n    }}\n}}\n{}",
        says("x", "${param.epochs}")
    );
    for arguments in [vec![], vec!["--profile", "ci"]] {
        let workspace = with(&[("p.kdl", &text)]);
        let found = found(&workspace, &arguments);
        assert_eq!(codes(&found), ["config::wrong_param"]);
        let lines: Vec<i64> = found[0]["labels"].as_array().expect("labels").iter().map(|label| label["line"].as_i64().expect("a line")).collect();
        assert_eq!(lines, [3, 7]);
    }
    let set = wrong(&[("p.kdl", &text.replace("\"one\"", "1"))], &["--set", "epochs=many"]);
    assert!(set.stderr.contains("config::bad_set") && set.stderr.contains("declared here"), "{}", set.stderr);
}

#[test]
fn each_measure_has_an_error_of_its_own() {
    let stage = |inside: &str| format!("pipeline \"p\"\nexec \"x\" {{\n    run \"true > x.out\"\n    output \"x.out\"\n    {inside}\n}}\n");
    for (inside, code, help) in [
        ("timeout 90", "config::bad_duration", "\"90s\""),
        ("timeout \"soon\"", "config::bad_duration", "15m"),
        ("resources memory=4", "config::bad_size", "\"4MiB\""),
        ("resources memory=\"4 lots\"", "config::bad_size", "GiB"),
        ("budget usd=\"$3\"", "config::bad_money", "12.5"),
        ("budget usd=-1", "config::bad_money", "at least 0"),
        ("budget", "config::missing_value", "budget usd=25.0"),
    ] {
        let done = wrong(&[("p.kdl", &stage(inside))], &[]);
        assert!(done.said().contains(code) && done.said().contains(help), "{inside}: {}", done.stderr);
    }
    let split = "pipeline \"p\"\ncollect \"c\" {\n    source \"c.csv\"\n}\nprepare \"x\" {\n    from \"c\"\n    chat {\n        user \"u\"\n        assistant \"a\"\n    }\n    split train=80 validation=0.1 test=0.1\n}\n";
    let done = wrong(&[("p.kdl", split)], &[]);
    assert!(done.said().contains("config::bad_share") && done.said().contains("write 0.8"), "{}", done.stderr);
}

#[test]
fn what_stands_for_nothing_is_told() {
    for (value, code, help) in [
        ("\"${params.size}\"", "config::unknown_interpolation", "did you mean `param`?"),
        ("\"${param.siez}\"", "config::unknown_param", "did you mean `size`?"),
        ("(parm)\"size\"", "config::unknown_annotation", "did you mean `(param)`?"),
        ("(secret)\"X\"", "config::wrong_type", "a secret"),
        ("(file)\"../up\"", "config::outside_path", "below the workspace"),
        ("(file)\"nowhere\"", "config::unreadable_value", "1 MiB"),
    ] {
        let text = format!("pipeline \"p\"\nparams {{\n    size \"a\"\n}}\nexec \"x\" {{\n    run {value}\n    output \"x.out\"\n}}\n");
        let done = wrong(&[("p.kdl", &text)], &[]);
        assert!(done.said().contains(code) && done.said().contains(help), "{value}: {}", done.stderr);
    }
}

#[test]
fn all_that_is_wrong_with_a_text_is_told_at_once() {
    let text =
        format!("pipeline \"p\"\nparams {{\n    size \"a\"\n}}\n{}", says("x", "${param.siez} ${param.size} ${params.size} ${param.siez} ${param.other}"));
    let found = found(&with(&[("p.kdl", &text)]), &[]);
    assert_eq!(codes(&found), ["config::unknown_param", "config::unknown_interpolation", "config::unknown_param"], "each once, by place");
}

#[test]
fn a_property_without_a_value_is_told_where_it_is() {
    for written in ["b=", "b= ; d 1", "b=\n    retry 1", "b=}"] {
        let found = found(&with(&[("p.kdl", &format!("pipeline \"p\"\nexec \"x\" {{\n    output \"a\" {written}\n}}\n"))]), &[]);
        assert_eq!(codes(&found), ["config::syntax"], "{written}");
        assert_eq!((found[0]["labels"][0]["line"].as_i64(), found[0]["labels"][0]["column"].as_i64()), (Some(3), Some(17)), "{written}");
    }
}

#[test]
fn a_stage_that_makes_no_model_is_told_as_a_stage() {
    let text = format!(
        "pipeline \"p\"\n{}train \"two\" {{\n    examples \"a.jsonl\"\n    model \"one\"\n    method \"supervised\" {{\n        epochs 1\n    }}\n}}\n",
        says("one", "x")
    );
    let done = wrong(&[("p.kdl", &text)], &[]);
    assert!(done.said().contains("`one` is a stage of the kind `exec`, and makes no model"), "{}", done.stderr);
}

#[test]
fn parameters_take_only_those_before_them() {
    for params in ["a \"${param.b}\"\n    b \"x\"", "a \"${param.b}\"\n    b (param)\"a\"", "a \"${param.a}\""] {
        let text = format!("pipeline \"p\"\nparams {{\n    {params}\n}}\n{}", says("x", "${param.a}"));
        let done = wrong(&[("p.kdl", &text)], &[]);
        assert_eq!(done.stderr.matches("config::unknown_param").count(), 1, "{params}: {}", done.stderr);
        assert!(done.said().contains("is not declared before this"), "{params}: {}", done.stderr);
    }
}

#[test]
fn labels_are_on_the_exact_signs_after_others_than_ascii() {
    let workspace = with(&[("p.kdl", "pipeline \"p\" description=\"größer → 🎉\"\n/* ü */ exec \"x\" { run \"ä ${param.nö}\"; output \"ö\" }\n")]);
    let found = found(&workspace, &[]);
    assert_eq!(codes(&found), ["config::unknown_param"]);
    let label = &found[0]["labels"][0];
    assert_eq!((label["line"].as_i64(), label["column"].as_i64(), label["length"].as_i64()), (Some(2), Some(27), Some(12)));
    let text = workspace.read("p.kdl");
    let start = usize::try_from(label["start"].as_u64().expect("an offset")).expect("it fits");
    assert_eq!(&text[start..start + 12], "${param.nö}");
}

#[test]
fn warnings_can_be_denied() {
    let text = format!("pipeline \"p\"\nparams {{\n    idle 1\n    key \"sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n}}\n{}", says("x", "${param.key}"));
    let workspace = with(&[("p.kdl", &text)]);
    let found = found(&workspace, &[]);
    assert_eq!(codes(&found), ["config::unused_param", "config::plain_secret"]);
    let done = workspace.retune(&["check", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("2 warnings"), "{}", done.stdout);
    for command in ["check", "plan", "run"] {
        let denied = workspace.retune(&[command, "p.kdl", "--deny", "warnings"]);
        assert!(denied.code == 2 && denied.stderr.contains("2 warnings, and warnings are denied"), "{}", denied.stderr);
    }
    // They are said again when nothing has to be read again.
    workspace.run(&[], 0);
    assert!(workspace.retune(&["run", "p.kdl"]).stderr.contains("config::unused_param"));
}

#[test]
fn what_nobody_uses_is_told() {
    let text = "pipeline \"p\"\ncollect \"a\" {\n    source \"a.csv\"\n}\ncollect \"b\" {\n    source \"b.csv\"\n}\nprepare \"c\" {\n    from \"a\"\n    passthrough\n}\n";
    let found = found(&with(&[("p.kdl", text)]), &[]);
    assert_eq!(codes(&found), ["config::unused_stage"], "what ends the pipeline is no waste");
    assert!(found[0]["message"].as_str().expect("text").contains("`b`"));
}

#[test]
fn labels_are_exact_where_blanks_stand_around_the_sign() {
    let prepare = "prepare \"chat\" {\n    from \"rows\"\n    passthrough\n    split train = 0.8 validation =\t1.5 test= /*é*/ (param)\"zz\" seed=1\n}\n";
    let text = format!("pipeline \"é\"\ncollect \"rows\" {{\n    source \"rows.csv\"\n}}\n{prepare}");
    let workspace = with(&[("p.kdl", &text)]);
    let labelled: Vec<String> = found(&workspace, &[])
        .iter()
        .map(|finding| {
            let label = &finding["labels"][0];
            let number = |name: &str| usize::try_from(label[name].as_u64().expect("a number")).expect("it is small");
            text[number("start")..number("start") + number("length")].to_owned()
        })
        .collect();
    assert_eq!(labelled, ["1.5", "(param)\"zz\""]);
}
