use std::collections::BTreeMap;
use std::time::Duration;

use super::{Setting, Span, Spanned, Value};

/// One decoded node: checked against its [`Setting`], parameters put in, defaults filled in.
#[derive(Clone, Debug)]
pub struct Block {
    /// The table entry that it was decoded by.
    pub setting: &'static Setting,
    /// The whole node.
    pub span: Span,
    /// The node's name.
    pub name_span: Span,
    /// Arguments and properties by name, those with a default always among them.
    pub slots: BTreeMap<&'static str, Spanned<Value>>,
    /// Further arguments, where the table takes any number of them.
    pub rest: Vec<Spanned<Value>>,
    /// The nodes inside, in the order written.
    pub children: Vec<Self>,
}

impl Block {
    /// The value of a slot, with its place.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Spanned<Value>> {
        self.slots.get(name)
    }

    /// The place of a slot's value, or of the node where it is not written.
    #[must_use]
    pub fn span_of(&self, name: &str) -> Span {
        self.slots.get(name).map_or(self.name_span, |slot| slot.span)
    }

    /// A string slot, if it has a value.
    #[must_use]
    pub fn find_text(&self, name: &str) -> Option<&str> {
        match self.slots.get(name).map(|slot| &slot.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A numeric slot, if it has a value.
    #[must_use]
    pub fn find_number(&self, name: &str) -> Option<f64> {
        match self.slots.get(name).map(|slot| &slot.value) {
            Some(Value::Number(number)) => Some(*number),
            #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^52")]
            Some(Value::Integer(number)) => Some(*number as f64),
            _ => None,
        }
    }

    /// A whole-number slot, if it has a value.
    #[must_use]
    pub fn find_integer(&self, name: &str) -> Option<i64> {
        match self.slots.get(name).map(|slot| &slot.value) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// A flag, if it has a value.
    #[must_use]
    pub fn find_flag(&self, name: &str) -> Option<bool> {
        match self.slots.get(name).map(|slot| &slot.value) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A string slot that the table requires or gives a default.
    ///
    /// # Panics
    /// When the table does neither, which is a mistake in the table.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.find_text(name).unwrap_or_else(|| self.mistaken(name))
    }

    /// A numeric slot that the table requires or gives a default.
    ///
    /// # Panics
    /// When the table does neither, which is a mistake in the table.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        self.find_number(name).unwrap_or_else(|| self.mistaken(name))
    }

    /// A whole-number slot that the table requires or gives a default.
    ///
    /// # Panics
    /// When the table does neither, which is a mistake in the table.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.find_integer(name).unwrap_or_else(|| self.mistaken(name))
    }

    /// A whole-number slot whose range in the table begins at zero or above.
    ///
    /// # Panics
    /// When the table allows a negative number, which is a mistake in the table.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.integer(name)).unwrap_or_else(|_| self.mistaken(name))
    }

    /// A duration that the table requires or gives a default.
    ///
    /// # Panics
    /// When the table does neither, which is a mistake in the table.
    #[must_use]
    pub fn duration(&self, name: &str) -> Duration {
        Duration::from_millis(self.integer(name).unsigned_abs())
    }

    /// A flag that the table requires or gives a default.
    ///
    /// # Panics
    /// When the table does neither, which is a mistake in the table.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.find_flag(name).unwrap_or_else(|| self.mistaken(name))
    }

    /// The only node of this name inside, if it stands there.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.setting.name == name)
    }

    /// All nodes of this name inside.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.setting.name == name)
    }

    /// The string argument of the only node of this name inside.
    #[must_use]
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).and_then(Self::value).and_then(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The first argument.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        let first = self.setting.arguments.first()?;
        self.slots.get(first.name).map(|slot| &slot.value)
    }

    fn mistaken(&self, name: &str) -> ! {
        panic!("the table of `{}` must require `{name}` or give it a default of the type that is asked for", self.setting.name)
    }
}
