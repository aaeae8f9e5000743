//! Exchanges with providers on disk, without secrets: recorded once, replayed where there is no network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::ProviderError;

/// What of a request counts: the provider, its address below that of the provider, and what it carries. Of a file only name and size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub provider: String,
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Value,
}

/// A request with its reply: one file of the folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Exchanged {
    request: Recorded,
    status: u16,
    /// Text as it is, anything else as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// A folder of exchanges.
#[derive(Debug)]
pub struct Tape {
    folder: PathBuf,
    /// What there is to replay, by the digest of the request, in the order recorded; nothing where it is recorded.
    replayed: Option<BTreeMap<String, Vec<Exchanged>>>,
    /// How often each request was seen.
    seen: Mutex<BTreeMap<String, usize>>,
    failed: Mutex<Option<String>>,
}

impl Recorded {
    fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&bytes).to_hex()[..24].to_owned()
    }
}

impl Tape {
    /// Records into a folder, beside what it holds.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn record_to(folder: &Path) -> Result<Self, ProviderError> {
        fs::create_dir_all(folder).map_err(|error| ProviderError::Tape { path: folder.to_owned(), problem: error.to_string() })?;
        Ok(Self { folder: folder.to_owned(), replayed: None, seen: Mutex::default(), failed: Mutex::default() })
    }

    /// Replays what a folder holds.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn replay_from(folder: &Path) -> Result<Self, ProviderError> {
        let broken = |path: &Path, problem: String| ProviderError::Tape { path: path.to_owned(), problem };
        let entries = fs::read_dir(folder).map_err(|error| broken(folder, error.to_string()))?.flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
        paths.sort();
        let mut replayed: BTreeMap<String, Vec<Exchanged>> = BTreeMap::new();
        for path in paths {
            let bytes = fs::read(&path).map_err(|error| broken(&path, error.to_string()))?;
            let exchanged: Exchanged = serde_json::from_slice(&bytes).map_err(|error| broken(&path, error.to_string()))?;
            replayed.entry(exchanged.request.digest()).or_default().push(exchanged);
        }
        Ok(Self { folder: folder.to_owned(), replayed: Some(replayed), seen: Mutex::default(), failed: Mutex::default() })
    }

    /// Whether it replays, so that nothing is sent and no key is needed.
    pub const fn replays(&self) -> bool {
        self.replayed.is_some()
    }

    /// What went wrong in recording, if anything did.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn turn(&self, digest: &str) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = seen.entry(digest.to_owned()).or_default();
        *turn += 1;
        *turn - 1
    }

    /// Keeps an exchange.
    pub fn record(&self, request: Recorded, status: u16, body: &[u8]) {
        if self.replays() {
            return;
        }
        let digest = request.digest();
        let turn = self.turn(&digest);
        let (text, base64) = match std::str::from_utf8(body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64_STANDARD.encode(body))),
        };
        let text = serde_json::to_string_pretty(&Exchanged { request, status, text, base64 }).unwrap_or_default();
        let path = self.folder.join(format!("{digest}-{turn:04}.json"));
        if let Err(error) = fs::write(&path, text) {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{}: {error}", path.display()));
        }
    }

    /// The reply to a request as it was recorded. One that is sent more often than it was then gets the last reply.
    pub fn replay(&self, request: &Recorded) -> Result<(u16, Vec<u8>), ProviderError> {
        let digest = request.digest();
        let turn = self.turn(&digest);
        let all = self.replayed.as_ref().and_then(|all| all.get(&digest));
        let Some(exchanged) = all.and_then(|all| all.get(turn).or(all.last())) else {
            let found = self.replayed.iter().flat_map(BTreeMap::values).flatten().map(|exchanged| &exchanged.request);
            return Err(ProviderError::NotRecorded { method: request.method.clone(), path: request.path.clone(), nearest: nearest(request, found) });
        };
        let bytes = match (&exchanged.text, &exchanged.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64_STANDARD.decode(text).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        Ok((exchanged.status, bytes))
    }
}

/// In what the nearest request that was recorded differs, line by line.
fn nearest<'a>(request: &Recorded, all: impl Iterator<Item = &'a Recorded>) -> String {
    let own = lines(request);
    let differing = |other: &Recorded| -> Vec<String> {
        let theirs = lines(other);
        let names: std::collections::BTreeSet<&String> = own.keys().chain(theirs.keys()).collect();
        let changed = names.into_iter().filter(|name| own.get(*name) != theirs.get(*name));
        let word = |lines: &BTreeMap<String, String>, name: &String| lines.get(name).cloned().unwrap_or_else(|| "nothing".into());
        changed.map(|name| format!("{name}: recorded {}, now {}", word(&theirs, name), word(&own, name))).collect()
    };
    let same_kind = |other: &&Recorded| other.method == request.method && other.provider == request.provider;
    let best =
        all.filter(same_kind).map(|other| (strsim::levenshtein(&other.path, &request.path), differing(other))).min_by_key(|(far, lines)| (*far, lines.len()));
    match best {
        None => "nothing of this kind was recorded".into(),
        Some((_, lines)) => {
            let shown: Vec<String> = lines
                .iter()
                .take(8)
                .map(|line| if line.chars().count() > 200 { format!("{}...", line.chars().take(200).collect::<String>()) } else { line.clone() })
                .collect();
            format!("the nearest one that was recorded differs in:\n  {}", shown.join("\n  "))
        }
    }
}

fn lines(request: &Recorded) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::from([("path".to_owned(), request.path.clone())]);
    lines.extend(request.query.iter().map(|(name, value)| (format!("query.{name}"), value.clone())));
    spread("body", &request.body, &mut lines);
    lines
}

fn spread(name: &str, value: &Value, lines: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(parts) => parts.iter().for_each(|(part, value)| spread(&format!("{name}.{part}"), value, lines)),
        Value::Array(parts) => parts.iter().enumerate().for_each(|(place, value)| spread(&format!("{name}[{place}]"), value, lines)),
        plain => {
            lines.insert(name.to_owned(), plain.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(path: &str, body: Value) -> Recorded {
        Recorded { provider: "p".into(), method: "POST".into(), path: path.into(), query: vec![("limit".into(), "2".into())], body }
    }

    #[test]
    fn what_is_recorded_is_replayed_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let tape = Tape::record_to(folder.path()).expect("it can be made");
        tape.record(request("/a", json!({ "x": 1 })), 200, b"first");
        tape.record(request("/a", json!({ "x": 1 })), 200, b"second");
        tape.record(request("/b", Value::Null), 404, &[0xff, 0xfe]);
        let tape = Tape::replay_from(folder.path()).expect("it can be read");
        let reply = |path: &str, body: Value| tape.replay(&request(path, body)).expect("it was recorded");
        assert_eq!(reply("/a", json!({ "x": 1 })), (200, b"first".to_vec()));
        assert_eq!(reply("/a", json!({ "x": 1 })), (200, b"second".to_vec()));
        assert_eq!(reply("/a", json!({ "x": 1 })), (200, b"second".to_vec()));
        assert_eq!(reply("/b", Value::Null), (404, vec![0xff, 0xfe]));
        let error = tape.replay(&request("/a", json!({ "x": 2 }))).expect_err("it was not").to_string();
        assert!(error.contains("body.x: recorded 1, now 2"), "{error}");
    }
}
