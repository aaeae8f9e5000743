use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::engine::Account;
use crate::grade::{OVERFIT_GAP, SLICE_GAP, Verdict};
use crate::store::Store;

use super::super::chart::{Estimate, Row, intervals};
use super::super::format::{measured, of_baseline};

/// The output with what a person looks at first.
const MISTAKES: &str = "mistakes";
/// More classes than this make no matrix that anybody could read.
const MOST_CLASSES: usize = 24;

/// What was measured of a model, and what the gates said.
#[derive(Debug, Serialize)]
pub struct Quality {
    stage: String,
    verdict: Option<Verdict>,
    rows: Option<f64>,
    metrics: Vec<Metric>,
    /// Figures without an interval.
    others: Vec<(String, f64)>,
    chart: Option<String>,
    /// What stands on its own: the stage, and each of its suites.
    parts: Vec<Part>,
}

/// A metric with the baseline beside it.
#[derive(Debug, Serialize)]
struct Metric {
    name: String,
    model: Bounds,
    baseline: Option<Bounds>,
    gain: Option<Bounds>,
    p: Option<f64>,
    /// Whether the chance is corrected for that several were looked at.
    corrected: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Bounds {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
}

/// The stage itself or a suite of it.
#[derive(Debug, Serialize)]
struct Part {
    suite: Option<String>,
    /// As the stage wrote it: the worst rows, those that flipped, classes and slices.
    mistakes: Value,
    matrix: Option<Matrix>,
    slices: Option<String>,
}

/// Which class was taken for which.
#[derive(Debug, Serialize)]
struct Matrix {
    /// What was said, by column.
    said: Vec<String>,
    rows: Vec<MatrixRow>,
}

#[derive(Debug, Serialize)]
struct MatrixRow {
    wanted: String,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    rows: usize,
    /// Of all rows that wanted the class.
    share: f64,
    right: bool,
}

/// Of an evaluate stage that has a result.
pub fn quality(account: &Account, store: &Store) -> Option<Quality> {
    if account.kind != "evaluate" || account.is_lost() {
        return None;
    }
    let figures = account.metrics();
    let metrics: Vec<Metric> = measured(&figures).into_iter().map(|name| metric(&figures, &name)).collect();
    let gaps = [SLICE_GAP, OVERFIT_GAP, "loss-gap", "perplexity"].into_iter().filter_map(|name| Some((name.to_owned(), *figures.get(name)?)));
    let outputs = account.records().flat_map(|record| record.outcome.outputs.keys()).filter(|name| name.split(' ').next() == Some(MISTAKES));
    let parts = outputs.filter_map(|output| Some(part(output.strip_prefix(MISTAKES)?.trim(), account.read(store, output)?)));
    Some(Quality {
        stage: account.name.clone(),
        verdict: account.verdict(store),
        rows: figures.get("rows").copied(),
        others: gaps.collect(),
        chart: chart(&account.name, &metrics),
        metrics,
        parts: parts.collect(),
    })
}

fn metric(figures: &BTreeMap<String, f64>, name: &str) -> Metric {
    let bounds = |name: &str| {
        let end = |end: &str| figures.get(&format!("{name}.{end}")).copied();
        Some(Bounds { value: *figures.get(name)?, low: end("low"), high: end("high") })
    };
    let corrected = figures.get(&format!("{name}.gain.p-holm")).copied();
    Metric {
        name: name.to_owned(),
        model: bounds(name).unwrap_or(Bounds { value: f64::NAN, low: None, high: None }),
        baseline: bounds(&of_baseline(name)),
        gain: bounds(&format!("{name}.gain")),
        p: corrected.or_else(|| figures.get(&format!("{name}.gain.p")).copied()),
        corrected: corrected.is_some(),
    }
}

fn chart(stage: &str, metrics: &[Metric]) -> Option<String> {
    let estimate = |bounds: &Bounds| Some(Estimate { value: bounds.value, low: bounds.low?, high: bounds.high? });
    // What is no share has a scale of its own, and stands in the table.
    let shares = metrics.iter().filter(|metric| (0.0..=1.0).contains(&metric.model.value));
    let rows: Vec<Row> =
        shares.map(|metric| Row { name: metric.name.clone(), values: vec![estimate(&metric.model), metric.baseline.as_ref().and_then(estimate)] }).collect();
    let has_baseline = rows.iter().any(|row| row.values[1].is_some());
    let series: &[&str] = if has_baseline { &["model", "baseline"] } else { &["model"] };
    intervals(&format!("Metrics of {stage} with their 95 % intervals"), series, &rows, Some((0.0, 1.0)))
}

fn part(suite: &str, mistakes: Value) -> Part {
    let slices = mistakes["slices"].as_array().map(|slices| slice_chart(slices));
    Part { suite: (!suite.is_empty()).then(|| suite.to_owned()), matrix: matrix(&mistakes), slices: slices.flatten(), mistakes }
}

fn slice_chart(slices: &[Value]) -> Option<String> {
    let number = |slice: &Value, name: &str| slice[name].as_f64();
    let row = |slice: &Value| {
        let estimate = Estimate { value: number(slice, "mean")?, low: number(slice, "low")?, high: number(slice, "high")? };
        let name = format!("{}={} ({})", slice["field"].as_str()?, slice["value"].as_str()?, slice["rows"]);
        Some(Row { name, values: vec![Some(estimate)] })
    };
    let rows: Vec<Row> = slices.iter().filter_map(row).take(60).collect();
    intervals("The mean score in each slice with its 95 % interval, and how many rows it has", &["model"], &rows, Some((0.0, 1.0)))
}

fn matrix(mistakes: &Value) -> Option<Matrix> {
    let classes = mistakes["classes"].as_array()?;
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let wrong: Vec<(String, String, usize)> = mistakes["taken_for"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|taken| Some((text(taken, "wanted")?, text(taken, "said")?, usize::try_from(taken["rows"].as_u64()?).ok()?)))
        .collect();
    let mut wanted: Vec<(String, usize, f64)> = classes
        .iter()
        .filter_map(|class| Some((text(class, "class")?, usize::try_from(class["rows"].as_u64()?).ok()?, class["recall"].as_f64()?)))
        .filter(|(_, rows, _)| *rows > 0)
        .collect();
    wanted.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut said: Vec<String> = wanted.iter().map(|(class, ..)| class.clone()).collect();
    let others = wrong.iter().map(|(_, said, _)| said).filter(|class| !wanted.iter().any(|(known, ..)| known == *class));
    let others: std::collections::BTreeSet<&String> = others.collect();
    said.extend(others.into_iter().cloned());
    if wanted.is_empty() || said.len() > MOST_CLASSES {
        return None;
    }
    let rows = wanted.iter().map(|(class, rows, recall)| {
        let all = crate::grade::count(*rows);
        let cell = |column: &String| {
            let right = column == class;
            let found = wrong.iter().find(|(wanted, said, _)| wanted == class && said == column).map_or(0, |(.., rows)| *rows);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count of rows")]
            let rows = if right { (recall * all).round() as usize } else { found };
            Cell { rows, share: crate::grade::count(rows) / all, right }
        };
        MatrixRow { wanted: class.clone(), cells: said.iter().map(cell).collect() }
    });
    Some(Matrix { rows: rows.collect(), said })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_taken_for_what_is_a_matrix() {
        let mistakes = json!({
            "classes": [{ "class": "b", "rows": 4, "recall": 0.5 }, { "class": "a", "rows": 2, "recall": 1.0 }, { "class": "odd", "rows": 0, "recall": 0.0 }],
            "taken_for": [{ "wanted": "b", "said": "odd", "rows": 2 }],
        });
        let matrix = matrix(&mistakes).expect("there are classes");
        assert_eq!(matrix.said, ["a", "b", "odd"]);
        let cells = |row: usize| matrix.rows[row].cells.iter().map(|cell| cell.rows).collect::<Vec<_>>();
        assert_eq!((matrix.rows[0].wanted.as_str(), cells(0)), ("a", vec![2, 0, 0]));
        assert_eq!((matrix.rows[1].wanted.as_str(), cells(1)), ("b", vec![0, 2, 2]));
    }
}
