//! The operators of `prepare`, through the program.

mod common;

use common::Workspace;
use serde_json::Value;

/// A workspace with these rows and operators.
fn workspace(rows: &str, operators: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("rows.jsonl", rows);
    pipeline(&workspace, operators);
    workspace
}

fn pipeline(workspace: &Workspace, operators: &str) {
    workspace.write(
        "p.kdl",
        format!("pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.jsonl\"\n}}\nprepare \"out\" {{\n    from \"rows\"\n{operators}\n}}\n"),
    );
}

const CHAT: &str = "    chat {\n        user \"{{ text }}\"\n        assistant \"{{ answer }}\"\n    }\n";

/// Runs, and gives the lines of a split.
fn lines(workspace: &Workspace, split: &str) -> Vec<Value> {
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "out", "p.kdl", "--to", "made"]).code, 0);
    workspace.read(&format!("made/{split}")).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn report(workspace: &Workspace) -> Value {
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "out", "p.kdl", "--to", "made"]).code, 0);
    serde_json::from_str(&workspace.read("made/report")).expect("JSON")
}

fn asked(line: &Value) -> &str {
    line["messages"][0]["content"].as_str().expect("a text")
}

fn rows(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{}\n", serde_json::json!({ "text": text, "answer": "yes" }))).collect()
}

#[test]
fn filter_and_map_work_on_fields() {
    let text = (0..10).fold(String::new(), |text, n| text + &format!("{{\"text\":\"t{n}\",\"answer\":\"a\",\"score\":{n},\"secret\":\"s\"}}\n"));
    let operators = format!(
        "    filter \"score >= 7 and text != 't9'\"\n    map {{\n        field \"text\" \"{{{{ text|upper }}}}-{{{{ score }}}}\"\n        without \"secret\"\n    }}\n{CHAT}"
    );
    let workspace = workspace(&text, &operators);
    let made = lines(&workspace, "train");
    assert_eq!(made.iter().map(asked).collect::<Vec<_>>(), ["T7-7", "T8-8"]);
    let report = report(&workspace);
    assert_eq!(report["operators"][0]["dropped"], 8);
    assert_eq!((&report["rejected-share"], &report["duplicate-share"]), (&Value::from(0.0), &Value::from(0.0)), "what is filtered is neither");
    assert!(report["operators"][1]["changes"][0]["after"].as_str().is_some_and(|after| !after.contains("secret")));
    pipeline(&workspace, &format!("    filter \"scroe > 1\"\n{CHAT}    expect \"rejected-share\" max=0.5\n"));
    assert!(workspace.retune(&["run", "p.kdl"]).stderr.contains("expected `rejected-share` to be at most 0.5, found 1"));
    pipeline(&workspace, &format!("    filter \"score >\"\n{CHAT}"));
    assert_eq!(workspace.retune(&["check", "p.kdl"]).code, 2);
}

#[test]
fn each_form_of_examples_is_made_as_providers_take_it() {
    let row = "{\"text\":\"q\",\"answer\":\"good\",\"worse\":\"bad\",\"colour\":\"red\"}\n";
    for (operator, wanted) in [
        (
            "preference {\n        user \"{{ text }}\"\n        preferred \"{{ answer }}\"\n        other \"{{ worse }}\"\n    }",
            r#"{"input":{"messages":[{"role":"user","content":"q"}]},"preferred_output":[{"role":"assistant","content":"good"}],"non_preferred_output":[{"role":"assistant","content":"bad"}]}"#,
        ),
        (
            "reinforcement {\n        system \"s\"\n        user \"{{ text }}\"\n        field \"wanted\" \"{{ colour }}\"\n    }",
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}],"wanted":"red"}"#,
        ),
        ("completion {\n        prompt \"{{ text }}\"\n        completion \"{{ answer }}\"\n    }", r#"{"prompt":"q","completion":"good"}"#),
    ] {
        let made = lines(&workspace(row, &format!("    {operator}")), "train");
        assert_eq!(made, [serde_json::from_str::<Value>(wanted).expect("JSON")]);
    }
}

