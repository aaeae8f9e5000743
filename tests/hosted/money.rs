//! What is said, and refused, before anything is spent.

use serde_json::Value;

use crate::common::{Workspace, colours, colours_workspace};
use crate::fake::{Server, second_evaluation};

fn plan(server: &Server, workspace: &Workspace) -> Value {
    let done = server.retune(workspace, &["plan", "p.kdl", "--profile", "openai", "--json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).expect("it prints JSON")
}

fn stage<'a>(plan: &'a Value, name: &str) -> &'a Value {
    plan["stages"].as_array().expect("stages").iter().find(|stage| stage["name"] == name).expect("it is there")
}

#[test]
fn a_plan_tells_tokens_money_and_what_retires() {
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().models = vec![("gpt-4.1-nano-2025-04-14", Some("2031-02-03"))];
    assert_eq!(server.run(&workspace).code, 0);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("epochs 2\n", "epochs 4\n"));
    let plan = plan(&server, &workspace);
    let model = stage(&plan, "model");
    let (tokens, usd) = (model["tokens"].as_f64().expect("tokens"), model["usd"].as_f64().expect("money"));
    assert!((usd - tokens * 1.5 / 1e6).abs() < 1e-9);
    // Each row: three messages, three tokens each and one for its role, their content, and three at the end.
    assert!((112.0 * 4.0 * 20.0..112.0 * 4.0 * 45.0).contains(&tokens), "{tokens}");
    let notes = model["notes"].to_string();
    assert!(notes.contains("is shut down on 2031-02-03"), "{notes}");
    assert!(notes.contains("5000 requests a minute and 200000 tokens a minute"), "{notes}");
    assert_eq!(server.run(&workspace).code, 0);
    let shown = server.retune(&workspace, &["show", "model", "p.kdl", "--profile", "openai", "--json"]).stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["metrics"]["trained-tokens"], 1234.0);
    assert_eq!(shown["metrics"]["estimated-tokens"], tokens, "the estimate is kept beside what it was");
    assert!(shown["metrics"]["usd"].as_f64().is_some_and(|usd| usd > 0.0));
}

#[test]
fn a_plan_tells_what_answers_would_cost() {
    let (server, workspace) = (Server::start(), colours_workspace());
    assert_eq!(server.run(&workspace).code, 0);
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    grader", "    generate max-tokens=50\n    grader"));
    let plan_now = plan(&server, &workspace);
    let usd = stage(&plan_now, "quality")["usd"].as_f64().expect("money");
    // Model and baseline, 50 tokens of each answer at $0.40 for a million, and the questions.
    let questions = server.world().questions as f64;
    assert!((questions * 50.0 * 0.4 / 1e6..questions * 150.0 * 0.4 / 1e6).contains(&usd), "{usd} for {questions}");
    workspace.write("prices.kdl", "price \"openai\" \"gpt-4.1-nano-2025-04-14\" training=1\n");
    let notes = stage(&plan(&server, &workspace), "quality")["notes"].to_string();
    assert!(notes.contains("cost at `openai` is not known"), "{notes}");
}

#[test]
fn a_plan_tells_what_hosting_would_cost() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let notes = |workspace: &Workspace| stage(&plan(&server, workspace), "model")["notes"].to_string();
    assert!(!notes(&workspace).contains("every hour"), "OpenAI bills no hours");
    workspace.write("prices.kdl", "price \"openai\" \"gpt-4.1-nano\" training=1.5 input=0.1 output=0.4 hour=1.7\n");
    let told = notes(&workspace);
    assert!(told.contains("`openai` bills about $1.70 for every hour that the model is held ready"), "{told}");
    let shown = server.retune(&workspace, &["plan", "p.kdl", "--profile", "openai"]).stdout;
    assert!(shown.contains("$1.70 for every hour"), "{shown}");
    // Azure bills them by its own list.
    let declared = "provider \"there\" {\n    api \"azure\"\n    base-url \"http://127.0.0.1:9/openai/v1\"\n}\n";
    std::fs::remove_file(workspace.path().join("prices.kdl")).expect("it is there");
    workspace.write("p.kdl", declared.to_owned() + &workspace.read("p.kdl").replace("provider \"openai\"", "provider \"there\""));
    assert!(notes(&workspace).contains("$1.70 for every hour"));
}

