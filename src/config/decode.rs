//! A KDL node to a [`Block`], by its [`Setting`]; every mistake is noted and decoding goes on.

use std::collections::{BTreeMap, BTreeSet};

use kdl::{KdlDocument, KdlEntry, KdlNode};

use super::block::Block;
use super::error::ConfigError;
use super::file::{Span, Spanned};
use super::measure;
use super::nearest::nearest;
use super::params::{self, Params};
use super::table::{Fallback, Kind, Repeat, Setting, Slot};
use super::value::Value;

/// Decodes nodes by tables, putting in parameters and noting what is wrong.
pub struct Decoder<'a> {
    pub params: &'a Params,
    pub providers: &'a [String],
    pub errors: Vec<ConfigError>,
    /// The environment variables that were looked at, or will be.
    pub variables: BTreeSet<String>,
}

impl Decoder<'_> {
    /// Decodes one node. `None` where something in it is wrong, which has been noted then.
    pub fn block(&mut self, node: &KdlNode, setting: &'static Setting) -> Option<Block> {
        let before = self.errors.len();
        let name_span = Span::from(node.name().span());
        let mut slots: BTreeMap<&'static str, Spanned<Value>> = BTreeMap::new();
        let mut rest = Vec::new();
        let mut position = 0;
        for entry in node.entries() {
            let Some(slot) = self.slot_for(entry, setting, &mut position) else {
                continue;
            };
            let Some(value) = self.value(entry, slot, setting) else {
                continue;
            };
            if setting.rest.is_some_and(|further| std::ptr::eq(further, slot)) {
                rest.push(value);
                continue;
            }
            if let Some(first) = slots.get(slot.name) {
                self.errors.push(ConfigError::Repeated {
                    name: slot.name.into(),
                    place: format!("`{}`", setting.name),
                    first: first.span.into(),
                    at: value.span.into(),
                });
                continue;
            }
            slots.insert(slot.name, value);
        }
        self.fill(node, setting, &mut slots, name_span);
        let children = self.children(node.children(), setting, name_span);
        let sound = self.errors.len() == before;
        sound.then(|| Block { setting, span: node.span().into(), name_span, slots, rest, children })
    }

    fn slot_for(&mut self, entry: &KdlEntry, setting: &'static Setting, position: &mut usize) -> Option<&'static Slot> {
        if let Some(name) = entry.name() {
            let found = setting.properties.iter().find(|slot| slot.name == name.value());
            if found.is_none() {
                let names = setting.properties.iter().map(|slot| slot.name);
                self.errors.push(ConfigError::UnknownProperty {
                    name: name.value().into(),
                    node: setting.name.into(),
                    at: name.span(),
                    help: offer(name.value(), names, "it has no properties"),
                });
            }
            return found;
        }
        let found = setting.arguments.get(*position).or(setting.rest);
        *position += 1;
        if found.is_none() {
            let takes = match setting.arguments {
                [] => "no value".to_owned(),
                [one] => format!("one value ({})", one.name),
                many => format!("{} values", many.len()),
            };
            self.errors.push(ConfigError::SurplusArgument { node: setting.name.into(), takes, at: entry.span() });
        }
        found
    }

    fn value(&mut self, entry: &KdlEntry, slot: &Slot, setting: &Setting) -> Option<Spanned<Value>> {
        let span = value_span(entry);
        let name = if setting.arguments.iter().any(|argument| argument.name == slot.name) { setting.name } else { slot.name };
        let written = params::scalar(entry.value());
        let value = match (entry.ty().map(|ty| ty.value()), written) {
            (_, None) => {
                self.errors.push(ConfigError::WrongType {
                    name: name.into(),
                    expected: expected(slot.kind),
                    found: entry.value().to_string(),
                    at: span.into(),
                    help: "numbers are at most 64 bits wide and finite; `#null` stands for nothing here".into(),
                });
                return None;
            }
            (Some("secret"), Some(Value::Text(variable))) if matches!(slot.kind, Kind::Secret) => Value::Text(variable),
            (Some("env"), Some(Value::Text(variable))) if matches!(slot.kind, Kind::Secret) => Value::Text(variable),
            (_, Some(_)) if matches!(slot.kind, Kind::Secret) => {
                self.errors.push(ConfigError::WrongType {
                    name: name.into(),
                    expected: "a secret's name".into(),
                    found: "a value in plain text".into(),
                    at: span.into(),
                    help: "write `(secret)\"NAME_OF_THE_VARIABLE\"`, so that the secret stays out of the file".into(),
                });
                return None;
            }
            (None, Some(value)) => value,
            (Some("param"), Some(Value::Text(param))) => {
                let Some(value) = self.params.get(&param) else {
                    self.errors.push(params::unknown(&param, span, self.params));
                    return None;
                };
                value.value.clone()
            }
            (Some("env"), Some(Value::Text(variable))) => {
                self.variables.insert(variable.clone());
                let Ok(value) = std::env::var(&variable) else {
                    self.errors.push(ConfigError::UnsetVariable { name: variable, at: span.into() });
                    return None;
                };
                Value::Text(value)
            }
            (Some(other), Some(_)) => {
                self.errors.push(ConfigError::UnknownAnnotation {
                    name: other.into(),
                    at: span.into(),
                    help: "`(param)\"name\"` takes a parameter, `(env)\"NAME\"` an environment variable, `(secret)\"NAME\"` a secret where one is wanted"
                        .into(),
                });
                return None;
            }
        };
        if let (Kind::Variable, Value::Text(variable)) = (slot.kind, &value) {
            self.variables.insert(variable.clone());
        }
        self.checked(value, span, name, slot.kind)
    }

    fn checked(&mut self, value: Value, span: Span, name: &str, kind: Kind) -> Option<Spanned<Value>> {
        let wrong_type = |value: &Value| ConfigError::WrongType {
            name: name.into(),
            expected: expected(kind),
            found: format!("{} {value}", value.noun()),
            at: span.into(),
            help: type_help(kind, value),
        };
        let inner = match (kind, &value) {
            (Kind::OrAuto(_), Value::Text(text)) if text == AUTO => kind,
            (Kind::OrAuto(inner), _) => *inner,
            (kind, _) => kind,
        };
        let problem = match (inner, &value) {
            (Kind::OrAuto(_), _) => None,
            (Kind::Any, _) | (Kind::Flag, Value::Flag(_)) => None,
            (Kind::Variable, Value::Text(text)) => (!is_variable(text)).then(|| wrong_type(&value)),
            (Kind::Text | Kind::Template | Kind::Stage(_) | Kind::Model | Kind::Secret, Value::Text(_)) => None,
            (Kind::Choice(choices), Value::Text(text)) => (!choices.contains(&text.as_str())).then(|| ConfigError::UnknownChoice {
                name: name.into(),
                found: value.to_string(),
                at: span.into(),
                help: offer(text, choices.iter().copied(), "there are no choices"),
            }),
            (Kind::Provider, Value::Text(text)) => (!self.providers.contains(text)).then(|| ConfigError::UnknownChoice {
                name: name.into(),
                found: value.to_string(),
                at: span.into(),
                help: format!(
                    "{}; declare another with `provider \"{text}\" {{ ... }}`",
                    offer(text, self.providers.iter().map(String::as_str), "there are none")
                ),
            }),
            (Kind::Output | Kind::Manifest, Value::Text(path)) if path.contains(['*', '?', '[', '{']) => Some(wrong_type(&value)),
            (Kind::Output | Kind::Manifest, Value::Text(path)) if reserved(path) => Some(ConfigError::ReservedPath { path: path.clone(), at: span.into() }),
            (Kind::Duration, Value::Text(text)) => measure::duration(text).is_none().then(|| wrong_type(&value)),
            (Kind::Size, Value::Text(text)) => measure::size(text).is_none().then(|| wrong_type(&value)),
            (Kind::Input | Kind::Output | Kind::Manifest | Kind::Folder, Value::Text(path)) => {
                (scheme(path).is_none() && leads_out(path)).then(|| ConfigError::OutsidePath { path: path.clone(), at: span.into() })
            }
            (Kind::Integer(low, high), Value::Integer(number)) => (*number < low || *number > high).then(|| out_of_range(name, inner, &value, span)),
            (Kind::Number(..) | Kind::Positive(_), Value::Number(_) | Value::Integer(_)) => {
                (!within(inner, &value)).then(|| out_of_range(name, inner, &value, span))
            }
            _ => Some(wrong_type(&value)),
        };
        match problem {
            Some(problem) => {
                self.errors.push(problem);
                None
            }
            None => Some(Spanned { value: widened(value, inner), span }),
        }
    }

    fn fill(&mut self, node: &KdlNode, setting: &'static Setting, slots: &mut BTreeMap<&'static str, Spanned<Value>>, at: Span) {
        let written = |slot: &Slot, position: Option<usize>| match position {
            Some(position) => node.entries().iter().filter(|entry| entry.name().is_none()).count() > position,
            None => node.entries().iter().any(|entry| entry.name().is_some_and(|name| name.value() == slot.name)),
        };
        let arguments = setting.arguments.iter().enumerate().map(|(index, slot)| (Some(index), slot));
        for (position, slot) in arguments.chain(setting.properties.iter().map(|slot| (None, slot))) {
            if written(slot, position) {
                continue;
            }
            let value = match slot.fallback {
                Fallback::Absent => continue,
                Fallback::Required => {
                    let what = match position {
                        Some(_) => format!("a value ({}): {}", slot.name, expected(slot.kind)),
                        None => format!("the property `{}=`: {}", slot.name, expected(slot.kind)),
                    };
                    self.errors.push(ConfigError::MissingValue { node: setting.name.into(), what, at: at.into(), help: slot.doc.into() });
                    continue;
                }
                Fallback::Text(text) => Value::Text(text.into()),
                Fallback::Integer(number) => Value::Integer(number),
                Fallback::Number(number) => Value::Number(number),
                Fallback::Flag(flag) => Value::Flag(flag),
            };
            slots.insert(slot.name, Spanned { value, span: at });
        }
    }

    fn children(&mut self, document: Option<&KdlDocument>, setting: &'static Setting, at: Span) -> Vec<Block> {
        let table = (setting.children)();
        let mut children: Vec<Block> = Vec::new();
        let mut seen: BTreeMap<&'static str, Span> = BTreeMap::new();
        let mut mistyped: Vec<&'static str> = Vec::new();
        for node in document.into_iter().flat_map(KdlDocument::nodes) {
            let name = node.name().value();
            let Some(child) = table.iter().copied().find(|child| child.name == name) else {
                // What is mistyped is not missing as well.
                mistyped.extend(nearest(name, table.iter().map(|child| child.name)));
                self.errors.push(ConfigError::UnknownNode {
                    name: name.into(),
                    place: format!("`{}`", setting.name),
                    at: node.name().span(),
                    help: offer(name, table.iter().map(|child| child.name), "nothing may stand inside it"),
                });
                continue;
            };
            let first = *seen.entry(child.name).or_insert_with(|| node.name().span().into());
            if child.repeat != Repeat::Many && first != Span::from(node.name().span()) {
                self.errors.push(ConfigError::Repeated {
                    name: child.name.into(),
                    place: format!("`{}`", setting.name),
                    first: first.into(),
                    at: node.name().span(),
                });
                continue;
            }
            children.extend(self.block(node, child));
        }
        for child in table.iter().filter(|child| child.repeat == Repeat::Once && !seen.contains_key(child.name) && !mistyped.contains(&child.name)) {
            self.errors.push(ConfigError::MissingNode { node: setting.name.into(), child: child.name.into(), at: at.into(), help: child.doc.into() });
        }
        children
    }
}

