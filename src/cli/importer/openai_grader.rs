use serde_json::Value;

use super::Importer;
use super::draft::{Draft, name, number};
use super::reading::Reading;

pub const GRADER: Importer = Importer { name: "a grader of OpenAI's API", fits: is_grader, write: write_grader };
pub const EVAL: Importer = Importer { name: "an eval of OpenAI's API", fits: is_eval, write: write_eval };

const TYPES: [&str; 6] = ["string_check", "text_similarity", "score_model", "label_model", "multi", "python"];

fn is_grader(config: &Value) -> bool {
    config["type"].as_str().is_some_and(|kind| TYPES.contains(&kind))
}

fn is_eval(config: &Value) -> bool {
    config["testing_criteria"].is_array()
}

/// A stage that judges a model, with graders of its own.
fn judging(draft: &mut Draft, graders: impl FnOnce(&mut Draft)) {
    draft.raw("");
    draft.open("collect", &["rows"], |draft| {
        draft.comment("the rows of the eval: each with the fields that its graders speak of");
        draft.node("source", &["data/rows.jsonl"]);
    });
    draft.open("prepare", &["questions"], |draft| {
        draft.node("from", &["rows"]);
        draft.open("chat", &[], |draft| {
            draft.node("user", &["{{ question }}"]);
            draft.node("assistant", &["{{ answer }}"]);
        });
        draft.raw("split train=0.0 validation=0.0 test=1.0");
    });
    draft.open("evaluate", &["quality"], |draft| {
        draft.comment("the model that is judged: a train stage, or a model's own name");
        draft.node("model", &["builtin:tiny"]);
        draft.node("data", &["questions"]);
        graders(draft);
    });
}

fn write_grader(grader: &Reading, draft: &mut Draft) {
    let whole = grader.take("").cloned().unwrap_or_default();
    judging(draft, |draft| one(&whole, draft));
}

fn write_eval(eval: &Reading, draft: &mut Draft) {
    for place in ["/object", "/id", "/created_at", "/name"] {
        if let Some(value) = eval.take(place).filter(|value| !value.is_null() && place != "/object") {
            draft.comment(&format!("{}: {value}", &place[1..]));
        }
    }
    let graders: Vec<Value> = (0..eval.length("/testing_criteria")).filter_map(|nth| eval.take(&format!("/testing_criteria/{nth}")).cloned()).collect();
    judging(draft, |draft| graders.iter().for_each(|grader| one(grader, draft)));
}

/// A grader as a node, by the words of our own where they say the same, else as the file that OpenAI's API takes.
fn one(grader: &Value, draft: &mut Draft) {
    let called = name(grader["name"].as_str().unwrap_or("grade"));
    let text = |field: &str| grader[field].as_str().unwrap_or_default();
    let is_answer = |field: &str| text(field).replace(' ', "") == "{{sample.output_text}}";
    let is_wanted = |field: &str| ["{{item.answer}}", "{{item.wanted}}", "{{item.reference_answer}}"].contains(&text(field).replace(' ', "").as_str());
    let ours = match (text("type"), text("operation"), text("evaluation_metric")) {
        ("string_check", "eq", _) => Some("exact-match"),
        ("string_check", "ilike" | "like", _) => Some("contains"),
        ("text_similarity", _, "bleu" | "rouge_1" | "rouge_2" | "rouge_l") => Some("similarity"),
        _ => None,
    };
    match ours.filter(|_| is_answer("input") && is_wanted("reference")) {
        Some("similarity") => {
            draft.raw(&format!("grader \"similarity\" by=\"{}\" name={}", text("evaluation_metric").replace('_', "-"), super::draft::quoted(&called)))
        }
        Some("contains") if text("operation") == "ilike" => draft.raw(&format!("grader \"contains\" ignore-case=#true name={}", super::draft::quoted(&called))),
        Some(ours) => draft.raw(&format!("grader \"{ours}\" name={}", super::draft::quoted(&called))),
        None if text("type") == "python" => {
            draft.comment("a grader in Python: let a command of your own say the same (`rows.jsonl` in, `scores.jsonl` out)");
            grader["source"].as_str().into_iter().flat_map(str::lines).for_each(|line| draft.comment(&format!("  {line}")));
            draft.raw(&format!("grader \"command\" run=\"python3 grade.py\" input=\"grade.py\" name={}", super::draft::quoted(&called)));
        }
        None => {
            draft.comment(&format!("write this into graders/{called}.json:"));
            serde_json::to_string_pretty(grader).unwrap_or_default().lines().for_each(|line| draft.comment(&format!("  {line}")));
            draft.raw(&format!("grader \"openai\" input=\"graders/{called}.json\" name={}", super::draft::quoted(&called)));
        }
    }
    if let Some(bound) = grader["pass_threshold"].as_f64() {
        draft.raw(&format!("gate {} min={}", super::draft::quoted(&called), number(bound)));
    }
}

/// The grader of a reinforcement training, as the file that it takes.
pub fn inline(grader: &Value, draft: &mut Draft) {
    draft.comment("write this into graders/reward.json:");
    serde_json::to_string_pretty(grader).unwrap_or_default().lines().for_each(|line| draft.comment(&format!("  {line}")));
    draft.node("grader", &["graders/reward.json"]);
}
