use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::{Grader, GraderKind};

pub static SETTING: Setting = Setting::new("grader", "Says how good an answer is.")
    .once()
    .arguments(&[Slot::new("kind", Kind::Choice(&["exact-match"]), "`exact-match`: right is what is the same text, white space at the ends aside.")])
    .properties(&[Slot::new("ignore-case", Kind::Flag, "Takes small and capital letters for the same.").or(Fallback::Flag(false))]);

pub const KIND: GraderKind = GraderKind { name: "exact-match", version: 1, prepare: |block| Box::new(ExactMatch::from(block)) };

#[derive(Debug)]
struct ExactMatch {
    ignore_case: bool,
}

impl From<&Block> for ExactMatch {
    fn from(block: &Block) -> Self {
        Self { ignore_case: block.flag("ignore-case") }
    }
}

impl Grader for ExactMatch {
    fn score(&self, wanted: &str, answer: &str) -> f64 {
        let (wanted, answer) = (wanted.trim(), answer.trim());
        let same = wanted == answer || (self.ignore_case && wanted.to_lowercase() == answer.to_lowercase());
        f64::from(u8::from(same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_counts_unless_it_is_told_not_to() {
        let score = |ignore_case, answer: &str| ExactMatch { ignore_case }.score("Billing", answer) > 0.5;
        assert!(score(false, " Billing\n") && !score(false, "billing") && score(true, "BILLING") && !score(true, "Bill"));
    }
}
