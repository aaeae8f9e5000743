use std::collections::BTreeMap;

use crate::config::{Block, Effect, PipelineFile, Repeat, Span, Value};

use super::{Leaf, Tree};

/// The part of a fingerprint that a block's settings make: all that its table says can change the result.
///
/// Defaults are filled in, so writing a default out changes nothing. Nodes whose order means nothing are
/// sorted, operators keep their order.
#[must_use]
pub fn settings(block: &Block, file: &PipelineFile) -> Tree {
    settings_of(block, file, |_| true)
}

/// As [`settings`], for only those child nodes that `wanted` takes by name.
#[must_use]
pub fn settings_of(block: &Block, file: &PipelineFile, wanted: impl Fn(&str) -> bool) -> Tree {
    Tree::Map(parts(block, file, &wanted))
}

fn parts(block: &Block, file: &PipelineFile, wanted: &dyn Fn(&str) -> bool) -> BTreeMap<String, Tree> {
    let mut parts = BTreeMap::new();
    for (name, value) in &block.slots {
        if block.setting.slot(name).is_some_and(|slot| slot.effect == Effect::Result) {
            parts.insert((*name).to_owned(), leaf(&value.value, value.span, file));
        }
    }
    if let Some(further) = block.setting.rest.filter(|slot| slot.effect == Effect::Result && !block.rest.is_empty()) {
        parts.insert(further.name.to_owned(), Tree::List(block.rest.iter().map(|value| leaf(&value.value, value.span, file)).collect()));
    }
    if block.setting.version > 0 {
        parts.insert("version".into(), Tree::leaf(Leaf::Integer(block.setting.version.into())));
    }
    let mut operators = Vec::new();
    let mut repeated: BTreeMap<&str, Vec<Tree>> = BTreeMap::new();
    let children = block.children.iter().filter(|child| child.setting.effect == Effect::Result && wanted(child.setting.name));
    for child in children {
        let mut inner = self::parts(child, file, &|_| true);
        let name = child.setting.name;
        if child.setting.ordered {
            inner.insert("operator".into(), Tree::text(name));
            operators.push(Tree::Map(inner));
        } else if child.setting.repeat == Repeat::Many {
            repeated.entry(name).or_default().extend((!inner.is_empty()).then_some(Tree::Map(inner)));
        } else {
            parts.insert(name.to_owned(), collapsed(child, inner));
        }
    }
    for (name, mut trees) in repeated {
        trees.sort_by_cached_key(|tree| {
            let mut bytes = Vec::new();
            tree.encode(&mut bytes);
            bytes
        });
        if !trees.is_empty() {
            parts.insert(name.to_owned(), Tree::List(trees));
        }
    }
    if !operators.is_empty() {
        parts.insert("operators".into(), Tree::List(operators));
    }
    parts
}

/// A node that is nothing but one argument is that argument: `epochs 4` is `epochs = 4`.
fn collapsed(child: &Block, mut inner: BTreeMap<String, Tree>) -> Tree {
    let only = match child.setting.arguments {
        [only] if inner.len() == 1 => inner.remove(only.name),
        _ => None,
    };
    only.unwrap_or(Tree::Map(inner))
}

fn leaf(value: &Value, span: Span, file: &PipelineFile) -> Tree {
    let value = match value {
        Value::Text(text) => Leaf::Text(text.clone()),
        Value::Integer(number) => Leaf::Integer(*number),
        Value::Number(number) => Leaf::Number(*number),
        Value::Flag(flag) => Leaf::Flag(*flag),
    };
    let place = file.place(span);
    Tree::Leaf { value, origin: Some(format!("{}:{}", place.part.name, place.line)) }
}
