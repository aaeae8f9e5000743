use serde_json::Value;

use super::Importer;
use super::draft::{Draft, name, quoted};
use super::reading::{Reading, below};

pub const IMPORTER: Importer = Importer { name: "a dvc.yaml", fits, write };

fn fits(config: &Value) -> bool {
    config["stages"].as_object().is_some_and(|stages| !stages.is_empty() && stages.values().all(Value::is_object))
}

fn write(config: &Reading, draft: &mut Draft) {
    for stage in config.names("/stages") {
        let at = |field: &str| format!("{}/{field}", below("/stages", &stage));
        draft.raw("");
        // Of a stage that stands for several the settings stand one level deeper.
        let deep = config.look(&at("do")).is_some();
        let of = |field: &str| if deep { at(&format!("do/{field}")) } else { at(field) };
        if let Some(items) = config.take(&at("foreach")) {
            draft.comment(&format!("foreach {items}: write it as a `matrix`, and `${{item}}` as `${{param.item}}`"));
        }
        draft.open("exec", &[&name(&stage)], |draft| {
            if let Some(about) = config.text(&of("desc")) {
                draft.comment(about);
            }
            matrix(config, &of("matrix"), draft);
            let commands = texts(config, &of("cmd"));
            draft.raw(&format!("run {}", of_instance(&commands.join(" && "))));
            if let Some(folder) = config.text(&of("wdir")) {
                draft.node("directory", &[folder]);
            }
            for dependency in texts(config, &of("deps")) {
                draft.raw(&format!("input {}", of_instance(dependency.trim_start_matches("./"))));
            }
            params(config, &of("params"), draft);
            for (field, node) in [("outs", "output"), ("metrics", "metrics"), ("plots", "output")] {
                for path in texts(config, &of(field)) {
                    draft.raw(&format!("{node} {}", of_instance(path.trim_start_matches("./"))));
                }
            }
            if config.flag(&of("frozen")) == Some(true) {
                draft.raw("frozen");
            }
            if config.flag(&of("always_changed")) == Some(true) {
                draft.raw("always");
            }
        });
    }
}

/// A text in quotes, in which DVC's word for a value of the instance is ours.
fn of_instance(text: &str) -> String {
    let quoted = quoted(text).replace("${item}", "${param.item}");
    let mut out = String::new();
    let mut rest = quoted.as_str();
    while let Some((before, after)) = rest.split_once("${item.") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out += &format!("{before}${{param.{name}}}");
        rest = after;
    }
    out + rest
}

/// A text, or a list of texts and of objects by a text.
fn texts(config: &Reading, pointer: &str) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        // `- path: {cache: false}`: how a file is kept is our own affair.
        Value::Object(object) => object.keys().next().cloned(),
        _ => None,
    };
    match config.take(pointer) {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn matrix(config: &Reading, pointer: &str, draft: &mut Draft) {
    let axes: Vec<(String, Vec<Value>)> = config
        .names(pointer)
        .into_iter()
        .filter_map(|axis| Some((axis.clone(), config.look(&below(pointer, &axis))?.as_array()?.clone())))
        .filter(|(_, values)| values.iter().all(|value| value.is_string() || value.is_number()))
        .collect();
    if axes.is_empty() {
        return;
    }
    draft.open("matrix", &[], |draft| {
        for (axis, values) in axes {
            let _ = config.take(&below(pointer, &axis));
            let values: Vec<String> = values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), quoted)).collect();
            draft.raw(&format!("{} {}", name(&axis), values.join(" ")));
        }
    });
}

/// Parameters are values in files: the files are inputs.
fn params(config: &Reading, pointer: &str, draft: &mut Draft) {
    let listed = config.take(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut files: Vec<String> = Vec::new();
    for one in &listed {
        match one {
            Value::String(name) => {
                draft.comment(&format!("reads `{name}` of params.yaml"));
                files.push("params.yaml".into());
            }
            Value::Object(object) => {
                for (file, names) in object {
                    draft.comment(&format!("reads {names} of {file}"));
                    files.push(file.clone());
                }
            }
            _ => {}
        }
    }
    files.sort();
    files.dedup();
    files.iter().for_each(|file| draft.node("input", &[file]));
}
