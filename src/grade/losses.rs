//! What the losses of a training tell of overfitting.

use super::Metrics;

/// What the gap between losses is called.
pub const LOSS_GAP: &str = "loss-gap";

/// By how much the loss of the validation rows is above that of the rows that were learnt, where validation rows were last measured: the
/// latter is the mean over the steps since they were measured before. None where they never were.
///
/// It reads the columns `train_loss` and `full_valid_loss`, or `valid_loss` where the latter says nothing.
#[must_use]
pub fn loss_gap(csv: &[u8]) -> Option<f64> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(csv);
    let headers = reader.headers().ok()?.clone();
    let column = |name: &str| headers.iter().position(|header| header == name);
    let train = column("train_loss")?;
    let records: Vec<csv::StringRecord> = reader.records().filter_map(Result::ok).collect();
    let figure = |record: &csv::StringRecord, column: usize| record.get(column)?.parse::<f64>().ok().filter(|loss| loss.is_finite());
    let measured = |column: usize| records.iter().any(|record| figure(record, column).is_some());
    let validation = ["full_valid_loss", "valid_loss"].into_iter().filter_map(column).find(|&column| measured(column))?;
    let (mut since, mut gap) = (Vec::new(), None);
    for record in &records {
        since.extend(figure(record, train));
        if let Some(loss) = figure(record, validation) {
            let steps: Vec<f64> = std::mem::take(&mut since);
            let learnt = (!steps.is_empty()).then(|| steps.iter().sum::<f64>() / super::count(steps.len()));
            gap = learnt.map(|learnt| loss - learnt).or(gap);
        }
    }
    gap
}

/// The figures of a training by its losses: `train-loss`, `validation-loss` and `loss-gap`, as far as they were measured. Where the
/// trainer keeps the best state, its validation loss counts, else the last one.
#[must_use]
pub fn loss_figures(csv: &[u8], keeps_best: bool) -> Metrics {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(csv);
    let headers = reader.headers().cloned().unwrap_or_default();
    let records: Vec<csv::StringRecord> = reader.records().filter_map(Result::ok).collect();
    let column = |name: &str| -> Vec<f64> {
        let place = headers.iter().position(|header| header == name);
        let figures = records.iter().filter_map(|record| record.get(place?)?.parse::<f64>().ok());
        figures.filter(|loss| loss.is_finite()).collect()
    };
    let validation = ["full_valid_loss", "valid_loss"].into_iter().map(column).find(|losses| !losses.is_empty()).unwrap_or_default();
    let kept = if keeps_best { validation.iter().copied().reduce(f64::min) } else { validation.last().copied() };
    let figures = [("train-loss", column("train_loss").last().copied()), ("validation-loss", kept), (LOSS_GAP, loss_gap(csv))];
    figures.into_iter().filter_map(|(name, figure)| Some((name.to_owned(), figure?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_validation_is_held_against_the_steps_before_it() {
        let whole = b"step,train_loss,valid_loss,full_valid_loss\n1,3.0,3.1,\n2,2.0,2.5,2.4\n3,1.0,2.4,\n4,0.5,2.4,2.25\n5,0.1,2.4,\n";
        assert!((loss_gap(whole).expect("it was measured") - 1.5).abs() < 1e-12);
        let partly = b"step,train_loss,valid_loss,full_valid_loss\n1,3.0,,\n2,2.0,2.5,\n";
        assert!((loss_gap(partly).expect("it was measured") - 0.0).abs() < 1e-12);
        assert_eq!(loss_gap(b"step,train_loss\n1,2.0\n"), None);
        assert_eq!(loss_gap(b""), None);
    }
}
