//! What `collect` reads, and how.

mod common;

use std::io::Write;

use common::Workspace;
use serde_json::Value;

/// A workspace that collects from one source, with what is declared of it.
fn workspace(source: &str, more: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("p.kdl", format!("pipeline \"p\"\ncollect \"rows\" {{\n    source {source}\n{more}}}\n"));
    workspace
}

fn rows(workspace: &Workspace) -> Vec<Value> {
    workspace.run(&[], 0);
    assert_eq!(workspace.retune(&["get", "rows", "p.kdl", "--to", "out"]).code, 0);
    workspace.read("out/rows").lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["fields"].clone()).collect()
}

fn said(workspace: &Workspace) -> String {
    workspace.retune(&["run", "p.kdl"]).stderr
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).expect("memory");
    packer.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn packed_files_are_read_as_what_is_in_them() {
    let table = b"text,team\r\na,b\r\n";
    let wanted = serde_json::json!([{ "text": "a", "team": "b" }]);
    for (name, bytes) in [("t.csv.gz", gzip(table)), ("t.csv.zst", zstd(table)), ("t.csv.gz", [gzip(b"text,team\n"), gzip(b"a,b\n")].concat())] {
        let workspace = workspace("\"t.csv*\"", "");
        workspace.write(name, bytes);
        assert_eq!(Value::from(rows(&workspace)), wanted, "{name}");
        assert!(workspace.ran(&[]).is_empty());
    }
    // What is cut off, what is none, and what would fill the memory.
    for (name, bytes, wanted) in [
        ("t.csv.gz", gzip(&table.repeat(1000))[..60].to_vec(), "cannot read t.csv.gz as a packed file"),
        ("t.csv.zst", b"text".to_vec(), "cannot read t.csv.zst as a packed file"),
        ("t.csv.gz", gzip(&vec![b'a'; 300 << 20]), "a line of it is longer than 64 MiB"),
        ("t.jsonl.gz", gzip(&vec![b'a'; 300 << 20]), "become more than"),
        ("t.bin.gz", gzip(table), "cannot tell the format"),
    ] {
        let workspace = workspace(&format!("\"{name}\""), "");
        workspace.write(name, bytes);
        let said = said(&workspace);
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn formats_delimiters_and_encodings_are_declared_where_files_do_not_say_them() {
    let workspace = workspace("\"data.txt\" format=\"csv\" delimiter=\";\" encoding=\"latin1\"", "");
    workspace.write("data.txt", b"text;team\n\"caf\xe9; now\";a\n");
    assert_eq!(rows(&workspace), [serde_json::json!({ "text": "caf\u{e9}; now", "team": "a" })]);
    let utf16: Vec<u8> = "text,team\nhello,a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    workspace.write("data.txt", [&[0xff, 0xfe], utf16.as_slice()].concat());
    workspace.write("p.kdl", workspace.read("p.kdl").replace(" delimiter=\";\" encoding=\"latin1\"", " encoding=\"utf-16le\""));
    assert_eq!(rows(&workspace), [serde_json::json!({ "text": "hello", "team": "a" })]);
    for (slot, wanted) in [("delimiter=\"ab\"", "one ASCII character"), ("encoding=\"martian\"", "the name of an encoding"), ("format=\"xls\"", "csv")] {
        workspace.write("p.kdl", format!("pipeline \"p\"\ncollect \"rows\" {{\n    source \"data.txt\" {slot}\n}}\n"));
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{}", done.stderr);
    }
}

#[test]
fn texts_of_a_folder_are_a_row_each() {
    let workspace = workspace("\"notes\"", "");
    workspace.write("notes/a.md", "# One\n\ntext\n");
    workspace.write("notes/deep/b.txt", "two\n");
    workspace.write("notes/empty.txt", "");
    assert_eq!(rows(&workspace), [serde_json::json!({ "text": "# One\n\ntext\n", "name": "a" }), serde_json::json!({ "text": "two\n", "name": "b" })]);
    assert!(workspace.read("out/rejected").contains("the file is empty"));
}

#[test]
fn fields_are_renamed_selected_and_typed() {
    let fields = "    fields {\n        field \"text\" from=\"body\" type=\"text\"\n        field \"score\" type=\"number\"\n        field \"good\" type=\"flag\" optional=#true\n        field \"tags\" type=\"json\" optional=#true\n    }\n";
    let workspace = workspace("\"t.jsonl\"", fields);
    let lines = [
        r#"{"body":"a","score":"1.5","good":"yes","tags":"[1]","extra":1}"#,
        r#"{"body":7,"score":2,"good":null}"#,
        r#"{"body":"c","score":"high"}"#,
        r#"{"score":1}"#,
        r#"{"body":"d","score":"NaN"}"#,
    ];
    workspace.write("t.jsonl", lines.join("\n"));
    let wanted = [serde_json::json!({ "text": "a", "score": 1.5, "good": true, "tags": [1] }), serde_json::json!({ "text": "7", "score": 2 })];
    assert_eq!(rows(&workspace), wanted);
    let rejected = workspace.read("out/rejected");
    assert!(rejected.contains("the field `score` is \\\"high\\\", and must be of type number"), "{rejected}");
    assert!(rejected.contains("the row has no field `body`") && rejected.contains("\"line\":5"), "{rejected}");
    workspace.write("p.kdl", workspace.read("p.kdl").replace("fields {", "fields others=\"keep\" {"));
    assert_eq!(rows(&workspace)[0]["extra"], 1);
}

#[test]
fn line_endings_count_for_packed_files_and_not_for_texts() {
    let workspace = workspace("\"t.csv\"", "");
    workspace.write("t.csv", "text,team\na,b\n");
    workspace.run(&[], 0);
    workspace.write("t.csv", "text,team\r\na,b\r\n");
    assert!(workspace.ran(&[]).is_empty());
    // One that stands alone is text, and so is one at the end of a part that is read at once.
    for text in [format!("text,team\n{}\r,b\n", "a".repeat((1 << 20) - 11)), "text,team\na,b\r".to_owned()] {
        workspace.write("t.csv", text);
        assert_eq!(workspace.ran(&[]), ["rows"]);
    }
}

#[test]
fn exports_of_what_a_product_logged_become_conversations() {
    let langfuse = r#"{"id":"o1","type":"GENERATION","traceId":"t1","model":"m","input":{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]},"output":{"role":"assistant","content":"a"},"metadata":{"channel":"mail"},"scores":[{"name":"helpful","value":1,"comment":"yes"}]}
{"id":"o2","type":"SPAN","input":null}
{"id":"o3","type":"GENERATION","input":null,"output":"x"}"#;
    let langsmith = r#"[{"id":"r1","run_type":"llm","inputs":{"messages":[[{"lc":1,"type":"constructor","id":["langchain","schema","messages","SystemMessage"],"kwargs":{"content":"s"}},{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{"content":"q"}}]]},"outputs":{"generations":[[{"text":"a","message":{"lc":1,"type":"constructor","id":["x","AIMessage"],"kwargs":{"content":"a"}}}]]},"extra":{"metadata":{"channel":"mail"}},"feedback_stats":{"helpful":{"n":2,"avg":1}}}]"#;
    let helicone = r#"{"request_id":"h1","request_body":{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"q"}]}]},"response_body":{"choices":[{"message":{"role":"assistant","content":"a"}}]},"properties":{"channel":"mail"},"scores":{"helpful":{"value":1}}}"#;
    let otel = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"t","spanId":"s1","attributes":[{"key":"gen_ai.request.model","value":{"stringValue":"m"}},{"key":"channel","value":{"stringValue":"mail"}},{"key":"gen_ai.system_instructions","value":{"stringValue":"[{\"type\":\"text\",\"content\":\"s\"}]"}},{"key":"gen_ai.input.messages","value":{"stringValue":"[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"q\"}]}]"}},{"key":"gen_ai.output.messages","value":{"stringValue":"[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"a\"}]}]"}}],"events":[{"name":"gen_ai.evaluation.result","attributes":[{"key":"gen_ai.evaluation.name","value":{"stringValue":"helpful"}},{"key":"gen_ai.evaluation.score.value","value":{"intValue":"1"}}]}]},{"spanId":"s2","attributes":[{"key":"http.method","value":{"stringValue":"GET"}}]}]}]}]}"#;
    for (format, text, rejected) in [("langfuse", langfuse, 1), ("langsmith", langsmith, 0), ("helicone", helicone, 0), ("otel", otel, 0)] {
        let workspace = workspace(&format!("\"export.json\" format=\"{format}\""), "");
        workspace.write("export.json", text);
        let rows = rows(&workspace);
        assert_eq!(rows.len(), 1, "{format}");
        let spoken = |role: &str, content: &str| serde_json::json!({ "role": role, "content": content });
        assert_eq!(rows[0]["messages"], serde_json::json!([spoken("system", "s"), spoken("user", "q"), spoken("assistant", "a")]), "{format}");
        assert_eq!((rows[0]["channel"].as_str(), rows[0]["feedback_helpful"].as_f64()), (Some("mail"), Some(1.0)), "{format}");
        assert_eq!(workspace.read("out/rejected").lines().count(), rejected, "{format}");
    }
}