/// What stands where whoever does it chooses.
const AUTO: &str = "auto";

/// "did you mean", or the list of what there is.
pub fn offer<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, none: &str) -> String {
    let candidates: Vec<&str> = candidates.collect();
    match nearest(name, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => none.to_owned(),
        None => format!("there are: {}", candidates.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// The bytes of an entry's value alone, without the key of a property.
fn value_span(entry: &KdlEntry) -> Span {
    let whole = Span::from(entry.span());
    let Some(name) = entry.name() else {
        return whole;
    };
    let start = name.span().offset() + name.span().len() + 1;
    let end = whole.start + whole.length;
    if start < end { Span { start, length: end - start } } else { whole }
}

/// Whether a text can be the name of an environment variable.
fn is_variable(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a path is one that must not be written: the workspace itself, git's folder, or what retune keeps there.
fn reserved(path: &str) -> bool {
    use std::path::{Component, Path};
    let first = Path::new(path).components().find(|part| *part != Component::CurDir);
    match first {
        Some(Component::Normal(name)) => matches!(name.to_str(), Some(".git" | ".retune" | "deployments")) || path.ends_with(".lock.kdl"),
        _ => !path.is_empty() && first.is_none(),
    }
}

/// What an address begins with, up to its colon, where a text is one and no path.
#[must_use]
pub fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let named = scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_lowercase());
    (named && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())).then_some(scheme)
}

fn leads_out(path: &str) -> bool {
    use std::path::{Component, Path};
    let mut components = Path::new(path).components();
    path.is_empty() || components.any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
}

fn widened(value: Value, kind: Kind) -> Value {
    match (kind, value) {
        #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^52")]
        (Kind::Number(..) | Kind::Positive(_), Value::Integer(number)) => Value::Number(number as f64),
        (Kind::Duration, Value::Text(text)) => Value::Integer(measure::duration(&text).unwrap_or_default()),
        (Kind::Size, Value::Text(text)) => Value::Integer(measure::size(&text).unwrap_or_default()),
        (_, value) => value,
    }
}

fn within(kind: Kind, value: &Value) -> bool {
    let Value::Number(number) = widened(value.clone(), kind) else {
        return false;
    };
    match kind {
        Kind::Number(low, high) => number >= low && number <= high,
        Kind::Positive(high) => number > 0.0 && number <= high,
        _ => true,
    }
}

fn out_of_range(name: &str, kind: Kind, value: &Value, span: Span) -> ConfigError {
    ConfigError::OutOfRange { name: name.into(), expected: expected(kind), found: value.to_string(), at: span.into() }
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "a string".into(),
        Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
        Kind::Integer(low, i64::MAX) => format!("an integer of at least {low}"),
        Kind::Integer(low, high) => format!("an integer from {low} to {high}"),
        Kind::Number(low, f64::MAX) => format!("a number of at least {low}"),
        Kind::Number(low, high) => format!("a number from {low} to {high}"),
        Kind::Positive(f64::MAX) => "a number above 0".into(),
        Kind::Positive(high) => format!("a number above 0, at most {high}"),
        Kind::OrAuto(inner) => format!("{}, or \"{AUTO}\"", expected(*inner)),
        Kind::Flag => "#true or #false".into(),
        Kind::Template => "a template in a string".into(),
        Kind::Stage(kinds) => format!("the name of a {} stage", kinds.join(" or ")),
        Kind::Model => "the name of a train stage or of a model".into(),
        Kind::Provider => "the name of a provider".into(),
        Kind::Input => "a path or glob of the workspace".into(),
        Kind::Output => "one path of the workspace, and no glob".into(),
        Kind::Manifest => "a path of the workspace".into(),
        Kind::Folder => "a path of the workspace".into(),
        Kind::Duration => "a time above 0 with its unit, such as \"90s\", \"15m\" or \"2h\"".into(),
        Kind::Size => "a size above 0 with its unit, such as \"500MB\" or \"4GiB\"".into(),
        Kind::Variable => "the name of an environment variable: letters, digits and `_`".into(),
        Kind::Secret => "a secret's name".into(),
        Kind::Any => "a value".into(),
    }
}

fn type_help(kind: Kind, found: &Value) -> String {
    match (kind, found) {
        (Kind::OrAuto(inner), _) => type_help(*inner, found),
        (Kind::Integer(..) | Kind::Number(..) | Kind::Positive(_), Value::Text(_)) => "write the number without quotes".into(),
        (Kind::Flag, Value::Text(_)) => "booleans are written #true and #false".into(),
        (Kind::Integer(..), Value::Number(_)) => "write a whole number".into(),
        _ => format!("write {}", expected(kind)),
    }
}
