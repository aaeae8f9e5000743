//! Which fields of collected rows stay, under which names, and as what.

use serde_json::{Map, Value};

use super::Row;

/// What a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// As it is.
    Any,
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// Whatever JSON is written in a string.
    Json,
}

impl FieldType {
    /// The names of all, as a pipeline writes them.
    pub const NAMES: &'static [&'static str] = &["any", "text", "integer", "number", "flag", "json"];

    /// The type of a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "text" => Self::Text,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "flag" => Self::Flag,
            "json" => Self::Json,
            _ => Self::Any,
        }
    }

    fn of(self, value: Value) -> Result<Value, Value> {
        let text = |value: &Value| value.as_str().map(|text| text.trim().to_owned());
        let read = match self {
            Self::Any => return Ok(value),
            Self::Text => match &value {
                Value::String(_) => return Ok(value),
                Value::Null => None,
                other => Some(Value::String(other.to_string())),
            },
            Self::Integer if value.is_i64() || value.is_u64() => return Ok(value),
            Self::Integer => text(&value).and_then(|text| text.parse::<i64>().ok()).map(Value::from),
            Self::Number if value.is_number() => return Ok(value),
            Self::Number => text(&value).and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite()).map(Value::from),
            Self::Flag if value.is_boolean() => return Ok(value),
            Self::Flag => match text(&value).unwrap_or_else(|| value.to_string()).to_lowercase().as_str() {
                "true" | "yes" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Json => match &value {
                Value::String(text) => serde_json::from_str(text).ok(),
                _ => return Ok(value),
            },
        };
        read.ok_or(value)
    }
}

/// A field that is taken.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name from here on.
    pub name: String,
    /// Its name in the source.
    pub from: String,
    /// What it must be.
    pub kind: FieldType,
    /// Whether a row may do without it.
    pub optional: bool,
}

/// The fields that are taken of each row.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Those that are named.
    pub named: Vec<Field>,
    /// Whether all others stay as well.
    pub others: bool,
}

impl Fields {
    /// Takes them of a row.
    ///
    /// # Errors
    /// In words, where the row lacks one or it is not what it must be.
    pub fn take(&self, row: &mut Row) -> Result<(), String> {
        let mut rest = std::mem::take(&mut *row.fields);
        let mut taken = Map::with_capacity(self.named.len());
        for (number, Field { name, from, kind, optional }) in self.named.iter().enumerate() {
            // Another one may be made of the same.
            let is_last = !self.named[number + 1..].iter().any(|other| other.from == *from);
            let value = match if is_last { rest.shift_remove(from) } else { rest.get(from).cloned() } {
                Some(Value::Null) | None if *optional => continue,
                Some(value) => kind.of(value).map_err(|value| {
                    let shown: String = value.to_string().chars().take(40).collect();
                    format!("the field `{from}` is {shown}, and must be of type {}", FieldType::NAMES[*kind as usize])
                })?,
                None => {
                    let has = rest.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    return Err(format!("the row has no field `{from}` (it has: {has})"));
                }
            };
            taken.insert(name.clone(), value);
        }
        if self.others {
            for (name, value) in rest {
                if taken.contains_key(&name) {
                    return Err(format!("the row has a field `{name}` of its own, which would be lost: give it another name in `fields`, or drop the others"));
                }
                taken.insert(name, value);
            }
        }
        row.fields = taken.into();
        Ok(())
    }
}
