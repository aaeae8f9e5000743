//! What must hold for operators of `prepare` whatever the rows.

mod common;

use std::collections::BTreeMap;

use common::Workspace;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use retune::data::near::{jaccard, shingles};
use retune::data::personal::Personal;
use serde_json::{Value, json};

/// Prepares rows with some operators, and gives the splits as lines.
fn prepared(rows: &[Value], operators: &str) -> [Vec<String>; 3] {
    let workspace = Workspace::new();
    workspace.write("rows.jsonl", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    let chat = "    chat {\n        user \"{{ text }}\"\n        assistant \"{{ answer }}\"\n    }\n";
    workspace.write(
        "p.kdl",
        format!("pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.jsonl\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n{chat}{operators}}}\n"),
    );
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "chat", "p.kdl", "--to", "out"]).code, 0);
    ["out/train", "out/validation", "out/test"].map(|part| workspace.read(part).lines().map(str::to_owned).collect())
}

fn row(text: &str, answer: &str) -> Value {
    json!({ "text": text, "answer": answer })
}

/// Text with personal data in it, written together in ways that nobody thought of.
fn dirty() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("anna@example.org".to_owned()),
        Just("+49 30 901820".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("DE89 3704 0044 0532 0130 00".to_owned()),
        Just("192.0.2.17".to_owned()),
        Just("219-09-9999".to_owned()),
        Just("sk-proj-abcdefghijklmnop1234".to_owned()),
        "[0-9 .+@:-]{0,12}",
        "[a-zé]{1,8}",
        Just(" ".to_owned()),
    ];
    prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
}

#[test]
fn what_is_redacted_holds_nothing_that_would_be() {
    let mut runner = TestRunner::new(Config { cases: 3, ..Config::default() });
    let rows = prop::collection::vec(dirty(), 150..200);
    let checked = runner.run(&rows, |texts| {
        let rows: Vec<Value> = texts.iter().map(|text| row(text, "fine")).collect();
        let kinds = Personal::NAMES.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ");
        let [train, ..] = prepared(&rows, &format!("    redact {kinds}\n    split train=1.0 validation=0.0 test=0.0\n"));
        prop_assert!(!train.is_empty());
        for line in &train {
            let example: Value = serde_json::from_str(line).expect("JSON");
            let text = example["messages"][0]["content"].as_str().expect("text");
            let found = Personal::find_all(&Personal::ALL, text);
            prop_assert!(found.is_empty(), "{text:?} holds {found:?}");
        }
        Ok(())
    });
    checked.expect("it holds");
}

/// Groups of texts, each with some words changed.
fn groups() -> impl Strategy<Value = Vec<Vec<String>>> {
    let word = || (0..900_u32).prop_map(|number| format!("w{number}"));
    let text = prop::collection::vec(word(), 30..60);
    let copies = prop::collection::vec((0..30_usize, word()), 0..4);
    let group = (text, copies).prop_map(|(words, changes)| {
        let changed = changes.into_iter().map(|(at, word)| {
            let mut copy = words.clone();
            copy[at] = word;
            copy.join(" ")
        });
        std::iter::once(words.join(" ")).chain(changed).collect()
    });
    prop::collection::vec(group, 20..30)
}

#[test]
fn nothing_that_is_nearly_the_same_stands_in_two_splits() {
    let mut runner = TestRunner::new(Config { cases: 3, ..Config::default() });
    let checked = runner.run(&groups(), |groups| {
        let rows: Vec<Value> = groups.iter().flatten().map(|text| row(text, "the same answer to all of them")).collect();
        let splits = prepared(&rows, "    split train=0.5 validation=0.25 test=0.25 near=0.7\n");
        let sets: Vec<(usize, Vec<u32>)> = splits
            .iter()
            .enumerate()
            .flat_map(|(split, lines)| lines.iter().map(move |line| (split, line)))
            .map(|(split, line)| {
                let example: Value = serde_json::from_str(line).expect("JSON");
                let said = |at: usize| example["messages"][at]["content"].as_str().unwrap_or_default().to_owned();
                (split, shingles(&format!("{}\n{}", said(0), said(1))))
            })
            .collect();
        // A pair is found with a probability of 98 % at least, and mostly by way of others too.
        let (mut pairs, mut apart) = (0, 0);
        for (at, (split, set)) in sets.iter().enumerate() {
            for (other, _) in sets[at + 1..].iter().filter(|(_, near)| jaccard(set, near) >= 0.7) {
                pairs += 1;
                apart += usize::from(split != other);
            }
        }
        prop_assert!(apart * 20 <= pairs, "of {pairs} pairs {apart} stand in two splits");
        Ok(())
    });
    checked.expect("it holds");
}