#[test]
fn a_method_learns_from_examples_of_its_form() {
    let workspace = workspace("{}\n", "    preference {\n        user \"q\"\n        preferred \"a\"\n        other \"b\"\n    }");
    let train = |method: &str| {
        let stage = format!(
            "train \"model\" {{\n    data \"out\"\n    provider \"openai\"\n    model \"gpt-4.1\"\n    method \"{method}\" {{\n        epochs 1\n    }}\n}}\n"
        );
        let text = workspace.read("p.kdl").split("train \"model\"").next().expect("a text").to_owned();
        workspace.write("p.kdl", text + &stage);
        workspace.retune(&["check", "p.kdl"])
    };
    assert_eq!(train("dpo").code, 0);
    let wrong = train("supervised");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("does not learn from what `out` makes"), "{}", wrong.stderr);
}

#[test]
fn ready_rows_pass_with_tools_weights_and_images_as_they_are() {
    let tools = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"x"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}],"weight":0},{"role":"tool","tool_call_id":"1","content":"7"},{"role":"assistant","content":"seven","weight":1}],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
    let plain = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
    let with_more = plain.replacen('{', "{\"customer\":7,", 1);
    let text = format!(
        "{tools}\n{with_more}\n{{\"messages\":[{{\"role\":\"user\",\"content\":\"a\"}}]}}\n{{\"messages\":[{{\"role\":\"cat\",\"content\":\"a\"}}]}}\n{{\"x\":1}}\n"
    );
    let workspace = workspace(&text, "    passthrough\n    limit tokens=100");
    let made = lines(&workspace, "train");
    assert_eq!(made, [tools, plain].map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    let rejected = workspace.read("made/rejected");
    for wanted in ["nothing to learn", "no list of messages", "has no `messages`"] {
        assert!(rejected.contains(wanted), "{wanted}: {rejected}");
    }
}

#[test]
fn personal_data_goes_and_is_the_same_within_a_row() {
    let text = "{\"text\":\"I am a@b.com, not c@d.org. Call +44 20 7946 0958\",\"answer\":\"write to A@B.com\"}\n{\"text\":\"hello\",\"answer\":\"yes\"}\n";
    let redact = |how: &str| format!("    redact \"email\" \"phone\"{how}\n{CHAT}");
    let workspace = workspace(text, &redact(""));
    let made = lines(&workspace, "train");
    assert_eq!(asked(&made[0]), "I am [EMAIL_1], not [EMAIL_2]. Call [PHONE_1]");
    assert_eq!(made[0]["messages"][1]["content"], "write to [EMAIL_1]");
    assert_eq!(report(&workspace)["redactions"], serde_json::json!({ "email": 3, "phone": 1 }));
    pipeline(&workspace, &redact(" how=\"drop\""));
    assert_eq!(lines(&workspace, "train").len(), 1);
    pipeline(&workspace, &redact(" how=\"hash\" key=(secret)\"HASH_KEY\""));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.stderr.contains("no key in the environment variable `HASH_KEY`"), "{}", done.stderr);
    let output = workspace.command(&["run", "p.kdl"]).env("HASH_KEY", "k").output().expect("it starts");
    assert!(output.status.success());
    assert_eq!(workspace.retune(&["get", "out", "p.kdl", "--to", "made"]).code, 0);
    let hashed = workspace.read("made/train");
    assert!(hashed.contains("[EMAIL_") && !hashed.contains("EMAIL_1]") && !hashed.contains("a@b"), "{hashed}");
    pipeline(&workspace, &redact(" how=\"hash\""));
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("can be guessed"));
}

#[test]
fn what_is_nearly_the_same_is_kept_once() {
    let long = "the quick brown fox jumps over the lazy dog and runs into the deep green forest where nobody has been for a very long time";
    let near = format!("{long} indeed");
    let texts = [long, "something else altogether that is not like the other text at all in any way", &near, &long.to_uppercase()];
    let workspace = workspace(&rows(&texts), &format!("    deduplicate \"near\" key=\"text\"\n{CHAT}"));
    assert_eq!(lines(&workspace, "train").iter().map(asked).collect::<Vec<_>>(), texts[..2]);
    assert!(workspace.read("made/rejected").contains("nearly the same as rows.jsonl:1"));
    pipeline(&workspace, &format!("    deduplicate \"near\" key=\"text\" keep=\"longest\"\n{CHAT}"));
    assert_eq!(lines(&workspace, "train").iter().map(asked).collect::<Vec<_>>(), [texts[1], &near]);
    for (wrong, said) in [("\"exact\" threshold=0.5", "no threshold"), ("\"near\" keep=\"best\"", "by what"), ("\"near\" by=\"x\"", "goes with")] {
        pipeline(&workspace, &format!("    deduplicate {wrong}\n{CHAT}"));
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(said), "{}", done.stderr);
    }
}

