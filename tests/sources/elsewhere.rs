//! Databases, buckets, the hub, stored completions, and commands.

use serde_json::json;

use super::server::{Server, reply};
use super::{collecting, rows};

#[test]
fn rows_of_a_database_by_a_query() {
    let workspace = collecting("\"sqlite:data/app.db\" {\n        query \"SELECT text, team, score FROM tickets WHERE open ORDER BY id\"\n    }");
    let place = workspace.write("data/app.db", "");
    let database = rusqlite::Connection::open(&place).expect("it opens");
    let fill = "CREATE TABLE tickets (id INTEGER PRIMARY KEY, text TEXT, team TEXT, score REAL, open INTEGER); CREATE TABLE other (x TEXT);
        INSERT INTO tickets VALUES (1, 'a', 'x', 0.5, 1), (2, 'b', 'y', NULL, 0), (3, 'ü\n2', 'z', 2, 1);";
    database.execute_batch(fill).expect("it is filled");
    assert_eq!(workspace.ran(&[]), ["rows", "chat"]);
    assert_eq!(rows(&workspace), [json!({ "text": "a", "team": "x", "score": 0.5 }), json!({ "text": "ü\n2", "team": "z", "score": 2.0 })]);
    assert!(workspace.ran(&[]).is_empty());
    database.execute_batch("INSERT INTO other VALUES ('y')").expect("it is filled");
    assert!(!workspace.ran(&[]).contains(&"chat".to_owned()), "what is not asked for makes nothing run");
    database.execute_batch("UPDATE tickets SET open = 1").expect("it is filled");
    assert_eq!(workspace.ran(&[]), ["rows", "chat"]);
    assert_eq!(rows(&workspace).len(), 3);
}

#[test]
fn a_query_that_is_wrong_is_told_so() {
    for (query, said) in [("SELECT nope FROM tickets", "no such column: nope"), ("DELETE FROM tickets", "readonly")] {
        let workspace = collecting(&format!("\"sqlite:app.db\" {{\n        query \"{query}\"\n    }}"));
        let database = rusqlite::Connection::open(workspace.path().join("app.db")).expect("it opens");
        database.execute_batch("CREATE TABLE tickets (text TEXT); INSERT INTO tickets VALUES ('a')").expect("it is filled");
        let done = workspace.retune(&["run", "p.kdl"]);
        assert!(done.code == 1 && done.stderr.contains(said), "{}", done.stderr);
    }
}

#[test]
fn a_cell_that_is_no_text_costs_its_row() {
    let workspace = collecting("\"sqlite:app.db\" {\n        query \"SELECT text, 'x' AS team FROM tickets ORDER BY id\"\n    }");
    let database = rusqlite::Connection::open(workspace.path().join("app.db")).expect("it opens");
    database.execute_batch("CREATE TABLE tickets (id INTEGER, text); INSERT INTO tickets VALUES (1, 'a'), (2, x'00ff'), (3, 'b')").expect("it is filled");
    workspace.run(&[], 0);
    assert_eq!(rows(&workspace).len(), 2);
    assert_eq!(workspace.retune(&["get", "rows", "p.kdl", "--to", "made"]).code, 0);
    let rejected = workspace.read("made/rejected");
    assert!(rejected.contains("`text` is no text: cast or encode it in the query") && rejected.contains("\"line\":2"), "{rejected}");
}

#[test]
fn what_a_command_prints_is_a_source() {
    let workspace =
        collecting("\"command:cat rows.txt; echo '{\\\"text\\\": \\\"b\\\", \\\"team\\\": \\\"y\\\"}'\" format=\"jsonl\" {\n        refresh \"always\"\n    }");
    workspace.write("rows.txt", "{\"text\": \"a\", \"team\": \"x\"}\n");
    workspace.run(&[], 0);
    assert_eq!(rows(&workspace).len(), 2);
    workspace.write("rows.txt", "{\"text\": \"c\", \"team\": \"x\"}\n");
    assert!(workspace.ran(&[]).contains(&"chat".to_owned()));
    let failing = collecting("\"command:echo oh no >&2; exit 3\" format=\"jsonl\"");
    let done = failing.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("oh no"), "{}", done.stderr);
}