/// The lines that were rejected, with their texts.
fn rejected(workspace: &Workspace) -> Vec<(u64, String)> {
    let told = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("it is JSON");
        (row["line"].as_u64().expect("a line"), row["text"].as_str().expect("a text").to_owned())
    };
    workspace.read("out/rejected").lines().map(told).collect()
}

#[test]
fn lines_of_an_export_are_those_of_the_file() {
    let workspace = workspace("\"export.jsonl\" format=\"langfuse\"", "");
    workspace.write("export.jsonl", "\n\n\n{broken\n\n{\"input\":\"q\",\"output\":\"a\"}\n{\"input\":null,\"output\":\"b\"}\n");
    assert_eq!(rows(&workspace).len(), 1);
    assert_eq!(rejected(&workspace), [(4, "{broken".to_owned()), (7, "{\"input\":null,\"output\":\"b\"}".to_owned())]);
}

#[test]
fn tools_and_images_of_what_was_logged_are_kept_and_other_spans_cost_none_of_their_neighbours() {
    let parts = |role: &str, parts: Value| serde_json::json!({ "role": role, "parts": parts });
    let input = serde_json::json!([
        parts("user", serde_json::json!([{ "type": "text", "content": "weather?" }])),
        parts("assistant", serde_json::json!([{ "type": "tool_call", "id": "c1", "name": "look", "arguments": { "at": "home" } }])),
        parts("user", serde_json::json!([{ "type": "tool_call_response", "id": "c1", "response": "rain" }, { "type": "text", "content": "and there?" }])),
    ]);
    let output = serde_json::json!([parts("assistant", serde_json::json!([{ "type": "text", "content": "It rains" }]))]);
    let spans = serde_json::json!([
        { "spanId": "s1", "attributes": { "gen_ai.input.messages": input, "gen_ai.output.messages": output } },
        { "spanId": "s2", "attributes": { "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e" } },
        { "spanId": "s3", "attributes": { "gen_ai.operation.name": "chat", "gen_ai.request.model": "m" } },
        { "spanId": "s4", "attributes": { "gen_ai.operation.name": "retrieval", "gen_ai.request.model": "m" } },
    ]);
    let otel = workspace("\"export.json\" format=\"otel\"", "");
    otel.write("export.json", serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string());
    let found = rows(&otel);
    assert_eq!(found.len(), 1);
    let messages = &found[0]["messages"];
    assert_eq!(messages[1]["tool_calls"][0]["function"], serde_json::json!({ "name": "look", "arguments": "{\"at\":\"home\"}" }), "{messages}");
    assert_eq!((&messages[2]["role"], &messages[2]["tool_call_id"], &messages[2]["content"]), (&"tool".into(), &"c1".into(), &"rain".into()), "{messages}");
    assert_eq!((&messages[3]["role"], &messages[3]["content"]), (&"user".into(), &"and there?".into()), "what is said beside it is the user's: {messages}");
    assert_eq!(otel.read("out/rejected").lines().count(), 1, "the span without content");
    let helicone = workspace("\"export.json\" format=\"helicone\"", "");
    let image = serde_json::json!([{ "type": "text", "text": "what?" }, { "type": "image_url", "image_url": { "url": "https://x/y.png" } }]);
    let request = serde_json::json!({ "messages": [{ "role": "user", "content": image }] });
    let response = serde_json::json!({ "choices": [{ "message": { "role": "assistant", "content": "a" } }] });
    helicone.write("export.json", serde_json::json!({ "request_id": "h", "request_body": request, "response_body": response }).to_string());
    assert_eq!(rows(&helicone)[0]["messages"][0]["content"], image);
}

