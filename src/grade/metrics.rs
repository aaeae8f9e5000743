use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grader::{Graded, Grader, Named};
use super::statistics::{
    Rows, bounded_interval, count, holm, mcnemar_exact, mean_interval, most_failures, pass_at, sign_flips, smallest_difference, told, wilson,
};

/// Figures by name. `NAME.low` and `NAME.high` bound the 95 % interval of `NAME`.
pub type Metrics = BTreeMap<String, f64>;

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Took {
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What it cost, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

/// An answer, and what it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// What was said.
    pub text: String,
    /// What it took, where somebody wants to know.
    pub took: Took,
}

/// The scores of one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Scores {
    /// What was asked: the last message of the prompt.
    pub asked: String,
    /// What was wanted.
    pub wanted: String,
    /// What the model said.
    pub answer: String,
    /// What it said when it was asked again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
    /// What each of them took, where somebody wants to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub took: Vec<Took>,
    /// How good that is, by the first grader; of several answers the mean.
    pub score: f64,
    /// How good it is by the others, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, f64>,
    /// What the baseline said.
    pub baseline_answer: Option<String>,
    /// How good that is.
    pub baseline_score: Option<f64>,
    /// How good it is by the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub baseline_others: BTreeMap<String, f64>,
    /// How many of several answers are right, by metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub right: BTreeMap<String, usize>,
    /// The fields by which classes of rows are looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, String>,
    /// Why somebody outside gave the score, by metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
    /// What it belongs together with, where that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Scores {
    /// Grades a row by all graders of a stage. The baseline may have said nothing.
    #[must_use]
    pub fn of(graders: &[Named], asked: &str, wanted: &str, answers: Vec<Reply>, baseline: &[Reply]) -> Self {
        let graded = |replies: &[Reply]| -> Vec<(String, Vec<f64>)> {
            let scores = |grader: &dyn Grader| replies.iter().map(|Reply { text, took }| grader.score(Graded { wanted, answer: text, took: *took })).collect();
            graders.iter().map(|named| (named.name.clone(), scores(named.grader.as_ref()))).collect()
        };
        let all = graded(&answers);
        let is_right = graders.iter().map(|named| named.grader.is_yes_or_no() && !named.grader.is_outside());
        let counted = all.iter().zip(is_right).filter(|(_, is)| *is && answers.len() > 1);
        let right = counted.map(|((name, scores), _)| (name.clone(), scores.iter().filter(|&&score| score >= 1.0).count())).collect();
        let (score, others) = means(all);
        let baseline_means = (!baseline.is_empty()).then(|| means(graded(baseline)));
        let (baseline_score, baseline_others) = baseline_means.map_or((None, BTreeMap::new()), |(score, others)| (Some(score), others));
        let is_timed = answers.iter().any(|reply| reply.took != Took::default());
        let took = if is_timed { answers.iter().map(|reply| reply.took).collect() } else { Vec::new() };
        let mut texts = answers.into_iter().map(|reply| reply.text);
        Self {
            asked: asked.to_owned(),
            wanted: wanted.to_owned(),
            answer: texts.next().unwrap_or_default(),
            again: texts.collect(),
            took,
            score,
            others,
            right,
            baseline_answer: baseline.first().map(|reply| reply.text.clone()),
            baseline_score,
            baseline_others,
            ..Self::default()
        }
    }

    /// Takes what somebody outside said of it.
    pub fn take(&mut self, graders: &[Named], metric: &str, score: f64, baseline: Option<f64>, reason: String) {
        if graders.first().is_some_and(|first| first.name == metric) {
            (self.score, self.baseline_score) = (score, baseline);
        } else {
            self.others.insert(metric.to_owned(), score);
            match baseline {
                Some(score) => self.baseline_others.insert(metric.to_owned(), score),
                None => self.baseline_others.remove(metric),
            };
        }
        if !reason.is_empty() {
            self.reasons.insert(metric.to_owned(), reason);
        }
    }

    /// Each answer beside what was wanted.
    pub fn graded(&self) -> impl Iterator<Item = Graded<'_>> {
        let texts = std::iter::once(&self.answer).chain(&self.again);
        texts.enumerate().map(|(at, answer)| Graded { wanted: &self.wanted, answer, took: self.took.get(at).copied().unwrap_or_default() })
    }

    /// The score by a metric, and the baseline's.
    #[must_use]
    pub fn by(&self, metric: &str) -> (f64, Option<f64>) {
        match self.others.get(metric) {
            Some(score) => (*score, self.baseline_others.get(metric).copied()),
            None => (self.score, self.baseline_score),
        }
    }
}

