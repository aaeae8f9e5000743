//! What was observed of a version that is tried, beside the current one, and what follows from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::grade::statistics::{Arm, Values, always_valid};
use crate::ledger::{Limits, Trial, TrialWay};
use crate::store::{Lock, Store, StoreError, write_atomically};

/// The observations of one of the two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Answers: 1 for each that was an error, 0 for each that was not.
    pub errors: Arm,
    /// Logarithms of the seconds until an answer was whole.
    pub seconds: Arm,
    /// Grades of graders, from 0 to 1.
    pub grades: Arm,
    /// What users said, from 0 to 1.
    pub scores: Arm,
}

impl Observed {
    fn add(&mut self, other: &Self) {
        self.errors.add(&other.errors);
        self.seconds.add(&other.seconds);
        self.grades.add(&other.grades);
        self.scores.add(&other.scores);
    }
}

/// The observations of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tallies {
    /// Those of the current version.
    pub current: Observed,
    /// Those of the version that is tried.
    pub tried: Observed,
    /// Of a shadow: 1 for each answer that was the same as that of the current version.
    pub same: Arm,
}

/// How one figure of the version that is tried stands beside that of the current one: above zero is worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// What it is.
    pub what: &'static str,
    /// By how much it is worse, and the ends of the interval that holds at every look.
    pub worse: [f64; 3],
    /// How much worse it may be.
    pub most: f64,
}

/// What follows from the observations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Open,
    /// It may answer all requests.
    Promote,
    /// It goes back, and why.
    Return(String),
}

impl Tallies {
    fn path(store: &Store, trial: &str) -> PathBuf {
        store.root().join("serve").join("trials").join(format!("{trial}.json"))
    }

