//! A stage as it is written: its name, and what its own matrix makes of it.

use std::collections::HashMap;

use kdl::KdlNode;

use super::decode::Decoder;
use super::error::ConfigError;
use super::file::Span;
use super::matrix::{self, Axis, MATRIX, Matrix, Values};
use super::name::StageName;
use super::scope::{Scope, Seen};
use super::table::Setting;
use super::value::Value;

/// A stage as it is written, settings of profiles and defaults put in, and its own matrix taken out.
#[derive(Debug)]
pub struct Written {
    pub node: KdlNode,
    pub setting: &'static Setting,
    pub name: String,
    pub name_span: Span,
    /// The axes of its own matrix.
    pub axes: Vec<Axis>,
    /// What its own matrix makes of it.
    pub own: Vec<Values>,
    /// Whether something is wrong with its matrix.
    pub is_broken: bool,
}

impl Written {
    /// Takes a node as a stage. `names` are those of the stages before it.
    pub fn of(mut node: KdlNode, setting: &'static Setting, decoder: &mut Decoder<'_>, names: &mut HashMap<String, Span>) -> Option<Self> {
        let named = node.entries().iter().find(|entry| entry.name().is_none());
        let Some((name, name_span)) = named.and_then(|entry| Some((entry.value().as_string()?.to_owned(), Span::from(entry.span())))) else {
            // What else is wrong with it is told too.
            drop(decoder.block(&node, setting));
            return None;
        };
        if StageName::new(&name).is_none() {
            decoder.errors.push(ConfigError::BadName { name, of: "a stage".into(), at: name_span.into() });
            return None;
        }
        if let Some(first) = names.get(&name) {
            decoder.errors.push(ConfigError::DuplicateStage { name, first: (*first).into(), at: name_span.into() });
            return None;
        }
        names.insert(name.clone(), name_span);
        let Matrix { axes, all, is_broken } = take_matrix(&mut node, setting, &name, decoder);
        let own = spread(&node, setting, decoder.scope, all, name_span);
        Some(Self { node, setting, name, name_span, axes, own, is_broken })
    }
}

/// Takes the matrix out of a stage.
fn take_matrix(node: &mut KdlNode, setting: &'static Setting, stage: &str, decoder: &mut Decoder<'_>) -> Matrix {
    let none = || Matrix { axes: Vec::new(), all: vec![Values::new()], is_broken: false };
    let is_matrix = |child: &KdlNode| child.name().value() == MATRIX.name;
    let Some(children) = node.children_mut().as_mut().filter(|_| (setting.children)().iter().any(|child| child.name == MATRIX.name)) else {
        return none();
    };
    let Some(place) = children.nodes().iter().position(is_matrix) else {
        return none();
    };
    let matrix = children.nodes_mut().remove(place);
    let again = children.nodes().iter().find(|child| is_matrix(child));
    if let Some(again) = again {
        let (name, place, first) = (MATRIX.name.into(), format!("`{}`", setting.name), matrix.name().span());
        decoder.errors.push(ConfigError::Repeated { name, place, first, at: again.name().span() });
    }
    let is_twice = again.is_some();
    children.nodes_mut().retain(|child| !is_matrix(child));
    let places = setting.spread.map(|by| (matrix::PLACE, by));
    let read = matrix::combinations(&matrix, stage, places, decoder.scope, &mut decoder.seen, &mut decoder.errors);
    Matrix { is_broken: read.is_broken || is_twice, ..read }
}

/// The instances that those of a matrix have where the stage stands in several places, by a setting of its own.
fn spread(node: &KdlNode, setting: &'static Setting, scope: Scope<'_>, all: Vec<Values>, span: Span) -> Vec<Values> {
    let nodes = node.children().map(kdl::KdlDocument::nodes).unwrap_or_default();
    let Some(count) = setting.spread.and_then(|by| nodes.iter().find(|child| child.name().value() == by)).and_then(|count| count.entries().first()) else {
        return all;
    };
    // What is wrong with the number is told where it is decoded.
    let places = |values: &Values| match (Scope { axes: values, ..scope }).value(count, "", "", &mut Seen::default()) {
        Ok(Value::Integer(count @ 1..=100)) => count,
        _ => 1,
    };
    // Where some stand in several places, all have a place in their names.
    if all.iter().all(|values| places(values) == 1) {
        return all;
    }
    all.iter().flat_map(|values| matrix::with_places(values, places(values), span)).collect()
}
