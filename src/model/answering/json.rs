//! Whether what was said so far can still become a JSON object: a look at each byte, without a grammar.

/// The deepest that values may lie in each other.
const DEEPEST: u8 = 64;
/// The most white space in a row outside of strings, and so much more for each open value: a model that has nothing to say would go on with
/// it for ever.
const BLANKS: u8 = 2;
const INDENT: u8 = 4;

/// A JSON object (RFC 8259) as far as it was said.
#[derive(Clone, Copy, Debug)]
pub struct JsonSoFar {
    next: Next,
    /// For each open value, the innermost in the lowest bit, whether it is an object; else it is a list.
    open: u64,
    depth: u8,
    blanks: u8,
}

/// What may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Object,
    Value,
    /// The first value of a list, or its end.
    Item,
    /// The first key of an object, or its end.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of what is open.
    More,
    Text(Inside),
    Number(Number),
    /// The rest of a word.
    Word(&'static [u8]),
    Nothing,
}

/// Inside of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inside {
    is_key: bool,
    escape: Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// So many of the four digits after `\u` are missing.
    Digits(u8),
}

/// Inside of a number, by what came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Sign,
    Zero,
    Digit,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Number {
    /// What the number is after a byte more, if it goes on with it.
    const fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Sign, b'0') => Some(Self::Zero),
            (Self::Sign | Self::Digit, b'0'..=b'9') => Some(Self::Digit),
            (Self::Zero | Self::Digit, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digit | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::ESign),
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    const fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Digit | Self::Fraction | Self::Exponent)
    }
}

impl JsonSoFar {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { next: Next::Object, open: 0, depth: 0, blanks: 0 }
    }

    /// Whether the object is closed.
    pub fn is_whole(&self) -> bool {
        self.next == Next::Nothing
    }

    /// What it is after some bytes more, if they fit.
    pub fn after(mut self, bytes: &[u8]) -> Option<Self> {
        bytes.iter().try_for_each(|&byte| self.take(byte))?;
        Some(self)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if let Next::Number(number) = self.next {
            if let Some(number) = number.after(byte) {
                self.next = Next::Number(number);
                return Some(());
            }
            if !number.is_whole() {
                return None;
            }
            self.next = Next::More;
        }
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') && !matches!(self.next, Next::Object | Next::Text(_) | Next::Word(_) | Next::Nothing) {
            self.blanks = self.blanks.saturating_add(1);
            return (self.blanks <= BLANKS.saturating_add(self.depth.saturating_mul(INDENT))).then_some(());
        }
        self.blanks = 0;
        self.next = match (self.next, byte) {
            (Next::Text(inside), byte) => text(inside, byte)?,
            (Next::Word([wanted, rest @ ..]), byte) if byte == *wanted => {
                if rest.is_empty() {
                    Next::More
                } else {
                    Next::Word(rest)
                }
            }
            (Next::Object | Next::Value | Next::Item, b'{') => self.opened(true)?,
            (Next::Value | Next::Item, b'[') => self.opened(false)?,
            (Next::Value | Next::Item, b'"') => Next::Text(Inside { is_key: false, escape: Escape::None }),
            (Next::FirstKey | Next::Key, b'"') => Next::Text(Inside { is_key: true, escape: Escape::None }),
            (Next::Value | Next::Item, b'-') => Next::Number(Number::Sign),
            (Next::Value | Next::Item, b'0') => Next::Number(Number::Zero),
            (Next::Value | Next::Item, b'1'..=b'9') => Next::Number(Number::Digit),
            (Next::Value | Next::Item, b't') => Next::Word(b"rue"),
            (Next::Value | Next::Item, b'f') => Next::Word(b"alse"),
            (Next::Value | Next::Item, b'n') => Next::Word(b"ull"),
            (Next::Colon, b':') => Next::Value,
            (Next::More, b',') => {
                if self.is_in_object() {
                    Next::Key
                } else {
                    Next::Value
                }
            }
            (Next::FirstKey | Next::More, b'}') if self.is_in_object() => self.closed(),
            (Next::Item | Next::More, b']') if !self.is_in_object() => self.closed(),
            _ => return None,
        };
        Some(())
    }

    const fn is_in_object(&self) -> bool {
        self.open & 1 == 1
    }

    fn opened(&mut self, is_object: bool) -> Option<Next> {
        self.depth += 1;
        self.open = self.open << 1 | u64::from(is_object);
        (self.depth < DEEPEST).then_some(if is_object { Next::FirstKey } else { Next::Item })
    }

    const fn closed(&mut self) -> Next {
        self.depth -= 1;
        self.open >>= 1;
        if self.depth == 0 { Next::Nothing } else { Next::More }
    }
}

/// What comes after a byte of a string.
const fn text(inside: Inside, byte: u8) -> Option<Next> {
    let escape = match (inside.escape, byte) {
        (Escape::None, b'"') => return Some(if inside.is_key { Next::Colon } else { Next::More }),
        (Escape::None, b'\\') => Escape::Begun,
        (Escape::None, 0x20..) => Escape::None,
        (Escape::Begun, b'u') => Escape::Digits(4),
        (Escape::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::None,
        (Escape::Digits(left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
            if left > 1 {
                Escape::Digits(left - 1)
            } else {
                Escape::None
            }
        }
        _ => return None,
    };
    Some(Next::Text(Inside { escape, ..inside }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn whole(text: &str) -> Option<bool> {
        JsonSoFar::new().after(text.as_bytes()).map(|so_far| so_far.is_whole())
    }

    /// Any value, nested a few times.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn each_object_fits_from_its_beginning_to_its_end_and_not_before(value in value(), is_pretty in any::<bool>()) {
            let value = serde_json::json!({ "a": value });
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let (last, before) = (text.len() - 1, &text.as_bytes()[..text.len() - 1]);
            prop_assert_eq!(JsonSoFar::new().after(before).map(|so_far| so_far.is_whole()), Some(false));
            prop_assert_eq!(whole(&text), Some(true), "{} of {}", last, text);
        }

        #[test]
        fn what_is_taken_for_whole_is_json(text in "\\{[\"a:,\\[\\]{}0-9.eE+tru\\\\ -]{0,12}\\}") {
            if whole(&text) == Some(true) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object()), "{}", text);
            } else {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
            }
        }
    }

    #[test]
    fn what_cannot_become_an_object_is_seen_at_once() {
        for text in
            ["[", "\"", "x", "{,", "{\"a\" 1", "{\"a\":01", "{\"a\":1,}", "{\"a\":[1,]", "{\"a\":\"\n", "{\"a\":tru ", "{\"a\":-}", "{} ", "{\"a\":\"\\x"]
        {
            assert_eq!(whole(text), None, "{text}");
        }
        assert_eq!(whole(" "), None);
        assert_eq!(whole(&format!("{{{}", " ".repeat(7))), None);
        assert_eq!(whole(&format!("{{\"a\":{}", "[".repeat(70))), None);
    }
}
