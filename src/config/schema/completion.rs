//! What an editor offers: each node with its values, its properties and what may stand inside it.

use serde::Serialize;

use super::super::checked::expected;
use super::super::language::Language;
use super::super::table::{Fallback, Kind, Repeat, Setting, Slot};
use super::{default, inside, is_known, is_overlay};

/// One node.
#[derive(Debug, Serialize)]
struct Node {
    name: &'static str,
    doc: &'static str,
    /// Whether it may stand several times.
    repeats: bool,
    /// Whether it must stand.
    required: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<Offer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Offer>,
    /// Where what stands inside it is told: the node of this name further up, or at the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_as: Option<&'static str>,
    /// Whether nodes with names of the user's own may stand inside it.
    open: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inside: Vec<Self>,
}

/// One value or property.
#[derive(Debug, Serialize)]
struct Offer {
    name: &'static str,
    doc: &'static str,
    /// What it takes, in words.
    takes: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// The words that it can be.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    choices: &'static [&'static str],
    /// The kinds of stages whose names it takes.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    stages: &'static [&'static str],
}

pub fn tree(language: Language) -> String {
    let nodes: Vec<Node> = language.nodes().into_iter().map(|setting| node(language, setting, &mut Vec::new())).collect();
    format!("{}\n", serde_json::to_string_pretty(&nodes).unwrap_or_default())
}

fn node(language: Language, setting: &'static Setting, path: &mut Vec<&'static Setting>) -> Node {
    let is_told = is_known(setting, path) || is_overlay(language, setting, path);
    path.push(setting);
    let below = if is_told { Vec::new() } else { inside(language, setting, path).into_iter().map(|child| node(language, child, path)).collect() };
    path.pop();
    Node {
        name: setting.name,
        doc: setting.doc,
        repeats: setting.repeat == Repeat::Many,
        required: setting.repeat == Repeat::Once,
        values: setting.arguments.iter().chain(setting.rest).map(offer).collect(),
        properties: setting.properties.iter().map(offer).collect(),
        same_as: is_told.then_some(setting.name),
        open: setting.open_children.is_some(),
        inside: below,
    }
}

fn offer(slot: &Slot) -> Offer {
    let (choices, stages): (&'static [&'static str], &'static [&'static str]) = match slot.kind {
        Kind::Choice(choices) => (choices, &[]),
        Kind::Stage(kinds) | Kind::Model(kinds) => (&[], kinds),
        Kind::Flag => (&["#true", "#false"], &[]),
        _ => (&[], &[]),
    };
    Offer { name: slot.name, doc: slot.doc, takes: expected(slot.kind), required: slot.fallback == Fallback::Required, default: default(slot), choices, stages }
}
