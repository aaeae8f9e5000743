//! A group of examples through a model and back.

use rayon::prelude::*;

use crate::model::error::ModelError;
use crate::model::network::adapter::Fitted;
use crate::model::network::backward::Scratch;
use crate::model::network::decoder::Decoder;
use crate::model::network::gradient::{FullGradient, GradientSink, LoraGradient};
use crate::model::network::packed::Packed;
use crate::model::network::parameters::Parameters;
use crate::model::network::rotary::Rotary;
use crate::model::network::trace::{Keep, Trace};
use crate::provider::Silent;

use super::lessons::Lessons;
use super::objective::Objective;

/// One core's share of a step.
#[derive(Default)]
pub struct Lane {
    trace: Trace,
    scratch: Scratch,
    /// The gradient so far.
    pub gradient: Vec<f32>,
}

impl Lane {
    /// Takes some examples through the model and back, and adds to the lane's gradient. Returns their losses.
    pub fn pass(&mut self, decoder: Decoder<'_>, objective: &Objective<'_>, indices: &[usize], packed: &Packed, counts: usize, keep: Keep) -> Vec<f64> {
        let gradient = std::mem::take(&mut self.gradient);
        let mut sink: Box<dyn GradientSink> = match decoder.adapter {
            Some(fitted) => Box::new(LoraGradient::new(fitted, decoder.parameters, decoder.dropout, gradient)),
            None => Box::new(FullGradient::new(decoder.parameters, gradient)),
        };
        decoder.forward(packed, &mut self.trace, keep);
        let weighed = objective.weigh(indices, packed, counts, || decoder.likelihoods(packed, &mut self.trace));
        let own = decoder.backward(packed, &mut self.trace, &mut self.scratch, sink.as_mut(), &weighed.weights);
        self.gradient = std::mem::take(sink.values());
        weighed.losses.unwrap_or_else(|| packed.by_sample(&own))
    }
}

/// The mean loss of all examples with an adapter, and its gradient: what one step would learn from them.
///
/// # Errors
/// As `Objective::new`, where somebody says stop; here nobody does.
pub fn objective_gradient<'a>(base: impl Into<Parameters<'a>>, fitted: &Fitted<'_>, lessons: &Lessons) -> Result<(f64, Vec<f32>), ModelError> {
    let base = base.into();
    let rotary = Rotary::new(base.architecture, lessons.longest());
    let objective = Objective::new(lessons, &Decoder::new(base, None, &rotary), &Silent)?;
    let all: Vec<usize> = (0..lessons.len()).collect();
    let (mut lane, counts) = (Lane::default(), objective.counts(&all));
    let losses = lane.pass(Decoder::new(base, Some(fitted), &rotary), &objective, &all, &lessons.pack(&all), counts, Keep::All);
    Ok((losses.iter().sum::<f64>() / as_share(counts), lane.gradient))
}

/// The mean loss of examples; the same whatever the number of threads.
pub fn mean_loss(decoder: &Decoder<'_>, objective: &Objective<'_>, indices: &[usize]) -> f64 {
    /// Examples that one core takes at a time.
    const GROUP: usize = 8;
    let groups: Vec<f64> = indices
        .par_chunks(GROUP)
        .map_init(Trace::default, |trace, group| {
            let packed = objective.lessons.pack(group);
            decoder.forward(&packed, trace, Keep::End);
            objective.losses(group, &packed, &decoder.likelihoods(&packed, &mut *trace)).iter().sum()
        })
        .collect();
    groups.iter().sum::<f64>() / as_share(objective.counts(indices))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn as_share(count: usize) -> f64 {
    count.max(1) as f64
}
