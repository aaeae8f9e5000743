//! Whether a value is what its slot takes.

use super::error::{ConfigError, MeasureError};
use super::file::{Span, Spanned, leads_out, plain};
use super::measure;
use super::nearest::offer;
use super::table::Kind;
use super::value::Value;

/// What stands where whoever does it chooses.
const AUTO: &str = "auto";

/// A value under the name that messages use for it.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    pub name: &'a str,
    pub value: &'a Value,
    /// The parameter that it came from.
    pub param: Option<&'a str>,
    pub span: Span,
}

/// The value as its kind has it, or what is wrong with it. `providers` are the names that there are.
pub fn checked(written: Written<'_>, kind: Kind, providers: &[String]) -> Result<Spanned<Value>, ConfigError> {
    let inner = match (kind, written.value) {
        (Kind::OrAuto(_), Value::Text(text)) if text == AUTO => return Ok(Spanned { value: written.value.clone(), span: written.span }),
        (Kind::OrAuto(inner), _) => *inner,
        (kind, _) => kind,
    };
    match problem(written, kind, inner, providers) {
        Some(problem) => Err(problem),
        None => Ok(Spanned { value: widened(spelled(written.value.clone(), inner), inner), span: written.span }),
    }
}

/// A path that a stage writes in the one spelling by which all others know it.
fn spelled(value: Value, kind: Kind) -> Value {
    match (kind, value) {
        (Kind::Output | Kind::Manifest | Kind::Folder, Value::Text(path)) => Value::Text(plain(&path)),
        (_, value) => value,
    }
}

fn problem(written: Written<'_>, kind: Kind, inner: Kind, providers: &[String]) -> Option<ConfigError> {
    let Written { name, value, span, .. } = written;
    let wrong_type = || written.wrong_type(kind);
    match (inner, value) {
        (Kind::Any, _) | (Kind::Flag, Value::Flag(_)) => None,
        (Kind::Variable, Value::Text(text)) => (!is_variable(text)).then(wrong_type),
        (Kind::Text | Kind::Template | Kind::Stage(_) | Kind::Model(_) | Kind::Secret, Value::Text(_)) => None,
        (Kind::Choice(choices), Value::Text(text)) => (!choices.contains(&text.as_str())).then(|| ConfigError::UnknownChoice {
            name: name.into(),
            found: written.found(),
            at: span.into(),
            help: offer(text, choices.iter().copied(), "there are no choices"),
        }),
        (Kind::Provider, Value::Text(text)) => (!providers.contains(text)).then(|| ConfigError::UnknownChoice {
            name: name.into(),
            found: written.found(),
            at: span.into(),
            help: format!("{}; declare another with `provider \"{text}\" {{ ... }}`", offer(text, providers.iter().map(String::as_str), "there are none")),
        }),
        (Kind::Output | Kind::Manifest, Value::Text(path)) if path.contains(['*', '?', '[', '{']) => Some(wrong_type()),
        (Kind::Output | Kind::Manifest, Value::Text(path)) if reserved(path) => Some(ConfigError::ReservedPath { path: path.clone(), at: span.into() }),
        (Kind::Input | Kind::Output | Kind::Manifest | Kind::Folder, Value::Text(path)) => {
            (scheme(path).is_none() && leads_out(path)).then(|| ConfigError::OutsidePath { path: path.clone(), at: span.into() })
        }
        (Kind::Integer(low, high), Value::Integer(number)) => (*number < low || *number > high).then(|| written.out_of_range(inner)),
        (Kind::Number(..) | Kind::Positive(_), Value::Number(_) | Value::Integer(_)) => (!within(inner, value)).then(|| written.out_of_range(inner)),
        (Kind::Duration, Value::Text(text)) if measure::duration(text).is_some() => None,
        (Kind::Size, Value::Text(text)) if measure::size(text).is_some() => None,
        (Kind::Share | Kind::Money, Value::Number(_) | Value::Integer(_)) if within(inner, value) => None,
        (Kind::Duration | Kind::Size | Kind::Share | Kind::Money, _) => Some(written.no_measure(inner).into()),
        _ => Some(wrong_type()),
    }
}