/// The mean of each grader's scores: the first one's, and those of the others by name.
fn means(scores: Vec<(String, Vec<f64>)>) -> (f64, BTreeMap<String, f64>) {
    let mut means = scores.into_iter().map(|(name, scores)| (name, scores.iter().sum::<f64>() / count(scores.len().max(1))));
    let first = means.next().map_or(0.0, |(_, mean)| mean);
    (first, means.collect())
}

/// Whether each row stands alone and was asked once, so that a score of 1 or 0 is all that there is to it.
fn are_plain(rows: &[Scores]) -> bool {
    rows.iter().all(|row| row.group.is_none() && row.again.is_empty())
}

/// By how much each row is better than the baseline's, by a metric.
#[must_use]
pub fn differences(rows: &[Scores], metric: &str) -> Vec<f64> {
    rows.iter().map(|row| row.by(metric)).filter_map(|(ours, theirs)| Some(ours - theirs?)).collect()
}

/// Values of rows, in the groups that the rows belong to.
#[must_use]
pub fn together(rows: &[Scores], values: &[f64]) -> Rows {
    let is_grouped = rows.len() == values.len() && rows.iter().any(|row| row.group.is_some());
    if !is_grouped {
        return Rows::alone(values.iter().copied());
    }
    // A row of no group stands alone.
    Rows::grouped(rows.iter().zip(values).enumerate().map(|(at, (row, value))| (row.group.clone().unwrap_or_else(|| format!("\u{0}{at}")), *value)))
}

