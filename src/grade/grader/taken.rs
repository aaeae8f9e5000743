//! What an answer took: time, or money.

use crate::config::Block;

use super::super::Metrics;
use super::super::statistics::count;
use super::{Graded, Grader, GraderKind, Measured};

pub const LATENCY: GraderKind =
    GraderKind { name: "latency", reads: &["max"], metric: "latency", prepare: |block| Ok(Box::new(Taken::of(block, What::Seconds))) };
pub const COST: GraderKind = GraderKind { name: "cost", reads: &["max"], metric: "cost", prepare: |block| Ok(Box::new(Taken::of(block, What::Usd))) };

/// Right is what took no more than a bound; without one the amount itself.
#[derive(Debug)]
struct Taken {
    what: What,
    max: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Seconds from the question to the whole answer.
    Seconds,
    /// US dollars.
    Usd,
}

impl Taken {
    fn of(block: &Block, what: What) -> Self {
        Self { what, max: block.find_number("max") }
    }

    fn amount(&self, graded: Graded<'_>) -> f64 {
        let amount = match self.what {
            What::Seconds => graded.took.seconds,
            What::Usd => graded.took.usd,
        };
        amount.unwrap_or_default()
    }
}

/// The value that a share of sorted values is not above.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the values")]
    let place = (count(sorted.len()) * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

impl Grader for Taken {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let amount = self.amount(graded);
        self.max.map_or(amount, |max| f64::from(u8::from(amount <= max)))
    }

    fn is_yes_or_no(&self) -> bool {
        self.max.is_some()
    }

    fn is_share(&self) -> bool {
        self.max.is_some()
    }

    fn measures(&self) -> Measured {
        Measured { seconds: matches!(self.what, What::Seconds), usd: matches!(self.what, What::Usd) }
    }

    fn figures(&self, rows: &[Graded<'_>]) -> Metrics {
        let mut amounts: Vec<f64> = rows.iter().map(|row| self.amount(*row)).collect();
        amounts.sort_by(f64::total_cmp);
        let values = match self.what {
            What::Seconds => [0.5, 0.95, 0.99].map(|share| quantile(&amounts, share)).to_vec(),
            What::Usd => vec![amounts.iter().sum()],
        };
        self.names().iter().map(|name| (*name).to_owned()).zip(values).collect()
    }

    fn names(&self) -> &'static [&'static str] {
        match self.what {
            What::Seconds => &["p50", "p95", "p99"],
            What::Usd => &["total"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Took;
    use super::*;

    #[test]
    fn amounts_are_told_or_held_to_a_bound() {
        let row = |seconds: f64| Graded { took: Took { seconds: Some(seconds), usd: Some(seconds / 100.0) }, ..Graded::new("", "") };
        let rows: Vec<Graded<'_>> = (1..=100).map(|at| row(f64::from(at))).collect();
        let latency = Taken { what: What::Seconds, max: Some(95.0) };
        assert_eq!(latency.figures(&rows), Metrics::from([("p50".into(), 50.0), ("p95".into(), 95.0), ("p99".into(), 99.0)]));
        assert!(latency.score(row(95.0)) > 0.5 && latency.score(row(95.1)) < 0.5);
        let cost = Taken { what: What::Usd, max: None };
        assert!((cost.score(row(50.0)) - 0.5).abs() < 1e-12 && (cost.figures(&rows)["total"] - 50.5).abs() < 1e-9);
    }
}