#[test]
fn a_dataset_of_the_hub_with_its_parquet_files() {
    let parquet = table();
    let server = Server::new(move |asked, _| {
        match asked.path.as_str() {
        "/api/datasets/acme/tickets/revision/v2" => reply(
            json!({ "sha": "c0ffee", "siblings": [{ "rfilename": "README.md" }, { "rfilename": "dataset_infos.json" }, { "rfilename": "data/train-0.parquet" }, { "rfilename": "more.jsonl" }] })
                .to_string(),
        ),
        "/datasets/acme/tickets/resolve/c0ffee/data/train-0.parquet" => reply(parquet.clone()),
        "/datasets/acme/tickets/resolve/c0ffee/more.jsonl" => reply("{\"text\": \"c\", \"team\": \"z\"}\n"),
        _ => reply("").status("404 Not Found"),
    }
    });
    let run = |source: &str| {
        let workspace = collecting(source);
        let done = workspace.command(&["run", "p.kdl"]).env("HF_ENDPOINT", server.url("")).output().expect("it starts");
        (workspace, done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (workspace, well, said) = run("\"hf://datasets/acme/tickets@v2\"");
    assert!(well, "{said}");
    assert_eq!(rows(&workspace), [json!({ "text": "a", "team": "x" }), json!({ "text": "b", "team": "y" }), json!({ "text": "c", "team": "z" })]);
    let (workspace, well, said) = run("\"hf://datasets/acme/tickets@v2/data/*.parquet\"");
    assert!(well, "{said}");
    assert_eq!(rows(&workspace).len(), 2);
    let (_, well, said) = run("\"hf://datasets/acme/nothing\"");
    assert!(!well && said.contains("404"), "{said}");
}

#[test]
fn a_hub_that_names_files_outside_of_the_folder_is_refused() {
    let server = Server::new(|asked, _| match asked.path.as_str() {
        path if path.starts_with("/api/") => reply(json!({ "sha": "c0ffee", "siblings": [{ "rfilename": "data/../../evil.jsonl" }] }).to_string()),
        _ => reply("{\"text\": \"c\", \"team\": \"z\"}\n"),
    });
    let workspace = collecting("\"hf://datasets/acme/tickets\"");
    let done = workspace.command(&["run", "p.kdl"]).env("HF_ENDPOINT", server.url("")).output().expect("it starts");
    assert!(String::from_utf8_lossy(&done.stderr).contains("can be none here"));
}

/// Two rows as Parquet.
fn table() -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    let schema =
        parquet::schema::parser::parse_message_type("message rows { REQUIRED BYTE_ARRAY text (UTF8); REQUIRED BYTE_ARRAY team (UTF8); }").expect("a schema");
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), WriterProperties::builder().build().into()).expect("it begins");
    let mut group = writer.next_row_group().expect("a group");
    for column in [["a", "b"], ["x", "y"]] {
        let mut values = group.next_column().expect("it can be written").expect("a column");
        values.typed::<ByteArrayType>().write_batch(&column.map(ByteArray::from), None, None).expect("it can be written");
        values.close().expect("it ends");
    }
    group.close().expect("it ends");
    writer.into_inner().expect("it ends")
}

