//! What all requests of a run share: the pace of each provider, what providers told of themselves, and the tape.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use reqwest::Response;
use serde::{Deserialize, Serialize};

use super::header::header;
use super::pace::{Limits, Pace};
use super::tape::Tape;

/// The day that it is, in UTC.
#[must_use]
pub fn today() -> Date {
    jiff::tz::Offset::UTC.to_datetime(Timestamp::now()).date()
}

/// The way to all providers.
#[derive(Debug, Default)]
pub struct Network {
    tape: Option<Tape>,
    /// The folder in which is kept what providers tell of themselves.
    folder: Option<PathBuf>,
    paces: Mutex<BTreeMap<String, Arc<Pace>>>,
    profiles: Mutex<BTreeMap<String, Profile>>,
}

/// What a provider told of itself when it was last asked. A help for plans only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Profile {
    /// Requests a minute that the account may send.
    pub requests: Option<u64>,
    /// Tokens a minute that it may use.
    pub tokens: Option<u64>,
    /// Its models, with the day on which each is shut down.
    #[schemars(with = "BTreeMap<String, Option<String>>")]
    pub models: BTreeMap<String, Option<Date>>,
    /// When it listed its models.
    #[schemars(with = "Option<String>")]
    pub listed: Option<Timestamp>,
}

/// What the headers of a reply tell about the limits of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    requests: Option<u64>,
    tokens: Option<u64>,
    /// How long nothing is left.
    empty_for: Option<Duration>,
}

impl Seen {
    pub fn of(reply: &Response) -> Self {
        let number = |name: &str| header(reply, name)?.trim().parse::<u64>().ok();
        let empty = |what: &str| {
            let left = number(&format!("x-ratelimit-remaining-{what}"))?;
            let reset = header(reply, &format!("x-ratelimit-reset-{what}"))?;
            (left == 0).then(|| span(&reset)).flatten()
        };
        Self {
            requests: number("x-ratelimit-limit-requests"),
            tokens: number("x-ratelimit-limit-tokens"),
            empty_for: empty("requests").into_iter().chain(empty("tokens")).max(),
        }
    }
}

/// A time as the headers write it: `1s`, `6m0s`, `20ms`.
fn span(text: &str) -> Option<Duration> {
    let (mut total, mut digits) = (0.0, String::new());
    let mut rest = text.trim().chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() || c == '.' {
            digits.push(c);
            continue;
        }
        let factor = match c {
            'm' if rest.peek() == Some(&'s') => {
                rest.next();
                0.001
            }
            'h' => 3600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => return None,
        };
        total += std::mem::take(&mut digits).parse::<f64>().ok()? * factor;
    }
    // A bare number is seconds.
    total += if digits.is_empty() { 0.0 } else { digits.parse::<f64>().ok()? };
    Duration::try_from_secs_f64(total).ok()
}

impl Network {
    /// A network that keeps what providers tell of themselves below a folder.
    #[must_use]
    pub fn new(folder: &Path, tape: Option<Tape>) -> Self {
        Self { tape, folder: Some(folder.to_owned()), ..Self::default() }
    }

    /// The tape, where exchanges are recorded or replayed.
    #[must_use]
    pub const fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    /// Whether replies come from a tape.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.tape.as_ref().is_some_and(Tape::replays)
    }

    /// The pace of the provider of this name: all that ask for it share it.
    pub fn pace(&self, provider: &str, limits: Limits) -> Arc<Pace> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(paces.entry(provider.to_owned()).or_insert_with(|| Arc::new(Pace::new(limits))))
    }

    /// What is known of a provider.
    #[must_use]
    pub fn profile(&self, provider: &str) -> Profile {
        let mut profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = || self.place(provider).and_then(|place| serde_json::from_slice(&fs::read(place).ok()?).ok());
        profiles.entry(provider.to_owned()).or_insert_with(|| stored().unwrap_or_default()).clone()
    }

    fn place(&self, provider: &str) -> Option<PathBuf> {
        let name: String = provider.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }

    /// Takes to heart what the headers of a reply tell.
    pub(super) fn see(&self, provider: &str, seen: Seen, pace: &Pace) {
        if let Some(time) = seen.empty_for {
            pace.hold(time.min(Duration::from_secs(60)));
        }
        if seen.requests.is_some() || seen.tokens.is_some() {
            self.learn(provider, |profile| {
                profile.requests = seen.requests.or(profile.requests);
                profile.tokens = seen.tokens.or(profile.tokens);
            });
        }
    }

    /// Notes the models that a provider lists.
    pub(in crate::provider) fn list(&self, provider: &str, models: BTreeMap<String, Option<Date>>) {
        self.learn(provider, |profile| {
            profile.models = models;
            profile.listed = Some(Timestamp::now());
        });
    }

    fn learn(&self, provider: &str, change: impl FnOnce(&mut Profile)) {
        let before = self.profile(provider);
        let mut profile = before.clone();
        change(&mut profile);
        if profile == before {
            return;
        }
        // Failing to keep it is no error: the next reply tells it again.
        if let (Some(place), Ok(bytes)) = (self.place(provider), serde_json::to_vec_pretty(&profile)) {
            let _ = fs::create_dir_all(place.parent().unwrap_or(&place));
            let _ = crate::store::write_atomically(&place, &bytes);
        }
        self.profiles.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.to_owned(), profile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_headers_write_them() {
        let milliseconds = |text: &str| span(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("1s"), Some(1000));
        assert_eq!(milliseconds("6m0s"), Some(360_000));
        assert_eq!(milliseconds("20ms"), Some(20));
        assert_eq!(milliseconds("1m0.5s"), Some(60_500));
        assert_eq!(milliseconds("2"), Some(2000));
        assert_eq!(milliseconds("soon"), None);
    }
}
