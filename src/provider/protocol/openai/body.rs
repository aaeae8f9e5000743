//! The request for a new job, in every dialect.

use serde_json::{Value, json};

use crate::fingerprint::ActionKey;

use super::super::super::dialect::{Dialect, MARK, Sizes};
use super::super::super::{Method, Search, TuningRequest};

/// The settings of a method that a dialect has a field for.
#[must_use]
pub fn expresses(dialect: &Dialect, method: &str, setting: &str) -> bool {
    match dialect.sizes {
        Sizes::Method => match setting {
            "epochs" | "batch-size" | "rate-multiplier" => true,
            "beta" => method == "dpo",
            "grader" | "effort" | "compute-multiplier" | "eval-interval" | "eval-samples" => method == "reinforcement",
            _ => false,
        },
        Sizes::Open => matches!(setting, "epochs" | "batch-size" | "learning-rate" | "warmup" | "weight-decay" | "lora"),
    }
}

/// The mark of a key that fits into a suffix, for those who have no metadata.
pub fn mark(key: ActionKey) -> String {
    key.to_string()[..MARK].to_owned()
}

/// The body that makes a job. Where it is `marked`, our key stands in the suffix.
pub fn creation(dialect: &Dialect, marked: bool, request: &TuningRequest, train: &str, validation: Option<&str>, fields: &[(String, Value)]) -> Value {
    let mut body = json!({
        "model": request.begins_with(),
        "training_file": train,
        "suffix": suffix(dialect, marked, request),
        "seed": request.hyperparameters.seed,
        "metadata": { "retune_key": request.key.to_string(), "retune_stage": request.stage.chars().take(64).collect::<String>() },
    });
    if let Some(validation) = validation {
        body["validation_file"] = json!(validation);
    }
    let sizes = sizes(dialect, request);
    match dialect.sizes {
        Sizes::Method => body["method"] = method(request, sizes),
        Sizes::Open => body["hyperparameters"] = sizes,
    }
    if let Some(report) = &request.report {
        let mut wandb = json!({ "project": report.project });
        if let Some(entity) = &report.entity {
            wandb["entity"] = json!(entity);
        }
        body["integrations"] = json!([{ "type": "wandb", "wandb": wandb }]);
    }
    if let Value::Object(parts) = &mut body {
        dialect.refuses.iter().for_each(|field| {
            parts.remove(*field);
        });
        parts.extend(fields.iter().cloned());
    }
    body
}

fn suffix(dialect: &Dialect, marked: bool, request: &TuningRequest) -> String {
    if !marked {
        return request.suffix.chars().take(dialect.suffix).collect();
    }
    let mark = mark(request.key);
    let name: String = request.suffix.chars().take(dialect.suffix.saturating_sub(mark.len() + 1)).collect();
    format!("{name}-{mark}")
}

fn method(request: &TuningRequest, sizes: Value) -> Value {
    let name = request.method.name();
    let mut inside = json!({ "hyperparameters": sizes });
    match &request.method {
        Method::Supervised => {}
        Method::Dpo { beta } => {
            if let Some(beta) = beta {
                inside["hyperparameters"]["beta"] = json!(beta);
            }
        }
        Method::Reinforcement { grader, search: Search { effort, compute, interval, samples } } => {
            inside["grader"] = grader.clone();
            let given = [
                ("reasoning_effort", effort.as_ref().map(|effort| json!(effort))),
                ("compute_multiplier", compute.map(|factor| json!(factor))),
                ("eval_interval", interval.map(|steps| json!(steps))),
                ("eval_samples", samples.map(|answers| json!(answers))),
            ];
            for (name, value) in given {
                if let Some(value) = value {
                    inside["hyperparameters"][name] = value;
                }
            }
        }
    }
    json!({ "type": name, name: inside })
}