#[test]
fn the_best_of_the_same_is_kept() {
    let text = "{\"text\":\"q\",\"answer\":\"poor\",\"score\":1}\n{\"text\":\"q\",\"answer\":\"rich\",\"score\":\"9.5\"}\n{\"text\":\"r\",\"answer\":\"x\",\"score\":0}\n";
    let workspace = workspace(text, &format!("    deduplicate \"exact\" key=\"text\" keep=\"best\" by=\"score\"\n{CHAT}"));
    let made = lines(&workspace, "train");
    assert_eq!(made.iter().map(|line| line["messages"][1]["content"].as_str().expect("a text")).collect::<Vec<_>>(), ["rich", "x"]);
}

#[test]
fn what_stands_in_a_benchmark_is_found() {
    let question = "how many legs does a spider have when it sits on the wall of the old house at night";
    let texts = [question, "something new", "short one"];
    let operators = |how: &str| format!("{CHAT}    decontaminate against=\"bench/*.jsonl\" how=\"{how}\"\n    expect \"leaked\" max=5");
    let workspace = workspace(&rows(&texts), &operators("drop"));
    workspace.write("bench/a.jsonl", format!("{{\"question\":\"Tell me: {}\"}}\n{{\"messages\":[{{\"role\":\"user\",\"content\":\"Short ONE!\"}},{{\"role\":\"assistant\",\"content\":\"yes\"}}]}}\n", question.to_uppercase()));
    assert_eq!(lines(&workspace, "train").iter().map(asked).collect::<Vec<_>>(), ["something new"], "and `yes` alone is no leak");
    let rejected = workspace.read("made/rejected");
    assert!(rejected.contains("its prompt stands in bench/a.jsonl:1 (100 %)") && rejected.contains("bench/a.jsonl:2"), "{rejected}");
    pipeline(&workspace, &operators("warn"));
    assert_eq!(lines(&workspace, "train").len(), 3);
    assert!(report(&workspace)["operators"][1]["notes"][0].as_str().is_some_and(|note| note.contains("rows.jsonl:1")));
    pipeline(&workspace, &operators("fail"));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("2 examples stand in the data that they must not stand in"), "{}", done.stderr);
    // All that are found count, also those that there is no room for in the report.
    pipeline(&workspace, &operators("warn"));
    workspace.write("rows.jsonl", rows(&vec![question; 60]));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.stderr.contains("leaked") && done.stderr.contains("60"), "{}", done.stderr);
    workspace.write("rows.jsonl", rows(&texts));
    // Another benchmark is another result.
    pipeline(&workspace, &operators("drop"));
    workspace.write("bench/a.jsonl", "{\"question\":\"something new\"}\n");
    assert_eq!(lines(&workspace, "train").len(), 2);
}

#[test]
fn languages_and_quality_are_told_by_rules() {
    let english = "This is a rather long sentence in English, written so that it can be told from other languages.";
    let german = "Das ist ein ziemlich langer Satz auf Deutsch, damit man ihn von anderen Sprachen unterscheiden kann.";
    let noise = "# # # # ... 1 2 3 4 5";
    let workspace = workspace(
        &rows(&[english, german, noise]),
        &format!("    language \"en\" field=\"text\"\n    quality field=\"text\" alphabetic=0.5 symbols=0.2\n{CHAT}"),
    );
    assert_eq!(lines(&workspace, "train").iter().map(asked).collect::<Vec<_>>(), [english]);
    let rejected = workspace.read("made/rejected");
    assert!(rejected.contains("it is in German") && rejected.contains("`symbols` is 0.5, and 0.2 is the most"), "{rejected}");
    pipeline(&workspace, &format!("    quality field=\"text\" gopher=#true\n{CHAT}    expect \"rows\" min=1 then=\"warn\""));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.stderr.contains("warning: expected `rows` to be at least 1, found 0"), "{}", done.stderr);
    pipeline(&workspace, &format!("    language \"klingon\"\n{CHAT}"));
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("ISO 639"));
}

