//! The graders. A grader is one file here and one line in [`GRADERS`].

mod combined;
mod contains;
mod exact_match;
mod json;
pub mod label;
mod length;
mod number;
mod outside;
mod pattern;
mod refusal;
pub(in crate::grade) mod similarity;
mod taken;
mod tool_call;

use std::fmt;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::{Metrics, Took};

/// A kind of grader.
#[derive(Clone, Copy, Debug)]
pub struct GraderKind {
    /// What `grader "..."` calls it.
    pub name: &'static str,
    /// The properties that it reads, besides `name`.
    pub reads: &'static [&'static str],
    /// What its metric is called where the pipeline gives it no name.
    pub metric: &'static str,
    /// Makes it ready from its settings.
    pub prepare: fn(&Block) -> Result<Box<dyn Grader>, ConfigError>,
}

/// All graders.
pub static GRADERS: &[GraderKind] = &[
    combined::ALL,
    combined::ANY,
    combined::NOT,
    combined::WEIGHTED,
    outside::COMMAND,
    outside::JUDGE,
    outside::MODERATION,
    outside::PAIRWISE,
    outside::OPENAI,
    outside::PERPLEXITY,
    contains::CONTAINS,
    contains::STARTS_WITH,
    exact_match::KIND,
    json::KIND,
    label::KIND,
    length::KIND,
    number::KIND,
    pattern::KIND,
    refusal::KIND,
    similarity::KIND,
    taken::COST,
    taken::LATENCY,
    tool_call::KIND,
];

/// An answer beside the one that was wanted.
#[derive(Clone, Copy, Debug)]
pub struct Graded<'a> {
    /// What was wanted.
    pub wanted: &'a str,
    /// What the model said.
    pub answer: &'a str,
    /// What the answer took.
    pub took: Took,
}

/// What is measured of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long they took.
    pub seconds: bool,
    /// What they cost.
    pub usd: bool,
}

impl Measured {
    /// Whether anything is.
    #[must_use]
    pub const fn any(self) -> bool {
        self.seconds || self.usd
    }

    /// What either asks for.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { seconds: self.seconds || other.seconds, usd: self.usd || other.usd }
    }
}

impl<'a> Graded<'a> {
    /// An answer of which nobody asks what it took.
    #[must_use]
    pub fn new(wanted: &'a str, answer: &'a str) -> Self {
        Self { wanted, answer, took: Took::default() }
    }
}

