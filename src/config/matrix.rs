//! `matrix`: the instances of a stage, one for each combination of the values of its axes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use kdl::{KdlDocument, KdlEntry, KdlNode};

use super::error::{ConfigError, MatrixError, ValueError};
use super::file::{Span, Spanned};
use super::nearest::offer;
use super::scope::{Scope, Seen, as_kdl, value_span};
use super::table::{Kind, Setting, Slot};
use super::value::{Params, Value, fits};

/// The node.
pub static MATRIX: Setting =
    Setting::new("matrix", "Makes an instance of the stage for each combination of the values of its axes; `(param)\"axis\"` takes one.")
        .without_effect()
        .children(|| vec![&EXCLUDE, &ONLY])
        .open_children(&AXIS);
static AXIS: Setting = Setting::new("AXIS", "An axis, by a name of your own, and its values.").many().rest(&VALUE);
static VALUE: Slot = Slot::new("value", Kind::Any, "A value.");
static EXCLUDE: Setting = Setting::new("exclude", "Leaves out the combinations that have these values.").many().open_properties(&CELL);
static ONLY: Setting = Setting::new("only", "Leaves out the combinations that have none of these sets of values.").many().open_properties(&CELL);
static CELL: Slot = Slot::new("axis", Kind::Any, "A value of an axis.");

/// More instances of a stage than this are not meant.
pub const MOST: usize = 10_000;

/// The values that an instance stands for, by axis.
pub type Values = Params;

/// An axis as it is written.
#[derive(Debug)]
pub struct Axis {
    pub name: String,
    pub span: Span,
    pub values: Vec<Spanned<Value>>,
}

/// A matrix, multiplied out.
#[derive(Debug)]
pub struct Matrix {
    pub axes: Vec<Axis>,
    /// The combinations that it has. Where something is wrong, one of them, so that the rest of the stage can be looked at.
    pub all: Vec<Values>,
    /// Whether something is wrong.
    pub is_broken: bool,
}

/// Reads a matrix. `places` is the axis that the stage has by itself, and by which setting.
pub fn combinations(node: &KdlNode, stage: &str, places: Option<(&str, &str)>, scope: Scope<'_>, seen: &mut Seen, errors: &mut Vec<ConfigError>) -> Matrix {
    let before = errors.len();
    if let Some(entry) = node.entries().first() {
        errors.push(ConfigError::SurplusArgument { node: MATRIX.name.into(), takes: "no value".into(), at: entry.span() });
    }
    let (cells, own): (Vec<&KdlNode>, Vec<&KdlNode>) = inside(node).partition(|child| [EXCLUDE.name, ONLY.name].contains(&child.name().value()));
    let mut axes: Vec<Axis> = Vec::new();
    for child in own {
        match axis(child, &axes, scope, seen, errors) {
            Ok(Axis { name, span, .. }) if places.is_some_and(|(place, _)| place == name) => {
                let problem = places.map_or_else(String::new, |(_, by)| format!("it is the one that `{by}` makes"));
                errors.push(MatrixError::BadAxis { axis: name, problem, at: span.into() }.into());
            }
            Ok(axis) => axes.push(axis),
            Err(error) => errors.push(error),
        }
    }
    let at = Span::from(node.name().span());
    if axes.is_empty() && errors.len() == before {
        errors.push(ConfigError::MissingValue {
            node: MATRIX.name.into(),
            what: "an axis".into(),
            at: at.into(),
            help: "write a name and its values inside: `epochs 2 4 8`".into(),
        });
    }
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    // What `exclude` and `only` leave may be far fewer, and all have to be looked at.
    if count.is_none_or(|count| count > 100 * MOST) {
        errors.push(MatrixError::TooMany { stage: stage.to_owned(), limit: MOST, at: at.into() }.into());
    }
    let mut cell = |name: &str| -> Vec<Values> {
        let cells = cells.iter().filter(|cell| cell.name().value() == name);
        cells.map(|cell| read_cell(cell, &axes, scope, seen, errors)).collect()
    };
    let (excluded, only) = (cell(EXCLUDE.name), cell(ONLY.name));
    if errors.len() > before {
        let first = |axis: &Axis| Some((axis.name.clone(), axis.values.first()?.clone()));
        return Matrix { all: vec![axes.iter().filter_map(first).collect()], axes, is_broken: true };
    }
    let mut all = product(&axes);
    let first = all.iter().take(1).cloned().collect();
    let has = |values: &Values, cell: &Values| cell.iter().all(|(axis, value)| values.get(axis).is_some_and(|own| own.value.is_same(&value.value)));
    all.retain(|values| !excluded.iter().any(|cell| has(values, cell)) && (only.is_empty() || only.iter().any(|cell| has(values, cell))));
    if all.is_empty() {
        errors.push(MatrixError::Empty { stage: stage.to_owned(), at: at.into() }.into());
        all = first;
    } else if all.len() > MOST {
        errors.push(MatrixError::TooMany { stage: stage.to_owned(), limit: MOST, at: at.into() }.into());
        all.truncate(1);
    }
    Matrix { axes, all, is_broken: errors.len() > before }
}