#[test]
fn rows_that_come_later_move_none_that_are_there() {
    let mut runner = TestRunner::new(Config { cases: 3, ..Config::default() });
    let texts = (prop::collection::btree_set("[a-m ]{3,20}", 40..60), prop::collection::vec("[n-z ]{3,20}", 20..40));
    let checked = runner.run(&texts, |(before, more)| {
        let split = "    deduplicate \"exact\"\n    split train=0.6 validation=0.2 test=0.2\n";
        let rows: Vec<Value> = before.iter().filter(|text| !text.trim().is_empty()).map(|text| row(text, "a")).collect();
        let later: Vec<Value> = more.iter().filter(|text| !text.trim().is_empty()).map(|text| row(text, "a")).chain(rows.clone()).collect();
        let place = |splits: [Vec<String>; 3]| -> BTreeMap<String, usize> {
            splits.into_iter().enumerate().flat_map(|(split, lines)| lines.into_iter().map(move |line| (line, split))).collect()
        };
        let (first, second) = (place(prepared(&rows, split)), place(prepared(&later, split)));
        for (line, split) in &first {
            prop_assert_eq!(second.get(line), Some(split), "{}", line);
        }
        Ok(())
    });
    checked.expect("it holds");
}

#[test]
fn every_operator_makes_the_same_with_any_number_of_threads() {
    let chat = "    chat {\n        user \"{{ text }}\"\n        assistant \"{{ answer }}\"\n    }\n";
    let before = [
        "filter \"n|int % 3 > 0\"",
        "map { field \"text\" \"{{ text }}!\"; without \"n\"; }",
        "normalize whitespace=#true",
        "redact \"email\"",
        "deduplicate \"exact\"",
        "deduplicate \"exact\" keep=\"longest\"",
        "deduplicate \"near\" threshold=0.8",
        "deduplicate \"near\" threshold=0.8 keep=\"best\" by=\"n\"",
        "language \"en\" field=\"text\"",
        "quality min-words=3 field=\"text\"",
        "balance by=\"answer\"",
        "sample share=0.5",
        "sample rows=1000",
        "mix 1",
    ];
    let after = [
        "decontaminate against=\"bench.jsonl\"",
        "limit tokens=24 overflow=\"truncate\"",
        "expect \"rows\" min=1",
        "split train=0.5 validation=0.0 test=0.5 stratify=\"answer\" near=0.9",
    ];
    let templates = [
        "completion { prompt \"{{ text }}\"; completion \"{{ answer }}\"; }",
        "preference { user \"{{ text }}\"; preferred \"{{ answer }}\"; other \"no\"; }",
        "reinforcement { user \"{{ text }}\"; field \"wanted\" \"{{ answer }}\"; }",
        "passthrough",
        "fix \"roles\"\n    passthrough",
    ];
    let before = before.iter().map(|operator| format!("    {operator}\n{chat}"));
    let after = after.iter().map(|operator| format!("{chat}    {operator}\n"));
    let all = before.chain(after).chain(templates.iter().map(|operator| format!("    {operator}\n")));
    let row = |n: u64| {
        let (text, answer) = (format!("number {}  writes from m{}@example.com that the card of {} is lost", n % 3500, n % 13, n % 90), format!("a{}", n % 3));
        let messages = json!([{ "role": "human", "content": text }, { "role": "gpt", "content": answer }]);
        json!({ "text": text, "answer": answer, "n": n, "messages": messages })
    };
    let rows: String = (0..5000).map(|n| format!("{}\n", row(n))).collect();
    for operators in all {
        let locks = ["1", "3"].map(|threads| {
            let workspace = Workspace::new();
            workspace.write(
                "rows.jsonl",
                if operators.starts_with("    passthrough") { rows.replace("human", "user").replace("gpt", "assistant") } else { rows.clone() },
            );
            workspace.write("bench.jsonl", format!("{}\n", row(7)));
            workspace.write(
                "p.kdl",
                format!("pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.jsonl\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n{operators}}}\n"),
            );
            let done = workspace.command(&["run", "p.kdl"]).env("RAYON_NUM_THREADS", threads).output().expect("it starts");
            assert!(done.status.success(), "{operators}: {}", String::from_utf8_lossy(&done.stderr));
            workspace.read("p.lock.kdl")
        });
        assert_eq!(locks[0], locks[1], "{operators}");
    }
}
