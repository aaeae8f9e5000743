use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};
use crate::data::{DataError, Split};

use super::report::Account;

const WHAT: &[&str] = &["rows", "rejected-share", "duplicate-share", "train", "validation", "test"];

pub static SETTING: Setting = Setting::new("expect", "Fails the stage where a figure of the data is not within bounds.")
    .many()
    .arguments(&[Slot::new("what", Kind::Choice(WHAT), "The figure: examples in all or in a split, or a share.")])
    .properties(&[
        Slot::new("min", Kind::Number(0.0, f64::MAX), "The least that it may be.").or(Fallback::Absent),
        Slot::new("max", Kind::Number(0.0, f64::MAX), "The most that it may be.").or(Fallback::Absent),
    ]);

#[derive(Debug)]
pub struct Expectation {
    what: String,
    min: Option<f64>,
    max: Option<f64>,
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
        None => Ok(Expectation { what: block.text("what").to_owned(), min, max }),
    }
}

impl Expectation {
    pub fn check(&self, account: &Account<'_>) -> Result<(), DataError> {
        let found = match self.what.as_str() {
            "rows" => account.rows(),
            "rejected-share" => account.rejected_share(),
            "duplicate-share" => account.duplicate_share(),
            split => Split::ALL.iter().position(|part| part.name() == split).map_or(0.0, |part| {
                #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
                let rows = account.parts[part].len() as f64;
                rows
            }),
        };
        let low = self.min.is_some_and(|min| found < min);
        let high = self.max.is_some_and(|max| found > max);
        if !low && !high {
            return Ok(());
        }
        let wanted = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => String::new(),
        };
        let aside =
            account.flow.rejected.first().map_or_else(String::new, |row| format!("; the first row rejected here: {}:{}: {}", row.source, row.line, row.reason));
        let before =
            if account.rejected_before > 0 { format!("; {} rows were rejected when they were collected", account.rejected_before) } else { String::new() };
        let help = format!("mend the data, or change the expectation{before}{aside}");
        Err(DataError::Expectation { what: self.what.clone(), wanted, found: shown(found), help })
    }
}

fn shown(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure}") } else { format!("{figure:.4}") }
}
