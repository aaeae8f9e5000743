use std::collections::HashMap;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("quality", "Lets rows go whose text is no good, by rules that are named.").operator(1).properties(&[
    Slot::new("field", Kind::Text, "The field to look at; without it all text.").or(Fallback::Absent),
    Slot::new("gopher", Kind::Flag, "The rules for long texts of Rae et al. (2021), table A1, for all that is not given here.").or(Fallback::Flag(false)),
    Slot::new("min-words", Kind::Integer(0, i64::MAX), "The fewest words.").or(Fallback::Absent),
    Slot::new("max-words", Kind::Integer(0, i64::MAX), "The most words.").or(Fallback::Absent),
    Slot::new("min-word-length", Kind::Number(0.0, f64::MAX), "The least mean length of a word.").or(Fallback::Absent),
    Slot::new("max-word-length", Kind::Number(0.0, f64::MAX), "The greatest mean length of a word.").or(Fallback::Absent),
    Slot::new("symbols", Kind::Number(0.0, f64::MAX), "The most `#` and `...` for a word.").or(Fallback::Absent),
    Slot::new("alphabetic", Kind::Share, "The least share of words with a letter in them.").or(Fallback::Absent),
    Slot::new("repeated-lines", Kind::Share, "The greatest share of lines that stood there before.").or(Fallback::Absent),
    Slot::new("repeated-words", Kind::Share, "The greatest share of the text that its most frequent pair of words makes up.").or(Fallback::Absent),
]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Quality::of(block)?)));

/// A rule: the setting, what it measures, whether that may be no higher (or no lower), and its value in Gopher.
type Rule = (&'static str, fn(&Text<'_>) -> f64, bool, f64);

const RULES: &[Rule] = &[
    ("min-words", |text| text.words(), false, 50.0),
    ("max-words", |text| text.words(), true, 100_000.0),
    ("min-word-length", |text| text.word_length(), false, 3.0),
    ("max-word-length", |text| text.word_length(), true, 10.0),
    ("symbols", |text| text.symbols(), true, 0.1),
    ("alphabetic", |text| text.alphabetic(), false, 0.8),
    ("repeated-lines", |text| text.repeated_lines(), true, 0.3),
    ("repeated-words", |text| text.repeated_words(), true, 0.2),
];

#[derive(Debug)]
struct Quality {
    field: Option<String>,
    /// The rules that hold, with their bounds.
    rules: Vec<(Rule, f64)>,
}

impl Quality {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let gopher = block.flag("gopher");
        let bound = |rule: &Rule| block.find_number(rule.0).or(gopher.then_some(rule.3));
        let rules: Vec<(Rule, f64)> = RULES.iter().filter_map(|rule| Some((*rule, bound(rule)?))).collect();
        if rules.is_empty() {
            return Err(ConfigError::MissingValue {
                node: "quality".into(),
                what: "a rule".into(),
                at: block.name_span.into(),
                help: "name a rule with its bound: `min-words=3`, `symbols=0.1`, or all of one paper: `gopher=#true`".into(),
            });
        }
        Ok(Self { field: block.find_text("field").map(str::to_owned), rules })
    }
}

struct Text<'a> {
    whole: &'a str,
    words: Vec<&'a str>,
}

#[expect(clippy::cast_precision_loss, reason = "lengths of texts are far below 2^52")]
impl Text<'_> {
    fn words(&self) -> f64 {
        self.words.len() as f64
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.words.len().max(1) as f64
    }

    fn word_length(&self) -> f64 {
        self.share(self.words.iter().map(|word| word.chars().count()).sum())
    }

    fn symbols(&self) -> f64 {
        self.share(self.whole.matches(['#', '\u{2026}']).count() + self.whole.matches("...").count())
    }

    fn alphabetic(&self) -> f64 {
        self.share(self.words.iter().filter(|word| word.chars().any(char::is_alphabetic)).count())
    }

    fn repeated_lines(&self) -> f64 {
        let lines: Vec<&str> = self.whole.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let different: std::collections::HashSet<&str> = lines.iter().copied().collect();
        (lines.len() - different.len()) as f64 / lines.len().max(1) as f64
    }

    fn repeated_words(&self) -> f64 {
        let mut pairs: HashMap<(&str, &str), usize> = HashMap::new();
        for pair in self.words.windows(2) {
            *pairs.entry((pair[0], pair[1])).or_default() += 1;
        }
        let letters = |count: usize, pair: (&str, &str)| count * (pair.0.len() + pair.1.len());
        let most = pairs.into_iter().filter(|(_, count)| *count > 1).map(|(pair, count)| letters(count, pair)).max().unwrap_or_default();
        most as f64 / self.words.iter().map(|word| word.len()).sum::<usize>().max(1) as f64
    }
}

impl Quality {
    fn judge(&self, item: &Item) -> Verdict {
        let whole = item.text(self.field.as_deref());
        let text = Text { whole: &whole, words: whole.split_whitespace().collect() };
        let broken = self.rules.iter().find_map(|((name, measure, at_most, _), bound)| {
            let found = measure(&text);
            let holds = if *at_most { found <= *bound } else { found >= *bound };
            (!holds).then(|| format!("`{name}` is {}, and {} is the {}", shown(found), shown(*bound), if *at_most { "most" } else { "least" }))
        });
        broken.map_or(Verdict::Keep, Verdict::Drop)
    }
}

fn shown(figure: f64) -> String {
    format!("{}", (figure * 1000.0).round() / 1000.0)
}

impl Operator for Quality {
    fn is_by_row(&self) -> bool {
        // Whether a field is there at all shows only among all rows.
        self.field.is_none()
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let rows = match &self.field {
            Some(field) => flow.needs_field("quality", field, rows),
            None => rows,
        };
        Ok(flow.each("quality", rows, |item| self.judge(item)))
    }
}
