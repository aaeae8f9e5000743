use std::fmt;

/// A scalar of the pipeline file.
#[derive(Clone, Debug, PartialEq)]
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