#[test]
fn objects_of_a_bucket() {
    let server = Server::new(|asked, _| {
        let list = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>\
            <Contents><Key>data/a.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>14</Size></Contents>\
            <Contents><Key>data/b.txt</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"2\"</ETag><Size>5</Size></Contents></ListBucketResult>";
        match asked.path.split('?').next().unwrap_or_default() {
            "/logs/data/a.csv" => reply("text,team\na,x\n").header("etag", "\"1\"").header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            "/logs" => reply(list).header("content-type", "application/xml"),
            _ => reply("<Error><Code>NoSuchKey</Code></Error>").status("404 Not Found"),
        }
    });
    let run = |source: &str| {
        let workspace = collecting(source);
        let mut command = workspace.command(&["run", "p.kdl"]);
        command
            .env("AWS_ENDPOINT", server.url(""))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "hidden")
            .env("AWS_REGION", "here");
        let done = command.output().expect("it starts");
        (workspace, done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for source in ["\"s3://logs/data/*.csv\"", "\"s3://logs/data/a.csv\""] {
        let (workspace, code, said) = run(source);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(rows(&workspace), [json!({ "text": "a", "team": "x" })]);
    }
    let (_, code, said) = run("\"s3://logs/data/*.parquet\"");
    assert!(code == Some(1) && said.contains("there is nothing in `logs` by that name"), "{said}");
    let (_, code, said) = run("\"s3://logs\"");
    assert!(code == Some(2) && said.contains("names no object"), "{said}");
}

#[test]
fn completions_that_a_provider_keeps() {
    let server = Server::new(|asked, _| {
        let completion = |id: &str, team: &str| {
            json!({ "id": id, "object": "chat.completion", "created": 1, "model": "gpt-4.1-2025-04-14", "metadata": { "team": team, "rating": "up" },
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": format!("answer of {id}"), "refusal": null }, "finish_reason": "stop" }] })
        };
        if let Some(id) = asked.path.strip_prefix("/v1/chat/completions/").and_then(|path| path.split_once("/messages")).map(|(id, _)| id.to_owned()) {
            let messages = json!([{ "id": format!("{id}-0"), "role": "system", "content": "be kind" }, { "id": format!("{id}-1"), "role": "user", "content": null, "content_parts": [{ "type": "text", "text": format!("question of {id}") }] }]);
            return reply(json!({ "object": "list", "data": messages, "has_more": false }).to_string());
        }
        let page = if asked.path.contains("after=c1") {
            json!({ "data": [completion("c2", "fees"), completion("c3", "cards")], "has_more": false })
        } else {
            json!({ "data": [completion("c1", "cards")], "has_more": true })
        };
        reply(page.to_string())
    });
    let text = format!(
        "provider \"logs\" {{\n    api \"openai-compatible\"\n    base-url \"{}\"\n    key (env)\"LOGS_KEY\"\n}}\ncollect \"rows\" {{\n    source \"stored:logs\" {{\n        asked \"gpt-4.1\"\n        metadata \"team\" \"cards\"\n    }}\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    passthrough\n}}\n",
        server.url("/v1")
    );
    let workspace = crate::common::workspace(&text);
    let done = workspace.command(&["run", "p.kdl"]).env("LOGS_KEY", "k").output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows = rows(&workspace);
    assert_eq!(rows.len(), 2, "the filter holds although the server does not heed it");
    assert_eq!(rows[0]["messages"][1]["content"][0]["text"], "question of c1", "{}", rows[0]);
    assert_eq!(rows[0]["messages"][2], json!({ "role": "assistant", "content": "answer of c1" }));
    assert_eq!((&rows[1]["team"], &rows[1]["rating"]), (&json!("cards"), &json!("up")));
    let first = server.asked()[0].path.clone();
    assert!(first.contains("model=gpt-4.1") && first.contains("metadata%5Bteam%5D=cards"), "{first}");
}

#[test]
fn what_makes_no_sense_of_a_source_is_said_where_it_stands() {
    for (source, said) in [
        ("\"ftp://host/x.csv\"", "sources begin with http, https"),
        ("\"htps://host/x.csv\"", "did you mean `https:`?"),
        ("\"sqlite:a.db\"", "query"),
        ("\"https://host/x.csv\" {\n        query \"SELECT 1\"\n    }", "says nothing to a source `https:`"),
        ("\"data.csv\" {\n        refresh \"always\"\n    }", "says nothing to a file of the workspace"),
        ("\"postgres://me:hidden@host/db\" {\n        query \"SELECT 1\"\n    }", "there is a password in the address"),
        ("\"command:true\"", "does not say what it prints"),
        ("\"stored:nobody\"", "there is no provider `nobody`"),
        ("\"hf://datasets/alone\"", "names no dataset"),
        ("\"https://host/x.csv\" {\n        refresh \"every\"\n    }", "does not say how often"),
        ("\"https://host/x.csv\" {\n        refresh \"always\" \"1h\"\n    }", "goes with a time"),
    ] {
        let done = collecting(source).retune(&["check", "p.kdl"]);
        assert_eq!(done.code, 2, "{source}: {}", done.stderr);
        let folded = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(folded.contains(said), "{source}: {}", done.stderr);
    }
}