/// An instance in so many places: with one more axis, `place`.
pub fn with_places(values: &Values, count: i64, span: Span) -> Vec<Values> {
    let place = |place| {
        let mut values = values.clone();
        values.insert(PLACE.to_owned(), Spanned { value: Value::Integer(place), span });
        values
    };
    (1..=count).map(place).collect()
}

/// The axis of a stage that stands in several places.
pub const PLACE: &str = "place";

fn product(axes: &[Axis]) -> Vec<Values> {
    let mut all = vec![Values::new()];
    for axis in axes {
        let with = |values: &Values, value: &Spanned<Value>| {
            let mut values = values.clone();
            values.insert(axis.name.clone(), value.clone());
            values
        };
        all = all.iter().flat_map(|values| axis.values.iter().map(move |value| with(values, value))).collect();
    }
    all
}

fn axis(node: &KdlNode, known: &[Axis], scope: Scope<'_>, seen: &mut Seen, errors: &mut Vec<ConfigError>) -> Result<Axis, ConfigError> {
    let (name, span) = (node.name().value(), Span::from(node.name().span()));
    let bad = |problem: &str, at: Span| MatrixError::BadAxis { axis: name.to_owned(), problem: problem.to_owned(), at: at.into() };
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
        return Err(bad("a name is of letters, digits, `-` and `_`", span).into());
    }
    if let Some(first) = known.iter().find(|axis| axis.name == name) {
        return Err(ConfigError::Repeated { name: name.into(), place: "`matrix`".into(), first: first.span.into(), at: span.into() });
    }
    if node.entries().is_empty() || node.children().is_some() {
        return Err(bad("it needs values, and nothing else", span).into());
    }
    let (mut values, mut meanings): (Vec<Spanned<Value>>, Vec<Option<Value>>) = (Vec::new(), Vec::new());
    for entry in node.entries() {
        let at = value_span(entry);
        if entry.name().is_some() {
            errors.push(bad("its values are no properties", entry.span().into()).into());
            continue;
        }
        let value = match scope.value(entry, name, "a string, a number or a boolean", seen) {
            Ok(value) => Spanned { value, span: at },
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let declared = scope.params.get(name).filter(|declared| !fits(&value.value, &declared.value));
        if let Some(declared) = declared {
            let found = format!("{} {}", value.value.noun(), value.value);
            let expected = declared.value.noun().to_owned();
            errors.push(ValueError::WrongParam { name: name.into(), expected, found, declared: declared.span.into(), at: at.into() }.into());
        }
        // What is written in the same way in names is the same to all that go by them.
        let (plain, meaning) = (value.value.plain(), spelled(&value.value));
        let is_alike = |(known, spelled): &(&Spanned<Value>, &Option<Value>)| {
            let is = |meaning: &Option<Value>, other: &Value| meaning.as_ref().is_some_and(|meaning| meaning.is_same(other));
            known.value.is_same(&value.value) || known.value.plain() == plain || is(spelled, &value.value) || is(&meaning, &known.value)
        };
        match values.iter().zip(&meanings).find(is_alike) {
            Some((first, _)) => {
                let (axis, written) = (name.to_owned(), value.value.to_string());
                errors.push(MatrixError::Repeated { axis, value: written, first: first.span.into(), at: at.into() }.into());
            }
            None => {
                values.push(value);
                meanings.push(meaning);
            }
        }
    }
    Ok(Axis { name: name.to_owned(), span, values })
}

