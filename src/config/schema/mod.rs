//! What the tables say, for others: a schema of the language, pages of reference, and data for completion.

mod completion;
mod kdl;
mod reference;

use super::language::Language;
use super::table::{Fallback, Setting, Slot};

impl Language {
    /// The language as a document of the KDL Schema Language.
    #[must_use]
    pub fn kdl_schema(&self) -> String {
        kdl::document(*self)
    }

    /// The reference as Markdown pages by file name, one for each node at the top of a file.
    #[must_use]
    pub fn reference(&self) -> Vec<(String, String)> {
        reference::pages(*self)
    }

    /// All nodes with what they take, as JSON for editors.
    #[must_use]
    pub fn completion(&self) -> String {
        completion::tree(*self)
    }
}

/// What may stand inside a node, by the table of the language where it is one at the top.
fn inside(language: Language, setting: &'static Setting, path: &[&'static Setting]) -> Vec<&'static Setting> {
    if path.len() > 1 { (setting.children)() } else { language.inside(setting) }
}

/// Whether a node stands inside one of its own kind, so that it is described already.
fn is_known(setting: &'static Setting, path: &[&'static Setting]) -> bool {
    path.iter().any(|above| std::ptr::eq(*above, setting))
}

/// Whether a node of this path only changes one that is described elsewhere, as a stage in a profile does.
fn is_overlay(language: Language, setting: &'static Setting, path: &[&'static Setting]) -> bool {
    path.len() == 1 && language.nodes().iter().any(|top| std::ptr::eq(*top, setting))
}

/// What holds where a slot is not written, as it would be written.
fn default(slot: &Slot) -> Option<String> {
    match slot.fallback {
        Fallback::Required | Fallback::Absent => None,
        Fallback::Text(text) => Some(format!("{text:?}")),
        Fallback::Integer(number) => Some(written(slot, number)),
        Fallback::Number(number) => Some(number.to_string()),
        Fallback::Flag(flag) => Some(format!("#{flag}")),
    }
}

/// Times and sizes are kept in milliseconds and bytes.
fn written(slot: &Slot, number: i64) -> String {
    match slot.kind {
        super::Kind::Duration if number % 1000 == 0 => format!("\"{}s\"", number / 1000),
        super::Kind::Duration => format!("\"{number}ms\""),
        super::Kind::Size if number > 0 => format!("\"{number}B\""),
        _ => number.to_string(),
    }
}