#[test]
fn lines_of_a_table_are_those_of_the_file_and_quotes_must_close_where_they_end() {
    let workspace = workspace("\"t.csv\"", "");
    workspace.write("t.csv", "a,b\n1,2\n\n\n3\n4,5\n\n6,\"x\"y\"\n7,8\n");
    assert_eq!(rows(&workspace).len(), 3);
    assert_eq!(rejected(&workspace), [(5, "3".to_owned()), (8, "6,\"x\"y\"".to_owned())]);
    workspace.write("t.csv", "a,b\r1,2\r3\r4,\"5\r6\"\r7\r");
    assert_eq!(rows(&workspace).len(), 2, "of an old Mac");
    assert_eq!(rejected(&workspace), [(3, "3".to_owned()), (6, "7".to_owned())]);
}

#[test]
fn a_setting_that_nothing_reads_and_a_field_that_would_be_lost_are_said() {
    for (source, rest, wanted) in [
        ("\"rows.jsonl\" delimiter=\";\"", "", "a delimiter is for tables"),
        ("\"rows.csv\" largest=\"1MiB\"", "", "`largest` bounds what is fetched"),
        ("\"rows.csv\"", "    refresh \"always\"\n", "are looked at in every run"),
        ("\"rows.csv\"", "    fields {\n        field \"a\" from=\"b\"\n        field \"a\" from=\"c\"\n    }\n", "stands twice in `fields`"),
    ] {
        let workspace = workspace(source, rest);
        workspace.write("rows.csv", "a,b\n1,2\n");
        workspace.write("rows.jsonl", "{}\n");
        let done = workspace.retune(&["check", "p.kdl"]);
        assert!(done.code == 2 && done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
    }
    let workspace = workspace("\"rows.csv\"", "    fields others=\"keep\" {\n        field \"x\" from=\"a\"\n        field \"y\" from=\"a\"\n    }\n");
    workspace.write("rows.csv", "a,b\n1,2\n");
    assert_eq!(rows(&workspace), [serde_json::json!({ "x": "1", "y": "1", "b": "2" })]);
    workspace.write("rows.csv", "a,x\n1,2\n");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.stderr.contains("a field `x` of its own, which would be lost"), "{}", done.stderr);
}
