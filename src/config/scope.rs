//! What a written value stands for: itself, a parameter, a variable of the environment, the content of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kdl::{KdlEntry, KdlValue};

use super::error::{ConfigError, ValueError};
use super::file::{Span, Spanned, leads_out};
use super::nearest::nearest;
use super::value::{Params, Value};

/// Where written values take theirs from.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The text of the pipeline.
    pub text: &'a str,
    /// The workspace.
    pub root: &'a Path,
    pub params: &'a Params,
    /// The values of the instance of a stage that is decoded, which stand before parameters of the same name.
    pub axes: &'a Params,
}

/// What was taken from outside of the text, so that it shows when it changes.
#[derive(Debug, Default)]
pub struct Seen {
    /// Variables of the environment.
    pub variables: BTreeSet<String>,
    /// Files of the workspace, and the content that they had.
    pub files: BTreeMap<String, blake3::Hash>,
    /// Parameters.
    pub params: BTreeSet<String>,
    /// Values of axes, by where they are written.
    pub axes: BTreeSet<Span>,
    /// The bytes of all texts that parameters and files were put into, or stand for.
    pub bytes: usize,
    /// What else is wrong with the value that was looked at last, beside the error that was returned of it.
    pub also: Vec<ConfigError>,
}

/// A value that grows beyond this, by parameters that hold each other, is not meant. In bytes.
const LONGEST: usize = 4 << 20;

/// The largest file that is a value.
const LARGEST: u64 = 1 << 20;

/// All of them together, over all instances.
const LONGEST_TOGETHER: usize = 256 << 20;

impl Seen {
    /// Takes the bytes of a value into account.
    fn weigh(&mut self, bytes: usize, span: Span) -> Result<(), ConfigError> {
        self.bytes += bytes;
        if self.bytes > LONGEST_TOGETHER { Err(ValueError::TooLong { limit: LONGEST_TOGETHER, at: span.into() }.into()) } else { Ok(()) }
    }
}

/// The number or boolean that a text would be, if the file had it without quotes.
pub fn as_kdl(written: &str) -> Option<Value> {
    let entry = KdlEntry::parse(written).ok()?;
    scalar(entry.value()).filter(|value| !matches!(value, Value::Text(_)))
}

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

/// The bytes of an entry's value alone, without the key of a property.
pub fn value_span(entry: &KdlEntry) -> Span {
    let whole = Span::from(entry.span());
    let Some(name) = entry.name() else {
        return whole;
    };
    // Blanks and comments may stand around the sign between the two.
    let around = entry.format().map_or(0, |format| format.after_key.len() + format.after_eq.len());
    let start = name.span().offset() + name.span().len() + 1 + around;
    let end = whole.start + whole.length;
    if start < end { Span { start, length: end - start } } else { whole }
}

