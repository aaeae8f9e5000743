use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::file::Spanned;

/// The parameters of a run, by name: the file's, then the profile's, then the command line's.
pub type Params = BTreeMap<String, Spanned<Value>>;

/// A scalar of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// `#true` or `#false`.
    Flag(bool),
}

impl Value {
    /// What the value is, in words for a message.
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::Flag(_) => "a boolean",
        }
    }

    /// The value as it stands inside of a text: a string without its quotes.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }

    /// Whether two values are the same, numbers by what they are and not by how they are written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            #[expect(clippy::cast_precision_loss, reason = "what a float cannot hold is none of its values")]
            (Self::Integer(whole), Self::Number(number)) | (Self::Number(number), Self::Integer(whole)) => {
                whole.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS && *whole as f64 == *number
            }
            _ => self == other,
        }
    }

    /// Reads `text` from the command line as a value of the same type as `like`.
    #[must_use]
    pub fn parse_like(text: &str, like: &Self) -> Option<Self> {
        match like {
            Self::Text(_) => Some(Self::Text(text.to_owned())),
            Self::Integer(_) => text.parse().ok().map(Self::Integer),
            Self::Number(_) => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Self::Number),
            Self::Flag(_) => match text {
                "true" | "#true" => Some(Self::Flag(true)),
                "false" | "#false" => Some(Self::Flag(false)),
                _ => None,
            },
        }
    }
}

impl AsRef<Self> for Value {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<Value> for Spanned<Value> {
    fn as_ref(&self) -> &Value {
        &self.value
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "#{flag}"),
        }
    }
}

/// Whether a value can stand for one of the type of another.
pub fn fits(value: &Value, declared: &Value) -> bool {
    value.noun() == declared.noun() || matches!((value, declared), (Value::Integer(_), Value::Number(_)))
}
