//! A KDL node to a [`Block`], by its [`Setting`]; every mistake is noted and decoding goes on.

use std::collections::{BTreeMap, BTreeSet};

use kdl::{KdlDocument, KdlEntry, KdlNode};

use super::block::Block;
use super::checked::{Written, checked, expected};
use super::error::{ConfigError, ValueError};
use super::file::{Span, Spanned};
use super::matrix::{MATRIX, Values, combinations};
use super::nearest::{nearest, offer};
use super::scope::{Scope, Seen, scalar, value_span};
use super::table::{Fallback, Kind, Repeat, Setting, Slot};
use super::value::Value;

/// Decodes nodes by tables, putting in parameters and noting what is wrong.
pub struct Decoder<'a> {
    pub scope: Scope<'a>,
    pub providers: &'a [String],
    pub errors: Vec<ConfigError>,
    pub seen: Seen,
    /// Whether what is decoded lies over or under something else, so that nothing need be written.
    pub is_partial: bool,
    /// The axes of all matrices: what lies over or under a stage may take those of the stage.
    pub axes: BTreeSet<String>,
    /// The values of the stage's own matrix, where an instance is decoded.
    pub own: Option<&'a Values>,
}

impl Decoder<'_> {
    /// Decodes one node. `None` where something in it is wrong, which has been noted then.
    pub fn block(&mut self, node: &KdlNode, setting: &'static Setting) -> Option<Block> {
        let before = self.errors.len();
        let name_span = Span::from(node.name().span());
        if let Some(annotation) = node.ty() {
            let help = "annotations stand before values, and nodes have none".into();
            self.errors.push(ValueError::UnknownAnnotation { name: annotation.value().into(), at: annotation.span(), help }.into());
        }
        let mut slots: BTreeMap<&'static str, Spanned<Value>> = BTreeMap::new();
        let mut rest = Vec::new();
        let mut position = 0;
        for entry in node.entries() {
            let Some(slot) = self.slot_for(entry, setting, &mut position) else {
                continue;
            };
            let Some(value) = self.value(entry, slot, setting) else {
                continue;
            };
            if setting.rest.is_some_and(|further| std::ptr::eq(further, slot)) {
                rest.push(value);
                continue;
            }
            if let Some(first) = slots.get(slot.name) {
                self.errors.push(ConfigError::Repeated {
                    name: slot.name.into(),
                    place: format!("`{}`", setting.name),
                    first: first.span.into(),
                    at: value.span.into(),
                });
                continue;
            }
            slots.insert(slot.name, value);
        }
        if !self.is_partial {
            self.fill(node, setting, &mut slots, name_span);
        }
        let children = self.children(node.children(), setting, name_span);
        let sound = self.errors.len() == before;
        sound.then(|| Block { setting, span: node.span().into(), name_span, slots, rest, children })
    }

    /// Decodes a node in which an axis of this instance stands before a parameter of the same name. `own` are the values that names
    /// of stages may take: which stages those are decides about the others.
    pub fn instance(&mut self, node: &KdlNode, setting: &'static Setting, values: &Values, own: &Values) -> Option<Block> {
        let scope = Scope { axes: values, ..self.scope };
        let (errors, seen) = (std::mem::take(&mut self.errors), std::mem::take(&mut self.seen));
        let mut within = Decoder { scope, providers: self.providers, errors, seen, is_partial: self.is_partial, axes: BTreeSet::new(), own: Some(own) };
        let block = within.block(node, setting);
        (self.errors, self.seen) = (within.errors, within.seen);
        block
    }

    fn slot_for(&mut self, entry: &KdlEntry, setting: &'static Setting, position: &mut usize) -> Option<&'static Slot> {
        if let Some(name) = entry.name() {
            let found = setting.properties.iter().find(|slot| slot.name == name.value());
            if found.is_none() {
                let names = setting.properties.iter().map(|slot| slot.name);
                self.errors.push(ConfigError::UnknownProperty {
                    name: name.value().into(),
                    node: setting.name.into(),
                    at: name.span(),
                    help: offer(name.value(), names, "it has no properties"),
                });
            }
            return found;
        }
        let found = setting.arguments.get(*position).or(setting.rest);
        *position += 1;
        if found.is_none() {
            let takes = match setting.arguments {
                [] => "no value".to_owned(),
                [one] => format!("one value ({})", one.name),
                many => format!("{} values", many.len()),
            };
            self.errors.push(ConfigError::SurplusArgument { node: setting.name.into(), takes, at: entry.span() });
        }
        found
    }

    fn value(&mut self, entry: &KdlEntry, slot: &Slot, setting: &Setting) -> Option<Spanned<Value>> {
        let span = value_span(entry);
        let name = if setting.arguments.iter().any(|argument| argument.name == slot.name) { setting.name } else { slot.name };
        let found = self.found(entry, slot.kind, name).and_then(|value| {
            if let (Kind::Variable, Value::Text(variable)) = (slot.kind, &value) {
                self.seen.variables.insert(variable.clone());
            }
            let param = entry.ty().filter(|ty| ty.value() == "param").and_then(|_| entry.value().as_string());
            checked(Written { name, value: &value, param, span }, slot.kind, self.providers)
        });
        // A profile that is not in force need not find the environment that it is meant for.
        let is_away = |error: &ConfigError| match error {
            ConfigError::Value(ValueError::UnsetVariable { .. }) => self.is_partial,
            ConfigError::Value(ValueError::UnknownParam { name, .. }) => self.is_partial && self.axes.contains(name),
            _ => false,
        };
        let also = std::mem::take(&mut self.seen.also);
        found.map_err(|error| self.errors.extend(also.into_iter().chain([error]).filter(|error| !is_away(error)))).ok()
    }

    fn found(&mut self, entry: &KdlEntry, kind: Kind, name: &str) -> Result<Value, ConfigError> {
        if !matches!(kind, Kind::Secret) {
            let axes = self.own.filter(|_| matches!(kind, Kind::Stage(_) | Kind::Model(_))).unwrap_or(self.scope.axes);
            return Scope { axes, ..self.scope }.value(entry, name, &expected(kind), &mut self.seen);
        }
        let span = value_span(entry);
        match (entry.ty().map(|ty| ty.value()), scalar(entry.value())) {
            (Some("secret" | "env"), Some(Value::Text(variable))) => Ok(Value::Text(self.scope.interpolated(variable, span, &mut self.seen)?)),
            _ => Err(ConfigError::WrongType {
                name: name.into(),
                expected: "a secret's name".into(),
                found: "a value in plain text".into(),
                at: span.into(),
                help: "write `(secret)\"NAME_OF_THE_VARIABLE\"`, so that the secret stays out of the file".into(),
            }),
        }
    }

    fn fill(&mut self, node: &KdlNode, setting: &'static Setting, slots: &mut BTreeMap<&'static str, Spanned<Value>>, at: Span) {
        let written = |slot: &Slot, position: Option<usize>| match position {
            Some(position) => node.entries().iter().filter(|entry| entry.name().is_none()).count() > position,
            None => node.entries().iter().any(|entry| entry.name().is_some_and(|name| name.value() == slot.name)),
        };
        let arguments = setting.arguments.iter().enumerate().map(|(index, slot)| (Some(index), slot));
        for (position, slot) in arguments.chain(setting.properties.iter().map(|slot| (None, slot))) {
            if written(slot, position) {
                continue;
            }
            let value = match slot.fallback {
                Fallback::Absent => continue,
                Fallback::Required => {
                    let what = match position {
                        Some(_) => format!("a value ({}): {}", slot.name, expected(slot.kind)),
                        None => format!("the property `{}=`: {}", slot.name, expected(slot.kind)),
                    };
                    self.errors.push(ConfigError::MissingValue { node: setting.name.into(), what, at: at.into(), help: slot.doc.into() });
                    continue;
                }
                Fallback::Text(text) => Value::Text(text.into()),
                Fallback::Integer(number) => Value::Integer(number),
                Fallback::Number(number) => Value::Number(number),
                Fallback::Flag(flag) => Value::Flag(flag),
            };
            slots.insert(slot.name, Spanned { value, span: at });
        }
    }

    fn children(&mut self, document: Option<&KdlDocument>, setting: &'static Setting, at: Span) -> Vec<Block> {
        let table = (setting.children)();
        let mut children: Vec<Block> = Vec::new();
        let mut seen: BTreeMap<&'static str, Span> = BTreeMap::new();
        let mut mistyped: Vec<&'static str> = Vec::new();
        for node in document.into_iter().flat_map(KdlDocument::nodes) {
            let name = node.name().value();
            let Some(child) = table.iter().copied().find(|child| child.name == name) else {
                // What is mistyped is not missing as well.
                mistyped.extend(nearest(name, table.iter().map(|child| child.name)));
                self.errors.push(ConfigError::UnknownNode {
                    name: name.into(),
                    place: format!("`{}`", setting.name),
                    at: node.name().span(),
                    help: offer(name, table.iter().map(|child| child.name), "nothing may stand inside it"),
                });
                continue;
            };
            let first = *seen.entry(child.name).or_insert_with(|| node.name().span().into());
            if child.repeat != Repeat::Many && first != Span::from(node.name().span()) {
                self.errors.push(ConfigError::Repeated {
                    name: child.name.into(),
                    place: format!("`{}`", setting.name),
                    first: first.into(),
                    at: node.name().span(),
                });
                continue;
            }
            if child.name == MATRIX.name {
                // That of a stage was taken out of it before; this one is of a profile, or of defaults.
                combinations(node, setting.name, None, self.scope, &mut self.seen, &mut self.errors);
                continue;
            }
            children.extend(self.block(node, child));
        }
        if self.is_partial {
            return children;
        }
        for child in table.iter().filter(|child| child.repeat == Repeat::Once && !seen.contains_key(child.name) && !mistyped.contains(&child.name)) {
            self.errors.push(ConfigError::MissingNode { node: setting.name.into(), child: child.name.into(), at: at.into(), help: child.doc.into() });
        }
        children
    }
}
