use serde_json::Value;

use super::Importer;
use super::draft::{Draft, number};
use super::openai_grader;
use super::reading::Reading;

pub const IMPORTER: Importer = Importer { name: "a fine-tuning job of OpenAI's API", fits, write };

fn fits(config: &Value) -> bool {
    config["object"] == "fine_tuning.job" || config["training_file"].is_string() && config["model"].is_string()
}

/// What became of the job, which is no setting.
const PAST: [&str; 12] = [
    "object",
    "id",
    "status",
    "created_at",
    "finished_at",
    "estimated_finish",
    "fine_tuned_model",
    "organization_id",
    "trained_tokens",
    "result_files",
    "error",
    "user_provided_suffix",
];

fn write(job: &Reading, draft: &mut Draft) {
    for name in PAST {
        if let Some(value) = job.take(&format!("/{name}")).filter(|value| !value.is_null() && name != "object") {
            draft.comment(&format!("{name}: {value}"));
        }
    }
    let method = job.text("/method/type").unwrap_or("supervised").to_owned();
    draft.raw("");
    draft.open("train", &["tuned"], |draft| {
        for (role, node) in [("/training_file", "examples"), ("/validation_file", "validation")] {
            if let Some(file) = job.text(role) {
                draft.comment(&format!("the content of {file}: `curl` it from /v1/files/{file}/content, or name your own copy"));
                draft.node(node, &[&format!("data/{}.jsonl", if node == "examples" { "train" } else { node })]);
            }
        }
        draft.node("provider", &["openai"]);
        draft.node("model", &[job.text("/model").unwrap_or("gpt-4.1-nano-2025-04-14")]);
        hyperparameters(job, &method, draft);
        if let Some(seed) = job.number("/seed").filter(|seed| seed.fract() == 0.0 && *seed >= 0.0) {
            draft.raw(&format!("seed {}", number(seed)));
        }
        if let Some(suffix) = job.text("/suffix") {
            draft.node("suffix", &[suffix]);
        }
    });
}

fn hyperparameters(job: &Reading, method: &str, draft: &mut Draft) {
    let places = [format!("/method/{method}/hyperparameters"), "/hyperparameters".to_owned()];
    let known: [(&str, &str); 7] = [
        ("n_epochs", "epochs"),
        ("batch_size", "batch-size"),
        ("learning_rate_multiplier", "rate-multiplier"),
        ("beta", "beta"),
        ("compute_multiplier", "compute-multiplier"),
        ("eval_interval", "eval-interval"),
        ("eval_samples", "eval-samples"),
    ];
    draft.open("method", &[method], |draft| {
        for (theirs, ours) in known {
            let mut written = false;
            for place in places.iter().map(|place| format!("{place}/{theirs}")) {
                // The same stands in two places of a job; the new one counts.
                if job.text(&place).is_some_and(|word| word == "auto") {
                    if !written {
                        draft.raw(&format!("{ours} \"auto\""));
                    }
                    written = true;
                } else if let Some(value) = job.number(&place) {
                    if !written {
                        draft.raw(&format!("{ours} {}", number(value)));
                    }
                    written = true;
                }
            }
            if ours == "epochs" && !written {
                draft.raw("epochs \"auto\"");
            }
        }
        let effort = places.iter().find_map(|place| job.text(&format!("{place}/reasoning_effort")));
        if let Some(effort) = effort.filter(|effort| ["low", "medium", "high"].contains(effort)) {
            draft.node("effort", &[effort]);
        }
        let grader = format!("/method/{method}/grader");
        if let Some(found) = job.take(&grader) {
            openai_grader::inline(found, draft);
        }
    });
}