/// The number or boolean that a text looks like in a name.
fn spelled(value: &Value) -> Option<Value> {
    if let Value::Text(text) = value { as_kdl(text) } else { None }
}

fn read_cell(node: &KdlNode, axes: &[Axis], scope: Scope<'_>, seen: &mut Seen, errors: &mut Vec<ConfigError>) -> Values {
    let mut cell = Values::new();
    if node.entries().iter().all(|entry| entry.name().is_none()) {
        errors.push(ConfigError::MissingValue {
            node: node.name().value().into(),
            what: "values of axes".into(),
            at: node.name().span(),
            help: "write them as properties: `exclude epochs=8 rank=16`".into(),
        });
    }
    for entry in node.entries() {
        match read_property(node, entry, axes, scope, seen) {
            Ok((axis, value)) => drop(cell.insert(axis, value)),
            Err(error) => errors.push(error),
        }
    }
    cell
}

fn read_property(node: &KdlNode, entry: &KdlEntry, axes: &[Axis], scope: Scope<'_>, seen: &mut Seen) -> Result<(String, Spanned<Value>), ConfigError> {
    let Some(name) = entry.name() else {
        return Err(ConfigError::SurplusArgument { node: node.name().value().into(), takes: "properties alone".into(), at: entry.span() });
    };
    let unknown = |wanted: String, at: Span, help: String| ConfigError::from(MatrixError::UnknownCell { wanted, at: at.into(), help });
    let Some(axis) = axes.iter().find(|axis| axis.name == name.value()) else {
        let help = offer(name.value(), axes.iter().map(|axis| axis.name.as_str()), "it has no axes");
        return Err(unknown(format!("axis `{}`", name.value()), name.span().into(), help));
    };
    let (value, at) = (scope.value(entry, &axis.name, "a value of the axis", seen)?, value_span(entry));
    if !axis.values.iter().any(|known| known.value.is_same(&value)) {
        let known = axis.values.iter().map(|known| known.value.to_string()).collect::<Vec<_>>().join(", ");
        return Err(unknown(format!("{} {value}", axis.name), at, format!("`{}` is one of {known}", axis.name)));
    }
    Ok((axis.name.clone(), Spanned { value, span: at }))
}

fn inside(node: &KdlNode) -> impl Iterator<Item = &KdlNode> {
    node.children().into_iter().flat_map(KdlDocument::nodes)
}

/// The name of an instance: `router[epochs=2,rank=8]`, the axes in the order of the alphabet.
pub fn instance_name(stage: &str, values: &Values) -> String {
    if values.is_empty() {
        return stage.to_owned();
    }
    let mut name = format!("{stage}[");
    for (place, (axis, value)) in values.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(name, "{comma}{axis}={}", short(&value.value));
    }
    name.push(']');
    if name.len() > LONGEST_NAME {
        return format!("{stage}[~{}]", &blake3::hash(name.as_bytes()).to_hex()[..12]);
    }
    name
}

/// The name of an instance is that of files too.
const LONGEST_NAME: usize = 200;

/// A value in the name of an instance. What is long, or has signs that files and shells do not like, is cut short and told apart
/// by its hash.
pub fn short(value: &Value) -> String {
    const LONGEST: usize = 32;
    let plain = value.plain();
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '+');
    if plain.chars().count() <= LONGEST && plain.chars().all(fine) && !plain.is_empty() {
        return plain;
    }
    let cut: String = plain.chars().take(20).map(|c| if fine(c) { c } else { '-' }).collect();
    format!("{cut}~{}", &blake3::hash(plain.as_bytes()).to_hex()[..10])
}

/// The axes of a stage with their values, in words.
pub fn described<'a, V: AsRef<Value> + 'a>(all: impl Iterator<Item = &'a BTreeMap<String, V>>) -> String {
    let mut axes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (axis, value) in all.flatten() {
        axes.entry(axis).or_default().insert(short(value.as_ref()));
    }
    let told = axes.into_iter().map(|(axis, values)| format!("{axis} {}", values.into_iter().collect::<Vec<_>>().join(", ")));
    told.collect::<Vec<_>>().join("; ")
}
