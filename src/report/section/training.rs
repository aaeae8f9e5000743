use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::Account;
use crate::store::Store;

use super::super::chart::{Line, Mark, lines};

/// The output with the losses of a training.
const LOSSES: &str = "losses";

/// How a training went.
#[derive(Debug, Serialize)]
pub struct Training {
    stage: String,
    model: Option<String>,
    metrics: BTreeMap<String, f64>,
    /// The loss curves.
    chart: Option<String>,
    /// The curves as a table: a few of their steps.
    points: Vec<Point>,
}

/// The losses at a step.
#[derive(Debug, Serialize)]
struct Point {
    step: f64,
    losses: Vec<Option<f64>>,
}

/// So many steps of a curve are written out.
const WRITTEN: usize = 12;

/// Of a train stage, where its losses are there.
pub fn training(account: &Account, store: &Store) -> Option<Training> {
    let metrics = account.metrics();
    if account.kind != "train" || account.is_lost() {
        return None;
    }
    let curves = curves(account, store);
    let kept = metrics.get("best-step").map(|&x| Mark { x, text: format!("kept: step {x}") });
    let title = format!("Loss of {} by step", account.name);
    let chart = lines(&title, "step", &curves, &kept.into_iter().collect::<Vec<_>>());
    let model = account.records().find_map(|record| record.outcome.model.clone());
    Some(Training { stage: account.name.clone(), model, metrics, chart, points: written(&curves) })
}

/// The losses that were measured while a model was trained: of the rows that it learnt, and of validation rows.
pub fn curves(account: &Account, store: &Store) -> Vec<Line> {
    let text = account.output(LOSSES).and_then(|losses| store.read(losses).ok()).unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_slice());
    let headers = reader.headers().cloned().unwrap_or_default();
    let records: Vec<csv::StringRecord> = reader.records().filter_map(Result::ok).collect();
    let number = |record: &csv::StringRecord, column: usize| record.get(column)?.parse::<f64>().ok().filter(|number| number.is_finite());
    let step = headers.iter().position(|header| header == "step").unwrap_or(0);
    let curve = |name: &str, header: &str| {
        let column = headers.iter().position(|found| found == header)?;
        let points: Vec<(f64, f64)> = records.iter().filter_map(|record| number(record, step).zip(number(record, column))).collect();
        (!points.is_empty()).then(|| Line { name: name.to_owned(), points })
    };
    let validation = curve("validation rows", "full_valid_loss").or_else(|| curve("validation rows", "valid_loss"));
    curve("learnt rows", "train_loss").into_iter().chain(validation).collect()
}

/// Some steps, evenly apart; the last one among them.
fn written(curves: &[Line]) -> Vec<Point> {
    let Some(sparse) = curves.last().map(|line| &line.points).filter(|points| !points.is_empty()) else {
        return Vec::new();
    };
    let apart = sparse.len().div_ceil(WRITTEN);
    let chosen = sparse.iter().rev().step_by(apart).map(|(step, _)| *step);
    let at = |line: &Line, step: f64| line.points.iter().find(|(x, _)| (*x - step).abs() < 0.5).map(|(_, y)| *y);
    let mut points: Vec<Point> = chosen.map(|step| Point { step, losses: curves.iter().map(|line| at(line, step)).collect() }).collect();
    points.reverse();
    points
}
