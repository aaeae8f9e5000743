use serde::{Deserialize, Serialize};

use super::Metrics;
use super::metrics::{Scores, differences, together};
use super::statistics::chance_of_no_more;

/// A condition that a result must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The metric.
    pub metric: String,
    /// What it must be.
    pub bound: Bound,
    /// What a result counts as that its interval leaves open; without it the figure alone decides.
    pub open: Option<Open>,
}

/// What a metric must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Better than the baseline's by more than a margin, with this confidence (from 0 to 1) that it is no accident.
    OverBaseline {
        /// By how much.
        margin: f64,
        /// How sure.
        confidence: f64,
    },
}

/// What a result counts as that could be either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// As failed.
    Fail,
    /// As passed.
    Pass,
    /// As neither: somebody must decide.
    Ask,
}

/// What came of a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is met.
    #[default]
    Pass,
    /// The rows cannot tell.
    Inconclusive,
    /// It is not met.
    Fail,
}

/// What a gate said, in a form to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateResult {
    /// The condition.
    pub gate: String,
    /// Whether it is met.
    pub passed: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// The figures that decided.
    pub reason: String,
}

/// What all gates together said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Verdict {
    /// Whether every gate is met.
    pub passed: bool,
    /// The worst that came of any.
    pub outcome: Outcome,
    /// Each gate.
    pub gates: Vec<GateResult>,
    /// The content of the model that was judged, where a stage makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Gate {
    /// Holds what was measured against the gate. A metric that was not measured fails it.
    #[must_use]
    pub fn judge(&self, metrics: &Metrics, rows: &[Scores]) -> GateResult {
        let metric = &self.metric;
        let (gate, outcome, reason) = match self.bound {
            Bound::AtLeast(min) => self.within(metrics, format!("{metric} at least {min}"), |value| value >= min),
            Bound::AtMost(max) => self.within(metrics, format!("{metric} at most {max}"), |value| value <= max),
            Bound::OverBaseline { margin, confidence } => self.over(metrics, rows, margin, confidence),
        };
        let (outcome, said) = match (outcome, self.open) {
            (Outcome::Inconclusive, Some(Open::Pass)) => (Outcome::Pass, "; the rows cannot tell, which counts as passed"),
            (Outcome::Inconclusive, Some(Open::Fail)) => (Outcome::Fail, "; the rows cannot tell, which counts as failed"),
            (Outcome::Inconclusive, _) => (Outcome::Inconclusive, "; the rows cannot tell: more of them could"),
            decided => (decided.0, ""),
        };
        GateResult { gate, passed: outcome == Outcome::Pass, outcome, reason: reason + said }
    }

    fn within(&self, metrics: &Metrics, gate: String, holds: impl Fn(f64) -> bool) -> (String, Outcome, String) {
        let figure = |suffix: &str| metrics.get(&format!("{}{suffix}", self.metric)).copied();
        let Some(value) = figure("") else {
            return (gate, Outcome::Fail, format!("`{}` was not measured", self.metric));
        };
        let interval = figure(".low").zip(figure(".high"));
        let decided = |holds: bool| if holds { Outcome::Pass } else { Outcome::Fail };
        let outcome = match interval.filter(|_| self.open.is_some()) {
            Some((low, high)) if holds(low) != holds(high) => Outcome::Inconclusive,
            _ => decided(holds(value)),
        };
        let shown = interval.map_or(String::new(), |(low, high)| format!(" (95 % interval {low:.4} to {high:.4})"));
        (gate, outcome, format!("it is {value:.4}{shown}"))
    }

    fn over(&self, metrics: &Metrics, rows: &[Scores], margin: f64, confidence: f64) -> (String, Outcome, String) {
        let metric = &self.metric;
        let by = if margin == 0.0 { String::new() } else { format!(" by {margin}") };
        let gate = format!("{metric} over the baseline{by} with {:.4} % confidence", confidence * 100.0).replace(".0000", "");
        let figure = |suffix: &str| metrics.get(&format!("{metric}.gain{suffix}")).copied();
        let (Some(p), Some(gain), Some(wins), Some(losses)) = (figure(".p"), figure(""), figure(".wins"), figure(".losses")) else {
            return (gate, Outcome::Fail, "there is no baseline to compare with".into());
        };
        // The exact test asks whether there is any gain; how large it is, the bootstrap tells.
        let p = if margin == 0.0 { p } else { p.max(chance_of_no_more(&together(rows, &differences(rows, metric)), margin)) };
        let may_be = figure(".high").is_some_and(|high| high > margin);
        let outcome = match gain > margin && p <= 1.0 - confidence {
            true => Outcome::Pass,
            false if may_be && self.open.is_some() => Outcome::Inconclusive,
            false => Outcome::Fail,
        };
        let visible = figure(".visible")
            .filter(|_| outcome != Outcome::Pass)
            .map_or(String::new(), |least| format!("; so many rows show differences of {:.1} points", least * 100.0));
        let reason = format!("gain {gain:+.4}, better on {wins} rows and worse on {losses}; by chance with p = {}{visible}", chance(p));
        (gate, outcome, reason)
    }
}

