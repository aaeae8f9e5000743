use std::fmt::Write as _;

use crate::ledger;

/// A pipeline in the making.
#[derive(Debug)]
pub struct Draft {
    text: String,
}

impl Draft {
    pub fn new(name: &str, of: &str) -> Self {
        let mut draft = Self { text: String::new() };
        draft.comment(&format!("Made by `retune import` of {of}."));
        draft.node("pipeline", &[name]);
        draft
    }

    /// A line that people read.
    pub fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.text, "// {line}");
        }
    }

    /// A node with texts as its values.
    pub fn node(&mut self, name: &str, values: &[&str]) {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        self.raw(&format!("{name} {}", values.join(" ")));
    }

    /// A node as it is written.
    pub fn raw(&mut self, node: &str) {
        let _ = writeln!(self.text, "{}", node.trim_end());
    }

    /// A node with others inside.
    pub fn open(&mut self, name: &str, values: &[&str], inside: impl FnOnce(&mut Self)) {
        let values: Vec<String> = values.iter().map(|value| format!(" {}", quoted(value))).collect();
        let _ = writeln!(self.text, "{name}{} {{", values.concat());
        inside(self);
        self.text.push_str("}\n");
    }

    /// What has no counterpart.
    pub fn left(&mut self, left: &[(String, String)]) {
        if left.is_empty() {
            return;
        }
        self.text.push('\n');
        self.comment("What has no counterpart here:");
        for (place, value) in left {
            self.comment(&format!("  {place}: {value}"));
        }
    }

    pub fn done(self) -> String {
        self.text
    }
}

/// A text as KDL has it. What another tool puts in is no parameter of ours.
pub fn quoted(text: &str) -> String {
    ledger::quoted(text).replace("${param.", "$${param.")
}

/// A name as stages may have it.
pub fn name(text: &str) -> String {
    let fine = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = text.chars().map(fine).take(60).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "imported".into() } else { name }
}

/// A number as KDL has it.
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value}") }
}