impl<'a> Scope<'a> {
    /// The value of the axis of this name, or of the parameter.
    fn param(&self, name: &str, span: Span, seen: &mut Seen) -> Result<&'a Value, ConfigError> {
        if let Some(Spanned { value, span }) = self.axes.get(name) {
            seen.axes.insert(*span);
            return Ok(value);
        }
        let value = self.params.get(name).ok_or_else(|| unknown(name, span, self.params))?;
        seen.params.insert(name.to_owned());
        Ok(&value.value)
    }

    /// What an entry stands for. `name` is what messages call it, `expected` what it should be.
    pub fn value(&self, entry: &KdlEntry, name: &str, expected: &str, seen: &mut Seen) -> Result<Value, ConfigError> {
        let span = value_span(entry);
        let Some(written) = scalar(entry.value()) else {
            return Err(ConfigError::WrongType {
                name: name.into(),
                expected: expected.into(),
                found: entry.value().to_string(),
                at: span.into(),
                help: "numbers are at most 64 bits wide and finite; `#null` stands for nothing here".into(),
            });
        };
        match (entry.ty().map(|ty| ty.value()), written) {
            (None, Value::Text(text)) => self.interpolated(text, span, seen).map(Value::Text),
            (None, value) => Ok(value),
            (Some("param"), Value::Text(param)) => {
                let value = self.param(&param, span, seen)?;
                if let Value::Text(text) = value {
                    seen.weigh(text.len(), span)?;
                }
                Ok(value.clone())
            }
            (Some("env"), Value::Text(variable)) => {
                let variable = self.interpolated(variable, span, seen)?;
                seen.variables.insert(variable.clone());
                std::env::var(&variable).map(Value::Text).map_err(|_| ValueError::UnsetVariable { name: variable, at: span.into() }.into())
            }
            (Some("file"), Value::Text(path)) => {
                let path = self.interpolated(path, span, seen)?;
                self.content(&path, span, seen).map(Value::Text)
            }
            (Some("param" | "env" | "file"), value) => Err(ConfigError::WrongType {
                name: name.into(),
                expected: "a name in a string after the annotation".into(),
                found: format!("{} {value}", value.noun()),
                at: span.into(),
                help: "write `(param)\"name\"`, `(env)\"NAME\"`, `(file)\"path\"`".into(),
            }),
            (Some("secret"), _) => Err(ConfigError::WrongType {
                name: name.into(),
                expected: expected.into(),
                found: "a secret".into(),
                at: span.into(),
                help: "a secret stands where a key, a token or a password is wanted, so that it is in no fingerprint; here write `(env)\"NAME\"`, which is"
                    .into(),
            }),
            (Some(other), _) => Err(ValueError::UnknownAnnotation {
                name: other.into(),
                at: span.into(),
                help: match nearest(other, ["param", "env", "secret", "file"]) {
                    Some(near) => format!("did you mean `({near})`?"),
                    None => "`(param)\"name\"` takes a parameter, `(env)\"NAME\"` an environment variable, `(file)\"path\"` the content of a file, \
                             `(secret)\"NAME\"` a secret where one is wanted"
                        .into(),
                },
            }
            .into()),
        }
    }

    /// A text with the parameters put in that it names: `"${param.name}"`. `$${` is `${` itself.
    pub fn interpolated(&self, text: String, span: Span, seen: &mut Seen) -> Result<String, ConfigError> {
        if !text.contains("${") {
            return Ok(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let (mut told, mut problem) = (BTreeSet::new(), None);
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            let inside = after[2..].split('}').next().filter(|inside| inside.len() + 2 < after.len());
            let named = inside.and_then(|inside| inside.split_once('.')).filter(|(word, _)| word.chars().all(|c| c.is_ascii_alphabetic()));
            let (Some((word, name)), Some(inside)) = (named.filter(|(word, _)| nearest(word, ["param"]).is_some()), inside) else {
                // A shell's own variables, most likely.
                out.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
                continue;
            };
            let whole = &after[..inside.len() + 3];
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str(whole);
            } else {
                let at = || self.place(whole, span);
                let found = if word == "param" {
                    self.param(name, at(), seen)
                } else {
                    Err(ValueError::UnknownInterpolation { text: whole.to_owned(), at: at().into(), help: "did you mean `param`?".into() }.into())
                };
                match found {
                    Ok(value) => {
                        out.push_str(before);
                        out.push_str(&value.plain());
                    }
                    Err(error) if told.insert(whole) => seen.also.extend(problem.replace(error)),
                    Err(_) => {}
                }
            }
            rest = &after[whole.len()..];
            if out.len() > LONGEST {
                return Err(ValueError::TooLong { limit: LONGEST, at: span.into() }.into());
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        out.push_str(rest);
        seen.weigh(out.len(), span)?;
        Ok(out)
    }

    /// Where in the text of a value a part of it stands.
    fn place(&self, part: &str, span: Span) -> Span {
        let raw = self.text.get(span.start..span.start + span.length).unwrap_or_default();
        let unescaped = |(at, _): &(usize, &str)| !raw[..*at].ends_with('$');
        raw.match_indices(part).find(unescaped).map(|(at, _)| at).map_or(span, |at| Span { start: span.start + at, length: part.len() })
    }

    fn content(&self, path: &str, span: Span, seen: &mut Seen) -> Result<String, ConfigError> {
        if leads_out(path) {
            return Err(ConfigError::OutsidePath { path: path.to_owned(), at: span.into() });
        }
        let unreadable = |reason: String| ConfigError::from(ValueError::UnreadableValue { path: path.to_owned(), reason, at: span.into() });
        let place = self.root.join(path);
        let found = std::fs::metadata(&place).map_err(|error| unreadable(error.to_string()))?;
        let length = found.len();
        if !found.is_file() {
            return Err(unreadable("it is no file".into()));
        }
        if length > LARGEST {
            return Err(unreadable(format!("it has {length} bytes")));
        }
        let bytes = std::fs::read(&place).map_err(|error| unreadable(error.to_string()))?;
        seen.files.insert(path.to_owned(), blake3::hash(&bytes));
        String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".into()))
    }
}

/// The error about a parameter that is used or overridden and not declared.
pub fn unknown(name: &str, at: Span, params: &Params) -> ConfigError {
    let help = match nearest(name, params.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if params.is_empty() => format!("declare it: `params {{ {name} ... }}`"),
        None => format!("declared are: {}", listed(params)),
    };
    ValueError::UnknownParam { name: name.to_owned(), at: at.into(), help }.into()
}

/// The parameters that there are, in words.
pub fn listed(params: &Params) -> String {
    params.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