#[test]
fn what_answers_did_not_cost_may_be_spent_again() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("prices.kdl", "price \"openai\" \"gpt-4.1-nano-2025-04-14\" training=0 input=0 output=1000000\n");
    // At most 10 tokens an answer are expected and 2 come. Both evaluations together are over the budget, were the rest not put back.
    let text = workspace.read("p.kdl").replace("    baseline (param)\"base\"\n", "").replace("    grader", "    generate max-tokens=10\n    grader");
    let questions = {
        workspace.write("p.kdl", &text);
        assert_eq!(server.run(&workspace).code, 0);
        server.world().questions
    };
    let run = |budget: usize| {
        let fresh = colours_workspace();
        fresh.write("prices.kdl", workspace.read("prices.kdl"));
        fresh.write("p.kdl", format!("budget usd={budget}.0\n{text}"));
        second_evaluation(&fresh, "max-tokens=10", "max-tokens=9");
        server.retune(&fresh, &["run", "p.kdl", "--profile", "openai", "--jobs", "1"]).code
    };
    assert_eq!(run(questions * 9), 5, "one alone is over that");
    assert_eq!(run(questions * 12), 0, "2 are spent, 10 are left, and 10 are wanted at most");
}

#[test]
fn what_a_training_did_not_cost_may_be_spent_again() {
    let (server, workspace) = (Server::start(), Workspace::new());
    // A token costs a dollar: about 3,000 are expected of each, and the fake bills 1,234.
    workspace.write("prices.kdl", "price \"openai\" \"gpt-4.1-nano-2025-04-14\" training=1000000 input=0 output=0\n");
    let row = |n: usize, mark: &str| {
        format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{mark}{n} {}\"}},{{\"role\":\"assistant\",\"content\":\"a\"}}]}}\n", "w ".repeat(40))
    };
    let train = |name: &str| {
        workspace.write(&format!("{name}.jsonl"), (0..50).map(|n| row(n, name)).collect::<String>());
        format!(
            "train \"{name}\" {{\n    examples \"{name}.jsonl\"\n    provider \"openai\"\n    model \"gpt-4.1-nano-2025-04-14\"\n    method \"supervised\" {{\n        epochs 1\n    }}\n}}\n"
        )
    };
    workspace.write("p.kdl", format!("pipeline \"p\"\nbudget usd=4500.0\n{}{}", train("one"), train("two")));
    let done = server.retune(&workspace, &["run", "p.kdl", "--jobs", "1"]);
    assert_eq!((done.code, server.billed()), (0, 2), "{}", done.stderr);
    assert!(done.stderr.contains("1234 tokens were billed, and "), "{}", done.stderr);
    // Were less than that, the second would be over it even so.
    let (server, fresh) = (Server::start(), Workspace::new());
    for file in ["prices.kdl", "one.jsonl", "two.jsonl"] {
        fresh.write(file, workspace.read(file));
    }
    fresh.write("p.kdl", workspace.read("p.kdl").replace("4500.0", "3900.0"));
    assert_eq!((server.retune(&fresh, &["run", "p.kdl", "--jobs", "1"]).code, server.billed()), (5, 1));
}

