//! The [KDL Schema Language](https://github.com/kdl-org/kdl/blob/main/SCHEMA-SPEC.md).

use std::fmt::Write as _;

use super::super::language::{Language, PIPELINE};
use super::super::table::{Effect, Fallback, Kind, Repeat, Setting, Slot};
use super::{default, inside, is_known, is_overlay};

const INDENT: &str = "    ";

pub fn document(language: Language) -> String {
    let mut writer = Writer { language, out: String::new(), depth: 0 };
    writer.out.push_str("// The language of retune's pipeline files. Made from its tables by `just generate`; a test holds it to them.\n");
    writer.out.push_str("// A value with an annotation, such as (param)\"name\", is held to its type once the parameter is put in.\n");
    writer.open("document");
    writer.open("info");
    writer.line("title \"retune pipeline\" lang=\"en\"");
    writer.close();
    for node in language.nodes() {
        writer.node(node, &mut Vec::new());
    }
    writer.close();
    writer.out
}

struct Writer {
    language: Language,
    out: String,
    depth: usize,
}

impl Writer {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{}{text}", INDENT.repeat(self.depth));
    }

    fn open(&mut self, text: &str) {
        self.line(&format!("{text} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    fn node(&mut self, setting: &'static Setting, path: &mut Vec<&'static Setting>) {
        let is_overlay = is_overlay(self.language, setting, path);
        if is_known(setting, path) || is_overlay {
            // Described where it stands by itself.
            self.line(&format!("node {:?} ref=\"[id=\\\"{}\\\"]\"", setting.name, setting.name));
            return;
        }
        let id = if path.is_empty() { format!(" id={:?}", setting.name) } else { String::new() };
        self.open(&format!("node {:?}{id} description={:?}", setting.name, setting.doc));
        if setting.repeat == Repeat::Once || setting.name == PIPELINE.name {
            self.line("min 1");
        }
        if setting.repeat != Repeat::Many {
            self.line("max 1");
        }
        self.values(setting);
        for slot in setting.properties {
            self.property(slot.name, slot);
        }
        if let Some(slot) = setting.open_properties {
            self.open("prop-names");
            self.line(&format!("description {:?}", slot.doc));
            self.close();
            self.line("other-props-allowed #true");
        }
        path.push(setting);
        let children = inside(self.language, setting, path);
        if !children.is_empty() || setting.open_children.is_some() {
            self.open("children");
            children.into_iter().for_each(|child| self.node(child, path));
            if let Some(child) = setting.open_children {
                self.line("other-nodes-allowed #true");
                self.open("node-names");
                self.line(&format!("description {:?}", child.doc));
                self.close();
            }
            self.close();
        }
        path.pop();
        self.close();
    }

    fn values(&mut self, setting: &Setting) {
        let slots: Vec<&Slot> = setting.arguments.iter().chain(setting.rest).collect();
        let Some(first) = slots.first() else {
            return;
        };
        let least = setting.arguments.iter().filter(|slot| slot.fallback == Fallback::Required).count();
        let names = slots.iter().map(|slot| slot.name).collect::<Vec<_>>().join(", ");
        self.open(&format!("value description={:?}", format!("{names}: {}", first.doc)));
        self.line(&format!("min {least}"));
        if setting.rest.is_none() {
            self.line(&format!("max {}", setting.arguments.len()));
        }
        // One rule goes for all values of a node.
        let rules = rules(first.kind);
        if slots.iter().all(|slot| self::rules(slot.kind) == rules) {
            rules.iter().for_each(|rule| self.line(rule));
        }
        self.close();
    }

    fn property(&mut self, name: &str, slot: &Slot) {
        let told = default(slot).map_or_else(String::new, |default| format!(" Where it is not written: {default}."));
        let beside = if slot.effect == Effect::None { " No part of the fingerprint." } else { "" };
        self.open(&format!("prop {name:?} description={:?}", format!("{}{told}{beside}", slot.doc)));
        if slot.fallback == Fallback::Required {
            self.line("required #true");
        }
        rules(slot.kind).iter().for_each(|rule| self.line(rule));
        self.close();
    }
}

/// What a kind demands.
fn rules(kind: Kind) -> Vec<String> {
    let text = || vec!["type \"string\"".to_owned()];
    let number = |bounds: Vec<String>| [vec!["type \"number\"".to_owned()], bounds].concat();
    let at_least = |low: f64| if low > f64::MIN { vec![format!("\">=\" {low}")] } else { Vec::new() };
    let at_most = |high: f64| if high < f64::MAX { vec![format!("\"<=\" {high}")] } else { Vec::new() };
    match kind {
        Kind::Choice(choices) => {
            let choices = choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(" ");
            [text(), vec![format!("enum {choices}")]].concat()
        }
        Kind::Integer(low, high) => {
            let high = if high == i64::MAX { Vec::new() } else { vec![format!("\"<=\" {high}")] };
            number([vec!["\"%\" 1".to_owned(), format!("\">=\" {low}")], high].concat())
        }
        Kind::Number(low, high) => number([at_least(low), at_most(high)].concat()),
        Kind::Positive(high) => number([vec!["\">\" 0".to_owned()], at_most(high)].concat()),
        Kind::Share => number(vec!["\">=\" 0".into(), "\"<=\" 1".into()]),
        Kind::Money => number(vec!["\">=\" 0".into()]),
        Kind::Flag => vec!["type \"boolean\"".into()],
        Kind::Duration => [text(), vec![r##"pattern #"^\s*([0-9.]+\s*(ms|s|m|h|d)\s*)+$"#"##.into()]].concat(),
        Kind::Size => [text(), vec![r##"pattern #"^\s*([0-9.]+\s*([kMGT]|[KMGT]i)?B\s*)+$"#"##.into()]].concat(),
        Kind::Variable => [text(), vec!["pattern \"^[A-Za-z_][A-Za-z0-9_]*$\"".into()]].concat(),
        // A number or a word, or anything.
        Kind::OrAuto(_) | Kind::Any => Vec::new(),
        Kind::Text
        | Kind::Template
        | Kind::Stage(_)
        | Kind::Model(_)
        | Kind::Provider
        | Kind::Input
        | Kind::Output
        | Kind::Manifest
        | Kind::Folder
        | Kind::Secret => text(),
    }
}
