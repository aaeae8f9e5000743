//! What was asked and how it went, in the text format that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::request_log::End;

/// The upper bounds of the classes of times, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Counts of requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// By model, status and how the answer ended.
    requests: Mutex<BTreeMap<(String, u16, End), u64>>,
    times: Mutex<BTreeMap<String, Times>>,
    open: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
}

/// How long the requests for a model took.
#[derive(Debug, Default)]
struct Times {
    /// How many took at most as long as each bound.
    classes: [u64; BOUNDS.len()],
    count: u64,
    /// In seconds.
    sum: f64,
}

impl Tally {
    /// Counts a request as one that is being answered.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request whose answer ended, and had begun after a time.
    pub fn closed(&self, model: &str, status: u16, end: End, took: Duration) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((model.to_owned(), status, end)).or_default() += 1;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.entry(model.to_owned()).or_default();
        let seconds = took.as_secs_f64();
        BOUNDS.iter().zip(&mut times.classes).filter(|(bound, _)| seconds <= **bound).for_each(|(_, class)| *class += 1);
        times.count += 1;
        times.sum += seconds;
    }

    /// Counts tokens that a model here read and said.
    pub fn used(&self, prompt: usize, answer: usize) {
        self.tokens_in.fetch_add(prompt as u64, Ordering::Relaxed);
        self.tokens_out.fetch_add(answer as u64, Ordering::Relaxed);
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut out = String::from(
            "# HELP retune_requests_total Requests by model, status and whether all of the answer was sent.\n# TYPE retune_requests_total counter\n",
        );
        for ((model, status, end), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "retune_requests_total{{model=\"{}\",status=\"{status}\",end=\"{}\"}} {count}", label(model), word(*end));
        }
        out.push_str("# HELP retune_request_seconds Time until an answer, or a stream of it, begins.\n# TYPE retune_request_seconds histogram\n");
        for (model, Times { classes, count, sum }) in &*self.times.lock().unwrap_or_else(PoisonError::into_inner) {
            let model = label(model);
            for (bound, class) in BOUNDS.iter().zip(classes) {
                let _ = writeln!(out, "retune_request_seconds_bucket{{model=\"{model}\",le=\"{bound}\"}} {class}");
            }
            let _ = writeln!(out, "retune_request_seconds_bucket{{model=\"{model}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "retune_request_seconds_sum{{model=\"{model}\"}} {sum}\nretune_request_seconds_count{{model=\"{model}\"}} {count}");
        }
        let figures = [
            ("retune_requests_open", "gauge", "Requests that are being answered.", &self.open),
            ("retune_prompt_tokens_total", "counter", "Tokens that local models read.", &self.tokens_in),
            ("retune_completion_tokens_total", "counter", "Tokens that local models said.", &self.tokens_out),
        ];
        for (name, kind, help, figure) in figures {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", figure.load(Ordering::Relaxed));
        }
        out
    }
}

fn word(end: End) -> &'static str {
    match end {
        End::Whole => "whole",
        End::Broken => "broken",
        End::Gone => "gone",
    }
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_model_status_and_time() {
        let tally = Tally::default();
        (0..3).for_each(|_| tally.opened());
        tally.closed("a\"b", 200, End::Whole, Duration::from_millis(3));
        tally.closed("a\"b", 200, End::Whole, Duration::from_secs(60));
        tally.used(5, 7);
        let text = tally.text();
        for line in [
            "retune_requests_total{model=\"a\\\"b\",status=\"200\",end=\"whole\"} 2",
            "retune_request_seconds_bucket{model=\"a\\\"b\",le=\"0.0025\"} 0",
            "retune_request_seconds_bucket{model=\"a\\\"b\",le=\"0.005\"} 1",
            "retune_request_seconds_bucket{model=\"a\\\"b\",le=\"30\"} 1",
            "retune_request_seconds_bucket{model=\"a\\\"b\",le=\"+Inf\"} 2",
            "retune_requests_open 1",
            "retune_completion_tokens_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        tally.closed("", 499, End::Gone, Duration::ZERO);
        assert!(tally.text().contains("\nretune_requests_open 0\n"));
    }
}
