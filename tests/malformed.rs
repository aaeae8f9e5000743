//! Malformed and hostile input of every format: a row of it costs one row, a file of it an error that names it, and nothing more.

mod common;

use std::io::Write;

use common::{Done, Workspace};

/// Collects one file beside a good one.
fn collected(name: &str, content: &[u8]) -> (Workspace, Done) {
    let workspace = Workspace::new();
    workspace.write("good.jsonl", "{\"text\":\"good\"}\n");
    workspace.write(name, content);
    workspace.write("p.kdl", format!("pipeline \"p\"\ncollect \"rows\" {{\n    source \"good.jsonl\"\n    source \"{name}\"\n}}\n"));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(matches!(done.code, 0 | 1) && !done.stderr.contains("panicked"), "{name}: {} {}", done.code, done.stderr);
    (workspace, done)
}

/// The rows of a file that were taken, and those that were rejected.
fn counts(name: &str, content: &[u8]) -> (usize, usize) {
    let (workspace, done) = collected(name, content);
    assert_eq!(done.code, 0, "{name}: {}", done.stderr);
    assert_eq!(workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]).code, 0);
    let of = |output: &str| workspace.read(output).lines().filter(|line| line.contains(&format!("\"source\":\"{name}\""))).count();
    (of("out/rows"), of("out/rejected"))
}

fn refused(name: &str, content: &[u8], wanted: &str) {
    let (_, done) = collected(name, content);
    assert_eq!(done.code, 1, "{name}");
    let said = done.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(said.contains(name) && said.contains(wanted), "{wanted}: {said}");
}

#[test]
fn lines_of_ten_megabytes_are_lines() {
    let long = "x".repeat(10_000_000);
    assert_eq!(counts("a.jsonl", format!("{{\"text\":\"{long}\"}}\n{{\"text\":\"short\"}}\n").as_bytes()), (2, 0));
    assert_eq!(counts("b.jsonl", format!("{{\"text\":\"{long}\n{{\"text\":\"short\"}}\n").as_bytes()), (1, 1));
    assert_eq!(counts("a.csv", format!("text\n{long}\nshort\n").as_bytes()), (2, 0));
    assert_eq!(counts("a.json", format!("[{{\"text\":\"{long}\"}}]").as_bytes()), (1, 0));
    assert_eq!(counts("a.txt", long.as_bytes()), (1, 0));
}

#[test]
fn a_large_table_is_read_in_pieces_and_is_the_same() {
    const ROWS: usize = 40_000;
    let row = |n: usize| match n {
        20_000 => format!("\"left open {n},{n}\n"),
        n if n % 3 == 0 => format!("\"first of {n},\nsecond \"\"line\"\" of {n}\",{n}\n"),
        n => format!("{} {n},{n}\n", "words ".repeat(n % 40)),
    };
    let text = (0..ROWS).fold("text,n\n".to_owned(), |text, n| text + &row(n));
    assert!(text.len() > 3 << 20, "it is some pieces");
    let (workspace, done) = collected("large.csv", text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]).code, 0);
    let rows: Vec<serde_json::Value> = workspace
        .read("out/rows")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .filter(|row: &serde_json::Value| row["source"] == "large.csv")
        .collect();
    assert_eq!(rows.len(), ROWS - 1);
    let lines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    for found in &rows {
        let n: usize = found["fields"]["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
        let line = found["line"].as_u64().expect("a line") as usize;
        let begins = lines[line - 2];
        assert!(text[begins..].starts_with(&row(n)), "row {n} is in line {line}");
    }
    let rejected = workspace.read("out/rejected");
    assert!(rejected.lines().count() == 1 && rejected.contains("left open 20000"), "{rejected}");
    let list = format!("[{}]", (0..ROWS).map(|n| format!("{{\"n\":{n},\n\"text\":\"[,\\\"{{\"}}")).collect::<Vec<_>>().join(",\n"));
    assert_eq!(counts("large.json", list.as_bytes()), (ROWS, 0));
}

#[test]
fn what_is_nested_ten_thousand_deep_is_no_row() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(counts("a.jsonl", format!("{deep}\n{{\"a\":1}}\n").as_bytes()), (1, 1));
    let open = "{\"a\":".repeat(10_000);
    assert_eq!(counts("b.jsonl", format!("{open}\n{{\"a\":1}}\n").as_bytes()), (1, 1));
    assert_eq!(counts("a.json", format!("[{deep},{{\"a\":1}}]").as_bytes()), (1, 1));
    refused("open.json", open.as_bytes(), "expected a list of objects");
    for format in ["langfuse", "langsmith", "helicone", "otel"] {
        let workspace = Workspace::new();
        workspace.write("export.json", format!("[{deep}]"));
        workspace.write("p.kdl", format!("pipeline \"p\"\ncollect \"rows\" {{\n    source \"export.json\" format=\"{format}\"\n}}\n"));
        let done = workspace.retune(&["run", "p.kdl"]);
        assert!(done.code == 1 && !done.stderr.contains("panicked"), "{format}: {}", done.stderr);
    }
}

#[test]
fn what_is_no_utf_8_is_no_row() {
    assert_eq!(counts("a.jsonl", b"{\"text\":\"\xff\xfe\"}\n{\"text\":\"ok\"}\n"), (1, 1));
    assert_eq!(counts("a.csv", b"text,n\nok,1\n\xc3\x28,2\n"), (1, 1));
    assert_eq!(counts("a.txt", b"\xff\xfe\xfd"), (0, 1));
    refused("a.json", b"[{\"text\":\"\xff\"}]", "expected a list of objects");
    refused("b.csv", b"\xff,n\nok,1\n", "the header is not UTF-8");
}

#[test]
fn nul_bytes_are_no_text() {
    for name in ["a.jsonl", "a.csv", "a.json", "a.txt", "a.md"] {
        refused(name, b"a,b\0c\n1,2\n", "");
    }
    // As an escape it is a character like any other.
    assert_eq!(counts("b.jsonl", b"{\"text\":\"a\\u0000b\"}\n"), (1, 0));
}

#[test]
fn a_file_that_unpacks_to_far_more_than_it_is_is_no_data() {
    let line = "a".repeat(1 << 20);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..300 {
        packed.write_all(line.as_bytes()).expect("it goes to memory");
    }
    let bomb = packed.finish().expect("it goes to memory");
    assert!(bomb.len() < 1 << 20);
    refused("bomb.txt.gz", &bomb, "that is no data");
    refused("bomb.jsonl.gz", &bomb, "that is no data");
}

#[test]
fn files_that_are_cut_or_something_else_are_named() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all("{\"text\":\"row\"}\n".repeat(10_000).as_bytes()).expect("it goes to memory");
    let whole = packed.finish().expect("it goes to memory");
    assert_eq!(counts("whole.jsonl.gz", &whole), (10_000, 0));
    refused("cut.jsonl.gz", &whole[..whole.len() / 2], "");
    refused("other.jsonl.gz", b"{\"text\":\"not packed\"}\n", "");
    refused("other.jsonl.zst", b"{\"text\":\"not packed\"}\n", "");
    refused("other.parquet", b"PAR1 and nothing more PAR1", "");
    refused("empty.parquet", b"", "");
}