#[test]
fn long_questions_are_cut_and_answers_are_not() {
    let long = "word ".repeat(200);
    let workspace = workspace(&rows(&["short", long.trim()]), &format!("{CHAT}    limit tokens=40 of=\"gpt-4.1\" overflow=\"truncate\""));
    let made = lines(&workspace, "train");
    assert_eq!((made.len(), &made[1]["messages"][1]["content"]), (2, &Value::from("yes")));
    let kept = asked(&made[1]).split(' ').count();
    // Forty less three at the end, four for each of two messages, and one for the answer.
    assert_eq!(kept, 40 - 3 - 8 - 1);
    pipeline(&workspace, &format!("{CHAT}    limit tokens=40 of=\"my-model\""));
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("counted exactly for"));
}

#[test]
fn classes_are_balanced_and_samples_are_stable() {
    let class = |n: usize| if n.is_multiple_of(10) { "rare" } else { "common" };
    let text = |rows: usize| (0..rows).fold(String::new(), |text, n| text + &format!("{{\"text\":\"t{n}\",\"answer\":\"{}\"}}\n", class(n)));
    let workspace = workspace(&text(200), &format!("    balance by=\"answer\" ratio=2\n{CHAT}"));
    let labels = &report(&workspace)["splits"]["train"]["labels"];
    assert_eq!(labels, &serde_json::json!({ "common": 40, "rare": 20 }));
    pipeline(&workspace, &format!("    sample rows=50\n{CHAT}"));
    assert_eq!(lines(&workspace, "train").len(), 50);
    pipeline(&workspace, &format!("    sample share=0.3 seed=4\n{CHAT}"));
    let before = lines(&workspace, "train");
    assert!((30..90).contains(&before.len()), "{}", before.len());
    workspace.write("rows.jsonl", text(230));
    let after = lines(&workspace, "train");
    assert_eq!(after[..before.len()], before, "more rows change nothing of what was chosen");
}

#[test]
fn several_sources_are_mixed_by_weight() {
    let workspace = workspace(&(0..90).map(|n| format!("{{\"text\":\"a{n}\",\"answer\":\"a\"}}\n")).collect::<String>(), "");
    workspace.write("more.jsonl", (0..30).map(|n| format!("{{\"text\":\"b{n}\",\"answer\":\"b\"}}\n")).collect::<String>());
    let text = |weights: &str| {
        format!(
            "pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.jsonl\"\n}}\ncollect \"more\" {{\n    source \"more.jsonl\"\n}}\nprepare \"out\" {{\n    from \"rows\"\n    from \"more\"\n    mix {weights}\n{CHAT}}}\n"
        )
    };
    workspace.write("p.kdl", text("1 1"));
    assert_eq!(report(&workspace)["splits"]["train"]["labels"], serde_json::json!({ "a": 30, "b": 30 }));
    workspace.write("p.kdl", text("4 1"));
    assert_eq!(report(&workspace)["splits"]["train"]["labels"], serde_json::json!({ "a": 90, "b": 22 }));
    workspace.write("p.kdl", text("1"));
    assert!(workspace.retune(&["check", "p.kdl"]).stderr.contains("a weight for each `from`"));
}

#[test]
fn a_stratified_split_gives_every_class_its_share() {
    let text =
        (0..400).fold(String::new(), |text, n| text + &format!("{{\"text\":\"t{n}\",\"answer\":\"{}\"}}\n", if n % 20 == 0 { "rare" } else { "common" }));
    let workspace = workspace(&text, &format!("{CHAT}    split train=0.8 validation=0.1 test=0.1 stratify=\"answer\""));
    let report = report(&workspace);
    for (split, rare, common) in [("train", 16, 304), ("validation", 2, 38), ("test", 2, 38)] {
        assert_eq!(report["splits"][split]["labels"], serde_json::json!({ "common": common, "rare": rare }), "{split}");
    }
}

