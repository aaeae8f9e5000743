use std::sync::LazyLock;

use regex::Regex;

use super::{Graded, Grader, GraderKind};

pub const KIND: GraderKind = GraderKind {
    name: "number",
    reads: &["tolerance"],
    metric: "number",
    prepare: |block| Ok(Box::new(Number { tolerance: block.find_number("tolerance").unwrap_or_default() })),
};

/// Right is what ends with the number that was wanted, or with one that is at most so far from it.
#[derive(Debug)]
struct Number {
    tolerance: f64,
}

/// The last number in a text: what is asked to think aloud tells its answer at the end.
fn last_number(text: &str) -> Option<f64> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9]+")
            .expect("a number as people write it is a pattern")
    });
    let found = NUMBER.find_iter(text).last()?;
    // `room 12-34` is no negative number.
    let text =
        if found.as_str().starts_with('-') && text[..found.start()].ends_with(|c: char| c.is_alphanumeric()) { &found.as_str()[1..] } else { found.as_str() };
    text.replace(',', "").parse().ok()
}

impl Grader for Number {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let near = last_number(graded.wanted)
            .zip(last_number(graded.answer))
            .is_some_and(|(wanted, said)| (wanted - said).abs() <= self.tolerance + 1e-9 * wanted.abs());
        f64::from(u8::from(near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        for (text, number) in [
            ("6 * 7 = 42.", Some(42.0)),
            ("about -1,234.5 EUR", Some(-1234.5)),
            ("1e3", Some(1000.0)),
            ("pages 12-34", Some(34.0)),
            (".5", Some(0.5)),
            ("42, see Table5 and Base64", Some(64.0)),
            ("none", None),
        ] {
            assert_eq!(last_number(text), number, "{text}");
        }
        let near = |tolerance, answer: &str| Number { tolerance }.score(Graded::new("3.14", answer)) > 0.5;
        assert!(near(0.01, "pi is 3.141") && near(0.01, "3.15") && !near(0.0, "3.141") && !near(1.0, "pi"));
    }
}
