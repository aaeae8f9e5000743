//! The instances of all stages: those that a `matrix` makes, and those of stages that refer to such stages.
//!
//! A stage that refers to one with several instances in a node that may stand once (`model`, `data`) stands as many times itself,
//! one for each; in a node that may stand several times (`from`, `requires`) it gets all of them. Instances of two stages go
//! together where they agree in the values of the axes that they share.
//!
//! An axis whose value is given where a stage is named (`router[rank=8]`) is no part of the instance's own name. Other stages that
//! are named beside come with the same value of it; the same stage does not, where it is named without: `model "router"` with
//! `baseline "router[rank=8]"` compares all with one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kdl::{KdlDocument, KdlNode};

use super::block::Block;
use super::error::{ConfigError, MatrixError};
use super::file::{Span, Spanned};
use super::matrix::{MOST, Values, instance_name};
use super::scope::{Scope, Seen};
use super::table::{Kind, Repeat, Setting, Slot};
use super::value::Value;
use super::wanted::{Wanted, stem};
use super::written::Written;

/// One of the stages that a written stage stands for.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub name: String,
    /// Its values by axis, those of stages that it refers to among them.
    pub values: Values,
    /// Those of its own matrix alone: names of stages may take these.
    pub own: Values,
    /// The stage that brought in each axis.
    origins: BTreeMap<String, usize>,
    /// The instances that are meant where the text of the node names a stage.
    meant: BTreeMap<String, Vec<String>>,
}

/// What an instance has been decided about so far.
#[derive(Clone, Default)]
struct Partial {
    values: Values,
    /// The stage that brought in each axis.
    origins: BTreeMap<String, usize>,
    meant: BTreeMap<String, Vec<String>>,
}

/// The value of an axis that is given where a stage is named, by the axis and the stage that it is from. `None` where several are
/// given, which say nothing of the others.
type Pins<'a> = BTreeMap<(&'a str, usize), Option<&'a Value>>;

/// More references than this between the instances of two stages are not meant.
const MOST_NAMED: usize = 1_000_000;

struct Named {
    text: String,
    span: Span,
    is_many: bool,
}

/// What a name means: some instances of a stage.
struct Meant<'a> {
    named: &'a Named,
    stage: usize,
    instances: Vec<&'a Instance>,
    given: Given<'a>,
}

/// The axes whose values a name gives.
enum Given<'a> {
    /// The name is that of one instance.
    All,
    Some(Vec<&'a str>),
}

impl Meant<'_> {
    fn gives(&self, axis: &str) -> bool {
        match &self.given {
            Given::All => true,
            Given::Some(axes) => axes.contains(&axis),
        }
    }

    /// The axes of an instance whose values the name leaves open.
    fn open<'i>(&self, instance: &'i Instance) -> impl Iterator<Item = (&'i String, &'i Spanned<Value>)> {
        instance.values.iter().filter(|(axis, _)| !self.gives(axis))
    }
}

/// Instances by the values of axes that all of them, and all that they are chosen for, have.
struct Choice<'a> {
    meant: &'a Meant<'a>,
    axes: Vec<&'a String>,
    by_values: HashMap<Vec<String>, Vec<&'a Instance>>,
}

impl<'a> Choice<'a> {
    /// The instances that can be had beside what has been decided: where both have an axis, they have the same value of it. What the
    /// name gives itself is as it gives it.
    fn fitting(&self, partial: &Partial) -> impl Iterator<Item = &'a Instance> {
        let found = self.by_values.get(&told(&partial.values, &self.axes)).into_iter().flatten().copied();
        found.filter(|instance| self.meant.open(instance).all(|(axis, value)| partial.values.get(axis).is_none_or(|known| known.value.is_same(&value.value))))
    }
}

