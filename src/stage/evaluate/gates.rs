use crate::config::{Block, ConfigError, Fallback, Kind, Lint, Setting, Slot, nearest};
use crate::grade::grader::Named;
use crate::grade::{Bound, Gate, LOSS_GAP, OVERFIT_GAP, Open, SLICE_GAP, names};

pub static SETTING: Setting = Setting::new("gate", "A condition without which the result does not pass.")
    .many()
    .arguments(&[Slot::new("metric", Kind::Text, "What is held against the bound: the metric of a grader, or with `.gain` its difference to the baseline.")])
    .properties(&[
        Slot::new("min", Kind::Number(f64::MIN, f64::MAX), "The least that it may be.").or(Fallback::Absent),
        Slot::new("max", Kind::Number(f64::MIN, f64::MAX), "The most that it may be.").or(Fallback::Absent),
        Slot::new("over", Kind::Choice(&["baseline"]), "Asks for more than the baseline has, on the same rows.").or(Fallback::Absent),
        Slot::new("margin", Kind::Number(0.0, f64::MAX), "By how much more.").or(Fallback::Absent),
        Slot::new("confidence", Kind::Number(0.5, 0.999_999), "How sure it must be that `over` is no accident; 0.95 where it is not said.")
            .or(Fallback::Absent),
        Slot::new(
            "inconclusive",
            Kind::Choice(&["fail", "pass", "ask"]),
            "What a result counts as that its 95 % interval leaves open; without it the figure decides.",
        )
        .or(Fallback::Absent),
    ]);

const CONFIDENCE: f64 = 0.95;
/// What ten thousand draws can tell.
const SUREST: f64 = 0.999;

/// The gates of a stage or a suite. `samples` is how often each question is asked.
pub fn all(block: &Block, graders: &[Named], baseline: bool, samples: usize) -> Result<Vec<Gate>, ConfigError> {
    let mut gates = Vec::new();
    for gate in block.all(SETTING.name) {
        gates.extend(bounds(block, gate, graders, baseline, samples)?);
    }
    Ok(gates)
}

/// The bounds of one node.
fn bounds(stage: &Block, gate: &Block, graders: &[Named], baseline: bool, samples: usize) -> Result<Vec<Gate>, ConfigError> {
    let metric = gate.text("metric");
    let contradiction = |problem: String, help: &str| {
        Err(ConfigError::Contradiction { problem, label: "cannot be judged".into(), at: gate.name_span.into(), help: help.into() })
    };
    let compares = metric.ends_with(".gain") || metric.contains(".gain.") || metric.starts_with("baseline.");
    let over = gate.find_text("over").is_some();
    if !baseline && (over || compares) {
        return contradiction("this gate compares with a baseline, and the stage names none".into(), "name one: `baseline \"builtin:tiny\"`");
    }
    if metric.starts_with(SLICE_GAP) && stage.child("slice").is_none() {
        return contradiction("this gate compares slices, and the stage names none".into(), "name a field: `slice by=\"channel\"`");
    }
    let mut known = names(graders, true, samples);
    known.push(LOSS_GAP.to_owned());
    known.extend([SLICE_GAP, OVERFIT_GAP].into_iter().flat_map(|gap| ["", ".low", ".high"].map(|end| format!("{gap}{end}"))));
    if !known.iter().any(|name| name == metric) {
        let help = nearest(metric, known.iter().map(String::as_str))
            .map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        return Err(ConfigError::UnknownChoice { name: "metric".into(), found: format!("{metric:?}"), at: gate.span_of("metric").into(), help });
    }
    if !over && let Some(name) = ["margin", "confidence"].into_iter().find(|name| gate.find_number(name).is_some()) {
        return contradiction(format!("`{name}=` says nothing without `over=`"), "write `over=\"baseline\"`, or take it out");
    }
    if over && !graders.iter().any(|named| named.name == metric && !named.grader.compares()) {
        return contradiction("`over=` compares the metric of a grader of both models".into(), "write `gate \"accuracy\" over=\"baseline\"`");
    }
    let last = metric.rsplit('.').next().unwrap_or_default();
    let is_bounded = last == "gain" || last.starts_with("pass@") || !metric.contains('.') && !matches!(metric, "rows" | LOSS_GAP);
    if gate.find_text("inconclusive").is_some() && !is_bounded {
        return contradiction(format!("`{metric}` has no interval that could leave it open"), "take `inconclusive=` out");
    }
    if over && gate.find_number("margin").is_some_and(|margin| margin > 0.0) && gate.find_number("confidence").is_some_and(|sure| sure > SUREST) {
        return contradiction(format!("a margin can be held with a confidence of {SUREST} at most"), "lower `confidence=`, or leave `margin=` out");
    }
    let open = gate.find_text("inconclusive").map(|word| match word {
        "pass" => Open::Pass,
        "ask" => Open::Ask,
        _ => Open::Fail,
    });
    let min = gate.find_number("min").map(Bound::AtLeast);
    let max = gate.find_number("max").map(Bound::AtMost);
    let over = over.then(|| Bound::OverBaseline {
        margin: gate.find_number("margin").unwrap_or_default(),
        confidence: gate.find_number("confidence").unwrap_or(CONFIDENCE),
    });
    let bounds: Vec<Gate> = [min, max, over].into_iter().flatten().map(|bound| Gate { metric: metric.to_owned(), bound, open }).collect();
    if bounds.is_empty() {
        return contradiction("a gate needs a bound".into(), "give it `min=`, `max=` or `over=\"baseline\"`");
    }
    Ok(bounds)
}

/// The bounds of a stage or a suite that no model can miss, since what they bound never goes beyond them.
pub fn idle(block: &Block, graders: &[Named]) -> Vec<Lint> {
    let gates = block.all(SETTING.name).filter_map(|gate| Some((gate, range(gate.text("metric"), graders)?)));
    let bounds = gates.flat_map(|(gate, (low, high))| {
        let metric = gate.text("metric");
        let why = |name: &str, is_idle: fn(f64, f64) -> bool, end: f64, word: &str| {
            let written = gate.find_number(name).filter(|bound| is_idle(*bound, end))?;
            Some(Lint::IdleGate { why: format!("`{metric}` is never {word} {written}"), at: gate.span_of(name).into() })
        };
        [why("min", |bound, low| bound <= low, low, "below"), why("max", |bound, high| bound >= high, high, "above")]
    });
    bounds.flatten().collect()
}

/// The least and the greatest value that a metric can have, where that is known.
fn range(metric: &str, graders: &[Named]) -> Option<(f64, f64)> {
    let gap = |name: &str| metric == name || metric.strip_prefix(name).is_some_and(|rest| matches!(rest, ".low" | ".high"));
    if gap(SLICE_GAP) {
        return Some((0.0, 1.0));
    }
    if gap(OVERFIT_GAP) {
        return Some((-1.0, 1.0));
    }
    let plain = metric.strip_prefix("baseline.").unwrap_or(metric);
    let of = graders.iter().filter(|named| plain == named.name || plain.strip_prefix(&named.name).is_some_and(|rest| rest.starts_with('.')));
    let grader = of.max_by_key(|named| named.name.len()).filter(|named| named.grader.is_share() && !named.grader.compares())?;
    match plain.strip_prefix(&grader.name)?.trim_start_matches('.') {
        "" | "low" | "high" => Some((0.0, 1.0)),
        further if further.starts_with("pass@") => Some((0.0, 1.0)),
        further if further.starts_with("gain") => Some((-1.0, 1.0)),
        _ => None,
    }
}
