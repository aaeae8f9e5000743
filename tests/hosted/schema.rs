//! What requests and replies must look like, by the schemas in `schemas/openai`. With RETUNE_OPENAPI, the path of OpenAI's own
//! description, everything is held to that as well: `just openapi`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// By method and route: the schemas of what is sent and of what comes back, ours and that of the published description.
const ROUTES: &[(&str, &str, Option<&str>, &str)] = &[
    ("POST", "/files", Some("file.create"), "file"),
    ("GET", "/files", None, "files"),
    ("GET", "/files/{id}", None, "file"),
    ("POST", "/uploads", Some("upload.create"), "upload"),
    ("POST", "/uploads/{id}/parts", Some("part.create"), "part"),
    ("POST", "/uploads/{id}/complete", Some("upload.complete"), "upload"),
    ("POST", "/fine_tuning/jobs", Some("job.create"), "job"),
    ("GET", "/fine_tuning/jobs", None, "jobs"),
    ("GET", "/fine_tuning/jobs/{id}", None, "job"),
    ("GET", "/fine_tuning/jobs/{id}/events", None, "events"),
    ("GET", "/fine_tuning/jobs/{id}/checkpoints", None, "checkpoints"),
    ("POST", "/fine_tuning/jobs/{id}/cancel", None, "job"),
    ("POST", "/fine_tuning/jobs/{id}/pause", None, "job"),
    ("POST", "/fine_tuning/jobs/{id}/resume", None, "job"),
    ("GET", "/models", None, "models"),
    ("POST", "/chat/completions", Some("chat.create"), "chat"),
    ("POST", "/batches", Some("batch.create"), "batch"),
    ("GET", "/batches", None, "batches"),
    ("GET", "/batches/{id}", None, "batch"),
    ("DELETE", "/files/{id}", None, "deleted"),
    ("DELETE", "/models/{id}", None, "deleted"),
    ("POST", "/moderations", Some("moderation.create"), "moderation"),
];

static OURS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openai");
    let files = std::fs::read_dir(folder).expect("the schemas are there").flatten();
    let read = |path: &Path| -> Validator {
        let schema: Value = serde_json::from_slice(&std::fs::read(path).expect("a schema")).expect("a schema is JSON");
        jsonschema::validator_for(&schema).expect("a schema is right")
    };
    files.map(|file| (file.path().file_stem().expect("a name").to_string_lossy().into_owned(), read(&file.path()))).collect()
});

static PUBLISHED: LazyLock<Option<Value>> = LazyLock::new(|| {
    let path = std::env::var_os("RETUNE_OPENAPI")?;
    Some(serde_json::from_slice(&std::fs::read(path).expect("the description is there")).expect("the description is JSON"))
});

fn fits(route: &str, parts: &str) -> bool {
    let (route, parts): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), parts.split('/').collect());
    route.len() == parts.len() && route.iter().zip(&parts).all(|(route, part)| route == part || route.starts_with('{'))
}

fn hold(schema: &str, value: &Value, what: &str) -> Vec<String> {
    OURS[schema].iter_errors(value).map(|error| format!("{what}: {error} at {}", error.instance_path())).collect()
}

/// The same by the published description: its schema of a request body or of a good reply.
fn hold_published(method: &str, path: &str, request: bool, value: &Value) -> Vec<String> {
    let Some(description) = &*PUBLISHED else {
        return Vec::new();
    };
    let paths = description["paths"].as_object().expect("paths");
    let Some((_, item)) = paths.iter().filter(|(route, _)| fits(route, path)).min_by_key(|(route, _)| route.matches('{').count()) else {
        return vec![format!("{method} {path} is not in the description")];
    };
    let operation = &item[method.to_lowercase().as_str()];
    let body = if request { &operation["requestBody"] } else { &operation["responses"]["200"] };
    let forms = ["application/json", "multipart/form-data"];
    let Some(mut schema) = forms.iter().find_map(|form| body["content"].get(form)).map(|content| content["schema"].clone()) else {
        return Vec::new();
    };
    schema["components"] = description["components"].clone();
    let validator = jsonschema::validator_for(&nullable(schema)).expect("the description is right");
    // Statuses that nobody has heard of are among what a server may say.
    let errors = validator.iter_errors(value).filter(|error| !error.instance_path().to_string().ends_with("/status"));
    errors.map(|error| format!("published, {method} {path}: {error} at {}", error.instance_path())).collect()
}

/// `nullable: true` is no JSON Schema; it means that null is fine as well. `exclusiveMinimum: true` is of an older draft.
fn nullable(value: Value) -> Value {
    match value {
        Value::Object(mut parts) => {
            let null = parts.remove("nullable") == Some(Value::Bool(true));
            if parts.get("exclusiveMinimum") == Some(&Value::Bool(true)) {
                let minimum = parts.remove("minimum").unwrap_or_default();
                parts.insert("exclusiveMinimum".into(), minimum);
            }
            let inside: Value = parts.into_iter().map(|(name, value)| (name, nullable(value))).collect();
            if null { serde_json::json!({ "anyOf": [{ "type": "null" }, inside] }) } else { inside }
        }
        Value::Array(parts) => parts.into_iter().map(nullable).collect(),
        plain => plain,
    }
}

/// What is wrong with a request by its schema. A form counts as the object of its fields.
pub fn request(method: &str, path: &str, body: &Value) -> Vec<String> {
    match ROUTES.iter().find(|(of, route, ..)| *of == method && fits(route, path)) {
        Some((.., Some(schema), _)) => [hold(schema, body, &format!("request {method} {path}")), hold_published(method, path, true, body)].concat(),
        Some(_) => Vec::new(),
        // What a file holds is no JSON of the protocol.
        None if method == "GET" && fits("/files/{id}/content", path) => Vec::new(),
        None => vec![format!("{method} {path} has no schema")],
    }
}

/// What is wrong with a reply by its schema.
pub fn reply(method: &str, path: &str, status: u16, body: &Value) -> Vec<String> {
    let what = format!("reply to {method} {path}");
    if status >= 400 {
        return hold("error", body, &what);
    }
    match ROUTES.iter().find(|(of, route, ..)| *of == method && fits(route, path)) {
        Some((.., schema)) => [hold(schema, body, &what), hold_published(method, path, false, body)].concat(),
        None => Vec::new(),
    }
}