#[test]
fn a_file_that_does_not_go_in_one_request_is_refused_before_it_is_sent() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let declared = format!(
        "provider \"openai\" {{\n    api \"openai-compatible\"\n    base-url \"http://{}/v1\"\n    limits largest-request=\"2kB\"\n}}\npipeline \"colours\"",
        server.address
    );
    workspace.write("p.kdl", workspace.read("p.kdl").replacen("pipeline \"colours\"", &declared, 1));
    let done = server.run(&workspace);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("takes a file in one request only"), "{}", done.stderr);
    assert!(!server.world().log.iter().any(|what| what.starts_with("POST /files") || what.starts_with("POST /uploads")), "{:?}", server.world().log);
    assert_eq!(server.billed(), 0);
}

#[test]
fn rows_that_the_provider_would_refuse_are_named_before_they_are_sent() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let good = |n: usize| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"q{n}\"}},{{\"role\":\"assistant\",\"content\":\"a\"}}]}}\n");
    let rows: String = (0..20).map(good).collect();
    workspace.write("train.jsonl", rows.clone() + &good(20).replace("\"user\"", "\"human\""));
    let text = workspace.read("p.kdl").replacen("    data \"chat\"\n    provider", "    examples \"train.jsonl\"\n    provider", 1);
    workspace.write("p.kdl", text);
    let done = server.run(&workspace);
    assert_eq!(done.code, 1, "{}", done.stderr);
    for wanted in ["line 21", "messages[0].role", "found \"human\"", "fix \"roles\""] {
        assert!(done.stderr.replace("\n  │ ", " ").contains(wanted), "{wanted}: {}", done.stderr);
    }
    assert!(server.world().files.is_empty());
    let checked = server.retune(&workspace, &["check", "p.kdl", "--profile", "openai", "--data"]);
    assert_eq!(checked.code, 2, "{}", checked.stderr);
    assert!(checked.stdout.contains("line 21: messages[0].role: expected one of"), "{}", checked.stdout);
    workspace.write("train.jsonl", rows);
    let checked = server.retune(&workspace, &["check", "p.kdl", "--profile", "openai", "--data"]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.stdout.contains("20 rows") && checked.stdout.contains("nothing wrong"), "{}", checked.stdout);
}

#[test]
fn a_budget_stops_before_it_is_spent() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let text = workspace.read("p.kdl");
    workspace.write("p.kdl", format!("budget usd=0.000001\n{text}"));
    let done = server.run(&workspace);
    assert_eq!(done.code, 5, "{}", done.stderr);
    assert!(done.stderr.contains("provider::over_budget"), "{}", done.stderr);
    assert_eq!(server.billed(), 0);
    assert!(!server.world().log.iter().any(|what| what.starts_with("POST")), "nothing is uploaded either");
    workspace.write("p.kdl", format!("budget usd=20\n{text}"));
    assert_eq!(server.run(&workspace).code, 0);
    // What nobody knows the price of is over any budget, until somebody tells it.
    workspace.write("p.kdl", format!("budget usd=20\n{}", text.replace("gpt-4.1-nano-2025-04-14", "house-model")));
    assert_eq!(server.run(&workspace).code, 5);
    workspace.write("prices.kdl", "price \"openai\" \"house-model\" training=1 input=0.1 output=0.1\n");
    assert_eq!(server.run(&workspace).code, 0);
}

