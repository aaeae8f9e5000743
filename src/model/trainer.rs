use rayon::prelude::*;

use crate::provider::{Care, Monitor, Verdict, Watch};

use super::adapter::{Adapter, LoraShape};
use super::backward::Scratch;
use super::batch::{Packed, Sample, shards};
use super::checkpoint::{Checkpoint, CheckpointPlace};
use super::decoder::{Decoder, Trace, loss_with};
use super::error::ModelError;
use super::gradient::{FullGradient, GradientSink, LoraGradient, add_up};
use super::kernel::{Rotary, sum_of_squares};
use super::optimizer::{AdamW, Schedule};
use super::random::Random;
use super::trained::{LossPoint, Trained};
use super::weights::Weights;

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TuningMethod {
    /// Every weight.
    Full,
    /// A LoRA adapter.
    Lora(LoraShape),
}

/// How it is trained.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// What is trained.
    pub method: TuningMethod,
    /// Passes over the samples.
    pub epochs: usize,
    /// Samples in one step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the steps that the rate takes to rise.
    pub warmup: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The seed of the adapter and of the order of samples.
    pub seed: u64,
    /// What is watched while it goes on.
    pub care: Care,
}

/// Gradients are scaled down to this length.
const CLIP: f64 = 1.0;
/// All validation samples are measured this often in an epoch.
const VALIDATIONS: usize = 2;
/// This many validation samples are measured at each step, in turn.
const VALIDATION_SAMPLES: usize = 4;

#[derive(Default)]
struct Worker {
    trace: Trace,
    scratch: Scratch,
    gradient: Vec<f32>,
}

struct Trainer<'a> {
    base: &'a Weights,
    /// The weights that the model runs with now.
    current: Weights,
    adapter: Option<Adapter>,
    rotary: Rotary,
    workers: Vec<Worker>,
}

/// Trains from `base` on samples. The same arguments give the same bytes, whatever the number of threads, and whether it goes on
/// from a checkpoint or not.
///
/// # Errors
/// When there is nothing to learn from, the loss stops being a number, or the watch says stop.
pub fn tune(
    base: &Weights,
    train: &[Sample],
    validation: &[Sample],
    tuning: &Tuning,
    checkpoints: Option<&CheckpointPlace>,
    watch: &dyn Watch,
) -> Result<Trained, ModelError> {
    if train.is_empty() {
        return Err(ModelError::NothingToLearn { problem: "there are no training examples".into() });
    }
    let adapter = match tuning.method {
        TuningMethod::Full => None,
        TuningMethod::Lora(shape) => Some(Adapter::new(base.architecture, shape, tuning.seed)),
    };
    let mut trainer = Trainer { base, current: base.clone(), adapter, rotary: Rotary::new(&base.architecture), workers: Vec::new() };
    trainer.run(train, validation, tuning, checkpoints, watch)
}

