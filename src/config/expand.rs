//! The instances of all stages: those that a `matrix` makes, and those of stages that refer to such stages.
//!
//! A stage that refers to one with several instances in a node that may stand once (`model`, `data`) stands as many times itself,
//! one for each; in a node that may stand several times (`from`, `requires`) it gets all of them. Instances of two stages go
//! together where they agree in the values of the axes that they share.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kdl::{KdlDocument, KdlNode};

use super::block::Block;
use super::error::{ConfigError, MatrixError};
use super::file::{Span, Spanned};
use super::matrix::{MOST, Values, instance_name, is_meant, is_wanted, parse_name};
use super::scope::{Scope, Seen};
use super::table::{Kind, Repeat, Setting, Slot};
use super::value::Value;

/// A stage as it is written, settings of profiles and defaults put in, and its own matrix taken out.
#[derive(Debug)]
pub struct Written {
    pub node: KdlNode,
    pub setting: &'static Setting,
    pub name: String,
    pub name_span: Span,
    /// What its own matrix makes of it.
    pub own: Vec<Values>,
}

/// One of the stages that a written stage stands for.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub name: String,
    /// Its values by axis, those of stages that it refers to among them.
    pub values: Values,
    /// The stage that brought in each axis.
    origins: BTreeMap<String, usize>,
    /// The instances that are meant where the text of the node names a stage.
    meant: BTreeMap<String, Vec<String>>,
}

/// What an instance has been decided about so far.
#[derive(Clone, Default)]
struct Partial {
    values: Values,
    /// Values that are given where a stage is named, which tell what goes with it and are no part of the name.
    pinned: Values,
    /// The stage that brought in each axis.
    origins: BTreeMap<String, usize>,
    meant: BTreeMap<String, Vec<String>>,
}

/// More references than this between the instances of two stages are not meant.
const MOST_NAMED: usize = 1_000_000;

struct Named {
    text: String,
    span: Span,
    is_many: bool,
}

/// The instances of each stage, in the order of the stages.
pub fn instances(stages: &[Written], scope: Scope<'_>, errors: &mut Vec<ConfigError>) -> Vec<Vec<Instance>> {
    let single = |stage: &Written| vec![Instance { name: stage.name.clone(), ..Instance::default() }];
    let is_plain = |stage: &Written| stage.own.iter().all(Values::is_empty) && stage.own.len() == 1;
    if stages.iter().all(is_plain) {
        return stages.iter().map(single).collect();
    }
    let places: HashMap<&str, usize> = stages.iter().enumerate().map(|(place, stage)| (stage.name.as_str(), place)).collect();
    let named: Vec<Vec<Vec<Named>>> = stages.iter().map(|stage| stage.own.iter().map(|own| names_in(stage, scope, own)).collect()).collect();
    let needs = |stage: usize| named[stage].iter().flatten().filter_map(|named| places.get(parse_name(&named.text).0).copied()).collect::<BTreeSet<usize>>();
    let mut found: Vec<Option<Vec<Instance>>> = vec![None; stages.len()];
    for stage in order(stages.len(), needs) {
        let (mut instances, mut names) = (Vec::new(), 0);
        for (own, named) in stages[stage].own.iter().zip(&named[stage]) {
            let expanding = Expanding { stages, places: &places, found: &found, stage };
            match expanding.with(own, named) {
                Ok(more) => {
                    names += more.iter().flat_map(|instance| instance.meant.values()).map(Vec::len).sum::<usize>();
                    instances.extend(more);
                }
                Err(error) => {
                    // The other instances have the same mistake.
                    errors.push(error);
                    break;
                }
            }
            if instances.len() > MOST || names > MOST_NAMED {
                let stage = &stages[stage];
                errors.push(MatrixError::TooMany { stage: stage.name.clone(), limit: MOST, at: stage.name_span.into() }.into());
                instances.truncate(1);
                break;
            }
        }
        found[stage] = Some(instances);
    }
    // Stages that wait for each other are told of where the graph is made.
    found.into_iter().zip(stages).map(|(instances, stage)| instances.unwrap_or_else(|| single(stage))).collect()
}