/// Says how good an answer is.
pub trait Grader: Send + Sync + fmt::Debug {
    /// The score of an answer: from 0 to 1 where it is a share.
    fn score(&self, graded: Graded<'_>) -> f64;

    /// Whether each score is 0 or 1.
    fn is_yes_or_no(&self) -> bool {
        true
    }

    /// Whether scores are shares, and not amounts of something.
    fn is_share(&self) -> bool {
        true
    }

    /// Figures over all rows besides the mean.
    fn figures(&self, _rows: &[Graded<'_>]) -> Metrics {
        Metrics::new()
    }

    /// The names of those figures.
    fn names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether somebody else gives the scores.
    fn is_outside(&self) -> bool {
        false
    }

    /// Whether its score tells one model from the other, so that there is none for each.
    fn compares(&self) -> bool {
        false
    }

    /// Whether it goes by the answer that was wanted, and says nothing where that is not known.
    fn wants(&self) -> bool {
        true
    }

    /// What of the answers it goes by besides what they say.
    fn measures(&self) -> Measured {
        Measured::default()
    }

    /// How classes are told, where answers are classes, so that they make a table.
    fn classes(&self) -> Option<&label::Label> {
        None
    }
}

const NAMES: &[&str] = &[
    "exact-match",
    "contains",
    "starts-with",
    "regex",
    "json",
    "number",
    "label",
    "similarity",
    "refusal",
    "length",
    "tool-call",
    "latency",
    "cost",
    "perplexity",
    "judge",
    "pairwise",
    "moderation",
    "openai",
    "command",
    "all",
    "any",
    "not",
    "weighted",
];

/// The table of the `grader` node.
pub static SETTING: Setting = Setting::new("grader", "Says how good an answer is.")
    .many()
    .children(|| vec![&SETTING])
    .arguments(&[Slot::new("kind", Kind::Choice(NAMES), "What it looks at.")])
    .properties(&[
        Slot::new("name", Kind::Text, "What its metric is called.").or(Fallback::Absent),
        Slot::new("ignore-case", Kind::Flag, "Takes small and capital letters for the same.").or(Fallback::Absent),
        Slot::new("value", Kind::Text, "The text or regular expression that is looked for; without it the answer that was wanted.").or(Fallback::Absent),
        Slot::new("field", Kind::Text, "The field of a JSON answer that is the class; the whole answer where it is not said.").or(Fallback::Absent),
        Slot::new("schema", Kind::Text, "A JSON Schema that the answer must hold by.").or(Fallback::Absent),
        Slot::new(
            "compare",
            Kind::Choice(&["whole", "fields", "names"]),
            "Whether JSON or a call must be as wanted as a whole, is scored by its fields, or a call by its name.",
        )
        .or(Fallback::Absent),
        Slot::new("tolerance", Kind::Number(0.0, f64::MAX), "How far a number may be from the one that was wanted, in calls too.").or(Fallback::Absent),
        Slot::new("by", Kind::Choice(similarity::MEASURES), "The measure of likeness.").or(Fallback::Absent),
        Slot::new("of", Kind::Choice(&["words", "characters", "lines"]), "What a length is counted in; words where it is not said.").or(Fallback::Absent),
        Slot::new("min", Kind::Number(0.0, f64::MAX), "The least length.").or(Fallback::Absent),
        Slot::new("max", Kind::Number(0.0, f64::MAX), "The greatest length; of a latency the most seconds, of a cost the most dollars.").or(Fallback::Absent),
        Slot::new("expected", Kind::Flag, "Whether a refusal is wanted; without it the metric is the share of refusals.").or(Fallback::Absent),
        Slot::new("rubric", Kind::Text, "What a good answer is, for a judge.").or(Fallback::Absent),
        Slot::new("model", Kind::Text, "The model that judges.").or(Fallback::Absent),
        Slot::new("provider", Kind::Provider, "Who has that model.").or(Fallback::Absent),
        Slot::new("votes", Kind::Integer(1, 9), "How often an answer is judged; the mean counts.").or(Fallback::Absent),
        Slot::new("run", Kind::Text, "The line that a command grader runs.").or(Fallback::Absent),
        Slot::new("input", Kind::Input, "A file, folder or glob of the workspace: what a command is made of, or the JSON of a grader of OpenAI.")
            .or(Fallback::Absent),
        Slot::new("weight", Kind::Positive(f64::MAX), "How much it counts in `weighted`.").or(Fallback::Absent),
    ]);

/// A grader of a stage, with the name of its metric.
#[derive(Debug)]
pub struct Named {
    /// The name of its metric.
    pub name: String,
    /// The grader.
    pub grader: Box<dyn Grader>,
}

impl Named {
    /// What else it measures, by name.
    pub fn others(&self) -> impl Iterator<Item = String> {
        self.grader.names().iter().map(|other| format!("{}.{other}", self.name))
    }
}

pub use outside::{CONSISTENCY, TIES, is_outside};

/// The name of the metric of a grader.
#[must_use]
pub fn metric(block: &Block) -> &str {
    let usual = block.find_text("by").or_else(|| kind(block).map(|kind| kind.metric)).unwrap_or_default();
    block.find_text("name").unwrap_or(usual)
}

/// The graders of a stage.
///
/// # Errors
/// When one is not as it must be, or two metrics would have one name.
pub fn all(stage: &Block) -> Result<Vec<Named>, ConfigError> {
    let mut graders: Vec<(Named, &Block)> = Vec::new();
    for block in stage.all(SETTING.name) {
        let grader = within(block, false)?;
        let name = metric(block).to_owned();
        if let Some((_, first)) = graders.iter().find(|(other, _)| other.name == name) {
            let place = "the metrics of this stage: give one a `name=`".to_owned();
            return Err(ConfigError::Repeated { name, place, first: first.name_span.into(), at: block.name_span.into() });
        }
        if ["rows", "slice-gap", "overfit-gap", "loss-gap"].contains(&name.as_str()) {
            return Err(ConfigError::Contradiction {
                problem: format!("`{name}` is a figure of every evaluation"),
                label: "cannot be the name of a metric".into(),
                at: block.span_of("name").into(),
                help: "give it another name".into(),
            });
        }
        if let Some(other) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
            return Err(ConfigError::Contradiction {
                problem: format!("`{name}` cannot be the name of a metric"),
                label: format!("holds {other:?}"),
                at: block.span_of("name").into(),
                help: "use letters, digits, `-` and `_`".into(),
            });
        }
        graders.push((Named { name, grader }, block));
    }
    if graders.is_empty() {
        return Err(ConfigError::MissingNode {
            node: "evaluate".into(),
            child: SETTING.name.into(),
            at: stage.name_span.into(),
            help: "say how answers are judged: `grader \"exact-match\"`".into(),
        });
    }
    Ok(graders.into_iter().map(|(named, _)| named).collect())
}

/// The graders of a node that can say how good an answer is when nobody knows what it should be, here and without asking anybody.
///
/// # Errors
/// When one is not as it must be, or cannot say so.
pub fn unaided(parent: &Block) -> Result<Vec<Box<dyn Grader>>, ConfigError> {
    let unaided = |block| {
        let grader = within(block, false)?;
        if grader.is_outside() || grader.wants() || !grader.is_share() || grader.measures().any() {
            return Err(ConfigError::Contradiction {
                problem: format!("`{}` cannot grade an answer while it is given", block.text("kind")),
                label: "needs more than the answer".into(),
                at: block.name_span.into(),
                help: "take one that goes by the answer alone: `json`, `regex`, `length` with a bound, `refusal`, `contains` with a `value`".into(),
            });
        }
        Ok(grader)
    };
    parent.all(SETTING.name).map(unaided).collect()
}

fn kind(block: &Block) -> Option<&'static GraderKind> {
    let name = block.text("kind");
    GRADERS.iter().find(|kind| kind.name == name)
}