/// The metrics of scored rows, by the graders of the stage.
#[must_use]
pub fn measure(graders: &[Named], rows: &[Scores]) -> Metrics {
    let mut metrics = Metrics::from([("rows".to_owned(), count(rows.len()))]);
    let mut chances: Vec<(String, f64)> = Vec::new();
    for Named { name, grader } in graders {
        let grader = grader.as_ref();
        let scores: Vec<f64> = rows.iter().map(|row| row.by(name).0).collect();
        mean(&mut metrics, name, rows, &scores, grader);
        let graded: Vec<Graded<'_>> = rows.iter().flat_map(Scores::graded).collect();
        metrics.extend(grader.figures(&graded).into_iter().map(|(figure, value)| (format!("{name}.{figure}"), value)));
        passes(&mut metrics, name, rows);
        let baseline: Vec<f64> = rows.iter().filter_map(|row| row.by(name).1).collect();
        if !baseline.is_empty() {
            mean(&mut metrics, &format!("baseline.{name}"), rows, &baseline, grader);
            let p = gain(&mut metrics, name, rows, grader);
            chances.push((format!("{name}.gain.p-holm"), p));
        }
    }
    // One among several that looks sure may be an accident.
    if chances.len() > 1 {
        let adjusted = holm(&chances.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        metrics.extend(chances.into_iter().map(|(name, _)| name).zip(adjusted));
    }
    metrics
}

/// The 95 % interval of the mean of scores, where there is one.
#[must_use]
pub fn interval(rows: &[Scores], scores: &[f64], grader: &dyn Grader) -> Option<(f64, f64)> {
    let hits = scores.iter().filter(|&&score| score >= 1.0).count();
    // Wilson's method takes rows to have nothing to do with each other.
    if grader.is_yes_or_no() && are_plain(rows) {
        return Some(wilson(hits, scores.len()));
    }
    let together = together(rows, scores);
    if grader.is_share() { Some(bounded_interval(&together, 0.0, 1.0)) } else { mean_interval(&together) }
}

fn mean(metrics: &mut Metrics, name: &str, rows: &[Scores], scores: &[f64], grader: &dyn Grader) {
    metrics.insert(name.to_owned(), scores.iter().sum::<f64>() / count(scores.len().max(1)));
    if let Some((low, high)) = interval(rows, scores, grader) {
        metrics.extend([(format!("{name}.low"), low), (format!("{name}.high"), high)]);
    }
    if grader.is_yes_or_no() && !name.starts_with("baseline.") {
        // Of rows that belong together one failure is a failure of all of them.
        let failures = together(rows, &scores.iter().map(|score| 1.0 - score).collect::<Vec<_>>());
        let failed = failures.sums().filter(|&sum| sum > 0.0).count();
        metrics.insert(format!("{name}.failures.high"), most_failures(failed, failures.len()));
    }
}

/// How likely one of several answers is right.
fn passes(metrics: &mut Metrics, name: &str, rows: &[Scores]) {
    let asked = rows.iter().map(|row| 1 + row.again.len()).min().unwrap_or(1);
    if !rows.iter().all(|row| row.right.contains_key(name)) {
        return;
    }
    for k in told(asked) {
        let chances: Vec<f64> = rows.iter().map(|row| pass_at(1 + row.again.len(), row.right[name], k)).collect();
        let (low, high) = bounded_interval(&together(rows, &chances), 0.0, 1.0);
        let mean = chances.iter().sum::<f64>() / count(chances.len().max(1));
        metrics.extend([(format!("{name}.pass@{k}"), mean), (format!("{name}.pass@{k}.low"), low), (format!("{name}.pass@{k}.high"), high)]);
    }
}

/// What is known of the difference to the baseline; tells how likely it is an accident.
fn gain(metrics: &mut Metrics, name: &str, rows: &[Scores], grader: &dyn Grader) -> f64 {
    let differences = &differences(rows, name);
    let grouped = together(rows, differences);
    let interval = if grader.is_share() { Some(bounded_interval(&grouped, -1.0, 1.0)) } else { mean_interval(&grouped) };
    let wins = differences.iter().filter(|&&difference| difference > 0.0).count();
    let losses = differences.iter().filter(|&&difference| difference < 0.0).count();
    let alone = are_plain(rows);
    // Whole groups go one way or the other by chance, and not each of their rows.
    let p = if grader.is_yes_or_no() && alone { mcnemar_exact(wins, losses) } else { sign_flips(&grouped.sums().collect::<Vec<_>>()) };
    let mut set = |figure: &str, value: f64| metrics.insert(format!("{name}.gain{figure}"), value);
    set("", differences.iter().sum::<f64>() / count(differences.len()));
    if let Some((low, high)) = interval {
        set(".low", low);
        set(".high", high);
    }
    set(".wins", count(wins));
    set(".losses", count(losses));
    set(".p", p);
    if grader.is_yes_or_no() && alone && wins + losses > 0 {
        set(".visible", smallest_difference(differences.len(), count(wins + losses) / count(differences.len())));
    }
    p
}

/// The names of all that is measured of a stage that a gate may speak of.
#[must_use]
pub fn names(graders: &[Named], baseline: bool, samples: usize) -> Vec<String> {
    let mut names = vec!["rows".to_owned()];
    for named in graders {
        let name = &named.name;
        names.extend([name.clone(), format!("{name}.low"), format!("{name}.high")]);
        names.extend(named.grader.is_yes_or_no().then(|| format!("{name}.failures.high")));
        names.extend(named.others());
        if named.grader.is_yes_or_no() && !named.grader.is_outside() {
            names.extend(told(samples).flat_map(|k| ["", ".low", ".high"].map(|end| format!("{name}.pass@{k}{end}"))));
        }
        if baseline && !named.grader.compares() {
            names.extend([format!("baseline.{name}"), format!("{name}.gain"), format!("{name}.gain.low"), format!("{name}.gain.high")]);
        }
    }
    names
}