#[test]
fn what_cannot_go_well_is_refused_before_it_is_uploaded() {
    let refused = |workspace: &Workspace, server: &Server, wanted: &str| {
        let done = server.run(workspace);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains(wanted), "{wanted}: {}", done.stderr);
        assert!(server.world().files.is_empty());
    };
    let (server, workspace) = (Server::start(), colours_workspace());
    server.world().models = vec![("gpt-4.1-nano-2025-04-14", Some("2020-01-01"))];
    refused(&workspace, &server, "`gpt-4.1-nano-2025-04-14` is shut down on 2020-01-01");
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("data/rows.csv", colours(12));
    refused(&workspace, &server, "at least 10 training examples");
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    seed 3\n", "    seed 3\n    moderate\n"));
    refused(&workspace, &server, "provider::flagged");
    // In parts of a content, in what tools are called with, late in the file, in the validation; and an empty row is nothing to ask of.
    let row = |n: usize, text: &str| {
        format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"q{n}\"}}]}},{{\"role\":\"assistant\",\"content\":\"{text}\"}}]}}\n"
        )
    };
    let harmless: String = (0..70).map(|n| row(n, "a")).collect();
    let last = |bad: String| harmless.clone() + &bad;
    let parts = last(row(70, "a").replace("q70", "number 33 x"));
    let tools = last(row(70, "a").replace(
        "\"content\":\"a\"",
        "\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"q\\\":\\\"number 33 x\\\"}\"}}]",
    ));
    for (train, valid) in [(&parts, String::new()), (&tools, String::new()), (&harmless, row(99, "number 33 x"))] {
        let (server, workspace) = (Server::start(), colours_workspace());
        workspace.write("train.jsonl", train);
        workspace.write("valid.jsonl", &valid);
        let text = workspace.read("p.kdl").replace("    seed 3\n", "    seed 3\n    moderate\n");
        let text = text.replacen("    data \"chat\"\n    provider", "    examples \"train.jsonl\"\n    validation \"valid.jsonl\"\n    provider", 1);
        workspace.write("p.kdl", text);
        refused(&workspace, &server, "provider::flagged");
    }
    // Rows that stand in both files.
    let (server, workspace) = (Server::start(), colours_workspace());
    let row = |n: usize| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"q{n}\"}},{{\"role\":\"assistant\",\"content\":\"a{n}\"}}]}}\n");
    workspace.write("train.jsonl", (0..20).map(row).collect::<String>());
    // Whatever the order of their fields.
    workspace.write("valid.jsonl", row(3).replace("{\"role\":\"user\",\"content\":\"q3\"}", "{\"content\":\"q3\",\"role\":\"user\"}") + &row(77));
    workspace.write(
        "p.kdl",
        workspace.read("p.kdl").replacen("    data \"chat\"\n    provider", "    examples \"train.jsonl\"\n    validation \"valid.jsonl\"\n    provider", 1),
    );
    refused(&workspace, &server, "provider::leaked");
    workspace.write("valid.jsonl", row(77));
    assert_eq!(server.run(&workspace).code, 0);
}

#[test]
fn doctor_tells_what_retires_and_who_could_take_it() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let other = format!("provider \"house\" {{\n    api \"openai-compatible\"\n    base-url \"http://{}/v1\"\n}}\n", server.address);
    workspace.write("p.kdl", other + &workspace.read("p.kdl"));
    assert_eq!(server.run(&workspace).code, 0);
    server.world().models = vec![("gpt-4.1-nano-2025-04-14", Some("2031-02-03")), ("ft:gpt-4.1-nano-2025-04-14:org::ftjob-1", None)];
    let done = server.retune(&workspace, &["doctor", "p.kdl", "--profile", "openai", "--lifecycle"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("2031-02-03 (its base)"), "{}", done.stdout);
    assert!(done.stdout.contains("house"), "{}", done.stdout);
    let done = server.retune(&workspace, &["doctor", "p.kdl", "--profile", "openai"]);
    assert!(done.stdout.contains("its key is set"), "{}", done.stdout);
    assert!(!done.stdout.contains(crate::fake::KEY));
}

#[test]
fn a_model_that_does_not_last_long_enough_is_not_deployed() {
    let (server, workspace) = (Server::start(), colours_workspace());
    workspace.write("p.kdl", workspace.read("p.kdl").replace("    alias \"colours\"\n", "    alias \"colours\"\n    outlives \"90d\"\n"));
    let day = |days: i32| retune::provider::today().saturating_add(jiff::Span::new().days(days)).to_string();
    let shuts = |days| server.world().models = vec![("gpt-4.1-nano-2025-04-14", Some(day(days).leak()))];
    shuts(80);
    let text = workspace.read("p.kdl").replace("    method \"supervised\"", "    allow-retiring\n    method \"supervised\"");
    workspace.write("p.kdl", &text);
    let done = server.run(&workspace);
    assert!(done.code == 1 && done.stderr.contains("shuts its base down on") && done.stderr.contains("for 90 days more"), "{}", done.stderr);
    assert!(!workspace.path().join("deployments").exists());
    shuts(95);
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1);
    assert!(workspace.read("deployments/colours.kdl").contains("current 1"));
}