impl Written<'_> {
    /// The value in words, with the parameter that it came from.
    fn found(&self) -> String {
        match self.param {
            Some(param) => format!("{} (the parameter `{param}`)", self.value),
            None => self.value.to_string(),
        }
    }

    fn wrong_type(&self, kind: Kind) -> ConfigError {
        ConfigError::WrongType {
            name: self.name.into(),
            expected: expected(kind),
            found: format!("{} {}", self.value.noun(), self.found()),
            at: self.span.into(),
            help: type_help(kind, self.value),
        }
    }

    fn out_of_range(&self, kind: Kind) -> ConfigError {
        ConfigError::OutOfRange { name: self.name.into(), expected: expected(kind), found: self.found(), at: self.span.into() }
    }

    fn no_measure(&self, kind: Kind) -> MeasureError {
        let (name, found, at) = (self.name.to_owned(), format!("{} {}", self.value.noun(), self.found()), self.span.into());
        let unit = |usual: &str| match self.value {
            Value::Integer(number) => format!("write the unit too, in quotes: \"{number}{usual}\""),
            _ => String::new(),
        };
        let or = |help: String, otherwise: &str| if help.is_empty() { otherwise.to_owned() } else { help };
        match kind {
            Kind::Duration => MeasureError::Duration { name, found, at, help: or(unit("s"), "units are ms, s, m, h and d: \"90s\", \"15m\", \"1h 30m\"") },
            Kind::Size => {
                MeasureError::Size { name, found, at, help: or(unit("MiB"), "units are B, kB, MB, GB, TB, KiB, MiB, GiB and TiB: \"500MB\", \"4GiB\"") }
            }
            Kind::Money => MeasureError::Money { name, found, at, help: "write a number of at least 0, without a sign or quotes: 12.5".into() },
            _ => {
                let percent = match self.value {
                    Value::Text(text) => text.trim_end().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok()),
                    Value::Integer(_) | Value::Number(_) => number(self.value),
                    Value::Flag(_) => None,
                };
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
                let help = percent.map(|percent| format!("if {percent} percent are meant, write {}", (percent * 1e4).round() / 1e6));
                MeasureError::Share { name, found, at, help: or(help.unwrap_or_default(), "write a number from 0 to 1: half is 0.5") }
            }
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^52")]
        Value::Integer(number) => Some(*number as f64),
        Value::Text(_) | Value::Flag(_) => None,
    }
}

/// What an address begins with, up to its colon, where a text is one and no path.
#[must_use]
pub fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let named = scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_lowercase());
    (named && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())).then_some(scheme)
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

fn widened(value: Value, kind: Kind) -> Value {
    match (kind, value) {
        #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^52")]
        (Kind::Number(..) | Kind::Positive(_) | Kind::Share | Kind::Money, Value::Integer(number)) => Value::Number(number as f64),
        (Kind::Duration, Value::Text(text)) => Value::Integer(measure::duration(&text).unwrap_or_default()),
        (Kind::Size, Value::Text(text)) => Value::Integer(measure::size(&text).unwrap_or_default()),
        (_, value) => value,
    }
}

fn within(kind: Kind, value: &Value) -> bool {
    let Some(number) = number(value) else {
        return false;
    };
    match kind {
        Kind::Number(low, high) => number >= low && number <= high,
        Kind::Positive(high) => number > 0.0 && number <= high,
        Kind::Share => (0.0..=1.0).contains(&number),
        Kind::Money => (0.0..=1e9).contains(&number),
        _ => true,
    }
}

/// What a kind takes, in words.
#[must_use]
pub fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "a string".into(),
        Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
        Kind::Integer(low, i64::MAX) => format!("an integer of at least {low}"),
        Kind::Integer(low, high) => format!("an integer from {low} to {high}"),
        Kind::Number(low, f64::MAX) => format!("a number of at least {low}"),
        Kind::Number(low, high) => format!("a number from {low} to {high}"),
        Kind::Positive(f64::MAX) => "a number above 0".into(),
        Kind::Positive(high) => format!("a number above 0, at most {high}"),
        Kind::Share => "a share from 0 to 1".into(),
        Kind::Money => "an amount of US dollars".into(),
        Kind::OrAuto(inner) => format!("{}, or \"{AUTO}\"", expected(*inner)),
        Kind::Flag => "#true or #false".into(),
        Kind::Template => "a template in a string".into(),
        Kind::Stage(kinds) => format!("the name of {} stage", super::error::with_article(&kinds.join(" or "))),
        Kind::Model(kinds) => format!("the name of {} stage, or of a model", super::error::with_article(&kinds.join(" or "))),
        Kind::Provider => "the name of a provider".into(),
        Kind::Input => "a path or glob of the workspace".into(),
        Kind::Output => "one path of the workspace, and no glob".into(),
        Kind::Manifest | Kind::Folder => "a path of the workspace".into(),
        Kind::Duration => "a time above 0 with its unit, such as \"90s\", \"15m\" or \"2h\"".into(),
        Kind::Size => "a size above 0 with its unit, such as \"500MB\" or \"4GiB\"".into(),
        Kind::Variable => "the name of an environment variable: letters, digits and `_`".into(),
        Kind::Secret => "a secret's name".into(),
        Kind::Any => "a string, a number or a boolean".into(),
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