/// The values of some axes as texts: those that are the same have the same.
fn told(values: &Values, axes: &[&String]) -> Vec<String> {
    axes.iter().map(|axis| values.get(*axis).map(|value| value.value.plain()).unwrap_or_default()).collect()
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
    let needs = |stage: usize| named[stage].iter().flatten().filter_map(|named| places.get(stem(&named.text)).copied()).collect::<BTreeSet<usize>>();
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
        let (many, single): (Vec<Meant<'_>>, Vec<Meant<'_>>) = named.iter().filter_map(|named| self.meant(named)).partition(|meant| meant.named.is_many);
        let pins = pins(&single);
        let origins = own.keys().map(|axis| (axis.clone(), self.stage)).collect();
        let mut partials = vec![Partial { values: own.clone(), origins, ..Partial::default() }];
        for meant in &single {
            partials = self.joined(&partials, meant, &pins)?;
        }
        let mut count = 0;
        for meant in &many {
            let choice = self.choice(&partials, meant, &pins)?;
            for partial in &mut partials {
                let fitting: Vec<String> = choice.fitting(partial).map(|instance| instance.name.clone()).collect();
                if fitting.is_empty() {
                    return Err(self.none(meant.named));
                }
                count += fitting.len();
                if count > MOST_NAMED {
                    return Err(self.too_many(meant.named));
                }
                partial.meant.insert(meant.named.text.clone(), fitting);
            }
        }
        let name = &self.stages[self.stage].name;
        let instance = |Partial { values, origins, meant }| Instance { name: instance_name(name, &values), values, own: own.clone(), origins, meant };
        Ok(partials.into_iter().map(instance).collect())
    }

    /// The instances that a name means, where it means others than the stage itself.
    fn meant<'b>(&'b self, named: &'b Named) -> Option<Meant<'b>> {
        let &stage = self.places.get(stem(&named.text))?;
        let all = self.found[stage].as_ref()?;
        let plain = all.len() == 1 && all[0].values.is_empty();
        let (instances, given) = match all.iter().find(|instance| instance.name == named.text) {
            Some(exact) => (vec![exact], Given::All),
            None => {
                let wanted = Wanted::parse(&named.text).ok()?;
                let found = wanted.among(all, |instance, axis| instance.values.get(axis).map(|value| &value.value)).ok()?;
                (found.instances, Given::Some(found.axes))
            }
        };
        // What nothing answers to is told of as a reference to nothing.
        (!plain && !instances.is_empty()).then_some(Meant { named, stage, instances, given })
    }

    fn joined(&self, partials: &[Partial], meant: &Meant<'_>, pins: &Pins<'_>) -> Result<Vec<Partial>, ConfigError> {
        let choice = self.choice(partials, meant, pins)?;
        let mut joined = Vec::new();
        for partial in partials {
            for instance in choice.fitting(partial) {
                let mut with = partial.clone();
                for (axis, value) in meant.open(instance) {
                    with.origins.extend(instance.origins.get(axis).map(|&origin| (axis.clone(), origin)));
                    with.values.insert(axis.clone(), value.clone());
                }
                with.meant.insert(meant.named.text.clone(), vec![instance.name.clone()]);
                joined.push(with);
                if joined.len() > MOST {
                    return Err(self.too_many(meant.named));
                }
            }
        }
        if joined.is_empty() { Err(self.none(meant.named)) } else { Ok(joined) }
    }

    /// The instances of a name that the pins allow, to be chosen from by what is decided about each partial.
    fn choice<'m>(&self, partials: &[Partial], meant: &'m Meant<'_>, pins: &Pins<'_>) -> Result<Choice<'m>, ConfigError> {
        let mut origins: BTreeMap<(&String, Option<&usize>), Span> = BTreeMap::new();
        for instance in &meant.instances {
            origins.extend(meant.open(instance).map(|(axis, value)| ((axis, instance.origins.get(axis)), value.span)));
        }
        // An axis of one name may be another one.
        for (&(axis, origin), &at) in &origins {
            let other = partials.iter().find(|partial| partial.values.contains_key(axis) && partial.origins.get(axis) != origin);
            if let Some(first) = other.and_then(|other| other.values.get(axis)) {
                let stage = self.stages[self.stage].name.clone();
                return Err(MatrixError::Ambiguous { stage, axis: axis.clone(), first: first.span.into(), at: at.into() }.into());
            }
        }
        let is_pinned_away = |instance: &&&Instance| {
            meant.open(instance).any(|(axis, value)| {
                let pinned = instance.origins.get(axis).and_then(|&origin| *pins.get(&(axis.as_str(), origin))?);
                pinned.is_some_and(|pinned| !pinned.is_same(&value.value))
            })
        };
        let allowed: Vec<&Instance> = meant.instances.iter().filter(|instance| !is_pinned_away(instance)).copied().collect();
        let shared = |axis: &&String| {
            partials.iter().all(|partial| partial.values.contains_key(*axis)) && allowed.iter().all(|instance| instance.values.contains_key(*axis))
        };
        let axes: Vec<&String> = origins.keys().map(|(axis, _)| *axis).collect::<BTreeSet<_>>().into_iter().filter(shared).collect();
        let mut by_values: HashMap<Vec<String>, Vec<&Instance>> = HashMap::new();
        for &instance in &allowed {
            by_values.entry(told(&instance.values, &axes)).or_default().push(instance);
        }
        Ok(Choice { meant, axes, by_values })
    }

    fn too_many(&self, named: &Named) -> ConfigError {
        MatrixError::TooMany { stage: self.stages[self.stage].name.clone(), limit: MOST, at: named.span.into() }.into()
    }

    fn none(&self, named: &Named) -> ConfigError {
        MatrixError::None { stage: self.stages[self.stage].name.clone(), at: named.span.into() }.into()
    }
}

/// The values that names give, but for those of a stage that is named without as well.
fn pins<'a>(single: &[Meant<'a>]) -> Pins<'a> {
    let mut pins = Pins::new();
    for meant in single {
        for instance in &meant.instances {
            for (axis, value) in instance.values.iter().filter(|(axis, _)| meant.gives(axis)) {
                let Some(&origin) = instance.origins.get(axis) else {
                    continue;
                };
                if single.iter().any(|other| other.stage == meant.stage && !other.gives(axis)) {
                    continue;
                }
                let pin = pins.entry((axis.as_str(), origin)).or_insert(Some(&value.value));
                if pin.is_some_and(|known| !known.is_same(&value.value)) {
                    *pin = None;
                }
            }
        }
    }
    pins
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
