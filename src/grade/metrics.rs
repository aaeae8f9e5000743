use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::statistics::{count, mcnemar_exact, paired_bootstrap, wilson};

/// Figures by name. `NAME.low` and `NAME.high` bound the 95 % interval of `NAME`.
pub type Metrics = BTreeMap<String, f64>;

/// The scores of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// What was asked: the last message of the prompt.
    pub asked: String,
    /// What was wanted.
    pub wanted: String,
    /// What the model said.
    pub answer: String,
    /// How good that is.
    pub score: f64,
    /// What the baseline said.
    pub baseline_answer: Option<String>,
    /// How good that is.
    pub baseline_score: Option<f64>,
}

/// The metrics of scored rows: accuracy is the share of rows with a full score.
#[must_use]
pub fn measure(scores: &[Scores]) -> Metrics {
    let right = |score: f64| score >= 1.0;
    let mut metrics = Metrics::from([("rows".to_owned(), count(scores.len()))]);
    let mut share = |name: &str, hits: usize| {
        let (low, high) = wilson(hits, scores.len());
        metrics.insert(name.to_owned(), count(hits) / count(scores.len().max(1)));
        metrics.insert(format!("{name}.low"), low);
        metrics.insert(format!("{name}.high"), high);
    };
    share("accuracy", scores.iter().filter(|row| right(row.score)).count());
    let paired: Vec<(bool, bool)> = scores.iter().filter_map(|row| Some((right(row.score), right(row.baseline_score?)))).collect();
    if paired.is_empty() {
        return metrics;
    }
    share("baseline.accuracy", paired.iter().filter(|(_, baseline)| *baseline).count());
    let differences: Vec<f64> = paired.iter().map(|(ours, theirs)| f64::from(u8::from(*ours)) - f64::from(u8::from(*theirs))).collect();
    let (low, high) = paired_bootstrap(&differences);
    let wins = differences.iter().filter(|&&difference| difference > 0.0).count();
    let losses = differences.iter().filter(|&&difference| difference < 0.0).count();
    metrics.insert("accuracy.gain".into(), differences.iter().sum::<f64>() / count(differences.len()));
    metrics.insert("accuracy.gain.low".into(), low);
    metrics.insert("accuracy.gain.high".into(), high);
    metrics.insert("accuracy.gain.wins".into(), count(wins));
    metrics.insert("accuracy.gain.losses".into(), count(losses));
    metrics.insert("accuracy.gain.p".into(), mcnemar_exact(wins, losses));
    metrics
}
