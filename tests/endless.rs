//! No text makes the parser panic or run past a bound.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::Workspace;
use retune::config::{Overrides, Pipeline, PipelineFile, format};
use retune::stage::LANGUAGE;

/// Far more than any of these takes: what runs past it runs for ever.
const BOUND: Duration = Duration::from_secs(120);

fn decoded(text: String) {
    let began = Instant::now();
    let _ = format(&text);
    let file = PipelineFile::of("p.kdl".into(), "p.kdl".into(), text);
    let (_, _, errors) = Pipeline::decode(file, LANGUAGE, &Overrides::default());
    assert!(!errors.is_empty(), "none of these is a pipeline");
    assert!(began.elapsed() < BOUND);
}

#[test]
fn the_corpus_of_the_fuzzer_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/language");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
        let text = String::from_utf8_lossy(&std::fs::read(entry.path()).expect("it can be read")).into_owned();
        if let Ok(once) = format(&text) {
            assert_eq!(format(&once).expect("it is KDL"), once, "{}", entry.path().display());
        }
        let file = PipelineFile::of("p.kdl".into(), "p.kdl".into(), text);
        let _ = Pipeline::decode(file, LANGUAGE, &Overrides::default());
        count += 1;
    }
    assert!(count >= 8, "the corpus has {count} files");
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("a {", "}"), ("/* ", " */"), ("a /-{", "}"), ("(", ")"), ("a \"\"\" {", "}"), ("#", "#"), ("a \\\n", ""), ("/-", "")] {
        decoded(format!("{}{}", open.repeat(100_000), close.repeat(100_000)));
        decoded(open.repeat(100_000));
    }
}

#[test]
fn huge_numbers_and_nothings_are_refused() {
    for value in [
        "9".repeat(100_000),
        format!("1e{}", "9".repeat(1000)),
        format!("0x{}", "f".repeat(10_000)),
        "#inf".into(),
        "#nan".into(),
        "#null".into(),
        "-".repeat(10_000),
        "1_".repeat(10_000),
    ] {
        decoded(format!("pipeline \"p\"\nbudget usd={value}\n"));
        decoded(format!("pipeline \"p\"\nparams {{\n    a {value}\n}}\nexec \"x\" {{\n    retry (param)\"a\"\n    run \"x\"\n    output \"o\"\n}}\n"));
    }
    decoded("\0".repeat(10_000));
    decoded("pipeline \"p\0\"\nexec \"x\0\" {\n    run \"a\0b\"\n    output \"o\0\"\n}\n".into());
    decoded("\u{feff}\u{202e}\u{2028}pipeline\u{a0}\"p\"\u{85}x".into());
}

#[test]
fn what_multiplies_is_bounded() {
    let line = (0..60).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let axes = (0..30).map(|axis| format!("a{axis} {line}\n")).collect::<String>();
    decoded(format!("pipeline \"p\"\nexec \"x\" {{\n    matrix {{\n{axes}}}\n    run \"x\"\n    output \"o\"\n}}\n"));
    // Each stage of a chain with an axis of its own has as many instances as all before it together.
    let mut text = String::from("pipeline \"p\"\n");
    for stage in 0..12 {
        text.push_str(&format!("prepare \"s{stage}\" {{\n    matrix {{\n        a{stage} {line}\n    }}\n    from \"s{}\"\n    passthrough\n}}\n", stage + 1));
    }
    for stage in 0..12 {
        text.push_str(&format!(
            "train \"t{stage}\" {{\n    matrix {{\n        b{stage} {line}\n    }}\n    data \"s{stage}\"\n    model \"builtin:tiny\"\n}}\n"
        ));
    }
    decoded(text);
    // Parameters that double each other.
    let doubling: String = (1..40).map(|number| format!("    p{number} \"${{param.p{0}}}${{param.p{0}}}\"\n", number - 1)).collect();
    decoded(format!("pipeline \"p\"\nparams {{\n    p0 \"twenty signs of it..\"\n{doubling}}}\n"));
}

#[test]
fn large_files_are_read_or_refused_in_time() {
    let workspace = Workspace::new();
    let began = Instant::now();
    // One string, one comment, one line.
    let long = [
        ("pipeline \"", "a".repeat(2_000_000), "\""),
        ("/*", " b".repeat(1_000_000), "*/"),
        ("x", " y".repeat(500_000), ""),
        ("// ", "c".repeat(2_000_000), "\n"),
    ];
    for (before, middle, after) in long {
        workspace.write("p.kdl", format!("{before}{middle}{after}"));
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 0 || done.code == 2, "{}", done.stderr.chars().take(2000).collect::<String>());
        assert!(done.stderr.len() < 200_000, "a report is for people: {} bytes", done.stderr.len());
    }
    for text in ["a".repeat(50_000_000), "a {\n".repeat(12_500_000), "\0".repeat(50_000_000)] {
        workspace.write("p.kdl", text);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains("config::too_large"), "{}", done.stderr);
    }
    assert!(began.elapsed() < BOUND * 4);
    std::fs::File::create(workspace.path().join("p.kdl")).and_then(|file| file.set_len(65 << 20)).expect("it can be long");
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("config::too_large"));
    assert!(workspace.retune(&["check", "/dev/zero"]).stderr.contains("config::too_large"), "it has no end");
    workspace.write("p.kdl", "pipeline \"p\"\ninclude \"/dev/zero\"\n");
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("config::unreadable_include"));
}

#[test]
fn what_hides_nesting_is_refused() {
    for text in [
        format!("a {}1", "/-".repeat(20_000)),
        format!("/{}", "*/".repeat(20_000)),
        format!("{}{}", "a \"}\" {".repeat(20_000), "}".repeat(20_000)),
        format!("{}{}", "a { // }\n".repeat(20_000), "}".repeat(20_000)),
        "}".repeat(100_000),
        format!("a {}{}", "(\"\"".repeat(50_000), ")".repeat(50_000)),
        format!("a \"\\q{}\"", "{".repeat(100_000)),
        format!("a #\"{}", "a{".repeat(100_000)),
        format!("a \"\"\"{}\n", "b{".repeat(100_000)),
    ] {
        decoded(text);
    }
}

#[test]
fn what_stands_in_itself_is_read_and_laid_out_once() {
    assert!(format(&format!("{}{}", "a { b; c {".repeat(30), "}}".repeat(30))).is_ok());
    for (open, close) in [("a /-{", "}"), ("a\n/-b {", "}\n"), ("a /-1 /-{", "}"), ("a /-{} /-{} /-{", "}"), ("/-/**/a {", "}\n")] {
        let text = format!("a\n{}{}", open.repeat(60), close.repeat(60));
        assert!(format(&text).is_ok(), "{text}");
        decoded(text);
        decoded(format!("a\n{}1a{}", open.repeat(60), close.repeat(60)));
        // To the parser the text of several lines is none, since a word stands before its quotes.
        decoded(format!("a a\"\"\"\n{}{}\"\"\"\n", open.repeat(60), close.repeat(60)));
        decoded(format!("a \"\\q {}{}\"\n", open.repeat(60), close.repeat(60)));
    }
}

#[test]
fn what_only_looks_nested_is_read() {
    let workspace = Workspace::new();
    let braces = "{ ".repeat(500);
    workspace.write("p.kdl", format!("pipeline \"p\"\n// {braces}\nexec \"x\" {{\n    run \"echo '{braces} (((' > o\"\n    output \"o\"\n}}\n"));
    assert_eq!(workspace.run(&[], 0)["status"], "ok");
    assert_eq!(workspace.read("o").trim(), format!("{braces} ((("));
}