impl Verdict {
    /// What the gates say together.
    #[must_use]
    pub fn of(gates: Vec<GateResult>) -> Self {
        let outcome = gates.iter().map(|gate| gate.outcome).max().unwrap_or_default();
        Self { passed: outcome == Outcome::Pass, outcome, gates, model: None }
    }
}

/// A chance as people read it: `0.041`, `7e-12`.
#[must_use]
pub fn chance(p: f64) -> String {
    if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let figures = [
            ("accuracy", 0.8),
            ("accuracy.low", 0.7),
            ("accuracy.high", 0.9),
            ("accuracy.gain", 0.1),
            ("accuracy.gain.high", 0.2),
            ("accuracy.gain.p", 0.03),
            ("accuracy.gain.wins", 12.0),
            ("accuracy.gain.losses", 2.0),
        ];
        figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn gate(bound: Bound, open: Option<Open>) -> Gate {
        Gate { metric: "accuracy".to_owned(), bound, open }
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let passed = |bound| gate(bound, None).judge(&metrics(), &[]).passed;
        assert!(passed(Bound::AtLeast(0.8)) && !passed(Bound::AtLeast(0.81)));
        assert!(passed(Bound::AtMost(0.8)) && !passed(Bound::AtMost(0.79)));
        let unmeasured = Gate { metric: "unmeasured".into(), bound: Bound::AtLeast(0.0), open: None };
        assert!(!unmeasured.judge(&metrics(), &[]).passed);
    }

    #[test]
    fn a_gain_must_be_as_sure_as_asked() {
        let over = |confidence| gate(Bound::OverBaseline { margin: 0.0, confidence }, None);
        assert!(over(0.95).judge(&metrics(), &[]).passed);
        assert!(!over(0.99).judge(&metrics(), &[]).passed, "p = 0.03 is not sure enough");
        let mut worse = metrics();
        worse.insert("accuracy.gain".into(), -0.1);
        assert!(!over(0.95).judge(&worse, &[]).passed, "a sure loss is no gain");
    }

    #[test]
    fn what_the_interval_leaves_open_is_what_the_pipeline_says() {
        let outcome = |min, open| gate(Bound::AtLeast(min), open).judge(&metrics(), &[]).outcome;
        for (open, wanted) in [(Open::Pass, Outcome::Pass), (Open::Fail, Outcome::Fail), (Open::Ask, Outcome::Inconclusive)] {
            assert_eq!(outcome(0.75, Some(open)), wanted);
            assert_eq!((outcome(0.6, Some(open)), outcome(0.95, Some(open))), (Outcome::Pass, Outcome::Fail));
        }
        assert_eq!(outcome(0.75, None), Outcome::Pass);
        let unsure = gate(Bound::OverBaseline { margin: 0.0, confidence: 0.99 }, Some(Open::Ask)).judge(&metrics(), &[]);
        assert_eq!(unsure.outcome, Outcome::Inconclusive);
        let both = [gate(Bound::AtLeast(0.75), Some(Open::Ask)), gate(Bound::AtMost(0.5), None)].map(|gate| gate.judge(&metrics(), &[]));
        assert_eq!(Verdict::of(both.into()).outcome, Outcome::Fail);
    }

    #[test]
    fn a_margin_is_held_against_the_rows() {
        let row = |better: bool| Scores { score: f64::from(u8::from(better)), baseline_score: Some(0.0), ..Scores::default() };
        let rows: Vec<Scores> = (0..200).map(|at| row(at % 5 == 0)).collect();
        let mut metrics = metrics();
        metrics.insert("accuracy.gain".into(), 0.2);
        let over = |margin| gate(Bound::OverBaseline { margin, confidence: 0.95 }, None).judge(&metrics, &rows).passed;
        assert!(over(0.1) && !over(0.19) && !over(0.3));
    }
}