#[test]
fn what_is_nearly_the_same_never_straddles_a_split() {
    let base = |n: usize| (0..30).map(|at| format!("w{}", (n * 7919 + at * 104_729) % 997)).collect::<Vec<_>>();
    let mut text = String::new();
    for n in 0..200 {
        for copy in 0..3 {
            let mut words = base(n);
            words.push(format!("end{copy}"));
            text += &format!("{{\"text\":\"{}\",\"answer\":\"a\",\"group\":\"g{n}\"}}\n", words.join(" "));
        }
    }
    let workspace = workspace(&text, &format!("{CHAT}    split train=0.5 validation=0.25 test=0.25 near=0.7"));
    let mut place: std::collections::BTreeMap<String, &str> = std::collections::BTreeMap::new();
    for split in ["train", "validation", "test"] {
        let made = lines(&workspace, split);
        assert!(made.len() > 60, "{split}: {}", made.len());
        for line in &made {
            let key = asked(line).split(" end").next().expect("a text").to_owned();
            assert_eq!(*place.entry(key).or_insert(split), split, "{line}");
        }
    }
}

#[test]
fn slices_are_looked_at_and_lopsided_ones_are_said() {
    let row = |n: usize, channel: &str, answer: &str| format!("{{\"text\":\"t{n} {channel}\",\"answer\":\"{answer}\",\"channel\":\"{channel}\"}}\n");
    let mut text: String = (0..60).map(|n| row(n, "mail", if n % 2 == 0 { "a" } else { "b" })).collect();
    text += &(0..30).map(|n| row(n, "chat", "a")).collect::<String>();
    text += &(0..5).map(|n| row(n, "fax", "b")).collect::<String>();
    let workspace = workspace(
        &text,
        &format!("{CHAT}    slice by=\"channel\"\n    expect \"classes\" min=2 max=2\n    expect \"smallest-slice\" min=5\n    expect \"longest\" max=100"),
    );
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("the slice channel=\"fax\" has only 5 rows"), "{}", done.stderr);
    assert!(done.stderr.contains("in the slice channel=\"chat\" \"a\" makes up 100 %"), "{}", done.stderr);
    assert_eq!(report(&workspace)["splits"]["train"]["slices"]["channel"]["mail"], serde_json::json!({ "rows": 60, "labels": { "a": 30, "b": 30 } }));
}

#[test]
fn the_same_comes_out_whatever_the_number_of_threads() {
    let text: String = (0..9000).map(|n| format!("{{\"text\":\"row {} says x{}@y.com\",\"answer\":\"a{}\"}}\n", n % 7000, n % 13, n % 3)).collect();
    let operators = format!(
        "    redact \"email\"\n    deduplicate \"near\"\n    balance by=\"answer\"\n{CHAT}    split train=0.8 validation=0.1 test=0.1 near=0.9 stratify=\"answer\""
    );
    let made = |threads: &str| {
        let workspace = workspace(&text, &operators);
        let output = workspace.command(&["run", "p.kdl"]).env("RAYON_NUM_THREADS", threads).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        workspace.read("p.lock.kdl")
    };
    assert_eq!(made("1"), made("3"));
}

