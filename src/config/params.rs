use std::collections::BTreeMap;
use std::path::Path;

use kdl::{KdlDocument, KdlEntry, KdlNode};

use super::error::{ConfigError, ValueError};
use super::file::{Span, Spanned};
use super::nearest::nearest;
use super::scope::{Scope, Seen, listed, unknown, value_span};
use super::value::{Params, Value, fits};

/// What the command line changes of a pipeline: a profile, and parameters one by one.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--profile NAME`.
    pub profile: Option<String>,
    /// `--set name=value`, in order.
    pub set: Vec<String>,
}

/// What a parameter may be, in words.
const SCALAR: &str = "a string, a number or a boolean";

/// Gathers the parameters that hold for this run; one may take those that are declared before it. `profile` is the one in force.
pub fn collect(
    nodes: &[KdlNode],
    profile: Option<&KdlNode>,
    overrides: &Overrides,
    (text, root): (&str, &Path),
    seen: &mut Seen,
    errors: &mut Vec<ConfigError>,
) -> (Params, Vec<String>) {
    let mut params = Params::new();
    let none = Params::new();
    let over = profile.into_iter().flat_map(inside).filter(|node| node.name().value() == "params").flat_map(|node| declared(node, errors)).collect::<Vec<_>>();
    let declarations = nodes.iter().filter(|node| node.name().value() == "params").flat_map(|node| declared(node, errors)).collect::<Vec<_>>();
    let mut names: BTreeMap<&str, Span> = BTreeMap::new();
    for (name, name_span, entry) in &declarations {
        if let Some(first) = names.insert(name, *name_span) {
            errors.push(ConfigError::Repeated { name: (*name).into(), place: "params".into(), first: first.into(), at: (*name_span).into() });
            continue;
        }
        let scope = Scope { text, root, params: &params, axes: &none };
        let is_later = |later: &str| later == *name || (!names.contains_key(later) && declarations.iter().any(|(known, ..)| *known == later));
        let base = match scope.value(entry, name, SCALAR, seen) {
            Ok(value) => Spanned { value, span: value_span(entry) },
            Err(error) => {
                errors.extend(problems(error, seen, is_later));
                continue;
            }
        };
        let value = match over.iter().find(|(over, ..)| over == name) {
            Some((.., entry)) => match scope.value(entry, name, SCALAR, seen) {
                Ok(value) if fits(&value, &base.value) => Spanned { value, span: value_span(entry) },
                Ok(value) => {
                    errors.push(wrong(name, &base, &Spanned { value, span: value_span(entry) }));
                    base
                }
                Err(error) => {
                    errors.extend(problems(error, seen, is_later));
                    base
                }
            },
            None => base,
        };
        params.insert((*name).to_owned(), value);
        for given in overrides.set.iter().filter(|given| given.split_once('=').is_some_and(|(set, _)| set == *name)) {
            apply_set(given, &mut params, errors);
        }
    }
    repeated(&over, errors);
    for (name, name_span, _) in over.iter().filter(|(name, ..)| !names.contains_key(name)) {
        errors.push(unknown(name, *name_span, &params));
    }
    for given in &overrides.set {
        let is_set = given.split_once('=').is_some_and(|(name, _)| params.contains_key(name));
        if !is_set {
            apply_set(given, &mut params, errors);
        }
    }
    (params, declarations.into_iter().map(|(name, ..)| name.to_owned()).collect())
}

/// Parameters of a profile that is not in force: checked all the same. `order` is that in which they are declared.
pub fn check(profile: &KdlNode, scope: Scope<'_>, order: &[String], seen: &mut Seen, errors: &mut Vec<ConfigError>) {
    for node in inside(profile).filter(|node| node.name().value() == "params") {
        let over = declared(node, errors);
        repeated(&over, errors);
        for (name, name_span, entry) in over {
            let Some(base) = scope.params.get(name) else {
                errors.push(unknown(name, name_span, scope.params));
                continue;
            };
            let before: Params = order
                .iter()
                .take_while(|known| *known != name)
                .filter_map(|name| scope.params.get_key_value(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            match (Scope { params: &before, ..scope }).value(entry, name, SCALAR, seen) {
                Ok(value) if fits(&value, &base.value) => {}
                Ok(value) => errors.push(wrong(name, base, &Spanned { value, span: value_span(entry) })),
                // What it takes of the environment need not be there before it is in force.
                Err(ConfigError::Value(ValueError::UnsetVariable { .. })) => {}
                Err(error) => errors.extend(problems(error, seen, |later| scope.params.contains_key(later))),
            }
        }
    }
}

/// All that is wrong with the value of a parameter. One that is declared after it is not unknown.
fn problems(error: ConfigError, seen: &mut Seen, is_later: impl Fn(&str) -> bool) -> Vec<ConfigError> {
    let told = |error| match error {
        ConfigError::Value(ValueError::UnknownParam { name, at, .. }) if is_later(&name) => ValueError::LaterParam { name, at }.into(),
        error => error,
    };
    seen.also.drain(..).chain([error]).map(told).collect()
}

/// Parameters that stand twice in one place.
fn repeated(declared: &[(&str, Span, &KdlEntry)], errors: &mut Vec<ConfigError>) {
    let mut names: BTreeMap<&str, Span> = BTreeMap::new();
    for (name, span, _) in declared {
        if let Some(first) = names.insert(name, *span) {
            errors.push(ConfigError::Repeated { name: (*name).into(), place: "params".into(), first: first.into(), at: (*span).into() });
        }
    }
}

fn inside(node: &KdlNode) -> impl Iterator<Item = &KdlNode> {
    node.children().into_iter().flat_map(KdlDocument::nodes)
}

/// The names and values in a `params` node; what is no parameter is an error.
fn declared<'a>(node: &'a KdlNode, errors: &mut Vec<ConfigError>) -> Vec<(&'a str, Span, &'a KdlEntry)> {
    let mut found = Vec::new();
    for child in inside(node) {
        let (name, name_span) = (child.name().value(), Span::from(child.name().span()));
        match child.entries() {
            [entry] if entry.name().is_none() => found.push((name, name_span, entry)),
            _ => errors.push(ConfigError::MissingValue {
                node: name.to_owned(),
                what: format!("one value: {SCALAR}"),
                at: name_span.into(),
                help: "write a parameter as `name value`, for example `epochs 4`".into(),
            }),
        }
    }
    found
}

fn wrong(name: &str, declared: &Spanned<Value>, given: &Spanned<Value>) -> ConfigError {
    let found = format!("{} {}", given.value.noun(), given.value);
    let expected = declared.value.noun().into();
    ValueError::WrongParam { name: name.to_owned(), expected, found, declared: declared.span.into(), at: given.span.into() }.into()
}

fn apply_set(given: &str, params: &mut Params, errors: &mut Vec<ConfigError>) {
    let bad = |problem: String, at: Option<Span>, help: String| {
        ConfigError::from(ValueError::BadSet { given: given.to_owned(), problem, at: at.map(Into::into), help })
    };
    let Some((name, text)) = given.split_once('=') else {
        errors.push(bad("expected name=value".into(), None, "for example `--set epochs=8`".into()));
        return;
    };
    let Some(declared) = params.get(name) else {
        let help = match nearest(name, params.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? declared are: {}", listed(params)),
            None if params.is_empty() => format!("declare it: `params {{ {name} ... }}`"),
            None => format!("declared are: {}", listed(params)),
        };
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
