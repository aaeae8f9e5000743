//! The small part of writing and reading KDL that the files of this folder need.

use std::path::Path;

use kdl::{KdlDocument, KdlNode, KdlValue};

use super::LedgerError;

/// A string as KDL, quoted.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // What KDL does not let stand as it is.
            c if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Reads a file of ours. A file that is not there is `None`.
pub fn read(path: &Path) -> Result<Option<KdlDocument>, LedgerError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("read", path)(error)),
    };
    parse(&text, path).map(Some)
}

/// The nodes of the text of a file of ours.
pub fn parse(text: &str, path: &Path) -> Result<KdlDocument, LedgerError> {
    KdlDocument::parse_v2(text).map_err(|_| LedgerError::Unreadable { path: path.to_owned(), problem: "it is not KDL".into() })
}

/// The nodes inside a node, or none.
pub fn inside(node: &KdlNode) -> &[KdlNode] {
    node.children().map_or(&[], KdlDocument::nodes)
}

/// The first argument as a string.
pub fn text(node: &KdlNode) -> Option<&str> {
    node.get(0).and_then(KdlValue::as_string)
}

/// A property as a string.
pub fn property<'a>(node: &'a KdlNode, name: &str) -> Option<&'a str> {
    node.get(name).and_then(KdlValue::as_string)
}

/// The string argument of the child node of this name.
pub fn child_text<'a>(node: &'a KdlNode, name: &str) -> Option<&'a str> {
    inside(node).iter().find(|child| child.name().value() == name).and_then(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "[\\PC\u{0}-\u{20}\u{7f}\u{85}\u{200e}-\u{202e}\u{2066}-\u{2069}\u{feff}\"\\\\]{0,20}") {
            let written = format!("alias {}\n", quoted(&text));
            let read = parse(&written, Path::new("x.kdl")).expect("it is KDL");
            prop_assert_eq!(super::text(&read.nodes()[0]), Some(text.as_str()));
        }
    }
}
