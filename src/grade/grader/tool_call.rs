use serde_json::Value;

use crate::data::calls;

use super::{Graded, Grader, GraderKind};

pub const KIND: GraderKind = GraderKind {
    name: "tool-call",
    reads: &["compare", "tolerance"],
    metric: "tool-call",
    prepare: |block| {
        let by_name = block.find_text("compare") == Some("names");
        let by_field = block.find_text("compare") == Some("fields");
        Ok(Box::new(ToolCall { by_name, by_field, tolerance: block.find_number("tolerance").unwrap_or_default() }))
    },
};

/// Right is who calls the tools that were wanted, each with the arguments that were wanted, in any order; where none was wanted, who
/// calls none.
#[derive(Debug)]
struct ToolCall {
    /// Whether the names alone count.
    by_name: bool,
    /// Whether a call with some of its arguments right counts by their share.
    by_field: bool,
    /// How far numbers may be from those that were wanted.
    tolerance: f64,
}

impl ToolCall {
    fn are_same(&self, wanted: &Value, said: &Value) -> bool {
        match (wanted, said) {
            // Ids may be longer than a float can tell apart.
            (Value::Number(wanted), Value::Number(said)) if wanted.is_i64() && said.is_i64() && self.tolerance == 0.0 => wanted == said,
            (Value::Number(wanted), Value::Number(said)) => match (wanted.as_f64(), said.as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() <= self.tolerance,
                _ => wanted == said,
            },
            (Value::Array(wanted), Value::Array(said)) => wanted.len() == said.len() && wanted.iter().zip(said).all(|(a, b)| self.are_same(a, b)),
            (Value::Object(wanted), Value::Object(said)) => {
                wanted.len() == said.len() && wanted.iter().all(|(name, value)| said.get(name).is_some_and(|other| self.are_same(value, other)))
            }
            _ => wanted == said,
        }
    }

    /// How much a call is the one that was wanted, from 0 to 1.
    fn likeness(&self, wanted: &(String, Value), said: &(String, Value)) -> f64 {
        if wanted.0 != said.0 {
            return 0.0;
        }
        if self.by_name || self.are_same(&wanted.1, &said.1) {
            return 1.0;
        }
        let (true, Some(wanted), Some(said)) = (self.by_field, wanted.1.as_object(), said.1.as_object()) else {
            return 0.0;
        };
        let right = wanted.iter().filter(|(name, value)| said.get(*name).is_some_and(|other| self.are_same(value, other))).count();
        let strange = said.keys().filter(|name| !wanted.contains_key(*name)).count();
        f64::from(u32::try_from(right).unwrap_or(0)) / f64::from(u32::try_from(wanted.len() + strange).unwrap_or(u32::MAX).max(1))
    }
}

impl Grader for ToolCall {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let (wanted, mut said) = (calls(graded.wanted), calls(graded.answer));
        let all = wanted.len().max(said.len());
        if all == 0 {
            return 1.0;
        }
        // Each wanted call takes the likest one that is left.
        let mut sum = 0.0;
        for call in &wanted {
            let best = (0..said.len()).max_by(|&a, &b| self.likeness(call, &said[a]).total_cmp(&self.likeness(call, &said[b])).then(b.cmp(&a)));
            if let Some(best) = best.filter(|&best| self.likeness(call, &said[best]) > 0.0) {
                sum += self.likeness(call, &said.remove(best));
            }
        }
        let mean = sum / f64::from(u32::try_from(all).unwrap_or(u32::MAX));
        if self.by_field { mean } else { f64::from(u8::from(mean >= 1.0)) }
    }

    fn is_yes_or_no(&self) -> bool {
        !self.by_field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_compared_in_any_order_and_by_what_is_asked() {
        let one = r#"{"tool_calls":[{"name":"find","arguments":{"day":3,"city":"Bern"}}]}"#;
        let two = r#"{"tool_calls":[{"name":"book","arguments":{"seats":2}},{"name":"find","arguments":{"city":"Bern","day":3.0}}]}"#;
        let turned = r#"{"content":"Yes.","tool_calls":[{"name":"find","arguments":{"day":3,"city":"Bern"}},{"name":"book","arguments":{"seats":2}}]}"#;
        let near = r#"{"tool_calls":[{"name":"find","arguments":{"day":3.01,"city":"Basel"}}]}"#;
        let score = |by_name, by_field, tolerance, wanted, answer| ToolCall { by_name, by_field, tolerance }.score(Graded::new(wanted, answer));
        let whole = |wanted, answer| score(false, false, 0.0, wanted, answer) > 0.5;
        assert!(whole(one, one) && whole(two, turned) && whole("hello", "hi"));
        assert!(!whole(one, near) && !whole(one, two) && !whole(two, one) && !whole(one, "find") && !whole("hello", one));
        assert!(score(true, false, 0.0, one, near) > 0.5);
        assert!((score(false, true, 0.0, one, near) - 0.0).abs() < 1e-12 && (score(false, true, 0.1, one, near) - 0.5).abs() < 1e-12);
        assert!((score(false, true, 0.0, two, one) - 0.5).abs() < 1e-12);
    }
}
