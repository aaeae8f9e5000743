//! The loop of a training.

use std::path::Path;

use rayon::prelude::*;

use crate::model::error::ModelError;
use crate::model::network::adapter::{Adapter, Fitted};
use crate::model::network::decoder::Decoder;
use crate::model::network::dropout::Dropout;
use crate::model::network::gradient::add_up;
use crate::model::network::kernel::sum_of_squares;
use crate::model::network::parameters::Parameters;
use crate::model::network::rotary::Rotary;
use crate::model::network::trace::Keep;
use crate::model::network::weights::Weights;
use crate::model::random::Random;
use crate::provider::{Monitor, Verdict, Watch};

use super::checkpoint::{Checkpoint, CheckpointPlace};
use super::flight::{Spikes, Step};
use super::lane::{Lane, as_share, mean_loss};
use super::lessons::{Lessons, shards};
use super::objective::Objective;
use super::optimizer::AdamW;
use super::schedule::Schedule;
use super::trained::{LossPoint, Trained};
use super::tuning::{Tuning, TuningMethod};

/// All validation examples are measured this often in an epoch.
const VALIDATIONS: usize = 2;
/// This many validation examples are measured at each step, in turn.
const VALIDATION_SAMPLES: usize = 4;
/// Gradients that are summed side by side hold at most so many numbers together, where there are more than two.
const GRADIENTS: usize = 1 << 23;
/// At most so many are summed side by side: as many cores as a training uses at most.
const LANES: usize = 16;

/// What changes from step to step.
enum Learner {
    Full(Weights),
    Lora(Adapter),
}

struct Trainer<'a> {
    base: Parameters<'a>,
    learner: Learner,
    rotary: Rotary,
    lanes: Vec<Lane>,
    tuning: &'a Tuning,
    recorded: Recorded<'a>,
}

/// The flight record of a training.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded<'a> {
    /// The line that each training example came from, from 0, by which the record names them; else their places.
    pub rows: &'a [usize],
    /// Where it is left when the training fails.
    pub left: Option<&'a Path>,
}

/// What came of one step.
struct Stepped {
    loss: f64,
    glimpsed: Option<f64>,
    gradient: f64,
    /// The examples in the order of `losses`, which are their means.
    rows: Vec<usize>,
    losses: Vec<f64>,
}

/// Trains from `base` on examples. The same arguments give the same bytes, whatever the number of threads, and whether it goes on
/// from a checkpoint or not.
///
/// # Errors
/// When there is nothing to learn from, the loss stops being a number, or the watch says stop.
pub fn tune<'a>(
    base: impl Into<Parameters<'a>>,
    train: &Lessons,
    validation: &Lessons,
    tuning: &Tuning,
    recorded: Recorded<'_>,
    checkpoints: Option<&CheckpointPlace>,
    watch: &dyn Watch,
) -> Result<Trained, ModelError> {
    let base = base.into();
    if train.is_empty() {
        return Err(ModelError::NothingToLearn { problem: "there are no training examples".into() });
    }
    let learner = match tuning.method {
        TuningMethod::Full => Learner::Full(base.to_weights()),
        TuningMethod::Lora(shape) => Learner::Lora(Adapter::new(base, shape, tuning.seed)),
    };
    let rotary = Rotary::new(base.architecture, train.longest().max(validation.longest()));
    let before = Decoder::new(base, None, &rotary);
    let (train, validation) = (Objective::new(train, &before, watch)?, Objective::new(validation, &before, watch)?);
    let mut trainer = Trainer { base, learner, rotary, lanes: Vec::new(), tuning, recorded };
    trainer.run(&train, &validation, checkpoints, watch)
}

