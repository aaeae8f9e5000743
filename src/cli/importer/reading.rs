use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

/// A config, and what of it has been asked for.
#[derive(Debug)]
pub struct Reading {
    root: Value,
    /// JSON pointers of what somebody took, with all below them.
    taken: RefCell<BTreeSet<String>>,
}

impl Reading {
    pub fn of(root: Value) -> Self {
        Self { root, taken: RefCell::default() }
    }

    /// The value at a JSON pointer, which counts as taken with all below it.
    pub fn take(&self, pointer: &str) -> Option<&Value> {
        let found = self.root.pointer(pointer)?;
        self.taken.borrow_mut().insert(pointer.to_owned());
        Some(found)
    }

    /// The value at a JSON pointer, of which only what is asked for itself counts as taken.
    pub fn look(&self, pointer: &str) -> Option<&Value> {
        self.root.pointer(pointer)
    }

    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.look(pointer)?.as_str()?;
        self.take(pointer)?.as_str()
    }

    pub fn number(&self, pointer: &str) -> Option<f64> {
        let value = self.look(pointer)?;
        // YAML takes `1e-4` for a text.
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        self.take(pointer)?;
        Some(number)
    }

    pub fn flag(&self, pointer: &str) -> Option<bool> {
        let flag = self.look(pointer)?.as_bool()?;
        self.take(pointer)?;
        Some(flag)
    }

    /// How many elements a list has.
    pub fn length(&self, pointer: &str) -> usize {
        self.look(pointer).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The names in an object, in its order.
    pub fn names(&self, pointer: &str) -> Vec<String> {
        self.look(pointer).and_then(Value::as_object).map(|object| object.keys().cloned().collect()).unwrap_or_default()
    }

    /// All that nobody took: each by its place, with its value.
    pub fn left(&self) -> Vec<(String, String)> {
        let mut left = Vec::new();
        self.gather(&self.root, String::new(), &mut left);
        left
    }

    fn gather(&self, value: &Value, pointer: String, left: &mut Vec<(String, String)>) {
        if self.taken.borrow().contains(&pointer) {
            return;
        }
        match value {
            Value::Object(object) if !object.is_empty() => object.iter().for_each(|(name, value)| self.gather(value, below(&pointer, name), left)),
            Value::Array(list) if !list.is_empty() => list.iter().enumerate().for_each(|(nth, value)| self.gather(value, format!("{pointer}/{nth}"), left)),
            // What says nothing is no loss.
            Value::Null => {}
            value => left.push((pointer.trim_start_matches('/').replace('/', "."), value.to_string())),
        }
    }
}

/// The pointer of what has a name in an object.
pub fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