/// The stages, each after those that it needs; those that wait for each other are left out.
fn order(count: usize, needs: impl Fn(usize) -> BTreeSet<usize>) -> Vec<usize> {
    let mut waits: Vec<usize> = vec![0; count];
    let mut users = vec![Vec::new(); count];
    for (stage, waits) in waits.iter_mut().enumerate() {
        for need in needs(stage) {
            users[need].push(stage);
            *waits += 1;
        }
    }
    let mut open: Vec<usize> = (0..count).filter(|&stage| waits[stage] == 0).collect();
    let mut sorted = Vec::with_capacity(count);
    while let Some(stage) = open.pop() {
        sorted.push(stage);
        for &user in &users[stage] {
            waits[user] -= 1;
            if waits[user] == 0 {
                open.push(user);
            }
        }
    }
    sorted
}

struct Expanding<'a> {
    stages: &'a [Written],
    places: &'a HashMap<&'a str, usize>,
    found: &'a [Option<Vec<Instance>>],
    stage: usize,
}

impl Expanding<'_> {
    /// The instances of a stage with these values of its own, and with the stages that are named in it then.
    fn with(&self, own: &Values, named: &[Named]) -> Result<Vec<Instance>, ConfigError> {
        let origins = own.keys().map(|axis| (axis.clone(), self.stage)).collect();
        let mut partials = vec![Partial { values: own.clone(), origins, ..Partial::default() }];
        for named in named.iter().filter(|named| !named.is_many) {
            if let Some(instances) = self.meant(named) {
                partials = self.joined(&partials, named, &instances)?;
            }
        }
        let mut count = 0;
        for named in named.iter().filter(|named| named.is_many) {
            if let Some(instances) = self.meant(named) {
                for partial in &mut partials {
                    let fitting = instances.iter().filter(|instance| agree(&partial.values, &instance.values) && agree(&partial.pinned, &instance.values));
                    let fitting: Vec<String> = fitting.map(|instance| instance.name.clone()).collect();
                    if fitting.is_empty() {
                        return Err(self.none(named));
                    }
                    count += fitting.len();
                    if count > MOST_NAMED {
                        let stage = self.stages[self.stage].name.clone();
                        return Err(MatrixError::TooMany { stage, limit: MOST, at: named.span.into() }.into());
                    }
                    partial.meant.insert(named.text.clone(), fitting);
                }
            }
        }
        let name = &self.stages[self.stage].name;
        let instance = |Partial { values, origins, meant, .. }| Instance { name: instance_name(name, &values), values, origins, meant };
        Ok(partials.into_iter().map(instance).collect())
    }

    /// The instances that a name means, where it means others than the stage itself.
    fn meant(&self, named: &Named) -> Option<Vec<&Instance>> {
        let (stage, wanted) = parse_name(&named.text);
        let &place = self.places.get(stage)?;
        let all = self.found[place].as_ref()?;
        let plain = all.len() == 1 && all[0].values.is_empty();
        let instances: Vec<&Instance> = all.iter().filter(|instance| is_wanted(&instance.values, &wanted)).collect();
        // What nothing answers to is told of as a reference to nothing.
        (!plain && !instances.is_empty()).then_some(instances)
    }

    fn joined(&self, partials: &[Partial], named: &Named, instances: &[&Instance]) -> Result<Vec<Partial>, ConfigError> {
        let (_, wanted) = parse_name(&named.text);
        let mut joined = Vec::new();
        for partial in partials {
            for instance in instances {
                self.check_origins(partial, instance)?;
                // Values that are given need not be those that are given elsewhere: a model may be compared with another instance.
                let is_given = |(axis, _): &(&String, &Spanned<Value>)| wanted.contains_key(axis.as_str());
                let open: Values = instance.values.iter().filter(|value| !is_given(value)).map(|(axis, value)| (axis.clone(), value.clone())).collect();
                if !agree(&partial.values, &open) || !agree(&partial.pinned, &open) {
                    continue;
                }
                let mut with = partial.clone();
                for (axis, value) in &instance.values {
                    if wanted.contains_key(axis.as_str()) {
                        // What is given twice, and in two ways, says nothing of the others.
                        let other = with.pinned.insert(axis.clone(), value.clone()).is_some_and(|other| !other.value.is_same(&value.value));
                        if other {
                            with.pinned.remove(axis);
                        }
                    } else {
                        with.values.insert(axis.clone(), value.clone());
                    }
                }
                with.origins.extend(instance.origins.clone());
                with.meant.insert(named.text.clone(), vec![instance.name.clone()]);
                joined.push(with);
                if joined.len() > MOST {
                    let stage = self.stages[self.stage].name.clone();
                    return Err(MatrixError::TooMany { stage, limit: MOST, at: named.span.into() }.into());
                }
            }
        }
        if joined.is_empty() { Err(self.none(named)) } else { Ok(joined) }
    }

    /// Makes sure that an axis of one name is one axis.
    fn check_origins(&self, partial: &Partial, instance: &Instance) -> Result<(), ConfigError> {
        let other = |axis: &&String| partial.origins.get(*axis).is_some_and(|origin| instance.origins.get(*axis) != Some(origin));
        let Some(axis) = instance.values.keys().find(other) else {
            return Ok(());
        };
        let span = |values: &Values| values.get(axis).map_or(self.stages[self.stage].name_span, |value| value.span);
        let (first, at) = (span(&partial.values).into(), span(&instance.values).into());
        Err(MatrixError::Ambiguous { stage: self.stages[self.stage].name.clone(), axis: axis.clone(), first, at }.into())
    }

    fn none(&self, named: &Named) -> ConfigError {
        MatrixError::None { stage: self.stages[self.stage].name.clone(), at: named.span.into() }.into()
    }
}

