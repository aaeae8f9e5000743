//! The reference as Markdown.

use std::fmt::Write as _;

use super::super::checked::expected;
use super::super::language::Language;
use super::super::table::{Effect, Fallback, Kind, Repeat, Setting, Slot};
use super::{default, inside, is_known, is_overlay};

pub fn pages(language: Language) -> Vec<(String, String)> {
    let mut index = String::from(
        "# Reference of the pipeline file\n\nMade from the tables that the program reads by (`just generate`); a test holds these pages to them. How the parts \
         work together: [the language](../language.md).\n\n| node | what it does |\n| --- | --- |\n",
    );
    let mut pages = Vec::new();
    for node in language.nodes() {
        let _ = writeln!(index, "| [`{0}`]({0}.md) | {1} |", node.name, node.doc);
        let mut page = String::new();
        section(language, node, &mut Vec::new(), &mut page);
        pages.push((format!("{}.md", node.name), page));
    }
    pages.push(("README.md".to_owned(), index));
    pages
}

fn section(language: Language, setting: &'static Setting, path: &mut Vec<&'static Setting>, out: &mut String) {
    let name = path.iter().chain([&setting]).map(|above| format!("`{}`", above.name)).collect::<Vec<_>>().join(" / ");
    let level = if path.is_empty() { "#" } else { "##" };
    let _ = writeln!(out, "{level} {name}\n\n{}{}", setting.doc, beside(setting));
    slots(setting, out);
    path.push(setting);
    let children = inside(language, setting, path);
    if !children.is_empty() || setting.open_children.is_some() {
        let _ = writeln!(out, "\n| inside | how often | what it does |\n| --- | --- | --- |");
        for child in children.iter().chain(&setting.open_children) {
            let often = match child.repeat {
                Repeat::Once => "once",
                Repeat::Optional => "at most once",
                Repeat::Many => "any number",
            };
            let _ = writeln!(out, "| `{}` | {often} | {} |", child.name, cell(child.doc));
        }
    }
    for child in children.iter().chain(&setting.open_children).copied() {
        if is_known(child, path) {
            continue;
        }
        if is_overlay(language, child, path) {
            let _ = writeln!(out, "\n`{0}` takes what it takes [by itself]({0}.md); nothing in it must be written here.", child.name);
            continue;
        }
        if has_more(child) {
            out.push('\n');
            section(language, child, path, out);
        }
    }
    path.pop();
}

/// Whether there is more to say about a node than what it does.
fn has_more(setting: &Setting) -> bool {
    !setting.arguments.is_empty()
        || setting.rest.is_some()
        || !setting.properties.is_empty()
        || setting.open_properties.is_some()
        || setting.open_children.is_some()
        || !(setting.children)().is_empty()
}

fn beside(setting: &Setting) -> String {
    let mut said = String::new();
    if setting.ordered {
        said.push_str(" Its place among the others counts.");
    }
    if setting.effect == Effect::None {
        said.push_str(" No part of the fingerprint.");
    }
    said
}

fn slots(setting: &Setting, out: &mut String) {
    let arguments = setting.arguments.iter().map(|slot| (format!("{} (value)", slot.name), slot));
    let rest = setting.rest.into_iter().map(|slot| (format!("{} (further values)", slot.name), slot));
    let properties = setting.properties.iter().map(|slot| (format!("`{}=`", slot.name), slot));
    let open = setting.open_properties.into_iter().map(|slot| (format!("*{}*=", slot.name), slot));
    let all: Vec<(String, &Slot)> = arguments.chain(rest).chain(properties).chain(open).collect();
    if all.is_empty() {
        return;
    }
    out.push_str("\n| takes | what it is | where it is not written | what it does |\n| --- | --- | --- | --- |\n");
    for (name, slot) in all {
        let otherwise = match (slot.fallback, default(slot)) {
            (Fallback::Required, _) if setting.rest.is_some_and(|rest| std::ptr::eq(rest, slot)) => "none".to_owned(),
            (Fallback::Required, _) => "must be written".to_owned(),
            (_, Some(default)) => format!("`{default}`"),
            (_, None) => "nothing".to_owned(),
        };
        let fingerprint = match (slot.effect, slot.kind) {
            (Effect::None, Kind::Stage(_) | Kind::Model(_) | Kind::Provider | Kind::Input | Kind::Secret | Kind::Variable) | (Effect::Result, _) => "",
            (Effect::None, _) => " No part of the fingerprint.",
        };
        let _ = writeln!(out, "| {name} | {} | {otherwise} | {}{fingerprint} |", cell(&expected(slot.kind)), cell(slot.doc));
    }
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
