//! Figures as people read them.

use std::collections::BTreeMap;

use crate::grade::{OVERFIT_GAP, SLICE_GAP};

use crate::provider::dollars;

/// A count with its thousands apart: `1,812`.
pub fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0.0 { format!("-{out}") } else { out }
}

/// Seconds: `0.03 s`, `12.4 s`, `3 min 20 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{seconds:.2} s")
    } else if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// A whole count with its thousands apart.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn whole(number: u64) -> String {
    count(number as f64)
}

/// So many of something: `1 stage`, `1,812 stages`.
pub fn number(count: usize, what: &str) -> String {
    format!("{} {what}{}", whole(count as u64), if count == 1 { "" } else { "s" })
}

/// An amount of data: `512 B`, `3.4 MiB`.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for unit in units {
        if size < 1024.0 || unit == "TiB" {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// A text in one line of at most so many characters.
pub fn shortened(text: &str, limit: usize) -> String {
    let line = text.replace(['\n', '\r'], " ");
    if line.chars().count() <= limit { line } else { line.chars().take(limit - 1).chain(['…']).collect() }
}

/// A text as one line, whatever is in it.
pub fn one_line(text: String) -> String {
    if text.contains(char::is_control) { text.escape_debug().to_string() } else { text }
}

/// What the metrics of a stage say, in one line.
pub fn metrics(kind: &str, metrics: &BTreeMap<String, f64>) -> String {
    figures(kind, metrics).join(", ")
}

/// What the metrics of a stage say, one by one.
pub fn figures(kind: &str, metrics: &BTreeMap<String, f64>) -> Vec<String> {
    let figure = |name: &str| metrics.get(name).copied();
    let counted = |name: &str, unit: &str| figure(name).map(|number| format!("{} {unit}", count(number)));
    let all = || metrics.iter().map(|(name, value)| format!("{name} {}", (value * 1e4).round() / 1e4)).collect();
    match kind {
        "collect" => [counted("rows", "rows"), counted("rejected", "rejected")].into_iter().flatten().collect(),
        "prepare" => {
            let names = ["train", "validation", "test", "duplicates", "rejected"];
            names.into_iter().filter_map(|name| counted(name, name)).collect()
        }
        "train" => {
            let losses = [("train-loss", "loss"), ("validation-loss", "validation loss")];
            let losses = losses.into_iter().filter_map(|(name, label)| figure(name).map(|loss| format!("{label} {loss:.3}")));
            let usd = figure("usd").map(|usd| match figure("estimated-usd") {
                Some(expected) => format!("{} ({} expected)", dollars(usd), dollars(expected)),
                None => dollars(usd),
            });
            let known: Vec<String> = losses.chain(counted("trained-tokens", "tokens trained")).chain(usd).collect();
            // A program has names of its own for what it measured.
            if known.is_empty() { all() } else { known }
        }
        "evaluate" => {
            let graded = graded(metrics);
            let told = |name: String, label: &str| metrics.contains_key(&name).then(|| format!("{label} {}", with_interval(metrics, &name)));
            match graded.as_slice() {
                [only] => [told((*only).to_owned(), only), told(format!("baseline.{only}"), "baseline"), told(format!("{only}.gain"), "gain")]
                    .into_iter()
                    .flatten()
                    .collect(),
                // `show` has a table of the rest.
                several => several.iter().filter_map(|name| told((*name).to_owned(), name)).collect(),
            }
        }
        "exec" | "select" => all(),
        _ => Vec::new(),
    }
}

/// The metrics of graders, by name: each has an interval, and is no part of another.
pub fn graded(metrics: &BTreeMap<String, f64>) -> Vec<&str> {
    let names = metrics.keys().filter(|name| !name.contains('.') && metrics.contains_key(&format!("{name}.low")));
    names.map(String::as_str).filter(|name| ![SLICE_GAP, OVERFIT_GAP].contains(name)).collect()
}

/// The metrics of graders, those of suites after them.
pub fn measured(metrics: &BTreeMap<String, f64>) -> Vec<String> {
    let mut names: Vec<String> = graded(metrics).into_iter().map(str::to_owned).collect();
    let of_suites = metrics.keys().filter(|name| {
        name.split_once('.').is_some_and(|(suite, metric)| {
            suite != "baseline" && !metric.contains('.') && metrics.contains_key(&format!("{name}.low")) && !metrics.contains_key(suite)
        })
    });
    names.extend(of_suites.cloned());
    names
}

/// What a metric of a stage or of a suite is called where it is the baseline's.
pub fn of_baseline(name: &str) -> String {
    match name.split_once('.') {
        Some((suite, metric)) => format!("{suite}.baseline.{metric}"),
        None => format!("baseline.{name}"),
    }
}

/// A metric with its 95 % interval.
pub fn with_interval(metrics: &BTreeMap<String, f64>, name: &str) -> String {
    let value = metrics.get(name).copied().unwrap_or(f64::NAN);
    let bounds = metrics.get(&format!("{name}.low")).zip(metrics.get(&format!("{name}.high")));
    bounds.map_or_else(|| figure(value), |(low, high)| format!("{} [{}, {}]", figure(value), figure(*low), figure(*high)))
}

/// A figure with as many digits as say something: `0.894`, `73.2`, `35,324`.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => count(value),
    }
}