#[test]
fn a_row_is_followed_from_where_it_was_found_to_its_tokens() {
    let workspace = common::workspace(
        "collect \"rows\" {\n    source \"t.csv\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    normalize whitespace=#true\n    redact \"email\"\n    filter \"team != 'spam'\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"{{ team }}\"\n    }\n}\n",
    );
    workspace.write("t.csv", "text,team\nwrite   to me@example.com,fees\nbuy now,spam\n");
    let done = workspace.retune(&["inspect", "chat", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("`rows` is not up to date"), "{}", done.stderr);
    workspace.run(&[], 0);
    let done = workspace.retune(&["inspect", "chat", "p.kdl", "--row", "1"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    for wanted in [
        "as collected from t.csv:2",
        "write   to me@example.com",
        "after `normalize`",
        "after `redact`",
        "`filter` leaves it as it is",
        "after `chat`",
        "assistant: fees",
        "\"role\":\"assistant\"",
        "learnt: ",
    ] {
        assert!(done.stdout.contains(wanted), "{wanted}: {}", done.stdout);
    }
    assert!(done.stdout.rsplit("after `redact`").next().is_some_and(|rest| !rest.contains("me@example.com")), "{}", done.stdout);
    let done = workspace.retune(&["inspect", "chat", "p.kdl", "--row", "2"]);
    assert!(done.stdout.contains("`filter` takes it out") && done.stdout.contains("does not hold"), "{}", done.stdout);
    let done = workspace.retune(&["inspect", "chat", "p.kdl", "--row", "3"]);
    assert!(done.code == 1 && done.stderr.contains("there is no row 3: 2 rows go in"), "{}", done.stderr);
    assert_eq!(workspace.retune(&["inspect", "rows", "p.kdl"]).code, 2);
    let looks: Value = serde_json::from_str(&workspace.retune(&["inspect", "chat", "p.kdl", "--json"]).stdout).expect("JSON");
    assert!(looks.as_array().is_some_and(|looks| looks.len() > 5));
}

#[test]
fn tokens_are_counted_by_the_tokenizer_of_the_model_itself() {
    let workspace = common::workspace(
        "collect \"rows\" {\n    source \"t.csv\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"{{ team }}\"\n    }\n    limit tokens=11 tokenizer=\"tok.json\" overflow=\"drop\"\n}\n",
    );
    workspace.write("t.csv", "text,team\none two,x\none two three,x\n");
    let words = serde_json::json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "[UNK]": 0, "one": 1, "two": 2, "three": 3, "x": 4 }, "unk_token": "[UNK]" } });
    workspace.write("tok.json", words.to_string());
    let summary = workspace.run(&[], 0);
    assert_eq!(summary["stages"][1]["metrics"]["train"], 1.0, "{summary}");
    workspace.write("tok.json", "{}");
    assert!(common::failure(&workspace).contains("as a tokenizer"));
}

/// Rows of at least 4 MB, some with personal data; `changed` ones say something else.
fn many(rows: std::ops::Range<usize>, changed: &[usize]) -> String {
    let row = |n: usize| {
        let data = if n.is_multiple_of(7) { format!(" write to user{n}@example.org") } else { String::new() };
        let word = if changed.contains(&n) { "another" } else { "some" };
        format!("{{\"text\":\"{word} words {n} {}{data}\",\"team\":\"team {}\",\"n\":{n}}}\n", "that go on and on ".repeat(18), n % 3)
    };
    rows.map(row).collect()
}

const MANY: &str = "pipeline \"p\"\ncollect \"rows\" {\n    source \"rows.jsonl\"\n}\nprepare \"chat\" {\n    from \"rows\"\n    filter \"n % 11 != 0\"\n    redact \"email\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"{{ team }}\"\n    }\n    deduplicate \"exact\"\n    split train=0.8 validation=0.1 test=0.1\n}\n";

#[test]
fn rows_that_were_there_before_are_not_prepared_again_and_nobody_can_tell() {
    let workspace = Workspace::new();
    workspace.write("p.kdl", MANY);
    workspace.write("rows.jsonl", many(0..14_000, &[]));
    workspace.run(&[], 0);
    // Rows before, between and after those that were there, and one that is gone.
    let text = many(20_000..20_003, &[]) + &many(0..14_000, &[5_000]) + &many(14_000..14_050, &[]);
    let text = text.replacen(&many(9_000..9_001, &[]), "", 1);
    workspace.write("rows.jsonl", &text);
    let told = workspace.retune(&["run", "p.kdl"]).stderr;
    let (_, told) = told.split_once("chat: of ").unwrap_or_else(|| panic!("{told}"));
    let numbers: Vec<usize> = told.split_whitespace().filter_map(|word| word.parse().ok()).take(2).collect();
    assert!(numbers[0] >= 5 && numbers[1] <= 4, "{told}");
    let fresh = Workspace::new();
    fresh.write("p.kdl", MANY);
    fresh.write("rows.jsonl", &text);
    fresh.run(&[], 0);
    assert_eq!(workspace.read("p.lock.kdl"), fresh.read("p.lock.kdl"), "all outputs are the same, line numbers and samples too");
}

