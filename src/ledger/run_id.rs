use std::collections::BinaryHeap;
use std::fmt;
use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::Offset};
use serde::{Deserialize, Serialize};

/// How the time stands in a name, in UTC.
const TIME: &str = "%Y%m%d-%H%M%S.%3f";

/// The name of a run: the time that it began to the millisecond, by which runs are in order, and something to tell apart those
/// that began at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub(super) String);

impl RunId {
    /// A new name among those of a folder, in order after all of them: also where the clock was set back since.
    #[must_use]
    pub fn next(runs: &Path, now: Timestamp, nonce: u32) -> Self {
        let names = fs::read_dir(runs).into_iter().flatten().flatten().filter_map(|run| run.file_name().into_string().ok());
        let mut names: BinaryHeap<String> = names.collect();
        let last = std::iter::from_fn(|| names.pop()).find_map(|run| began(&run));
        let after = last.and_then(|last| last.checked_add(SignedDuration::from_millis(1)).ok());
        let time = after.map_or(now, |after| now.max(after));
        Self(format!("{}-{:06x}", time.strftime(TIME), nonce & 0xff_ffff))
    }
}

/// The time in the name of a run.
fn began(run: &str) -> Option<Timestamp> {
    let (time, _) = run.rsplit_once('-')?;
    Offset::UTC.to_timestamp(DateTime::strptime(TIME, time).ok()?).ok()
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_making_whatever_the_clock_says() {
        let runs = tempfile::tempdir().expect("a folder");
        let next = |now: &str| RunId::next(runs.path(), now.parse().expect("a time"), 0xabcdef);
        assert_eq!(next("2026-11-26T04:19:05.123Z").0, "20261126-041905.123-abcdef");
        for other in ["20261126-041905.500-000001", "20261126-041905.499-ffffff", "notes", "2026-1"] {
            fs::create_dir(runs.path().join(other)).expect("it is ours");
        }
        assert_eq!(next("2026-11-26T04:19:06Z").0, "20261126-041906.000-abcdef");
        assert_eq!(next("2026-11-24T00:00:00Z").0, "20261126-041905.501-abcdef", "the clock was set back");
        assert_eq!(next("2026-11-26T04:19:05.500Z").0, "20261126-041905.501-abcdef", "no two have one time");
    }
}
