use serde::{Deserialize, Serialize};

use super::Metrics;

/// A condition that a result must meet.
#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// A metric is at least this.
    AtLeast {
        /// The metric.
        metric: String,
        /// The bound.
        min: f64,
    },
    /// A metric is at most this.
    AtMost {
        /// The metric.
        metric: String,
        /// The bound.
        max: f64,
    },
    /// A metric is better than the baseline's, with this confidence that it is no accident.
    OverBaseline {
        /// The metric.
        metric: String,
        /// From 0 to 1.
        confidence: f64,
    },
}

/// What a gate said, in a form to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The condition.
    pub gate: String,
    /// Whether it is met.
    pub passed: bool,
    /// The figures that decided.
    pub reason: String,
}

/// What all gates together said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every gate is met.
    pub passed: bool,
    /// Each gate.
    pub gates: Vec<GateResult>,
}

impl Gate {
    /// Holds metrics against the gate. A metric that was not measured fails it.
    #[must_use]
    pub fn judge(&self, metrics: &Metrics) -> GateResult {
        match self {
            Self::AtLeast { metric, min } => bound(metrics, metric, format!("{metric} at least {min}"), |value| value >= *min),
            Self::AtMost { metric, max } => bound(metrics, metric, format!("{metric} at most {max}"), |value| value <= *max),
            Self::OverBaseline { metric, confidence } => {
                let gate = format!("{metric} over the baseline with {:.4} % confidence", confidence * 100.0).replace(".0000", "");
                let figure = |suffix: &str| metrics.get(&format!("{metric}.gain{suffix}")).copied();
                let (Some(p), Some(gain), Some(wins), Some(losses)) = (figure(".p"), figure(""), figure(".wins"), figure(".losses")) else {
                    return GateResult { gate, passed: false, reason: "there is no baseline to compare with".into() };
                };
                let passed = gain > 0.0 && p <= 1.0 - confidence;
                let reason = format!("gain {gain:+.4}, better on {wins} rows and worse on {losses}; by chance with p = {p:.2e} (exact McNemar)");
                GateResult { gate, passed, reason }
            }
        }
    }
}

fn bound(metrics: &Metrics, metric: &str, gate: String, holds: impl Fn(f64) -> bool) -> GateResult {
    let Some(&value) = metrics.get(metric) else {
        return GateResult { gate, passed: false, reason: format!("`{metric}` was not measured") };
    };
    let interval = metrics.get(&format!("{metric}.low")).zip(metrics.get(&format!("{metric}.high")));
    let interval = interval.map_or(String::new(), |(low, high)| format!(" (95 % interval {low:.4} to {high:.4})"));
    GateResult { gate, passed: holds(value), reason: format!("it is {value:.4}{interval}") }
}

impl Verdict {
    /// Judges metrics by all gates.
    #[must_use]
    pub fn of(gates: &[Gate], metrics: &Metrics) -> Self {
        let gates: Vec<GateResult> = gates.iter().map(|gate| gate.judge(metrics)).collect();
        Self { passed: gates.iter().all(|gate| gate.passed), gates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let figures = [("accuracy", 0.8), ("accuracy.gain", 0.1), ("accuracy.gain.p", 0.03), ("accuracy.gain.wins", 12.0), ("accuracy.gain.losses", 2.0)];
        figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let metric = || "accuracy".to_owned();
        let passed = |gate: Gate| gate.judge(&metrics()).passed;
        assert!(passed(Gate::AtLeast { metric: metric(), min: 0.8 }) && !passed(Gate::AtLeast { metric: metric(), min: 0.81 }));
        assert!(passed(Gate::AtMost { metric: metric(), max: 0.8 }) && !passed(Gate::AtMost { metric: metric(), max: 0.79 }));
        assert!(!passed(Gate::AtLeast { metric: "unmeasured".into(), min: 0.0 }));
    }

    #[test]
    fn a_gain_must_be_as_sure_as_asked() {
        let over = |confidence: f64| Gate::OverBaseline { metric: "accuracy".into(), confidence };
        assert!(over(0.95).judge(&metrics()).passed);
        assert!(!over(0.99).judge(&metrics()).passed, "p = 0.03 is not sure enough");
        let mut worse = metrics();
        worse.insert("accuracy.gain".into(), -0.1);
        assert!(!over(0.95).judge(&worse).passed, "a sure loss is no gain");
    }
}