/// Whether two instances can go together: where both have an axis, they have the same value of it.
fn agree(one: &Values, other: &Values) -> bool {
    one.iter().all(|(axis, value)| other.get(axis).is_none_or(|found| found.value.is_same(&value.value)))
}

/// Where the text of a stage names others, with these values of its own.
fn names_in(stage: &Written, scope: Scope<'_>, own: &Values) -> Vec<Named> {
    let mut found = Vec::new();
    walk(&stage.node, stage.setting, Scope { axes: own, ..scope }, &mut found);
    found
}

fn walk(node: &KdlNode, setting: &'static Setting, scope: Scope<'_>, found: &mut Vec<Named>) {
    let mut position = 0;
    for entry in node.entries() {
        let slot = match entry.name() {
            Some(name) => setting.properties.iter().find(|slot| slot.name == name.value()),
            None => {
                position += 1;
                setting.arguments.get(position - 1).or(setting.rest)
            }
        };
        if slot.is_some_and(names_stage)
            && let Ok(Value::Text(text)) = scope.value(entry, "", "", &mut Seen::default())
        {
            found.push(Named { text, span: entry.span().into(), is_many: setting.repeat == Repeat::Many });
        }
    }
    let table = (setting.children)();
    for child in node.children().into_iter().flat_map(KdlDocument::nodes) {
        if let Some(known) = table.iter().copied().find(|known| known.name == child.name().value()) {
            walk(child, known, scope, found);
        }
    }
}

const fn names_stage(slot: &Slot) -> bool {
    matches!(slot.kind, Kind::Stage(_) | Kind::Model(_))
}

impl Instance {
    /// Puts the instances that are meant into a decoded stage, where it names stages.
    pub fn bind(&self, block: &mut Block) {
        if self.meant.is_empty() {
            return;
        }
        let meant = |slot: Option<&'static Slot>, value: &Value| match value {
            Value::Text(text) => slot.filter(|slot| names_stage(slot)).and_then(|_| self.meant.get(text)),
            _ => None,
        };
        for (name, value) in &mut block.slots {
            if let Some([one, ..]) = meant(block.setting.slot(name), &value.value).map(Vec::as_slice) {
                value.value = Value::Text(one.clone());
            }
        }
        for child in std::mem::take(&mut block.children) {
            let several = child.slots.iter().find_map(|(name, value)| Some((*name, meant(child.setting.slot(name), &value.value)?)));
            match several.filter(|_| child.setting.repeat == Repeat::Many) {
                Some((slot, names)) => block.children.extend(names.iter().map(|name| {
                    let mut one = child.clone();
                    if let Some(found) = one.slots.get_mut(slot) {
                        found.value = Value::Text(name.clone());
                    }
                    one
                })),
                None => {
                    let mut child = child;
                    self.bind(&mut child);
                    block.children.push(child);
                }
            }
        }
    }
}

/// Whether what is wanted (`router`, `router[rank=8]`) means the stage or instance of this name.
#[must_use]
pub fn is_named(name: &str, wanted: &str) -> bool {
    let ((stage, values), (wanted, some)) = (parse_name(name), parse_name(wanted));
    stage == wanted && some.iter().all(|(axis, wanted)| values.get(axis).is_some_and(|value| is_meant(value, wanted)))
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn what_is_needed_comes_first() {
        let needs = |stage: usize| match stage {
            0 => [1, 2].into(),
            1 => [2].into(),
            3 => [4].into(),
            4 => [3].into(),
            _ => std::collections::BTreeSet::new(),
        };
        assert_eq!(order(5, needs), [2, 1, 0], "those that wait for each other are left out");
    }
}