    /// What all gateways of a workspace have observed of a trial, by its name.
    ///
    /// # Errors
    /// When there is something that cannot be read.
    pub fn read(store: &Store, trial: &str) -> Result<Self, StoreError> {
        let path = Self::path(store, trial);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| StoreError::io("read", &path)(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// Adds these to what was observed before, while nobody else does. Returns the sum.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn publish(&self, store: &Store, trial: &str) -> Result<Self, StoreError> {
        let path = Self::path(store, trial);
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(StoreError::io("create", &path))?;
        let _alone = Lock::wait(store, &format!("trials/{trial}"))?;
        let mut sum = Self::read(store, trial)?;
        sum.add(self);
        write_atomically(&path, serde_json::to_string(&sum).unwrap_or_default().as_bytes())?;
        Ok(sum)
    }

    /// Takes in others.
    pub fn add(&mut self, other: &Self) {
        self.current.add(&other.current);
        self.tried.add(&other.tried);
        self.same.add(&other.same);
    }

    /// The figures of a trial beside each other, as far as there are enough for them. A shadow is held to nothing.
    #[must_use]
    pub fn beside(&self, trial: &Trial) -> Vec<Beside> {
        let unheld = Limits { errors: f64::INFINITY, slower: f64::INFINITY, worse: f64::INFINITY, confidence: 0.95, answers: u64::MAX };
        let limits = if let TrialWay::Canary(limits) = &trial.way { limits } else { &unheld };
        // Four figures are looked at, and the chance of being wrong is for all of them.
        let alpha = (1.0 - limits.confidence) / 4.0;
        let (now, new) = (&self.current, &self.tried);
        let figures = [
            ("errors", &now.errors, &new.errors, Values::Shares, 1.0, limits.errors),
            ("seconds", &now.seconds, &new.seconds, Values::Logarithms, 1.0, limits.slower.ln()),
            ("grades", &now.grades, &new.grades, Values::Shares, -1.0, limits.worse),
            ("scores", &now.scores, &new.scores, Values::Shares, -1.0, limits.worse),
        ];
        let beside = figures.into_iter().filter_map(|(what, now, new, values, sign, most)| {
            let [low, high] = always_valid(now, new, values, alpha)?;
            let mut ends = [low * sign, high * sign];
            ends.sort_by(f64::total_cmp);
            Some(Beside { what, worse: [(new.mean()? - now.mean()?) * sign, ends[0], ends[1]], most })
        });
        beside.collect()
    }

    /// What follows for a trial.
    #[must_use]
    pub fn decide(&self, trial: &Trial) -> Decision {
        let TrialWay::Canary(limits) = &trial.way else {
            return Decision::Open;
        };
        let figures = self.beside(trial);
        if let Some(bad) = figures.iter().find(|figure| figure.worse[1] > figure.most) {
            return Decision::Return(bad.told());
        }
        let shown = |what: &str| figures.iter().any(|figure| figure.what == what && figure.worse[2] <= figure.most);
        // What users say may send it back, and is no condition: few say anything, and equal versions could never be told apart by it.
        let wanted = [("errors", true), ("seconds", true), ("grades", trial.graders.is_some())];
        if wanted.iter().all(|(what, is_wanted)| !is_wanted || shown(what)) {
            return Decision::Promote;
        }
        if self.tried.errors.count >= limits.answers {
            let lacking = |(what, is_wanted): &(&'static str, bool)| {
                let figure = figures.iter().find(|figure| figure.what == *what);
                (*is_wanted && !shown(what)).then(|| figure.map_or_else(|| format!("too few {what}"), Beside::told))
            };
            let open: Vec<String> = wanted.iter().filter_map(lacking).collect();
            return Decision::Return(format!("after {} answers it is not shown to be good enough: {}", self.tried.errors.count, open.join("; ")));
        }
        Decision::Open
    }
}

impl Beside {
    /// It in words.
    #[must_use]
    pub fn told(&self) -> String {
        let [worse, low, high] = self.worse;
        let points = |value: f64| format!("{:+.1}", value * 100.0);
        let held = |bound: &str, most: String| if self.most.is_finite() { format!("; {bound} {most}") } else { String::new() };
        match self.what {
            "seconds" => {
                let most = held("at most", format!("{:.2}", self.most.exp()));
                format!("answers take {:.2} times as long ({:.2} to {:.2}{most})", worse.exp(), low.exp(), high.exp())
            }
            "errors" => format!("errors {} points ({} to {}{})", points(worse), points(low), points(high), held("at most", points(self.most))),
            what => format!("{what} {} points ({} to {}{})", points(-worse), points(-high), points(-low), held("at least", points(-self.most))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { errors: 0.02, slower: 1.5, worse: 0.05, confidence: 0.95, answers: 3000 };

    fn trial() -> Trial {
        Trial { version: 2, share: 0.1, way: TrialWay::Canary(LIMITS), graders: None }
    }

    /// So many answers, of which each so-manieth is an error, of so many seconds and so good.
    fn observed(answers: u32, error_each: u32, seconds: f64, grade: Option<f64>) -> Observed {
        let mut observed = Observed::default();
        for at in 1..=answers {
            let is_error = at % error_each == 0;
            observed.errors.push(f64::from(u8::from(is_error)));
            if !is_error {
                observed.seconds.push((seconds * (1.0 + 0.1 * f64::from(at % 7))).ln());
                grade.into_iter().for_each(|grade| observed.grades.push(if f64::from(at % 100) < grade * 100.0 { 1.0 } else { 0.0 }));
            }
        }
        observed
    }

    #[test]
    fn a_trial_is_decided_by_errors_times_and_grades() {
        let good = observed(20_000, 100, 0.2, Some(0.9));
        let decide = |current: Observed, tried: Observed| Tallies { current, tried, same: Arm::default() }.decide(&trial());
        assert_eq!(decide(good, observed(2900, 100, 0.2, Some(0.9))), Decision::Promote);
        assert_eq!(decide(good, observed(30, 100, 0.2, Some(0.9))), Decision::Open, "too few to tell");
        for (bad, word) in
            [(observed(300, 4, 0.2, None), "errors +24"), (observed(300, 100, 0.6, None), "3.00 times"), (observed(900, 100, 0.2, Some(0.5)), "grades -4")]
        {
            assert!(matches!(decide(good, bad), Decision::Return(why) if why.contains(word)), "{word}");
        }
        let undecided = observed(3000, 20, 0.2, None);
        assert!(matches!(decide(observed(20_000, 33, 0.2, None), undecided), Decision::Return(why) if why.contains("not shown")));
        let shadow = Trial { way: TrialWay::Shadow, ..trial() };
        let tallies = Tallies { current: good, tried: observed(300, 1, 0.2, None), same: Arm::default() };
        assert_eq!(tallies.decide(&shadow), Decision::Open, "nobody hears a shadow");
        let graded = Trial { graders: Some("g".into()), ..trial() };
        let tallies = Tallies { current: observed(20_000, 100, 0.2, None), tried: observed(2900, 100, 0.2, None), ..tallies };
        assert_eq!(tallies.decide(&graded), Decision::Open, "grades are wanted");
        let few = Tallies { tried: observed(3000, 100, 0.2, None), ..tallies };
        assert!(matches!(few.decide(&graded), Decision::Return(why) if why.contains("too few grades")));
    }
}
