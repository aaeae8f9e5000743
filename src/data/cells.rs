use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The fields of a row in the order of the file. Those that came as JSON are taken apart only once somebody looks at them: most
/// rows pass most of the way as they are.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// The object as it was written, while nobody changed it. It can be taken apart: that was seen when it came in.
    written: Option<Box<str>>,
    apart: OnceLock<Map<String, Value>>,
}

impl Cells {
    /// The fields of an object that stands on one line.
    ///
    /// # Errors
    /// When it is no object, or one that cannot be taken apart.
    pub fn written(line: &str) -> Result<Self, serde_json::Error> {
        let object = line.trim();
        if !(object.starts_with('{') && is_simple(object.as_bytes()) && serde_json::from_str::<IgnoredAny>(object).is_ok()) {
            let mut reader = serde_json::Deserializer::from_str(object);
            Sound { object: true }.deserialize(&mut reader)?;
            reader.end()?;
        }
        Ok(Self::sound(object))
    }

    /// An object that went through [`Cells::written`] before.
    pub(super) fn sound(object: &str) -> Self {
        Self { written: Some(object.into()), apart: OnceLock::new() }
    }

    /// The object as it was written, where it was and is so still.
    #[must_use]
    pub fn as_written(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// Lets a change be made of the fields, which tells whether there was one.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> bool {
        let _ = &**self;
        let changed = self.apart.get_mut().is_some_and(change);
        if changed {
            self.written = None;
        }
        changed
    }

    /// About how much memory they take once they were taken apart, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// How much more than the text.
        const APART: usize = 2;
        let written = self.as_written().map_or(0, str::len);
        written + self.apart.get().map_or(APART * written, |fields| fields.iter().map(|(name, value)| 64 + name.len() + weight(value)).sum())
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 24 + text.len(),
        Value::Array(parts) => parts.iter().map(|part| 32 + weight(part)).sum(),
        Value::Object(parts) => parts.iter().map(|(name, part)| 64 + name.len() + weight(part)).sum(),
        _ => 0,
    }
}

impl Deref for Cells {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        self.apart.get_or_init(|| self.as_written().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }
}

impl DerefMut for Cells {
    fn deref_mut(&mut self) -> &mut Self::Target {
        if let Some(written) = self.written.take() {
            self.apart.get_or_init(|| serde_json::from_str(&written).unwrap_or_default());
        }
        self.apart.get_or_init(Map::new);
        self.apart.get_mut().expect("it was just made")
    }
}

impl From<Map<String, Value>> for Cells {
    fn from(fields: Map<String, Value>) -> Self {
        Self { written: None, apart: fields.into() }
    }
}

impl PartialEq for Cells {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.written {
            Some(written) => serde_json::from_str::<&RawValue>(written).map_err(S::Error::custom)?.serialize(serializer),
            None => (**self).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(deserializer)?;
        if !written.get().starts_with('{') {
            return Err(D::Error::custom("expected an object"));
        }
        Ok(Self { written: Some(written.into()), apart: OnceLock::new() })
    }
}

/// Whether there is nothing in a text over which taking it apart could stumble though its grammar is right: numbers beyond all
/// bounds, halves of surrogate pairs, depth. Seen in one go over the bytes, without a way out of the loops, in lanes of one byte.
fn is_simple(text: &[u8]) -> bool {
    /// Fewer digits than this cannot make a number that is too large, nor fewer brackets go too deep.
    const FEW: usize = 120;
    /// What a byte can count.
    const LANE: usize = 255;
    let (mut odd, mut digits, mut brackets) = (0_u8, 0, 0);
    for from in (0..text.len()).step_by(LANE) {
        let part = &text[from..text.len().min(from + LANE)];
        let (some, open) = part.iter().fold((0_u8, 0_u8), |(some, open), byte| (some + u8::from(byte.is_ascii_digit()), open + u8::from(byte | 0x20 == b'{')));
        (digits, brackets) = (digits + usize::from(some), brackets + usize::from(open));
        let next = &text[(from + 1).min(text.len())..text.len().min(from + LANE + 1)];
        odd |= part.iter().zip(next).fold(0, |any, (one, next)| {
            any | u8::from(one.is_ascii_digit()) & u8::from(next | 0x20 == b'e') | u8::from(*one == b'\\') & u8::from(*next == b'u')
        });
    }
    odd == 0 && digits < FEW && brackets < FEW
}

/// Goes through a value as if it were taken apart, and keeps nothing: what passes here can be read later.
struct Sound {
    /// Whether it must be an object.
    object: bool,
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.object { deserializer.deserialize_map(self) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.object { "an object" } else { "any value" })
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        while parts.next_element_seed(Sound { object: false })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        while parts.next_key_seed(Sound { object: false })?.is_some() {
            parts.next_value_seed(Sound { object: false })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_can_be_taken_apart_and_what_cannot_does_not() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        for line in ["{}", r#"{"a": 1, "b": [null, true, -2.5e3, "\u00e9\ud83d\ude00"]}"#, " {\"a\":{\"b\":\"x\"}} ", &deep(100)] {
            let cells = Cells::written(line).expect("it is an object");
            assert_eq!(*cells, serde_json::from_str::<Map<String, Value>>(line).expect("it is an object"), "{line}");
        }
        let long = format!("{{\"a\":{}}}", "9".repeat(400));
        for line in [
            &long,
            "{\"a\":\"\\u\"}",
            "{\"a\":01}",
            "{\"a\" 1}",
            "",
            "[]",
            "1",
            "{",
            "{}x",
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\u{1}\"}",
            &deep(10_000),
        ] {
            assert!(serde_json::from_str::<Map<String, Value>>(line).is_err(), "{line}");
            assert!(Cells::written(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_changed_is_no_longer_as_it_was_written() {
        let mut cells = Cells::written(r#"{"b":1,"a":2}"#).expect("it is an object");
        assert_eq!(serde_json::to_string(&cells).expect("it is JSON"), r#"{"b":1,"a":2}"#);
        cells.insert("a".into(), Value::from(3));
        assert_eq!(cells.as_written(), None);
        assert_eq!(serde_json::to_string(&cells).expect("it is JSON"), r#"{"b":1,"a":3}"#);
    }
}