#[test]
fn any_number_of_threads_makes_the_same() {
    let locks: Vec<String> = ["1", "2", "5"]
        .into_iter()
        .map(|threads| {
            let workspace = Workspace::new();
            workspace.write(
                "p.kdl",
                MANY.replace(
                    "    deduplicate \"exact\"\n",
                    "    deduplicate \"near\" threshold=0.9\n    quality min-words=2\n    balance by=\"team\" ratio=2\n",
                ),
            );
            workspace.write("rows.jsonl", many(0..14_000, &[]) + "{broken\n");
            let mut command = workspace.command(&["run", "p.kdl"]);
            assert!(command.env("RAYON_NUM_THREADS", threads).output().expect("it starts").status.success());
            workspace.read("p.lock.kdl")
        })
        .collect();
    assert!(locks.iter().all(|lock| *lock == locks[0]), "{}", locks[1]);
}

#[test]
fn what_is_null_is_no_word() {
    let workspace = workspace("{\"text\":null,\"answer\":\"a\"}\n{\"text\":\"q\",\"answer\":\"b\"}\n", CHAT);
    let made = lines(&workspace, "train");
    assert_eq!(made.len(), 1, "{made:?}");
    let rejected = workspace.retune(&["inspect", "out", "p.kdl", "--row", "1"]);
    assert!((rejected.stdout + &rejected.stderr).contains("a field that is null"));
    let rendered = |template: &str| {
        let chat = CHAT.replace("{{ text }}", template);
        let workspace = self::workspace("{\"text\":null,\"answer\":\"a\"}\n{\"text\":\"none of them\",\"answer\":\"b\"}\n", &chat);
        lines(&workspace, "train").len()
    };
    for (template, rows) in
        [("{{ text|trim }}", 1), ("{{ 'a: ' ~ text }}", 1), ("{{ text|upper }}", 1), ("{{ text or 'none' }}", 2), ("{{ 'x' if text is none else text }}", 2)]
    {
        assert_eq!(rendered(template), rows, "{template}");
    }
}

#[test]
fn a_template_without_an_end_costs_one_row() {
    let endless = CHAT
        .replace("{{ text }}", "{% if text == 'loop' %}{% for x in range(100000) %}{% for y in range(100000) %}x{% endfor %}{% endfor %}{% endif %}{{ text }}");
    let workspace = workspace(&rows(&["loop", "plain"]), &endless);
    assert_eq!(lines(&workspace, "train").len(), 1);
}

#[test]
fn an_empty_preparation_is_an_error_that_says_who_took_the_rows() {
    let workspace = workspace(&rows(&["one", "two"]), &format!("    filter \"text == 'three'\"\n{CHAT}"));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("no example is left of 2 rows") && done.stderr.contains("`filter` took 2 of them"), "{}", done.stderr);
}

#[test]
fn texts_without_a_word_are_duplicates_of_their_equals_only() {
    let workspace = workspace(
        &rows(&["?", "!", "?", "", "one two three four five six", "one two three four five six"]),
        &format!("    deduplicate \"near\" key=\"text\"\n    map {{\n        field \"text\" \"x{{{{ text }}}}\"\n    }}\n{CHAT}"),
    );
    assert_eq!(lines(&workspace, "train").len(), 4);
}

#[test]
fn a_slice_that_no_row_has_is_said_and_a_row_without_a_class_is_rejected() {
    let text = "{\"text\":\"q\",\"answer\":\"a\"}\n{\"text\":\"r\",\"answer\":\"b\"}\n{\"text\":\"s\",\"answer\":\"b\"}\n{\"text\":\"t\"}\n{\"text\":\"u\",\"answer\":\" \"}\n\
                {\"text\":\"v\",\"answer\":null}\n";
    let workspace = workspace(text, &format!("    balance by=\"answer\" ratio=2\n{CHAT}    slice by=\"chanel\"\n"));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 0 && done.stderr.contains("the field `chanel`, and no row has it"), "{}", done.stderr);
    assert_eq!(lines(&workspace, "train").len(), 3, "{}", done.stderr);
}

