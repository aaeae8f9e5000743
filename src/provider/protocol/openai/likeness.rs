//! How a job is known whose reply was lost, at a server that keeps neither metadata nor suffix: by what it learns from, and how.

use serde_json::Value;

/// What a request says that is compared in a way of its own, or comes back in another shape.
const APART: &[&str] = &["model", "training_file", "validation_file", "suffix", "seed", "metadata", "method", "hyperparameters", "integrations"];

/// Whether a job learns from a file.
pub fn learns_from(job: &Value, file: &str) -> bool {
    told(job, "training_file").and_then(Value::as_str) == Some(file)
}

/// Whether a job learns from the files of a request, and says nothing else of its settings than the request does.
pub fn is_like(job: &Value, request: &Value) -> bool {
    let same = |name: &str| told(job, name).is_none_or(|there| told(request, name).is_some_and(|ours| is_same(there, ours)));
    let same_files = ["training_file", "validation_file"].into_iter().all(|file| told(job, file) == told(request, file));
    let same_model = told(job, "model").is_none_or(|there| is_version_of(text(Some(there)), text(told(request, "model"))));
    let same_fields = request.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).filter(|name| !APART.contains(name)).all(same);
    let (there, ours) = (Method::of(job), Method::of(request));
    let same_kind = there.kind.is_none_or(|there| ours.kind.is_none_or(|ours| there == ours));
    let same_grader = there.grader.is_none_or(|there| ours.grader == Some(there));
    let differ = |(name, there): (&String, &Value)| ours.sizes.and_then(|ours| told(ours, name)).is_some_and(|ours| !is_same(there, ours));
    let same_sizes = !there.sizes.and_then(Value::as_object).into_iter().flatten().any(|(name, there)| !there.is_null() && differ((name, there)));
    same_files && same_model && same("seed") && same_fields && same_kind && same_grader && same_sizes
}

/// A field that is there: some write one that is not as null or as nothing.
fn told<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
    of.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// Numbers are the same however they are written.
fn is_same(there: &Value, ours: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    there == ours || number(there).is_some_and(|there| number(ours) == Some(there))
}

/// Whether a name is that of a model, or of the version of it that a day at its end tells.
fn is_version_of(there: &str, ours: &str) -> bool {
    let is_day = |rest: &str| rest.starts_with('-') && rest.len() > 4 && rest.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    !ours.is_empty() && there.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || is_day(rest))
}

/// How it is learnt, as far as that is told.
struct Method<'a> {
    kind: Option<&'a str>,
    grader: Option<&'a Value>,
    sizes: Option<&'a Value>,
}

impl<'a> Method<'a> {
    fn of(job: &'a Value) -> Self {
        let method = told(job, "method");
        let kind = method.and_then(|method| told(method, "type")).and_then(Value::as_str);
        let inside = method.zip(kind).and_then(|(method, kind)| told(method, kind));
        let sizes = inside.and_then(|inside| told(inside, "hyperparameters")).or_else(|| told(job, "hyperparameters"));
        Self { kind, grader: inside.and_then(|inside| told(inside, "grader")), sizes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_like_a_request_by_its_files_and_settings() {
        let request = json!({
            "model": "gpt-4.1", "training_file": "a", "seed": 7, "trainingType": "Standard",
            "method": { "type": "supervised", "supervised": { "hyperparameters": { "n_epochs": 3 } } },
        });
        for (job, is) in [
            (json!({ "training_file": "a" }), true),
            (json!({ "training_file": "a", "validation_file": null, "seed": 7, "hyperparameters": { "n_epochs": 3, "batch_size": 4 } }), true),
            (json!({ "training_file": "a", "validation_file": "", "seed": "7", "hyperparameters": { "n_epochs": 3.0, "batch_size": "auto" } }), true),
            (json!({ "training_file": "a", "hyperparameters": { "n_epochs": "auto" } }), false),
            (json!({ "training_file": "a", "method": { "type": "supervised", "supervised": { "hyperparameters": { "n_epochs": 4 } } } }), false),
            (json!({ "training_file": "a", "model": "gpt-4.1-2025-04-14" }), true),
            (json!({ "training_file": "a", "model": "gpt-4.1-0414" }), true),
            (json!({ "training_file": "a", "model": "gpt-4.1-nano" }), false),
            (json!({ "training_file": "a", "model": "gpt-4.1-nano-2025-04-14" }), false),
            (json!({ "training_file": "a", "model": "gpt-4o" }), false),
            (json!({ "training_file": "a", "method": { "type": "dpo", "dpo": {} } }), false),
            (json!({ "training_file": "a", "trainingType": "GlobalStandard" }), false),
            (json!({ "training_file": "a", "seed": 8 }), false),
            (json!({ "training_file": "a", "validation_file": "b" }), false),
            (json!({ "training_file": "b" }), false),
        ] {
            assert_eq!(is_like(&job, &request), is, "{job}");
        }
    }

    #[test]
    fn another_grader_is_another_job() {
        let by = |grader: &str| json!({ "training_file": "a", "method": { "type": "reinforcement", "reinforcement": { "grader": { "type": grader } } } });
        assert!(is_like(&by("string_check"), &by("string_check")));
        assert!(!is_like(&by("score_model"), &by("string_check")));
    }
}