impl Trainer<'_> {
    fn run(
        &mut self,
        train: &[Sample],
        validation: &[Sample],
        tuning: &Tuning,
        checkpoints: Option<&CheckpointPlace>,
        watch: &dyn Watch,
    ) -> Result<Trained, ModelError> {
        let per_epoch = train.len().div_ceil(tuning.batch_size);
        let steps = per_epoch * tuning.epochs;
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the steps")]
        let warmup = (steps as f64 * tuning.warmup).round() as usize;
        let schedule = Schedule { peak: tuning.learning_rate, warmup, steps };
        let mut optimizer = AdamW::new(self.parameters().len(), tuning.weight_decay);
        let mut done = Trained { values: Vec::new(), points: Vec::with_capacity(steps), best_step: 0, best_validation: None, tokens: 0 };
        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut random = Random::new(tuning.seed, "order of samples");
        let every = per_epoch.div_ceil(VALIDATIONS);
        if let Some(earlier) = checkpoints.and_then(CheckpointPlace::latest) {
            self.parameters_mut().clone_from(&earlier.parameters);
            (optimizer, done) = (earlier.optimizer, earlier.done);
        }
        let start = done.points.len();
        let mut monitor = Monitor::new(tuning.care);
        // What was seen before a checkpoint counts as if it had just been.
        for point in &done.points {
            monitor.see(point.step as u64, Some(point.train), point.full_validation);
        }
        // The order of an epoch comes from those before it.
        (0..start.div_ceil(per_epoch)).for_each(|_| random.shuffle(&mut order));
        for step in start..steps {
            if watch.stopped() {
                return Err(ModelError::Stopped);
            }
            let place = step % per_epoch;
            if place == 0 {
                random.shuffle(&mut order);
            }
            let chosen = &order[place * tuning.batch_size..train.len().min((place + 1) * tuning.batch_size)];
            let batch: Vec<&Sample> = chosen.iter().map(|&index| &train[index]).collect();
            let rate = schedule.rate(step);
            let turn = step * VALIDATION_SAMPLES % validation.len().max(1);
            let glimpse: Vec<&Sample> = validation.iter().cycle().skip(turn).take(VALIDATION_SAMPLES.min(validation.len())).collect();
            let (loss, glimpsed) = self.step(&batch, &glimpse, &mut optimizer, rate);
            if !loss.is_finite() {
                return Err(ModelError::Diverged { step: step + 1, rate });
            }
            done.tokens += batch.iter().map(|sample| sample.tokens.len() as u64).sum::<u64>();
            let measured = (place + 1).is_multiple_of(every) || place + 1 == per_epoch;
            let validated = (measured && !validation.is_empty()).then(|| self.measure(validation));
            done.points.push(LossPoint { step: step + 1, train: loss, validation: glimpsed, full_validation: validated });
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
                Verdict::Fail(why) => return Err(ModelError::Alarm { why }),
                Verdict::KeepBest { why, .. } => {
                    watch.note(&format!("{why}: stopped, and that of step {} is kept", done.best_step));
                    break;
                }
            }
            if let Some(place) = checkpoints {
                place.keep(step + 1, || Checkpoint { parameters: self.parameters().clone(), optimizer: optimizer.clone(), done: done.clone() });
            }
        }
        if done.values.is_empty() {
            done.best_step = steps;
            done.values.clone_from(self.parameters());
        }
        Ok(done)
    }

    fn parameters(&self) -> &Vec<f32> {
        self.adapter.as_ref().map_or(&self.current.values, |adapter| &adapter.values)
    }

    fn parameters_mut(&mut self) -> &mut Vec<f32> {
        self.adapter.as_mut().map_or(&mut self.current.values, |adapter| &mut adapter.values)
    }

    /// One step; returns the mean loss of its tokens, and that of the validation samples given, both before the update.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^24 in one step")]
    fn step(&mut self, batch: &[&Sample], validation: &[&Sample], optimizer: &mut AdamW, rate: f64) -> (f64, Option<f64>) {
        if let Some(adapter) = &self.adapter {
            adapter.merge_into(self.base, &mut self.current);
        }
        let packed: Vec<Packed> = shards(batch).into_iter().map(Packed::new).collect();
        let targets: usize = packed.iter().map(|packed| packed.targets.len()).sum();
        let weight = 1.0 / targets as f32;
        if self.workers.len() < packed.len() {
            self.workers.resize_with(packed.len(), Worker::default);
        }
        let decoder = Decoder { weights: &self.current, rotary: &self.rotary };
        let adapter = self.adapter.as_ref();
        let layout = self.current.layout();
        let run = |(packed, worker): (&Packed, &mut Worker)| {
            let gradient = std::mem::take(&mut worker.gradient);
            let mut sink: Box<dyn GradientSink> = match adapter {
                Some(adapter) => Box::new(LoraGradient::new(adapter, gradient)),
                None => Box::new(FullGradient::new(layout, &decoder.weights.architecture, gradient)),
            };
            decoder.forward(packed, &mut worker.trace);
            let loss = decoder.backward(packed, &worker.trace, &mut worker.scratch, sink.as_mut(), weight);
            (loss, std::mem::take(sink.values()))
        };
        let workers = &mut self.workers;
        let (results, validated): (Vec<(f64, Vec<f32>)>, _) = rayon::join(
            || packed.par_iter().zip(workers.par_iter_mut()).map(run).collect(),
            || (!validation.is_empty()).then(|| mean_loss(&self.current, &self.rotary, validation)),
        );
        let loss: f64 = results.iter().map(|(loss, _)| loss).sum();
        let mut gradients: Vec<Vec<f32>> = results.into_iter().map(|(_, gradient)| gradient).collect();
        add_up(&mut gradients);
        let Some(sum) = gradients.first() else {
            return (0.0, validated);
        };
        let length = sum_of_squares(sum).sqrt();
        let scale = if length > CLIP { CLIP / length } else { 1.0 };
        if length.is_finite() {
            optimizer.step(self.parameters_mut(), sum, rate, scale);
        }
        for (worker, gradient) in self.workers.iter_mut().zip(gradients) {
            worker.gradient = gradient;
        }
        (if length.is_finite() { loss / targets as f64 } else { f64::NAN }, validated)
    }

    /// The mean loss of samples, with the parameters as they are.
    fn measure(&mut self, samples: &[Sample]) -> f64 {
        if let Some(adapter) = &self.adapter {
            adapter.merge_into(self.base, &mut self.current);
        }
        mean_loss(&self.current, &self.rotary, &samples.iter().collect::<Vec<_>>())
    }
}

/// The mean loss of samples over their learned tokens; the same whatever the number of threads.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
fn mean_loss(weights: &Weights, rotary: &Rotary, samples: &[&Sample]) -> f64 {
    /// Samples that one core takes at a time.
    const GROUP: usize = 8;
    let groups: Vec<(f64, usize)> = samples.par_chunks(GROUP).map(|group| loss_with(weights, rotary, &Packed::new(group.iter().copied()))).collect();
    let sum: f64 = groups.iter().map(|(loss, _)| loss).sum();
    let tokens: usize = groups.iter().map(|(_, tokens)| tokens).sum();
    sum / tokens.max(1) as f64
}
