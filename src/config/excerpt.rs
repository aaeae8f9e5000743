use kdl::{KdlDocument, KdlError, KdlNode};

use super::file::Span;

/// Parses some of the nodes of a text and nothing between them. Spans are as if the whole had been parsed.
pub fn parse(text: &str, spans: &[Span]) -> Result<KdlDocument, KdlError> {
    let mut document = KdlDocument::new();
    for span in spans {
        let excerpt = text.get(span.start..span.start + span.length).unwrap_or_default();
        let mut part = KdlDocument::parse_v2(excerpt)?;
        for mut node in part.nodes_mut().drain(..) {
            shift(&mut node, span.start);
            document.nodes_mut().push(node);
        }
    }
    Ok(document)
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