/// The sizes that are given and that the dialect has a name for. What is left out, or `auto`, the provider chooses.
fn sizes(dialect: &Dialect, request: &TuningRequest) -> Value {
    let sizes = &request.hyperparameters;
    let mut named: Vec<(&str, Option<Value>)> =
        vec![("n_epochs", sizes.epochs.map(|epochs| json!(epochs))), ("batch_size", sizes.batch_size.map(|size| json!(size)))];
    match dialect.sizes {
        Sizes::Method => named.push(("learning_rate_multiplier", sizes.rate_multiplier.map(|rate| json!(rate)))),
        Sizes::Open => named.extend([
            ("learning_rate", sizes.learning_rate.map(|rate| json!(rate))),
            ("warmup_ratio", sizes.warmup.map(|share| json!(share))),
            ("weight_decay", sizes.weight_decay.map(|rate| json!(rate))),
            ("lora", Some(json!(sizes.lora.is_some()))),
            ("lora_r", sizes.lora.as_ref().map(|lora| json!(lora.rank))),
            ("lora_alpha", sizes.lora.as_ref().map(|lora| json!(lora.alpha))),
        ]),
    }
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Digest;
    use crate::provider::dialect::dialect;
    use crate::provider::{Care, Hyperparameters, Lora, Report};

    fn request(method: Method) -> TuningRequest {
        TuningRequest {
            key: ActionKey(Digest::of(b"key")),
            stage: "router".into(),
            base: "gpt-4.1-nano".into(),
            start: None,
            train: "train".into(),
            validation: None,
            method,
            hyperparameters: Hyperparameters {
                epochs: Some(3),
                rate_multiplier: Some(0.5),
                lora: Some(Lora::plain(8, 16.0)),
                learning_rate: Some(1e-4),
                ..Hyperparameters::default()
            },
            suffix: "router".into(),
            may_retire: false,
            moderate: false,
            report: Some(Report { project: "p".into(), entity: None }),
            care: Care::default(),
            expected_tokens: None,
            estimate: None,
            left: None,
            checkpoints: None,
        }
    }

    fn body(name: &str, method: Method) -> Value {
        let fields = [("trainingType".to_owned(), json!("Standard"))];
        creation(dialect(name).expect("there is one"), name != "openai", &request(method), "file-1", Some("file-2"), &fields)
    }

    #[test]
    fn each_method_has_its_place() {
        assert_eq!(
            body("openai", Method::Supervised)["method"],
            json!({ "type": "supervised", "supervised": { "hyperparameters": { "n_epochs": 3, "learning_rate_multiplier": 0.5 } } })
        );
        assert_eq!(body("openai", Method::Dpo { beta: Some(0.1) })["method"]["dpo"]["hyperparameters"]["beta"], 0.1);
        let grader = json!({ "type": "string_check" });
        let reinforced = body(
            "openai",
            Method::Reinforcement {
                grader: grader.clone(),
                search: Search { effort: Some("low".into()), compute: Some(1.5), interval: Some(5), samples: Some(2) },
            },
        );
        let inside = &reinforced["method"]["reinforcement"];
        assert_eq!((&inside["grader"], &inside["hyperparameters"]["reasoning_effort"]), (&grader, &json!("low")));
        assert_eq!((&inside["hyperparameters"]["compute_multiplier"], &inside["hyperparameters"]["eval_samples"]), (&json!(1.5), &json!(2)));
    }

    #[test]
    fn dialects_leave_out_what_they_do_not_know() {
        let azure = body("azure", Method::Supervised);
        assert!(azure.get("metadata").is_none() && azure.get("integrations").is_none());
        assert!(azure["suffix"].as_str().is_some_and(|suffix| suffix.len() <= 40 && suffix.ends_with(&mark(ActionKey(Digest::of(b"key"))))), "{azure}");
        assert_eq!(azure["trainingType"], "Standard");
        let nebius = body("nebius", Method::Supervised);
        assert_eq!(nebius["hyperparameters"], json!({ "n_epochs": 3, "learning_rate": 1e-4, "lora": true, "lora_r": 8, "lora_alpha": 16.0 }));
        assert!(nebius.get("method").is_none());
    }
}
