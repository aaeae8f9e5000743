//! `profile` and `defaults`: settings that lie over and under those of stages and providers.

use std::borrow::Cow;

use kdl::{KdlDocument, KdlNode, KdlValue};

use super::decode::Decoder;
use super::error::ConfigError;
use super::file::Span;
use super::language::{DEFAULTS, Language, PROFILE};
use super::name::StageName;
use super::nearest::{nearest, offer};
use super::overlay::{fill, overlay};
use super::params::{self, Overrides};
use super::table::Setting;

/// The nodes that lie over and under those of a pipeline.
#[derive(Debug, Default)]
pub struct Overlays<'a> {
    /// The profile in force.
    over: Option<&'a KdlNode>,
    under: Vec<&'a KdlNode>,
}

/// The profile that is wanted.
pub fn in_force<'a>(nodes: &'a [KdlNode], overrides: &Overrides, errors: &mut Vec<ConfigError>) -> Option<&'a KdlNode> {
    let wanted = overrides.profile.as_deref()?;
    let profiles: Vec<(&str, &KdlNode)> = profiles(nodes).collect();
    let found = profiles.iter().find(|(name, _)| *name == wanted);
    if found.is_none() {
        let names: Vec<&str> = profiles.iter().map(|(name, _)| *name).collect();
        let help = match nearest(wanted, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "this pipeline has no profiles; write one as `profile \"name\" { params { ... } }`".into(),
            None => format!("this pipeline has: {}", names.join(", ")),
        };
        errors.push(ConfigError::UnknownProfile { name: wanted.to_owned(), help });
    }
    found.map(|(_, node)| *node)
}

fn profiles(nodes: &[KdlNode]) -> impl Iterator<Item = (&str, &KdlNode)> {
    let profiles = nodes.iter().filter(|node| node.name().value() == PROFILE.name);
    profiles.filter_map(|node| argument(node).map(|name| (name, node)))
}

fn argument(node: &KdlNode) -> Option<&str> {
    node.get(0).and_then(KdlValue::as_string)
}

fn inside(node: &KdlNode) -> impl Iterator<Item = &KdlNode> {
    node.children().into_iter().flat_map(KdlDocument::nodes)
}

impl<'a> Overlays<'a> {
    /// Takes the profile in force and the defaults.
    pub fn of(nodes: &'a [KdlNode], in_force: Option<&'a KdlNode>) -> Self {
        Self { over: in_force, under: nodes.iter().filter(|node| node.name().value() == DEFAULTS.name).collect() }
    }

    /// Looks for what is wrong with all profiles and defaults, those that are not in force among them. `order` are the parameters in
    /// the order in which they are declared.
    pub fn check(nodes: &[KdlNode], in_force: Option<&KdlNode>, order: &[String], language: Language, decoder: &mut Decoder<'_>) {
        decoder.is_partial = true;
        let mut known: Vec<(&str, Span)> = Vec::new();
        for node in nodes {
            match node.name().value() {
                name if name == PROFILE.name => {
                    check_profile(node, nodes, in_force, order, language, decoder);
                    if let Some(name) = argument(node) {
                        let at = Span::from(node.name().span());
                        match known.iter().find(|(first, _)| *first == name) {
                            Some((_, first)) => {
                                decoder.errors.push(ConfigError::Repeated {
                                    name: name.into(),
                                    place: "the profiles".into(),
                                    first: (*first).into(),
                                    at: at.into(),
                                });
                            }
                            None => known.push((name, at)),
                        }
                    }
                }
                name if name == DEFAULTS.name => check_defaults(node, language, decoder),
                _ => {}
            }
        }
        decoder.is_partial = false;
    }

    /// A stage or provider with what lies over and under it.
    pub fn settled<'n>(&self, node: &'n KdlNode, setting: &'static Setting) -> Cow<'n, KdlNode> {
        let kind = node.name().value();
        let mut settled = Cow::Borrowed(node);
        for under in self.under.iter().flat_map(|defaults| inside(defaults)).filter(|under| under.name().value() == kind) {
            fill(settled.to_mut(), under, setting);
        }
        let name = argument(node);
        for over in self.over.into_iter().flat_map(inside).filter(|over| over.name().value() == kind && argument(over) == name) {
            overlay(settled.to_mut(), over, setting);
        }
        settled
    }

    /// Nodes of the profile in force that are neither stages nor providers.
    pub fn over<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'a KdlNode> + 'n {
        self.over.into_iter().flat_map(inside).filter(move |node| node.name().value() == name)
    }
}

