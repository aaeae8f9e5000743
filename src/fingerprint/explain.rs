use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, Leaf, Preimage, Tree};

/// One difference between what a result was made from and what it would be made from now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The path of the field: `settings.method.epochs`, `inputs.files.data/a.csv`.
    pub field: String,
    /// What it was; nothing if it is new.
    pub old: Option<String>,
    /// What it is; nothing if it is gone.
    pub new: Option<String>,
    /// Where it is written, or which stage made it.
    pub origin: Option<String>,
}

/// The differences of two preimages, by field.
#[must_use]
pub fn explain(old: &Preimage, new: &Preimage) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    let (old, new) = (old.tree(), new.tree());
    flatten(&old, String::new(), &mut before);
    flatten(&new, String::new(), &mut after);
    let mut fields: Vec<&String> = before.keys().chain(after.keys()).collect();
    fields.sort();
    fields.dedup();
    let changed = fields.into_iter().filter(|field| before.get(*field).map(|l| &l.0) != after.get(*field).map(|l| &l.0));
    changed
        .map(|field| {
            let (old, new) = (before.get(field), after.get(field));
            let origin = new.or(old).and_then(|(_, origin)| origin.map(str::to_owned));
            if let (Some((old, _)), Some((new, _))) = (old, new)
                && let Some((old, new)) = as_program(old, new)
            {
                return Change { field: field.clone(), old: Some(old), new: Some(new), origin };
            }
            Change { field: field.clone(), old: old.map(|(leaf, _)| shown(leaf)), new: new.map(|(leaf, _)| shown(leaf)), origin }
        })
        .collect()
}

/// A file with the same content that may be executed now, or may not any more.
fn as_program(old: &Leaf, new: &Leaf) -> Option<(String, String)> {
    let (Leaf::Content(old), Leaf::Content(new)) = (old, new) else {
        return None;
    };
    let (plain, program) = (|digest: &Digest| format!("{}, no program", digest.short()), |digest: &Digest| format!("{}, a program", digest.short()));
    if old.of_program() == *new {
        Some((plain(old), program(old)))
    } else if new.of_program() == *old {
        Some((program(new), plain(new)))
    } else {
        None
    }
}

type Leaves<'a> = BTreeMap<String, (Cow<'a, Leaf>, Option<&'a str>)>;

fn flatten<'a>(tree: &'a Tree, path: String, out: &mut Leaves<'a>) {
    let under = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match tree {
        Tree::Leaf { value, origin } => {
            out.insert(path, (Cow::Borrowed(value), origin.as_deref()));
        }
        Tree::Map(parts) => {
            for (name, part) in parts {
                flatten(part, under(name), out);
            }
        }
        Tree::List(parts) => {
            let names: Vec<Option<&str>> = parts.iter().map(operator).collect();
            for (index, part) in parts.iter().enumerate() {
                // Operators go by name, so that one that is put in or taken out does not make all others look changed.
                let name = names[index].map_or_else(
                    || (index + 1).to_string(),
                    |name| match names[..index].iter().filter(|before| **before == Some(name)).count() {
                        0 => name.to_owned(),
                        before => format!("{name} {}", before + 1),
                    },
                );
                flatten(part, under(&name), out);
            }
            let order: Vec<&str> = names.into_iter().flatten().collect();
            if !order.is_empty() {
                out.insert(path, (Cow::Owned(Leaf::Text(order.join(", "))), None));
            }
        }
    }
}

/// The name of an operator, if that is what a part of a list is.
fn operator(part: &Tree) -> Option<&str> {
    let Tree::Map(parts) = part else { return None };
    match parts.get("operator")? {
        Tree::Leaf { value: Leaf::Text(name), .. } => Some(name),
        _ => None,
    }
}

fn shown(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Text(text) => format!("{text:?}"),
        Leaf::Integer(number) => number.to_string(),
        Leaf::Number(number) => number.to_string(),
        Leaf::Flag(flag) => format!("#{flag}"),
        Leaf::Content(digest) => digest.short(),
    }
}
