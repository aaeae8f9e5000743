use std::collections::BTreeMap;

use kdl::{KdlDocument, KdlNode, KdlValue};

use super::error::ConfigError;
use super::file::{Span, Spanned};
use super::nearest::nearest;
use super::value::Value;

/// What the command line changes of a pipeline: a profile, and parameters one by one.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--profile NAME`.
    pub profile: Option<String>,
    /// `--set name=value`, in order.
    pub set: Vec<String>,
}

/// The parameters of a run: the file's, then the profile's, then the command line's.
pub type Params = BTreeMap<String, Spanned<Value>>;

/// The scalar that a KDL value stands for, if it stands for one.
pub fn scalar(value: &KdlValue) -> Option<Value> {
    match value {
        KdlValue::String(text) => Some(Value::Text(text.clone())),
        KdlValue::Integer(number) => i64::try_from(*number).ok().map(Value::Integer),
        KdlValue::Float(number) if number.is_finite() => Some(Value::Number(*number)),
        KdlValue::Bool(flag) => Some(Value::Flag(*flag)),
        KdlValue::Float(_) | KdlValue::Null => None,
    }
}

/// Gathers the parameters that hold for this run.
pub fn collect(document: &KdlDocument, overrides: &Overrides, errors: &mut Vec<ConfigError>) -> Params {
    let mut params = Params::new();
    for node in document.nodes().iter().filter(|node| node.name().value() == "params") {
        for (name, value, name_span) in declared(node, errors) {
            if let Some(first) = params.insert(name.clone(), value) {
                errors.push(ConfigError::Repeated { name, place: "params".into(), first: first.span.into(), at: name_span.into() });
            }
        }
    }
    if let Some(wanted) = &overrides.profile {
        apply_profile(document, wanted, &mut params, errors);
    }
    for given in &overrides.set {
        apply_set(given, &mut params, errors);
    }
    params
}

fn declared(node: &KdlNode, errors: &mut Vec<ConfigError>) -> Vec<(String, Spanned<Value>, Span)> {
    let mut found = Vec::new();
    for child in node.children().into_iter().flat_map(KdlDocument::nodes) {
        let name = child.name().value().to_owned();
        let name_span = Span::from(child.name().span());
        let value = match child.entries() {
            [entry] if entry.name().is_none() => scalar(entry.value()).map(|value| (value, Span::from(entry.span()))),
            _ => None,
        };
        if let Some((value, span)) = value {
            found.push((name, Spanned { value, span }, name_span));
        } else {
            errors.push(ConfigError::MissingValue {
                node: name,
                what: "one value: a string, a number or a boolean".into(),
                at: name_span.into(),
                help: "write a parameter as `name value`, for example `epochs 4`".into(),
            });
        }
    }
    found
}

fn profiles(document: &KdlDocument) -> impl Iterator<Item = (&str, &KdlNode)> {
    let nodes = document.nodes().iter().filter(|node| node.name().value() == "profile");
    nodes.filter_map(|node| node.get(0).and_then(KdlValue::as_string).map(|name| (name, node)))
}

fn apply_profile(document: &KdlDocument, wanted: &str, params: &mut Params, errors: &mut Vec<ConfigError>) {
    let Some((_, profile)) = profiles(document).find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = profiles(document).map(|(name, _)| name).collect();
        let help = match nearest(wanted, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "this pipeline has no profiles; write one as `profile \"name\" { params { ... } }`".into(),
            None => format!("this pipeline has: {}", names.join(", ")),
        };
        errors.push(ConfigError::UnknownProfile { name: wanted.to_owned(), help });
        return;
    };
    let inner = profile.children().into_iter().flat_map(KdlDocument::nodes);
    for node in inner.filter(|node| node.name().value() == "params") {
        for (name, value, name_span) in declared(node, errors) {
            match params.get(&name) {
                None => errors.push(unknown(&name, name_span, params)),
                Some(base) if !fits(&value.value, &base.value) => errors.push(ConfigError::WrongType {
                    name: name.clone(),
                    expected: format!("{}, as in `params`", base.value.noun()),
                    found: value.value.noun().into(),
                    at: value.span.into(),
                    help: "give it the type that the declaration has".into(),
                }),
                Some(_) => {
                    params.insert(name, value);
                }
            }
        }
    }
}

fn fits(value: &Value, declared: &Value) -> bool {
    value.noun() == declared.noun() || matches!((value, declared), (Value::Integer(_), Value::Number(_)))
}

fn apply_set(given: &str, params: &mut Params, errors: &mut Vec<ConfigError>) {
    let bad = |problem: String, at: Option<Span>, help: String| ConfigError::BadSet { given: given.to_owned(), problem, at: at.map(Into::into), help };
    let Some((name, text)) = given.split_once('=') else {
        errors.push(bad("expected name=value".into(), None, "for example `--set epochs=8`".into()));
        return;
    };
    let Some(declared) = params.get(name) else {
        let help = nearest(name, params.keys().map(String::as_str))
            .map_or_else(|| format!("declared are: {}", listed(params)), |near| format!("did you mean `{near}`? declared are: {}", listed(params)));
        errors.push(bad(format!("no parameter `{name}` is declared"), None, help));
        return;
    };
    let span = declared.span;
    match Value::parse_like(text, &declared.value) {
        Some(value) => {
            params.insert(name.to_owned(), Spanned { value, span });
        }
        None => errors.push(bad(
            format!("`{name}` must be {}, found `{text}`", declared.value.noun()),
            Some(span),
            "give a value of the type that the parameter is declared with".into(),
        )),
    }
}

/// The error about a parameter that is used or overridden and not declared.
pub fn unknown(name: &str, at: Span, params: &Params) -> ConfigError {
    let help = match nearest(name, params.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if params.is_empty() => format!("declare it: `params {{ {name} ... }}`"),
        None => format!("declared are: {}", listed(params)),
    };
    ConfigError::UnknownParam { name: name.to_owned(), at: at.into(), help }
}

fn listed(params: &Params) -> String {
    params.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
