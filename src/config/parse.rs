//! Text to KDL nodes whose places are counted over all files of a pipeline.

use kdl::{KdlDocument, KdlError, KdlNode};

use super::error::ConfigError;
use super::file::Span;

/// Nesting beyond this is refused before the parser sees it, since it would recurse as deep.
const DEEPEST: usize = 64;

/// The nodes of a text that begins at an offset.
pub fn nodes(text: &str, start: usize) -> Result<Vec<KdlNode>, Vec<ConfigError>> {
    if let Some(at) = too_deep(text) {
        return Err(vec![ConfigError::TooDeep { limit: DEEPEST, at: Span { start: start + at, length: 1 }.into() }]);
    }
    let mut document = KdlDocument::parse_v2(text).map_err(|error| syntax_errors(error, start))?;
    let mut nodes = std::mem::take(document.nodes_mut());
    if start > 0 {
        nodes.iter_mut().for_each(|node| shift(node, start));
    }
    Ok(nodes)
}

/// The nodes at some places of a text that is known to be right, and nothing between them.
pub fn excerpt(text: &str, spans: &[Span]) -> Result<Vec<KdlNode>, Vec<ConfigError>> {
    let mut found = Vec::with_capacity(spans.len());
    for span in spans {
        found.extend(nodes(text.get(span.start..span.start + span.length).unwrap_or_default(), span.start)?);
    }
    Ok(found)
}

fn shift(node: &mut KdlNode, by: usize) {
    node.set_span((node.span().offset() + by, node.span().len()));
    let name = node.name_mut();
    name.set_span((name.span().offset() + by, name.span().len()));
    for entry in node.entries_mut() {
        entry.set_span((entry.span().offset() + by, entry.span().len()));
        if let Some(name) = entry.name_mut() {
            name.set_span((name.span().offset() + by, name.span().len()));
        }
        if let Some(annotation) = entry.ty_mut() {
            annotation.set_span((annotation.span().offset() + by, annotation.span().len()));
        }
    }
    for child in node.children_mut().iter_mut().flat_map(KdlDocument::nodes_mut) {
        shift(child, by);
    }
}

/// Where nesting of braces, of annotations, or of block comments, goes deeper than the recursive parser should be asked to follow.
fn too_deep(text: &str) -> Option<usize> {
    let (mut braces, mut comments, mut types) = (0_usize, 0_usize, 0_usize);
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match (byte, bytes.get(at + 1)) {
            (b'{', _) => braces += 1,
            (b'}', _) => braces = braces.saturating_sub(1),
            (b'(', _) => types += 1,
            (b')', _) => types = types.saturating_sub(1),
            // An annotation ends with its line, and what is in strings is no annotation.
            (b'\n' | b'"', _) => types = 0,
            (b'/', Some(b'*')) => comments += 1,
            (b'*', Some(b'/')) => comments = comments.saturating_sub(1),
            _ => {}
        }
        if braces.max(comments).max(types) > DEEPEST {
            return Some(at);
        }
    }
    None
}

/// More than this many are no help.
const SHOWN: usize = 20;

fn syntax_errors(error: KdlError, start: usize) -> Vec<ConfigError> {
    let diagnostics = error.diagnostics.into_iter().take(SHOWN);
    diagnostics
        .map(|diagnostic| ConfigError::Syntax {
            problem: diagnostic.message.clone().unwrap_or_else(|| "unexpected text".into()),
            label: diagnostic.label.clone().unwrap_or_else(|| "here".into()),
            at: (diagnostic.span.offset() + start, diagnostic.span.len()).into(),
            help: diagnostic.help.clone().unwrap_or_else(|| "strings need quotes, properties are `name=value`, booleans `#true` and `#false`".into()),
        })
        .collect()
}
