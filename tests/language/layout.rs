use proptest::prelude::*;
use retune::config::format;

use super::{stages, with};

fn formatted(text: &str) -> String {
    let once = format(text).unwrap_or_else(|errors| panic!("{text:?} is KDL: {errors:?}"));
    assert_eq!(format(&once).expect("it is KDL"), once, "laid out once is laid out");
    once
}

#[test]
fn a_file_is_laid_out_in_one_way() {
    let text = "// first\n\n\npipeline   \"p\"\nparams{epochs 4;seed 7}\n\n\n\ncollect \"a\" { // why\n  source \"x\"   // one\n  source   \"longer\" format = \"csv\" // two\n\n  /-source \"y\"\n  // alone\n/* block */ fields\n\n\n}\nexec \"x\" {run #\"a b\"# ; output \"o\" }\ntrain \"t\" { method \"supervised\" { epochs 1; lora rank=8 alpha=16 } }\n";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn what_is_hard_to_lay_out_is_kept() {
    for (text, wanted) in [
        ("a \\\n   b\n", "a \\\n    b\n"),
        ("a \\ // c\n b\n", "a \\ // c\n    b\n"),
        ("a \\ /* c */\n b\n", "a \\ /* c */\n    b\n"),
        ("/* c\r\n d */ a\r\n", "/* c\n d */ a\n"),
        ("a \"\"\"\n   x\n   y\n   \"\"\" b\n", "a \"\"\"\n   x\n   y\n   \"\"\" b\n"),
        ("/- a\nb\n", "/-a\nb\n"),
        ("/-\n\na\nb\n", "/-a\nb\n"),
        ("a /- b /-c = 1 /-{ d }\n", "a /-b /-c=1 /-{ d }\n"),
        ("a ( t ) 1 k = (u) \"v\"\n", "a (t)1 k=(u)\"v\"\n"),
        ("a{}\n", "a {}\n"),
        ("a { b }; c // d\n", "a { b }\nc // d\n"),
        ("a { b; /* c */ d }\n", "a { b; /* c */ d }\n"),
        ("a {b;c // d\n}\n", "a {\n    b\n    c // d\n}\n"),
        ("\u{feff}a\r\nb\r\n", "a\nb\n"),
        ("a #\"\"\"\n \"x\"\n \"\"\"# #true -1.5e3 0x1F\n", "a #\"\"\"\n \"x\"\n \"\"\"# #true -1.5e3 0x1F\n"),
    ] {
        assert_eq!(formatted(text), wanted, "{text:?}");
    }
    let long = format!("a {{ {} }}\n", "\"twenty signs of it\"; ".repeat(8));
    assert!(formatted(&long.replace("\"twenty", "b \"twenty")).lines().count() > 8, "long blocks are broken");
}

#[test]
fn files_are_laid_out_and_checked() {
    let workspace = with(&[("p.kdl", "pipeline   \"p\"\ninclude \"a.kdl\"\n"), ("a.kdl", "params{a 1}\n")]);
    let checked = workspace.retune(&["fmt", "--check", "p.kdl"]);
    assert!(checked.code == 2 && checked.stdout.contains("p.kdl: would be") && checked.stdout.contains("a.kdl: would be"), "{}", checked.stdout);
    assert_eq!(workspace.read("a.kdl"), "params{a 1}\n", "nothing was changed");
    assert_eq!(workspace.retune(&["fmt", "p.kdl"]).code, 0);
    assert_eq!((workspace.read("p.kdl").as_str(), workspace.read("a.kdl").as_str()), ("pipeline \"p\"\ninclude \"a.kdl\"\n", "params { a 1 }\n"));
    assert_eq!(workspace.retune(&["fmt", "--check", "p.kdl"]).code, 0);
    workspace.write("p.kdl", "pipeline \"p\n");
    let broken = workspace.retune(&["fmt", "p.kdl"]);
    assert!(broken.code == 2 && broken.stderr.contains("config::syntax"), "{}", broken.stderr);
    assert_eq!(workspace.read("p.kdl"), "pipeline \"p\n", "what is no KDL is left alone");
}

/// Some text between two things, and what of it must be there afterwards.
type Noise = (String, Vec<String>);

fn space() -> impl Strategy<Value = Noise> {
    prop_oneof![
        4 => Just((" ".to_owned(), Vec::new())),
        1 => Just(("   \t".to_owned(), Vec::new())),
        1 => "[a-z ]{0,6}".prop_map(|text| (format!(" /* {text} /* in */ */ "), vec![format!("/* {text} /* in */ */")])),
        1 => Just((" \\\n  ".to_owned(), Vec::new())),
        1 => "[a-z]{0,6}".prop_map(|text| (format!(" \\ // {text}\n "), vec![format!("// {text}").trim_end().to_owned()])),
    ]
}

fn end() -> impl Strategy<Value = Noise> {
    prop_oneof![
        4 => Just(("\n".to_owned(), Vec::new())),
        1 => Just((" ;".to_owned(), Vec::new())),
        1 => Just(("\r\n\n\n".to_owned(), Vec::new())),
        1 => "[a-z {}\"]{0,8}".prop_map(|text| (format!(" // {text}\n"), vec![format!("// {text}").trim_end().to_owned()])),
        1 => "[a-z ]{0,8}".prop_map(|text| (format!("\n  // {text}\n\n"), vec![format!("// {text}").trim_end().to_owned()])),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("#true".to_owned()),
        Just("#null".to_owned()),
        (-1000_i64..1000).prop_map(|number| number.to_string()),
        (-10.0_f64..10.0).prop_map(|number| format!("{number:.3}")),
        "[a-z][a-z0-9-]{0,6}",
        "[ -!#-\\[\\]-~äöü→🎉]{0,10}".prop_map(|text| format!("\"{text}\"")),
        "[ -!#-~ü]{0,8}".prop_map(|text| format!("#\"{text}\"#")),
        "[a-z {};/]{0,8}".prop_map(|text| format!("\"\"\"\n   {text}\n     more\n   \"\"\"")),
        Just("\"\\\" \\n \\u{e9}\"".to_owned()),
    ]
}

fn entry() -> impl Strategy<Value = String> {
    (proptest::option::of("[a-z][a-z-]{0,5}"), proptest::option::of("[a-z]{1,5}"), scalar(), any::<bool>()).prop_map(|(key, ty, value, dashed)| {
        let (key, ty) = (key.map_or_else(String::new, |key| format!("{key}=")), ty.map_or_else(String::new, |ty| format!("({ty})")));
        format!("{}{key}{ty}{value}", if dashed { "/-" } else { "" })
    })
}

/// Nodes as a text, with what must be there afterwards.
fn nodes() -> impl Strategy<Value = Noise> {
    let leaf = (any::<bool>(), "[a-z][a-z-]{0,7}", proptest::collection::vec((space(), entry()), 0..4));
    let node = leaf.prop_map(|(dashed, name, entries)| {
        let mut kept = Vec::new();
        let mut text = format!("{}{name}", if dashed { "/- " } else { "" });
        for ((noise, more), entry) in entries {
            kept.extend(more);
            text.push_str(&noise);
            text.push_str(&entry);
        }
        (text, kept)
    });
    let node = node.boxed();
    let several = |node: BoxedStrategy<Noise>| {
        proptest::collection::vec((node, end()), 0..5).prop_map(|nodes| {
            let (mut text, mut kept) = (String::new(), Vec::new());
            for ((node, inner), (end, more)) in nodes {
                text.push_str(&node);
                text.push_str(&end);
                kept.extend(inner);
                kept.extend(more);
            }
            (text, kept)
        })
    };
    let nested = node.clone().prop_recursive(3, 24, 4, move |inner| {
        (node.clone(), several(inner), any::<bool>()).prop_map(|((head, mut kept), (body, more), apart)| {
            kept.extend(more);
            (format!("{head} {{{}{body}}}", if apart { "\n" } else { " " }), kept)
        })
    });
    several(nested.boxed())
}

/// Each node with all that it means, slashdashed ones as they are written.
fn meaning(text: &str) -> Vec<String> {
    fn tell(document: &kdl::KdlDocument, depth: usize, out: &mut Vec<String>) {
        for node in document.nodes() {
            let entries = node.entries().iter().map(|entry| {
                let ty = entry.ty().map(|ty| ty.value().to_owned());
                (entry.name().map(|name| name.value().to_owned()), ty, entry.value().clone())
            });
            out.push(format!("{depth} {} {:?}", node.name().value(), entries.collect::<Vec<_>>()));
            if let Some(children) = node.children() {
                tell(children, depth + 1, out);
            }
        }
    }
    let document = kdl::KdlDocument::parse_v2(text).unwrap_or_else(|error| panic!("{text:?} is KDL: {error:?}"));
    let mut out = Vec::new();
    tell(&document, 0, &mut out);
    out
}

#[test]
fn a_slashdashed_node_may_end_by_a_semicolon() {
    for (text, names) in [
        ("pipeline \"q\"\nexec \"a\" { /-x 1; run \"true\"; output \"z\"; }\n", ["a"].as_slice()),
        ("pipeline \"q\"\n/-exec \"b\" { foo; }; exec \"a\" { run \"true\"; output \"z\"; }\n", &["a"]),
        ("pipeline \"q\"; /- // why\n exec \"b\" { run \"true\"; }; exec \"c\" { run \"true\" /-\"x\"; }; exec \"a\" { run \"true\"; }\n", &["c", "a"]),
    ] {
        let workspace = with(&[("p.kdl", text)]);
        assert_eq!(stages(&workspace, &[]), names, "{text}");
        assert_eq!(workspace.retune(&["fmt", "p.kdl"]).code, 0);
        assert_eq!(stages(&workspace, &[]), names, "{}", workspace.read("p.kdl"));
    }
}

/// What is left of a text without its spaces and what only separates.
fn signs(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().filter(|c| !c.is_whitespace() && *c != ';').collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn layout_changes_no_meaning_and_loses_nothing((text, comments) in nodes()) {
        prop_assume!(kdl::KdlDocument::parse_v2(&text).is_ok());
        let after = formatted(&text);
        prop_assert_eq!(meaning(&after), meaning(&text), "{}", text);
        for comment in comments {
            prop_assert!(after.contains(&comment), "{comment:?} of {text:?} is not in {after:?}");
        }
        // Slashdashed nodes and entries stay too: every sign does.
        prop_assert_eq!(signs(&after), signs(&text));
    }

    #[test]
    fn any_text_is_laid_out_or_refused(text in "[a-z{}()/*\\\\\"#;= \\n-]{0,40}") {
        if let Ok(after) = format(&text) {
            prop_assert_eq!(format(&after).expect("it is KDL"), after);
        }
    }
}
