use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};
use crate::data::{DataError, Split};

use super::report::Whole;

const WHAT: &[&str] = &[
    "rows",
    "rejected-share",
    "duplicate-share",
    "leaked",
    "train",
    "validation",
    "test",
    "classes",
    "largest-class-share",
    "smallest-class",
    "smallest-slice",
    "longest",
    "mean-length",
];

pub static SETTING: Setting = Setting::new("expect", "Fails the stage where a figure of the data is not within bounds.")
    .many()
    .arguments(&[Slot::new(
        "what",
        Kind::Choice(WHAT),
        "The figure: examples in all, in a split, in the smallest class or slice; a share; tokens of the longest example, and of the mean.",
    )])
    .properties(&[
        Slot::new("min", Kind::Number(0.0, f64::MAX), "The least that it may be.").or(Fallback::Absent),
        Slot::new("max", Kind::Number(0.0, f64::MAX), "The most that it may be.").or(Fallback::Absent),
        Slot::new("then", Kind::Choice(&["fail", "warn"]), "What happens where it is not within them.").or(Fallback::Text("fail")),
    ]);

#[derive(Debug)]
pub struct Expectation {
    what: String,
    min: Option<f64>,
    max: Option<f64>,
    warns: bool,
}

pub fn all(block: &Block) -> Result<Vec<Expectation>, ConfigError> {
    block.all("expect").map(expectation).collect()
}

fn expectation(block: &Block) -> Result<Expectation, ConfigError> {
    let (min, max) = (block.find_number("min"), block.find_number("max"));
    let problem = match (min, max) {
        (None, None) => Some("`expect` needs `min=` or `max=`"),
        (Some(min), Some(max)) if min > max => Some("`min` is above `max`"),
        _ => None,
    };
    match problem {
        Some(problem) => Err(ConfigError::Contradiction {
            problem: problem.into(),
            label: "expects nothing that can be".into(),
            at: block.name_span.into(),
            help: "for example `expect \"rows\" min=500`".into(),
        }),
        None => Ok(Expectation { what: block.text("what").to_owned(), min, max, warns: block.text("then") == "warn" }),
    }
}

impl Expectation {
    /// Whether it is about the length of every example.
    pub fn needs_lengths(&self) -> bool {
        matches!(self.what.as_str(), "longest" | "mean-length")
    }

    /// The figure. `None` where there is nothing of the kind: answers that are no classes, no slices.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
    fn figure(&self, whole: &Whole<'_>) -> Option<f64> {
        let lengths = || whole.tally.parts.iter().map(|part| &part.lengths);
        Some(match self.what.as_str() {
            "rows" => whole.tally.rows() as f64,
            "rejected-share" => whole.rejected_share(),
            "duplicate-share" => whole.duplicate_share(),
            "leaked" => (whole.account.dropped_by("decontaminate") + whole.account.noted_by("decontaminate").0) as f64,
            "classes" => whole.tally.labels().listed()?.len() as f64,
            "largest-class-share" => whole.tally.labels().largest()?.1,
            "smallest-class" => whole.tally.labels().smallest()?.1 as f64,
            "smallest-slice" => {
                let slices = whole.tally.slices();
                let rows = slices.values().flat_map(|values| values.values()).filter_map(|labels| Some(labels.listed()?.values().sum::<usize>()));
                rows.min()? as f64
            }
            "longest" => lengths().map(|lengths| lengths.most).max()? as f64,
            "mean-length" => lengths().map(|lengths| lengths.sum).sum::<usize>() as f64 / whole.tally.rows().max(1) as f64,
            split => whole.tally.parts[Split::ALL.iter().position(|part| part.name() == split)?].rows as f64,
        })
    }

    /// What does not hold, if anything: an error, or in the second place what is only to be warned of.
    pub fn check(&self, whole: &Whole<'_>) -> Result<Option<String>, DataError> {
        let found = self.figure(whole);
        let within = |found: f64| self.min.is_none_or(|min| found >= min) && self.max.is_none_or(|max| found <= max);
        if found.is_some_and(within) {
            return Ok(None);
        }
        let wanted = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => String::new(),
        };
        let found = found.map_or_else(|| "nothing of the kind".to_owned(), shown);
        if self.warns {
            return Ok(Some(format!("expected `{}` to be {wanted}, found {found}", self.what)));
        }
        let first = whole.account.first_rejected.as_ref();
        let aside = first.map_or_else(String::new, |row| format!("; the first row rejected here: {}:{}: {}", row.source, row.line, row.reason));
        let before = if whole.rejected_before > 0 { format!("; {} rows were rejected when they were collected", whole.rejected_before) } else { String::new() };
        let help = format!("mend the data, or change the expectation{before}{aside}");
        Err(DataError::Expectation { what: self.what.clone(), wanted, found, help })
    }
}

fn shown(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure}") } else { format!("{figure:.4}") }
}
