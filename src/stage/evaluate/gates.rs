use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};
use crate::grade::Gate;

pub static SETTING: Setting = Setting::new("gate", "A condition without which the result does not pass.")
    .many()
    .arguments(&[Slot::new(
        "metric",
        Kind::Choice(&["accuracy", "accuracy.gain"]),
        "What is held against the bound; `accuracy.gain` is the difference to the baseline.",
    )])
    .properties(&[
        Slot::new("min", Kind::Number(-1.0, 1.0), "The least that it may be.").or(Fallback::Absent),
        Slot::new("max", Kind::Number(-1.0, 1.0), "The most that it may be.").or(Fallback::Absent),
        Slot::new("over", Kind::Choice(&["baseline"]), "Asks for more than the baseline has, on the same rows.").or(Fallback::Absent),
        Slot::new("confidence", Kind::Number(0.5, 0.999_999), "How sure it must be that `over` is no accident.").or(Fallback::Number(0.95)),
    ]);

pub fn all(block: &Block, baseline: bool) -> Result<Vec<Gate>, ConfigError> {
    let mut gates = Vec::new();
    for gate in block.all("gate") {
        let metric = gate.text("metric").to_owned();
        let before = gates.len();
        gates.extend(gate.find_number("min").map(|min| Gate::AtLeast { metric: metric.clone(), min }));
        gates.extend(gate.find_number("max").map(|max| Gate::AtMost { metric: metric.clone(), max }));
        let over = gate.find_text("over").is_some();
        if over {
            gates.push(Gate::OverBaseline { metric: metric.clone(), confidence: gate.number("confidence") });
        }
        let contradiction = |problem: &str, help: &str| ConfigError::Contradiction {
            problem: problem.into(),
            label: "cannot be judged".into(),
            at: gate.name_span.into(),
            help: help.into(),
        };
        if gates.len() == before {
            return Err(contradiction("a gate needs a bound", "give it `min=`, `max=` or `over=\"baseline\"`"));
        }
        if over && metric != "accuracy" {
            return Err(contradiction("`over=` compares a metric of both models", "write `gate \"accuracy\" over=\"baseline\"`"));
        }
        if !baseline && (over || metric == "accuracy.gain") {
            return Err(contradiction("this gate compares with a baseline, and the stage names none", "name one: `baseline \"builtin:tiny\"`"));
        }
    }
    Ok(gates)
}
