use crate::config::Block;

use super::{Graded, Grader, GraderKind};

pub const CONTAINS: GraderKind = GraderKind {
    name: "contains",
    reads: &["value", "ignore-case"],
    metric: "contains",
    prepare: |block| Ok(Box::new(Part::of(block, |answer, part| answer.contains(part)))),
};

pub const STARTS_WITH: GraderKind = GraderKind {
    name: "starts-with",
    reads: &["value", "ignore-case"],
    metric: "starts-with",
    prepare: |block| Ok(Box::new(Part::of(block, |answer, part| answer.trim_start().starts_with(part)))),
};

/// Right is what has a text in it: one for all rows, or the answer that was wanted.
#[derive(Debug)]
struct Part {
    value: Option<String>,
    ignore_case: bool,
    has: fn(&str, &str) -> bool,
}

impl Part {
    fn of(block: &Block, has: fn(&str, &str) -> bool) -> Self {
        Self { value: block.find_text("value").map(str::to_owned), ignore_case: block.find_flag("ignore-case").unwrap_or_default(), has }
    }
}

impl Grader for Part {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let part = self.value.as_deref().unwrap_or(graded.wanted).trim();
        let has = if self.ignore_case { (self.has)(&graded.answer.to_lowercase(), &part.to_lowercase()) } else { (self.has)(graded.answer, part) };
        // Nothing is in everything, and says nothing.
        f64::from(u8::from(has && !part.is_empty()))
    }

    fn wants(&self) -> bool {
        self.value.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_looked_for_where_it_may_stand() {
        let part = |value: Option<&str>, ignore_case, has| Part { value: value.map(str::to_owned), ignore_case, has };
        let graded = Graded::new("Fees", " It is fees.");
        let within: fn(&str, &str) -> bool = |answer, part| answer.contains(part);
        assert!(part(None, true, within).score(graded) > 0.5 && part(None, false, within).score(graded) < 0.5);
        assert!(part(Some("It"), false, |answer, part| answer.trim_start().starts_with(part)).score(graded) > 0.5);
    }
}
