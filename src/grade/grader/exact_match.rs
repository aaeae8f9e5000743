use super::{Graded, Grader, GraderKind};

pub const KIND: GraderKind = GraderKind {
    name: "exact-match",
    reads: &["ignore-case"],
    metric: "accuracy",
    prepare: |block| Ok(Box::new(ExactMatch { ignore_case: block.find_flag("ignore-case").unwrap_or_default() })),
};

/// Right is what is the same text, white space at the ends aside.
#[derive(Debug)]
struct ExactMatch {
    ignore_case: bool,
}

impl Grader for ExactMatch {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let (wanted, answer) = (graded.wanted.trim(), graded.answer.trim());
        let same = wanted == answer || (self.ignore_case && wanted.to_lowercase() == answer.to_lowercase());
        f64::from(u8::from(same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_counts_unless_it_is_told_not_to() {
        let score = |ignore_case, answer: &str| ExactMatch { ignore_case }.score(Graded::new("Billing", answer)) > 0.5;
        assert!(score(false, " Billing\n") && !score(false, "billing") && score(true, "BILLING") && !score(true, "Bill"));
    }
}
