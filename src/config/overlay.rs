//! Putting the settings of one node over, or under, those of another, before either is decoded.

use kdl::{KdlDocument, KdlEntry, KdlNode};

use super::table::{Repeat, Setting};

/// Puts what `over` says in the place of what `base` says. A node that may stand once is gone into; nodes that may stand several
/// times take the place of all of that name.
pub fn overlay(base: &mut KdlNode, over: &KdlNode, setting: &'static Setting) {
    if over.entries().iter().any(is_argument) {
        base.entries_mut().retain(|entry| !is_argument(entry));
        base.entries_mut().splice(0..0, over.entries().iter().filter(|entry| is_argument(entry)).cloned());
    }
    for property in over.entries().iter().filter(|entry| !is_argument(entry)) {
        match base.entries_mut().iter_mut().find(|entry| key(entry) == key(property)) {
            Some(found) => *found = property.clone(),
            None => base.entries_mut().push(property.clone()),
        }
    }
    let table = (setting.children)();
    let mut replaced: Vec<&str> = Vec::new();
    for child in inside(over) {
        let name = child.name().value();
        let known = table.iter().copied().find(|known| known.name == name);
        let repeats = known.is_some_and(|known| known.repeat == Repeat::Many);
        let nodes = base.ensure_children().nodes_mut();
        let place = nodes.iter().position(|node| node.name().value() == name);
        match (place, known) {
            (Some(_), _) if repeats && replaced.contains(&name) => {
                let last = nodes.iter().rposition(|node| node.name().value() == name).map_or(nodes.len(), |last| last + 1);
                nodes.insert(last, child.clone());
            }
            (Some(place), _) if repeats => {
                nodes.retain(|node| node.name().value() != name);
                nodes.insert(place.min(nodes.len()), child.clone());
            }
            (Some(place), Some(known)) if !differ(&nodes[place], child, known) => overlay(&mut nodes[place], child, known),
            (Some(place), _) => nodes[place] = child.clone(),
            (None, _) => nodes.push(child.clone()),
        }
        replaced.push(name);
    }
}

/// Puts what `from` says where `node` says nothing. Nodes that may stand several times are taken where there is none of that
/// name, and stand before the node's own.
pub fn fill(node: &mut KdlNode, from: &KdlNode, setting: &'static Setting) {
    let has_arguments = node.entries().iter().any(is_argument);
    for entry in from.entries() {
        let is_there = if is_argument(entry) { has_arguments } else { node.entries().iter().any(|own| key(own) == key(entry)) };
        if !is_there {
            node.entries_mut().push(entry.clone());
        }
    }
    let table = (setting.children)();
    let mut before = Vec::new();
    for child in inside(from) {
        let name = child.name().value();
        let known = table.iter().copied().find(|known| known.name == name);
        let own = node.children_mut().as_mut().and_then(|children| children.nodes_mut().iter_mut().find(|own| own.name().value() == name));
        match (own, known) {
            (None, _) => before.push(child.clone()),
            (Some(own), Some(known)) if known.repeat != Repeat::Many && !differ(own, child, known) => fill(own, child, known),
            (Some(_), _) => {}
        }
    }
    if !before.is_empty() {
        node.ensure_children().nodes_mut().splice(0..0, before);
    }
}

/// Whether two nodes are of different sorts, as `method "dpo"` and `method "supervised"` are, so that the settings of one mean
/// nothing to the other.
fn differ(one: &KdlNode, other: &KdlNode, setting: &'static Setting) -> bool {
    let arguments = |node: &KdlNode| node.entries().iter().filter(|entry| is_argument(entry)).map(|entry| entry.value().clone()).collect::<Vec<_>>();
    let (one, other) = (arguments(one), arguments(other));
    setting.open_children.is_some() || !(setting.children)().is_empty() && !one.is_empty() && !other.is_empty() && one != other
}

fn inside(node: &KdlNode) -> impl Iterator<Item = &KdlNode> {
    node.children().into_iter().flat_map(KdlDocument::nodes)
}

fn is_argument(entry: &KdlEntry) -> bool {
    entry.name().is_none()
}

fn key(entry: &KdlEntry) -> Option<&str> {
    entry.name().map(|name| name.value())
}

#[cfg(test)]
mod tests {
    use super::super::table::{Kind, Slot};
    use super::*;

    static ONE: Setting =
        Setting::new("one", "").arguments(&[Slot::new("x", Kind::Any, "")]).properties(&[Slot::new("p", Kind::Any, "")]).children(|| vec![&LEAF]);
    static LEAF: Setting = Setting::new("leaf", "").arguments(&[Slot::new("x", Kind::Any, "")]);
    static MANY: Setting = Setting::new("many", "").many();
    static TOP: Setting = Setting::new("top", "").children(|| vec![&ONE, &LEAF, &MANY]);

    fn told(node: &KdlNode) -> String {
        let entries = node.entries().iter().map(|entry| format!(" {}", entry.to_string().trim()));
        let inside = inside(node).map(told).collect::<Vec<_>>().join(" ");
        let inside = if inside.is_empty() { inside } else { format!(" {{ {inside} }}") };
        format!("{}{}{inside}", node.name().value(), entries.collect::<String>())
    }

    fn merged(by: fn(&mut KdlNode, &KdlNode, &'static Setting), base: &str, other: &str) -> String {
        let mut node = KdlNode::parse(base).expect("it is KDL");
        by(&mut node, &KdlNode::parse(other).expect("it is KDL"), &TOP);
        told(&node)
    }

    #[test]
    fn what_lies_over_wins() {
        let base = "top { leaf 1; many a=1; one { leaf 2 }; many a=2 }";
        assert_eq!(merged(overlay, base, "top { leaf 3 }"), "top { leaf 3 many a=1 one { leaf 2 } many a=2 }");
        assert_eq!(merged(overlay, base, "top { many a=3; many a=4 }"), "top { leaf 1 many a=3 many a=4 one { leaf 2 } }");
        assert_eq!(merged(overlay, base, "top { one p=7 { leaf 9 } }"), "top { leaf 1 many a=1 one p=7 { leaf 9 } many a=2 }");
        assert_eq!(merged(overlay, "top { one x { leaf 2 } }", "top { one y }"), "top { one y }", "another sort");
        assert_eq!(merged(overlay, "top", "top { leaf 1 }"), "top { leaf 1 }");
    }

    #[test]
    fn what_lies_under_fills() {
        let base = "top { leaf 1; one x { leaf 2 } }";
        assert_eq!(merged(fill, base, "top { leaf 3; many a=1; many a=2 }"), "top { many a=1 many a=2 leaf 1 one x { leaf 2 } }");
        assert_eq!(merged(fill, base, "top { one p=7 { leaf 9 } }"), "top { leaf 1 one x p=7 { leaf 2 } }");
        assert_eq!(merged(fill, "top { one x }", "top { one y { leaf 9 } }"), "top { one x }", "another sort");
        assert_eq!(merged(fill, "top { many a=9 }", "top { many a=1 }"), "top { many a=9 }");
    }
}