#[test]
fn a_default_that_is_written_down_is_no_other_training() {
    let (server, workspace) = (Server::start(), colours_workspace());
    let text = workspace.read("p.kdl").replace("        batch-size 8\n", "").replace("    seed 3\n", "");
    workspace.write("p.kdl", &text);
    assert_eq!(server.run(&workspace).code, 0);
    for written in ["        batch-size \"auto\"\n", "        rate-multiplier \"auto\"\n        learning-rate \"auto\"\n"] {
        workspace.write("p.kdl", text.replace("        epochs (param)\"epochs\"\n", &format!("        epochs (param)\"epochs\"\n{written}")));
        assert!(server.run(&workspace).code == 0 || server.retune(&workspace, &["check", "p.kdl"]).code == 2);
    }
    workspace.write("p.kdl", text.replace("    method \"supervised\"", "    seed 0\n    method \"supervised\""));
    assert_eq!(server.run(&workspace).code, 0);
    assert_eq!(server.billed(), 1);
}

#[test]
fn a_job_of_an_earlier_run_and_an_attempt_that_failed_take_nothing_from_the_budget() {
    use std::process::Stdio;
    let train = |name: &str, data: &str| {
        format!(
            "train \"{name}\" {{\n    examples \"{data}\"\n    provider \"openai\"\n    model \"gpt-4.1-nano-2025-04-14\"\n    method \"supervised\" {{\n        epochs 1\n    }}\n    retry 2 delay=\"1ms\"\n}}\n"
        )
    };
    let rows = |count: usize, mark: &str| {
        (0..count)
            .map(|n| {
                format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{mark}{n} {}\"}},{{\"role\":\"assistant\",\"content\":\"a\"}}]}}\n", "w ".repeat(40))
            })
            .collect::<String>()
    };
    let (server, workspace) = (Server::start(), Workspace::new());
    // A token costs a dollar: the fake bills 1,234 of them for each job.
    workspace.write("prices.kdl", "price \"openai\" \"gpt-4.1-nano-2025-04-14\" training=1000000 input=0 output=0\n");
    workspace.write("one.jsonl", rows(30, "x"));
    workspace.write("two.jsonl", rows(40, "y"));
    workspace.write("p.kdl", format!("pipeline \"p\"\nbudget usd=2000.0\n{}", train("one", "one.jsonl")));
    server.world().life = vec!["running"];
    let mut child = server.command(&workspace, &["run", "p.kdl"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while server.world().jobs.is_empty() && child.try_wait().expect("it can be looked at").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    server.world().life.clear();
    // The followed job was spoken for by the run before; the new one is over what this one has.
    workspace.write("p.kdl", format!("pipeline \"p\"\nbudget usd=2000.0\n{}{}", train("one", "one.jsonl"), train("two", "two.jsonl")));
    let done = server.retune(&workspace, &["run", "p.kdl", "--jobs", "1"]);
    assert_eq!((done.code, server.billed()), (5, 1), "{}", done.stderr);
    // Uploads that fail for a while are no money spent.
    workspace.write("p.kdl", workspace.read("p.kdl").replace("2000.0", "3000.0"));
    server.world().faults = (0..7).map(|_| ("POST /files", crate::fake::Fault::Status(500))).collect();
    let done = server.retune(&workspace, &["run", "p.kdl", "--jobs", "1"]);
    assert_eq!((done.code, server.billed()), (0, 2), "{}", done.stderr);
}
