use serde_json::Value;

use super::Importer;
use super::draft::{Draft, name, number, quoted};
use super::reading::Reading;

pub const IMPORTER: Importer = Importer { name: "a config of promptfoo", fits, write };

fn fits(config: &Value) -> bool {
    config["prompts"].is_array() && !config["providers"].is_null()
}

fn write(config: &Reading, draft: &mut Draft) {
    if let Some(about) = config.text("/description") {
        draft.comment(about);
    }
    let prompts: Vec<String> = texts(config, "/prompts");
    let providers: Vec<String> = texts(config, "/providers");
    draft.raw("");
    draft.open("collect", &["cases"], |draft| {
        draft.comment("the `vars` of each test as one line of JSON, what is wanted as `expected`:");
        for nth in 0..config.length("/tests") {
            if let Some(vars) = config.take(&format!("/tests/{nth}/vars")) {
                draft.comment(&format!("  {vars}"));
            }
        }
        let file = config.text("/tests").filter(|file| !file.contains("://")).map(|file| file.trim_start_matches("file://").to_owned());
        draft.node("source", &[file.as_deref().unwrap_or("data/cases.jsonl")]);
    });
    draft.open("prepare", &["questions"], |draft| {
        draft.node("from", &["cases"]);
        draft.open("chat", &[], |draft| {
            draft.node("user", &[prompts.first().map_or("{{ question }}", String::as_str)]);
            draft.node("assistant", &["{{ expected }}"]);
        });
        draft.raw("split train=0.0 validation=0.0 test=1.0");
    });
    prompts.iter().skip(1).for_each(|prompt| draft.comment(&format!("another prompt, for a prepare stage of its own: {}", prompt.replace('\n', " "))));
    let asserts = asserts(config);
    for provider in if providers.is_empty() { vec!["openai:gpt-4.1-mini".to_owned()] } else { providers } {
        let (kind, model) = provider.split_once(':').unwrap_or(("openai", &provider));
        let model = model.trim_start_matches("chat:");
        draft.open("evaluate", &[&name(&format!("quality-{model}"))], |draft| {
            draft.node("model", &[if kind == "openai" { model } else { "builtin:tiny" }]);
            if kind == "openai" {
                draft.node("provider", &["openai"]);
            } else {
                draft.comment(&format!("it was `{provider}`: declare a provider that speaks OpenAI's protocol, and name its model"));
            }
            draft.node("data", &["questions"]);
            asserts.iter().enumerate().for_each(|(nth, one)| grader(one, nth, draft));
            if asserts.is_empty() {
                draft.node("grader", &["contains"]);
            }
        });
    }
}

/// Texts, or objects by `id` or `raw`.
fn texts(config: &Reading, pointer: &str) -> Vec<String> {
    (0..config.length(pointer))
        .filter_map(|nth| {
            let place = format!("{pointer}/{nth}");
            let found = config.text(&place).or_else(|| config.text(&format!("{place}/raw"))).or_else(|| config.text(&format!("{place}/id")));
            found.map(str::to_owned)
        })
        .collect()
}

/// What is asserted of all tests, and of single ones: each once.
fn asserts(config: &Reading) -> Vec<Value> {
    let of_tests = (0..config.length("/tests")).map(|nth| format!("/tests/{nth}/assert"));
    let mut all: Vec<Value> = Vec::new();
    for place in ["/defaultTest/assert".to_owned()].into_iter().chain(of_tests) {
        let found = config.take(&place).and_then(Value::as_array).cloned().unwrap_or_default();
        for one in found {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

fn grader(assert: &Value, nth: usize, draft: &mut Draft) {
    let written = assert["type"].as_str().unwrap_or_default();
    let (negated, kind) = written.strip_prefix("not-").map_or((false, written), |kind| (true, kind));
    let called = quoted(&name(&format!("{}-{}", assert["metric"].as_str().unwrap_or(written), nth + 1)));
    let value = assert["value"].as_str().map(quoted);
    let with = |value: Option<String>| value.map(|value| format!(" value={value}")).unwrap_or_default();
    let ours = match kind {
        "equals" => Some(match value {
            // Another text than the wanted answer.
            Some(value) if !value.contains("{{") => {
                format!("grader \"regex\" value={}", quoted(&format!("^{}$", regex::escape(assert["value"].as_str().unwrap_or_default()))))
            }
            _ => "grader \"exact-match\"".into(),
        }),
        "contains" => Some(format!("grader \"contains\"{}", with(value))),
        "icontains" => Some(format!("grader \"contains\"{} ignore-case=#true", with(value))),
        "starts-with" => Some(format!("grader \"starts-with\"{}", with(value))),
        "regex" => Some(format!("grader \"regex\"{}", with(value))),
        "is-json" => Some("grader \"json\"".into()),
        "rouge-n" => Some("grader \"similarity\" by=\"rouge-1\"".into()),
        "bleu" => Some("grader \"similarity\" by=\"bleu\"".into()),
        "levenshtein" => Some("grader \"similarity\" by=\"levenshtein\"".into()),
        "is-refusal" => Some("grader \"refusal\"".into()),
        "latency" => Some(format!("grader \"latency\" max={}", number(assert["threshold"].as_f64().unwrap_or(5000.0) / 1000.0))),
        "cost" => Some(format!("grader \"cost\" max={}", number(assert["threshold"].as_f64().unwrap_or(0.01)))),
        "llm-rubric" | "model-graded-closedqa" | "factuality" => {
            Some(format!("grader \"judge\" model=\"gpt-4.1\" provider=\"openai\" rubric={}", value.unwrap_or_else(|| quoted("Is the answer right?"))))
        }
        _ => None,
    };
    match ours {
        Some(ours) if negated => draft.raw(&format!("grader \"not\" name={called} {{\n{ours}\n}}")),
        Some(ours) => draft.raw(&format!("{ours} name={called}")),
        None => {
            draft.comment("an assertion without a counterpart; a `command` of your own may grade by it:");
            draft.comment(&format!("  {assert}"));
        }
    }
}