impl Trainer<'_> {
    fn run(
        &mut self,
        train: &Objective<'_>,
        validation: &Objective<'_>,
        checkpoints: Option<&CheckpointPlace>,
        watch: &dyn Watch,
    ) -> Result<Trained, ModelError> {
        let (tuning, examples) = (self.tuning, train.lessons.len());
        let per_epoch = examples.div_ceil(tuning.batch_size);
        let steps = per_epoch * tuning.epochs;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the steps")]
        let warmup = (steps as f64 * tuning.warmup).round() as usize;
        let schedule = Schedule { peak: tuning.learning_rate, warmup, steps, decay: tuning.decay };
        let mut optimizer = AdamW::new(self.parameters().len(), tuning.weight_decay);
        let mut done = Trained {
            values: Vec::new(),
            points: Vec::with_capacity(steps),
            flight: Vec::with_capacity(steps),
            best_step: 0,
            best_validation: None,
            tokens: 0,
        };
        let mut order: Vec<usize> = (0..examples).collect();
        let mut random = Random::new(tuning.seed, "order of samples");
        let every = tuning.evaluate_every.unwrap_or(per_epoch.div_ceil(VALIDATIONS));
        if let Some(earlier) = checkpoints.and_then(CheckpointPlace::latest) {
            self.parameters_mut().clone_from(&earlier.parameters);
            (optimizer, done) = (earlier.optimizer, earlier.done);
        }
        let start = done.points.len();
        let (mut monitor, mut spikes) = (Monitor::new(tuning.care), Spikes::default());
        // What was seen before a checkpoint counts as if it had just been.
        for point in &done.points {
            monitor.see(point.step as u64, Some(point.train), point.full_validation);
            spikes.see(point.train);
        }
        // The order of an epoch comes from those before it.
        (0..start.div_ceil(per_epoch)).for_each(|_| random.shuffle(&mut order));
        for step in start..steps {
            if watch.stopped() {
                if let Some(place) = checkpoints.filter(|_| step > start) {
                    place.keep_now(step, || self.checkpoint(&optimizer, &done));
                }
                return Err(ModelError::Stopped);
            }
            let place = step % per_epoch;
            if place == 0 {
                random.shuffle(&mut order);
            }
            let chosen = &order[place * tuning.batch_size..examples.min((place + 1) * tuning.batch_size)];
            let rate = schedule.rate(step);
            let seen = validation.lessons.len();
            let turn = step * VALIDATION_SAMPLES % seen.max(1);
            let glimpse: Vec<usize> = (0..seen).cycle().skip(turn).take(VALIDATION_SAMPLES.min(seen)).collect();
            let stepped = self.step((train, chosen), (validation, &glimpse), &mut optimizer, rate, step);
            let loss = stepped.loss;
            let flown = Step {
                step: step + 1,
                rate,
                loss,
                gradient: stepped.gradient,
                rows: stepped.rows.into_iter().map(|example| self.recorded.rows.get(example).map_or(example, |row| *row) + 1).collect(),
                losses: stepped.losses,
            };
            if !loss.is_finite() {
                // What the step before left stands yet.
                if let Some(place) = checkpoints {
                    place.keep_now(step, || self.checkpoint(&optimizer, &done));
                }
                let blame = flown.blame();
                done.flight.push(flown);
                self.recorded.leave(&done.flight);
                return Err(ModelError::Diverged { step: step + 1, rate, blame });
            }
            if spikes.see(loss) {
                watch.note(&format!("step {}: the loss {loss:.3} stands out; {}", step + 1, flown.blame()));
            }
            done.flight.push(flown);
            done.tokens += chosen.iter().map(|&index| train.lessons.tokens(index) as u64).sum::<u64>();
            let is_measured = if tuning.evaluate_every.is_some() {
                (step + 1).is_multiple_of(every) || step + 1 == steps
            } else {
                (place + 1).is_multiple_of(every) || place + 1 == per_epoch
            };
            let validated = (is_measured && seen > 0).then(|| self.measure(validation, &(0..seen).collect::<Vec<_>>()));
            done.points.push(LossPoint { step: step + 1, train: loss, validation: stepped.glimpsed, full_validation: validated });
            if let Some(validated) = validated
                && done.best_validation.is_none_or(|best| validated < best)
            {
                done.best_validation = Some(validated);
                done.best_step = step + 1;
                done.values.clone_from(self.parameters());
            }
            let shown = validated.or(done.points.iter().rev().find_map(|point| point.full_validation));
            let detail = shown.map_or(format!("loss {loss:.3}"), |validation| format!("loss {loss:.3}, validation {validation:.3}"));
            let figures = [("train-loss", Some(loss)), ("validation-loss", validated)];
            let figures = figures.into_iter().filter_map(|(name, loss)| Some((name.to_owned(), loss?)));
            watch.metrics(step as u64 + 1, &figures.collect());
            watch.progress(step as u64 + 1, steps as u64, "steps", &detail);
            match monitor.see(step as u64 + 1, Some(loss), validated) {
                Verdict::GoOn => {}
                Verdict::Warn(warning) => watch.note(&format!("warning: {warning}")),
                Verdict::Fail(why) => {
                    self.recorded.leave(&done.flight);
                    return Err(ModelError::Alarm { why });
                }
                Verdict::KeepBest { why, .. } => {
                    watch.note(&format!("{why}: stopped, and that of step {} is kept", done.best_step));
                    break;
                }
            }
            if let Some(place) = checkpoints {
                place.keep(step + 1, || self.checkpoint(&optimizer, &done));
            }
        }
        if done.values.is_empty() {
            done.best_step = steps;
            done.values.clone_from(self.parameters());
        }
        Ok(done)
    }

    fn checkpoint(&self, optimizer: &AdamW, done: &Trained) -> Checkpoint {
        Checkpoint { parameters: self.parameters().clone(), optimizer: optimizer.clone(), done: done.clone() }
    }

    const fn parameters(&self) -> &Vec<f32> {
        match &self.learner {
            Learner::Full(weights) => &weights.values,
            Learner::Lora(adapter) => &adapter.values,
        }
    }

    const fn parameters_mut(&mut self) -> &mut Vec<f32> {
        match &mut self.learner {
            Learner::Full(weights) => &mut weights.values,
            Learner::Lora(adapter) => &mut adapter.values,
        }
    }

    /// One step; the losses are those before the update.
    fn step(
        &mut self,
        (train, batch): (&Objective<'_>, &[usize]),
        (validation, glimpse): (&Objective<'_>, &[usize]),
        optimizer: &mut AdamW,
        rate: f64,
        step: usize,
    ) -> Stepped {
        let fitted = self.learner.fitted(self.base);
        let decoder = Decoder::new(self.learner.parameters(self.base), fitted.as_ref(), &self.rotary);
        let shards = shards(train.lessons, batch);
        let counts = train.counts(batch);
        let side_by_side = (GRADIENTS / self.parameters().len().max(1)).clamp(2, LANES).min(shards.len());
        let dropout = match self.tuning.method {
            TuningMethod::Lora(shape) if shape.dropout > 0.0 => Some((shape.dropout, Random::new(self.tuning.seed ^ (step as u64) << 20, "dropout").next())),
            _ => None,
        };
        let keep = if self.tuning.recompute { Keep::Inputs } else { Keep::All };
        self.lanes.resize_with(side_by_side, Lane::default);
        let run = |(number, lane): (usize, &mut Lane)| -> Vec<Vec<f64>> {
            lane.gradient.clear();
            let own = shards.iter().enumerate().skip(number).step_by(side_by_side);
            own.map(|(place, shard)| {
                let packed = train.lessons.pack(shard);
                #[expect(clippy::cast_possible_truncation, reason = "a share")]
                let dropout = dropout.map(|(share, seed)| Dropout { share: share as f32, seed: seed ^ place as u64 });
                lane.pass(Decoder { dropout, ..decoder }, train, shard, &packed, counts, keep)
            })
            .collect()
        };
        let lanes = &mut self.lanes;
        let (losses, glimpsed): (Vec<Vec<Vec<f64>>>, _) =
            rayon::join(|| lanes.par_iter_mut().enumerate().map(run).collect(), || (!glimpse.is_empty()).then(|| mean_loss(&decoder, validation, glimpse)));
        let (mut rows, mut means, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (place, shard) in shards.iter().enumerate() {
            for (&row, loss) in shard.iter().zip(&losses[place % side_by_side][place / side_by_side]) {
                rows.push(row);
                means.push(loss / as_share(train.counts(&[row])));
                sum += loss;
            }
        }
        let mut gradients: Vec<Vec<f32>> = self.lanes.iter_mut().map(|lane| std::mem::take(&mut lane.gradient)).collect();
        add_up(&mut gradients);
        let gradient = gradients.first().map_or(0.0, |sum| sum_of_squares(sum).sqrt());
        let scale = if gradient > self.tuning.clip { self.tuning.clip / gradient } else { 1.0 };
        if let Some(sum) = gradients.first().filter(|_| gradient.is_finite()) {
            optimizer.step(self.parameters_mut(), sum, rate, scale);
        }
        for (lane, gradient) in self.lanes.iter_mut().zip(gradients) {
            lane.gradient = gradient;
        }
        let loss = if gradient.is_finite() { sum / as_share(counts) } else { f64::NAN };
        Stepped { loss, glimpsed, gradient, rows, losses: means }
    }

    /// The mean loss of examples, with the parameters as they are.
    fn measure(&self, objective: &Objective<'_>, indices: &[usize]) -> f64 {
        let fitted = self.learner.fitted(self.base);
        mean_loss(&Decoder::new(self.learner.parameters(self.base), fitted.as_ref(), &self.rotary), objective, indices)
    }
}

impl Recorded<'_> {
    /// Leaves the record; where it cannot be written the training fails for its own reason all the same.
    fn leave(&self, flight: &[Step]) {
        if let Some(left) = self.left {
            let _ = left.parent().map(std::fs::create_dir_all);
            let _ = std::fs::write(left, Step::lines(flight));
        }
    }
}

impl Learner {
    fn fitted(&self, base: Parameters<'_>) -> Option<Fitted<'_>> {
        match self {
            Self::Full(_) => None,
            Self::Lora(adapter) => Some(Fitted::new(adapter, base)),
        }
    }

    fn parameters<'a>(&'a self, base: Parameters<'a>) -> Parameters<'a> {
        match self {
            Self::Full(weights) => weights.into(),
            Self::Lora(_) => base,
        }
    }
}
