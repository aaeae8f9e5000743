use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::{Notice, Observer};
use crate::ledger::StageStatus;

use super::format;
use super::speak::complain;

/// How much is said of a run while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Nothing but what goes wrong.
    Quiet,
    /// What is done, and the first reason why.
    Usual,
    /// All reasons, and what need not be done too.
    Verbose,
}

/// Shows on stderr how a run goes: live lines on a terminal, plain ones elsewhere.
pub struct Screen {
    loudness: Loudness,
    live: Option<MultiProgress>,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
    /// By stage: when it was first heard of, and when something was last said of it.
    heard: Mutex<BTreeMap<String, (Instant, Instant)>>,
}

/// Without a terminal a stage says how far it is no more often than this.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

impl Screen {
    pub fn new(loudness: Loudness) -> Self {
        let live = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { loudness, live, bars: Mutex::default(), heard: Mutex::default() }
    }

    fn say(&self, line: &str) {
        match &self.live {
            Some(live) => {
                let _ = live.println(line);
            }
            None => complain!("{line}"),
        }
    }

    fn started(&self, stage: &str, action: &str, reasons: &[String], took: Option<f64>) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(stage);
        let label = if stage == action { stage.to_owned() } else { format!("{stage} ({action})") };
        let why = match reasons {
            [] => String::new(),
            [only] => format!(": {only}"),
            all if self.loudness == Loudness::Verbose => format!(": {}", all.join("; ")),
            [first, rest @ ..] => format!(": {first}, and {} more", rest.len()),
        };
        let Some(live) = &self.live else {
            return complain!("> {label}{why}");
        };
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed_precise} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = live.add(ProgressBar::new_spinner().with_style(style).with_prefix(label));
        bar.enable_steady_tick(Duration::from_millis(100));
        // Until it says how far it is, the last time tells how long it will take.
        bar.set_message(took.map_or(String::new(), |took| format!("of about {}", format::seconds(took))));
        if let Some(old) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.to_owned(), bar) {
            old.finish_and_clear();
        }
    }

    fn progress(&self, stage: &str, done: u64, total: u64, unit: &str, detail: &str) {
        let so_far = match (done, total) {
            (0, 0) => String::new(),
            (done, 0) => format!("{} {unit}", format::whole(done)),
            (done, total) => format!("{} of {} {unit}", format::whole(done), format::whole(total)),
        };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, said) = heard.entry(stage.to_owned()).or_insert_with(|| (Instant::now(), Instant::now()));
        let pace = pace(done, total, unit, first.elapsed());
        let parts: Vec<&str> = [so_far.as_str(), detail, pace.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
        let message = parts.join(", ");
        if self.live.is_some() {
            if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(stage) {
                bar.set_message(message);
            }
            return;
        }
        if said.elapsed() >= PLAIN_EVERY {
            *said = Instant::now();
            complain!("  {stage}: {message}");
        }
    }

    fn clear(&self, stage: &str) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).remove(stage) {
            bar.finish_and_clear();
        }
    }
}

/// How fast it goes, and how long it will still take, once there is something to tell that by.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn pace(done: u64, total: u64, unit: &str, since: Duration) -> String {
    let seconds = since.as_secs_f64();
    if done == 0 || seconds < 1.0 {
        return String::new();
    }
    let rate = done as f64 / seconds;
    let rated = if rate >= 10.0 { format::count(rate) } else { format!("{rate:.1}") };
    if done < total { format!("{rated} {unit}/s, {} left", format::seconds((total - done) as f64 / rate)) } else { format!("{rated} {unit}/s") }
}

impl Observer for Screen {
    fn notice(&self, notice: Notice) {
        match notice {
            _ if self.loudness == Loudness::Quiet => {}
            Notice::Started { stage, action, reasons, took } => self.started(&stage, &action, &reasons, took),
            Notice::Progress { stage, done, total, unit, detail } => self.progress(&stage, done, total, &unit, &detail),
            Notice::Note { stage, message } => self.say(&format!("  {stage}: {message}")),
            Notice::Waiting { stage } => self.say(&format!("  {stage}: this is being made already; waiting for its result")),
            Notice::Finished(summary) => {
                self.clear(&summary.name);
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&summary.name);
                if summary.status != StageStatus::Cached || self.loudness == Loudness::Verbose {
                    self.say(&format!("  {}: {} in {}", summary.name, summary.status, format::seconds(summary.seconds)));
                }
            }
        }
    }
}
