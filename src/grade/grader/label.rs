//! Answers that are classes, and how each class is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::Metrics;
use super::super::statistics::count;
use super::json::parsed;
use super::{Graded, Grader, GraderKind};

pub(super) const KIND: GraderKind = GraderKind {
    name: "label",
    reads: &["field"],
    metric: "accuracy",
    prepare: |block| Ok(Box::new(Label { field: block.find_text("field").map(str::to_owned) })),
};

/// Right is the class that was wanted. What is no class at all is counted apart.
#[derive(Debug)]
pub struct Label {
    /// The field of JSON that is the class, where the whole answer is not.
    field: Option<String>,
}

/// How a class was told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Class {
    /// Rows of it.
    pub rows: usize,
    /// Answers that name it.
    pub named: usize,
    /// Rows of it that were named so.
    pub right: usize,
}

impl Class {
    /// The share of answers with its name that are right.
    #[must_use]
    pub fn precision(self) -> f64 {
        count(self.right) / count(self.named.max(1))
    }

    /// The share of its rows that were named so.
    #[must_use]
    pub fn recall(self) -> f64 {
        count(self.right) / count(self.rows.max(1))
    }

    /// The harmonic mean of both.
    #[must_use]
    pub fn f1(self) -> f64 {
        2.0 * count(self.right) / count((self.rows + self.named).max(1))
    }
}

/// What an answer that is no class is counted as.
pub const OTHER: &str = "(no class)";

impl Label {
    /// The class that a text names, as it is compared: without case, white space and a point at its end.
    fn class(&self, text: &str) -> Option<String> {
        let plain = |text: &str| text.trim().trim_end_matches('.').to_lowercase();
        let Some(field) = &self.field else {
            return Some(plain(text));
        };
        match parsed(text)?.get(field)? {
            Value::String(text) => Some(plain(text)),
            other => Some(plain(&other.to_string())),
        }
    }

    /// The classes that were wanted, and how each was told; and which was taken for which, how often.
    #[must_use]
    pub fn confusion<'a>(&self, rows: impl Iterator<Item = Graded<'a>>) -> (BTreeMap<String, Class>, BTreeMap<(String, String), usize>) {
        let class = |text: &str| self.class(text).unwrap_or_else(|| OTHER.to_owned());
        let pairs: Vec<(String, String)> = rows.map(|graded| (class(graded.wanted), class(graded.answer))).collect();
        let wanted: BTreeSet<&String> = pairs.iter().map(|(wanted, _)| wanted).collect();
        let mut classes: BTreeMap<String, Class> = wanted.iter().map(|name| ((*name).clone(), Class::default())).collect();
        let mut taken: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (wanted, said) in &pairs {
            let is_right = wanted == said && wanted != OTHER;
            if let Some(class) = classes.get_mut(wanted) {
                class.rows += 1;
                class.right += usize::from(is_right);
            }
            if let Some(class) = classes.get_mut(said) {
                class.named += 1;
            }
            let said = if classes.contains_key(said) { said.clone() } else { OTHER.to_owned() };
            *taken.entry((wanted.clone(), said)).or_default() += 1;
        }
        (classes, taken)
    }
}

impl Grader for Label {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let wanted = self.class(graded.wanted);
        f64::from(u8::from(wanted.is_some() && wanted == self.class(graded.answer)))
    }

    fn figures(&self, rows: &[Graded<'_>]) -> Metrics {
        let (classes, _) = self.confusion(rows.iter().copied());
        let mean = |figure: fn(Class) -> f64| classes.values().map(|class| figure(*class)).sum::<f64>() / count(classes.len().max(1));
        let figures = [("precision", mean(Class::precision)), ("recall", mean(Class::recall)), ("f1", mean(Class::f1))];
        figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn names(&self) -> &'static [&'static str] {
        &["precision", "recall", "f1"]
    }

    fn classes(&self) -> Option<&Label> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_by_precision_and_recall() {
        // scikit-learn 1.7: `precision_recall_fscore_support(wanted, said, average="macro", labels=["a", "b", "c"])`.
        let pairs = [("a", "A."), ("a", "b"), ("b", "b"), ("b", "b "), ("c", "a"), ("c", "nothing")];
        let rows: Vec<Graded<'_>> = pairs.iter().map(|(wanted, answer)| Graded::new(wanted, answer)).collect();
        let figures = Label { field: None }.figures(&rows);
        let close = |name: &str, wanted: f64| assert!((figures[name] - wanted).abs() < 1e-9, "{name} {}", figures[name]);
        close("precision", (0.5 + 2.0 / 3.0) / 3.0);
        close("recall", (0.5 + 1.0) / 3.0);
        close("f1", (0.5 + 0.8) / 3.0);
        let (classes, taken) = Label { field: None }.confusion(rows.iter().copied());
        assert_eq!(classes["b"], Class { rows: 2, named: 3, right: 2 });
        assert_eq!(taken[&("c".to_owned(), OTHER.to_owned())], 1);
    }

    #[test]
    fn a_class_may_be_a_field_of_json() {
        let label = Label { field: Some("team".into()) };
        let score = |wanted, answer| label.score(Graded::new(wanted, answer)) > 0.5;
        let wanted = r#"{"team": "Billing", "tone": "calm"}"#;
        assert!(score(wanted, r#"{"tone": "angry", "team": "billing"}"#) && score(wanted, "```json\n{\"team\": \"billing.\"}\n```"));
        assert!(!score(wanted, r#"{"team": "sales"}"#) && !score(wanted, "billing") && !score(wanted, "{}"));
        assert!(!score("{}", "{}"), "where none was wanted, none is right");
        assert!(score(r#"{"team": 2}"#, r#"{"team": 2}"#));
        let (classes, taken) = label.confusion([Graded::new(wanted, "sales"), Graded::new("{}", "{}")].into_iter());
        assert_eq!(taken[&("billing".to_owned(), OTHER.to_owned())], 1);
        assert_eq!(classes[OTHER].right, 0);
    }
}