/// The grader of a node; only those inside `weighted` have a weight.
fn within(block: &Block, weighted: bool) -> Result<Box<dyn Grader>, ConfigError> {
    let kind = kind(block).ok_or_else(|| ConfigError::MissingValue {
        node: SETTING.name.into(),
        what: "a kind".into(),
        at: block.name_span.into(),
        help: NAMES.join(", "),
    })?;
    let reads = |name: &str| name == "kind" || name == "name" || kind.reads.contains(&name) || (weighted && name == "weight");
    let unread = SETTING.properties.iter().find(|slot| !reads(slot.name) && block.slot(slot.name).is_some());
    let stray = block.children.first().filter(|_| !matches!(kind.name, "all" | "any" | "not" | "weighted"));
    if let Some((name, at)) = unread.map(|slot| (slot.name, block.span_of(slot.name))).or_else(|| stray.map(|child| ("grader", child.name_span))) {
        return Err(ConfigError::Contradiction {
            problem: format!("`{name}` says nothing to the grader `{}`", kind.name),
            label: "would not be read".into(),
            at: at.into(),
            help: if kind.reads.is_empty() { "take it out".into() } else { format!("it has: {}", kind.reads.join(", ")) },
        });
    }
    (kind.prepare)(block)
}

/// A property that a kind cannot do without.
fn needed<'a>(block: &'a Block, name: &str, help: &str) -> Result<&'a str, ConfigError> {
    block.find_text(name).ok_or_else(|| ConfigError::MissingValue {
        node: format!("grader {:?}", block.text("kind")),
        what: format!("`{name}=`"),
        at: block.name_span.into(),
        help: help.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grader_has_a_name_that_can_be_written() {
        assert_eq!(GRADERS.len(), NAMES.len());
        assert!(GRADERS.iter().all(|kind| NAMES.contains(&kind.name)));
        let known = |name: &str| SETTING.properties.iter().any(|slot| slot.name == name);
        assert!(GRADERS.iter().flat_map(|kind| kind.reads).all(|name| known(name)));
    }
}