#[test]
fn a_row_is_judged_among_all_others_and_shown_as_any_model_has_it() {
    let operators = format!("    deduplicate \"exact\" key=\"text\"\n{CHAT}");
    let text = "{\"text\":\"same\",\"answer\":\"much longer\"}\n{\"text\":\"other\",\"answer\":\"b\"}\n{\"text\":\"same\",\"answer\":\"a\"}\n";
    let workspace = workspace(text, &operators);
    workspace.run(&[], 0);
    let looked = |row: &str, more: &[&str]| workspace.retune(&[&["inspect", "out", "p.kdl", "--row", row], more].concat());
    let third = looked("3", &[]);
    assert!(third.stdout.contains("`deduplicate` takes it out") && third.stdout.contains("rows.jsonl:1"), "{}", third.stdout);
    let first = looked("1", &["--model", "gpt-4.1"]);
    assert!(first.stdout.contains("`deduplicate` leaves it as it is") && first.stdout.contains("from rows.jsonl:1\n"), "{}", first.stdout);
    assert!(first.stdout.contains("as tokens of `gpt-4.1`") && first.stdout.contains("<assistant>|[much]|[ longer]|[<end>]"), "{}", first.stdout);
    let unknown = looked("3", &["--model", "gqt"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("tokens are known for"), "{}", unknown.stderr);
}

#[test]
fn what_is_not_learnt_and_the_worse_answer_are_shown() {
    let turns = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"no","weight":0},{"role":"user","content":"r"},{"role":"assistant","content":"yes","weight":1}]}"#;
    let workspace = workspace(&format!("{turns}\n"), "    passthrough\n");
    workspace.run(&[], 0);
    let looked = workspace.retune(&["inspect", "out", "p.kdl", "--model", "gpt-4.1"]);
    assert!(looked.stdout.contains("<assistant>|no|<end>|") && looked.stdout.contains("<assistant>|[yes]|[<end>]"), "{}", looked.stdout);
    pipeline(&workspace, "    preference {\n        user \"{{ text }}\"\n        preferred \"{{ answer }}\"\n        other \"no\"\n    }\n");
    workspace.write("rows.jsonl", rows(&["q"]));
    workspace.run(&[], 0);
    let looked = workspace.retune(&["inspect", "out", "p.kdl"]);
    assert!(looked.stdout.contains("assistant: yes") && looked.stdout.contains("assistant, worse: no"), "{}", looked.stdout);
}

#[test]
fn operators_that_do_nothing_are_errors() {
    for (operators, wanted) in [
        (format!("    map\n{CHAT}"), "`map` needs a `field` inside"),
        (format!("    quality field=\"text\"\n{CHAT}"), "`quality` needs a rule"),
        (format!("    from \"rows\"\n{CHAT}"), "stands twice in `prepare`"),
    ] {
        let workspace = workspace(&rows(&["q"]), &operators);
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
    let workspace = workspace(&rows(&["q"]), &format!("{CHAT}    decontaminate against=\"bench.jsonl\"\n"));
    workspace.write("bench.jsonl", "\n");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("there is no row in `bench.jsonl`"), "{}", done.stderr);
    let misspelt = self::workspace(&rows(&["q"]), &CHAT.replace("{{ answer }}", "{{ anwser }}"));
    let done = misspelt.retune(&["run", "p.kdl"]);
    assert!(done.stderr.contains("`anwser`"), "{}", done.stderr);
}

#[test]
fn many_thin_slices_are_one_warning() {
    let rows: String = (0..60).map(|row| format!("row {row},a,{}\n", row / 2)).collect();
    let workspace = Workspace::new();
    workspace.write("rows.csv", format!("text,label,group\n{rows}"));
    workspace.write(
        "p.kdl",
        "pipeline \"p\"\ncollect \"r\" {\n    source \"rows.csv\"\n}\nprepare \"c\" {\n    from \"r\"\n    chat {\n        user \"{{ text }}\"\n        assistant \"{{ label }}\"\n    }\n    slice by=\"group\"\n}\n",
    );
    let done = workspace.retune(&["run", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stderr.matches("slice").count(), 1, "{}", done.stderr);
    assert!(done.said().contains("of 30 slices by `group`, 30 have fewer than 20 rows"), "{}", done.stderr);
}