/// Each node inside that says something of what another one speaks of already.
fn repeated(node: &KdlNode, errors: &mut Vec<ConfigError>) {
    let mut known: Vec<(&str, Option<&str>, Span)> = Vec::new();
    for child in inside(node).filter(|child| child.name().value() != "params") {
        let (name, of, at) = (child.name().value(), argument(child), Span::from(child.name().span()));
        match known.iter().find(|(known, about, _)| *known == name && *about == of) {
            Some((.., first)) => {
                let name = of.map_or_else(|| name.to_owned(), |of| format!("{name} \"{of}\""));
                errors.push(ConfigError::Repeated { name, place: format!("`{}`", node.name().value()), first: (*first).into(), at: at.into() });
            }
            None => known.push((name, of, at)),
        }
    }
}

fn check_profile(profile: &KdlNode, nodes: &[KdlNode], in_force: Option<&KdlNode>, order: &[String], language: Language, decoder: &mut Decoder<'_>) {
    repeated(profile, &mut decoder.errors);
    let is_in_force = in_force.is_some_and(|found| std::ptr::eq(found, profile));
    match profile.entries() {
        [name] if name.name().is_none() && name.value().as_string().is_some() => {
            // It is part of the name of a file.
            let text = name.value().as_string().unwrap_or_default();
            if StageName::new(text).is_none() {
                decoder.errors.push(ConfigError::BadName { name: text.into(), of: "a profile".into(), at: name.span() });
            }
        }
        [] => decoder.errors.push(ConfigError::MissingValue {
            node: PROFILE.name.into(),
            what: "a name".into(),
            at: profile.name().span(),
            help: "write it as `profile \"name\" { params { ... } }`".into(),
        }),
        [_, surplus, ..] | [surplus] => {
            decoder.errors.push(ConfigError::SurplusArgument { node: PROFILE.name.into(), takes: "one string (name)".into(), at: surplus.span() });
        }
    }
    if !is_in_force {
        params::check(profile, decoder.scope, order, &mut decoder.seen, &mut decoder.errors);
    }
    let table = language.inside(&PROFILE);
    for node in inside(profile).filter(|node| node.name().value() != "params") {
        let kind = node.name().value();
        let Some(setting) = table.iter().copied().find(|setting| setting.name == kind) else {
            decoder.errors.push(unknown(node, PROFILE.name, &table));
            continue;
        };
        let _ = decoder.block(node, setting);
        if setting.arguments.is_empty() {
            continue;
        }
        let declared = nodes.iter().filter(|declared| declared.name().value() == kind).filter_map(argument).collect::<Vec<_>>();
        let name = argument(node);
        if name.is_none_or(|name| !declared.contains(&name)) {
            let at = node.entries().iter().find(|entry| entry.name().is_none()).map_or(node.name().span(), |entry| entry.span());
            decoder.errors.push(ConfigError::NothingToOverride {
                place: format!("the profile `{}`", argument(profile).unwrap_or_default()),
                kind: kind.into(),
                name: name.unwrap_or_default().into(),
                at,
                help: offer(name.unwrap_or_default(), declared.into_iter(), &format!("the pipeline has no {kind}; declare it outside of the profile")),
            });
        }
    }
}

fn check_defaults(defaults: &KdlNode, language: Language, decoder: &mut Decoder<'_>) {
    repeated(defaults, &mut decoder.errors);
    if let Some(entry) = defaults.entries().first() {
        decoder.errors.push(ConfigError::SurplusArgument { node: DEFAULTS.name.into(), takes: "no value".into(), at: entry.span() });
    }
    let table = language.inside(&DEFAULTS);
    for node in inside(defaults) {
        let Some(setting) = language.stage(node.name().value()) else {
            decoder.errors.push(unknown(node, DEFAULTS.name, &table));
            continue;
        };
        if let Some(name) = node.entries().iter().find(|entry| entry.name().is_none()) {
            let takes = "no name here: what is in it goes for all stages of the kind".into();
            decoder.errors.push(ConfigError::SurplusArgument { node: setting.name.into(), takes, at: name.span() });
            continue;
        }
        let _ = decoder.block(node, setting);
    }
}

fn unknown(node: &KdlNode, place: &str, table: &[&'static Setting]) -> ConfigError {
    let name = node.name().value();
    ConfigError::UnknownNode {
        name: name.into(),
        place: format!("`{place}`"),
        at: node.name().span(),
        help: offer(name, table.iter().map(|setting| setting.name), ""),
    }
}
