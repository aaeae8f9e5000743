//! The way back.

use super::adapter::Fitted;
use super::attention::{Squares, attention_backward};
use super::decoder::{ATTENTION_IN, Decoder, FEED_IN, HEAD_ROWS};
use super::gate::gated_backward;
use super::gradient::{FullGradient, GradientSink, LinearGradient, LoraGradient};
use super::kernel;
use super::layout::{Matrix, Norm};
use super::matmul::{View, product};
use super::packed::Packed;
use super::parameters::{Parameters, Part};
use super::rotary::Rotary;
use super::softmax::cross_entropy;
use super::trace::{Keep, LayerTrace, Normed, Trace, room};

/// Buffers of the backward pass, kept from step to step.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    stream: Vec<f32>,
    given: Vec<f32>,
    wide: Vec<f32>,
    active: Vec<f32>,
    narrow: Vec<f32>,
    gathered: Vec<f32>,
    logits: Vec<f32>,
    squares: Squares,
}

/// Gradient of the outputs of `rows x outputs` weights with respect to their inputs.
fn linear_backward(out: &mut [f32], d_out: &[f32], weight: Part<'_>, rows: usize, inputs: usize) {
    if rows == 0 {
        return;
    }
    let outputs = weight.len() / inputs;
    weight.rows(inputs, |first, weight| {
        let some = weight.len() / inputs;
        product(out, inputs, View::new(&d_out[first..], rows, some, outputs), View::new(weight, some, inputs, inputs), 1.0, first > 0);
    });
}

impl Decoder<'_> {
    /// The loss of packed samples after [`Decoder::forward`], and the gradients of it into `sink`, each
    /// target weighted as `weights` says. Returns the loss of each target, unweighted.
    pub fn backward(&self, packed: &Packed, trace: &mut Trace, scratch: &mut Scratch, sink: &mut dyn GradientSink, weights: &[f32]) -> Vec<f64> {
        let (a, rows) = (self.architecture(), packed.tokens.len());
        let losses = self.head_backward(packed, trace, scratch, sink, weights);
        for layer in (0..a.layers).rev() {
            if let Some(input) = trace.inputs.get_mut(layer) {
                let mut stream = std::mem::take(input);
                self.layer(layer, &packed.starts, &mut stream, &mut trace.layers[0], &mut trace.buffers);
                trace.inputs[layer] = stream;
                self.layer_backward(layer, packed, &trace.layers[0], scratch, sink);
            } else {
                self.layer_backward(layer, packed, &trace.layers[layer], scratch, sink);
            }
        }
        if let Some(gradient) = sink.part(self.layout().embedding()) {
            let scale = a.embedding_scale();
            for (row, &token) in scratch.stream[..rows * a.width].chunks_exact_mut(a.width).zip(&packed.tokens) {
                row.iter_mut().for_each(|value| *value *= scale);
                let start = token as usize * a.width;
                kernel::add(&mut gradient[start..start + a.width], row);
            }
        }
        losses
    }

    fn head_backward(&self, packed: &Packed, trace: &Trace, scratch: &mut Scratch, sink: &mut dyn GradientSink, weights: &[f32]) -> Vec<f64> {
        let (a, layout, rows) = (self.architecture(), self.layout(), packed.tokens.len());
        let spread = room(&mut scratch.wide, rows * a.width);
        spread.fill(0.0);
        let mut losses = Vec::with_capacity(packed.targets.len());
        for (targets, weights) in packed.targets.chunks(HEAD_ROWS).zip(weights.chunks(HEAD_ROWS)) {
            let logits = self.logits(&trace.last_normed, targets, (&mut scratch.gathered, &mut scratch.logits));
            let rows = logits.chunks_exact_mut(a.vocabulary).zip(targets).zip(weights);
            losses.extend(rows.map(|((row, target), weight)| cross_entropy(row, target.token as usize, *weight)));
            let d_normed = room(&mut scratch.narrow, targets.len() * a.width);
            linear_backward(d_normed, logits, self.part(layout.head()), targets.len(), a.width);
            for (from, target) in d_normed.chunks_exact(a.width).zip(targets) {
                kernel::add(&mut spread[target.row * a.width..(target.row + 1) * a.width], from);
            }
            if let Some(gradient) = sink.part(layout.head()) {
                let d_out = View::new(&scratch.logits, targets.len(), a.vocabulary, a.vocabulary);
                product(gradient, a.width, d_out.transposed(), View::new(&scratch.gathered, targets.len(), a.width, a.width), 1.0, true);
            }
        }
        let stream = room(&mut scratch.stream, rows * a.width);
        stream.fill(0.0);
        let gain = layout.final_norm();
        kernel::norm_backward(stream, sink.part(gain.clone()), spread, &trace.last, &trace.last_inverse, &self.few(gain));
        losses
    }

    fn layer_backward(&self, layer: usize, packed: &Packed, trace: &LayerTrace, scratch: &mut Scratch, sink: &mut dyn GradientSink) {
        let (a, layout, rows) = (self.architecture(), self.layout(), packed.tokens.len());
        let Scratch { stream, given, wide, active, narrow, squares, .. } = scratch;
        let stream = &mut stream[..rows * a.width];

        let d_given = self.given_backward(layer, (Matrix::Down, Norm::AfterFeed), &trace.fed, (&mut *stream, given), sink);
        let d_active = room(active, rows * a.hidden);
        self.project_backward(layer, &[Matrix::Down], (d_given.unwrap_or(&mut *stream), &trace.active), d_active, sink);
        let d_gate_up = room(wide, rows * 2 * a.hidden);
        gated_backward(d_gate_up, d_active, &trace.gate_up, a.hidden, a.family.has_gelu());
        let d_normed = room(narrow, rows * a.width);
        self.project_backward(layer, FEED_IN, (d_gate_up, &trace.middle_normed), d_normed, sink);
        let gain = layout.norm(layer, Norm::Feed);
        kernel::norm_backward(stream, sink.part(gain.clone()), d_normed, &trace.middle, &trace.middle_inverse, &self.few(gain));

        let d_given = self.given_backward(layer, (Matrix::Output, Norm::AfterAttention), &trace.given, (&mut *stream, given), sink);
        let d_attended = room(active, rows * a.query_width());
        self.project_backward(layer, &[Matrix::Output], (d_given.unwrap_or(&mut *stream), &trace.attended), d_attended, sink);
        let d_qkv = room(wide, rows * a.attention_width());
        attention_backward(a, a.window(layer), &packed.starts, (&trace.qkv, d_attended), d_qkv, squares);
        self.heads_backward(layer, packed, trace, d_qkv, (&mut *narrow, &mut *active), sink);
        if let Some(gradient) = sink.part(layout.biases(layer)).filter(|gradient| !gradient.is_empty()) {
            d_qkv.chunks_exact(a.attention_width()).for_each(|row| kernel::add(gradient, row));
        }
        let d_normed = room(narrow, rows * a.width);
        self.project_backward(layer, ATTENTION_IN, (d_qkv, &trace.normed), d_normed, sink);
        let gain = layout.norm(layer, Norm::Attention);
        kernel::norm_backward(stream, sink.part(gain.clone()), d_normed, &trace.input, &trace.inverse, &self.few(gain));
    }

    /// The way back through matrices that lie one after the other: their gradients go to the sink, that of their inputs over `d_input`.
    fn project_backward(&self, layer: usize, matrices: &[Matrix], (d_out, input): (&mut [f32], &[f32]), d_input: &mut [f32], sink: &mut dyn GradientSink) {
        let (a, layout) = (self.architecture(), self.layout());
        let (Some(first), Some(last)) = (matrices.first(), matrices.last()) else {
            return;
        };
        let inputs = first.shape(a).1;
        let rows = input.len() / inputs;
        let (stride, mut column) = (d_out.len() / rows.max(1), 0);
        for &matrix in matrices {
            sink.linear(LinearGradient { at: (layer, matrix), d_out: &mut d_out[column..], stride, input, rows });
            column += matrix.shape(a).0;
        }
        let weight = self.part(layout.matrix(layer, *first).start..layout.matrix(layer, *last).end);
        linear_backward(d_input, d_out, weight, rows, inputs);
        matrices.iter().for_each(|&matrix| sink.inputs((layer, matrix), d_input));
    }

    /// The way back through the norm of what a block gave. Nothing where the gradient of that is the stream's own, and may be used up as it is.
    fn given_backward<'s>(
        &self,
        layer: usize,
        (matrix, norm): (Matrix, Norm),
        normed: &Normed,
        (stream, given): (&mut [f32], &'s mut Vec<f32>),
        sink: &mut dyn GradientSink,
    ) -> Option<&'s mut [f32]> {
        let gain = self.layout().norm(layer, norm);
        if gain.is_empty() && !sink.scales(matrix) {
            return None;
        }
        let d_given = room(given, stream.len());
        if gain.is_empty() {
            d_given.copy_from_slice(stream);
        } else {
            d_given.fill(0.0);
            kernel::norm_backward(d_given, sink.part(gain.clone()), stream, &normed.input, &normed.inverse, &self.few(gain));
        }
        Some(d_given)
    }

    /// The way back through positions and the norms of heads: `d_qkv` becomes the gradient of what the matrices gave.
    fn heads_backward(
        &self,
        layer: usize,
        packed: &Packed,
        trace: &LayerTrace,
        d_qkv: &mut [f32],
        (plain, gains): (&mut Vec<f32>, &mut Vec<f32>),
        sink: &mut dyn GradientSink,
    ) {
        let (a, layout) = (self.architecture(), self.layout());
        let (stride, queries, both) = (a.attention_width(), a.query_width(), a.query_width() + a.key_width());
        let is_local = a.window(layer).is_some();
        for sample in packed.starts.windows(2) {
            for (position, row) in d_qkv[sample[0] * stride..sample[1] * stride].chunks_exact_mut(stride).enumerate() {
                self.rotary.turn(&mut row[..both], position, -1.0, is_local);
            }
        }
        if !a.family.has_head_norms() {
            return;
        }
        let (of_query, of_key) = (layout.norm(layer, Norm::Query), layout.norm(layer, Norm::Key));
        let (query_gain, key_gain) = (self.few(of_query.clone()), self.few(of_key.clone()));
        let d_plain = room(plain, both);
        let d_gains = room(gains, 2 * a.head_width);
        d_gains.fill(0.0);
        let (d_query, d_key) = d_gains.split_at_mut(a.head_width);
        let rows = d_qkv.chunks_exact_mut(stride).zip(trace.plain.chunks_exact(both)).zip(trace.head_inverse.chunks_exact(a.heads + a.key_heads));
        for ((row, plain), inverse) in rows {
            d_plain.fill(0.0);
            let (of_queries, of_keys) = inverse.split_at(a.heads);
            kernel::norm_backward(&mut d_plain[..queries], Some(d_query), &row[..queries], &plain[..queries], of_queries, &query_gain);
            kernel::norm_backward(&mut d_plain[queries..], Some(d_key), &row[queries..both], &plain[queries..], of_keys, &key_gain);
            row[..both].copy_from_slice(d_plain);
        }
        for (range, d_gain) in [(of_query, &*d_query), (of_key, &*d_key)] {
            if let Some(gradient) = sink.part(range) {
                kernel::add(gradient, d_gain);
            }
        }
    }
}

/// The summed loss of packed samples and its gradient: of all weights, or of an adapter. `keep` says what is computed a second time.
#[must_use]
pub fn gradient<'a>(parameters: impl Into<Parameters<'a>>, adapter: Option<&Fitted<'_>>, packed: &Packed, keep: Keep) -> (f64, Vec<f32>) {
    let parameters = parameters.into();
    let rotary = Rotary::new(parameters.architecture, packed.longest());
    let decoder = Decoder::new(parameters, adapter, &rotary);
    let (mut trace, mut scratch) = (Trace::default(), Scratch::default());
    decoder.forward(packed, &mut trace, keep);
    let mut sink: Box<dyn GradientSink> = match adapter {
        Some(adapter) => Box::new(LoraGradient::new(adapter, parameters, None, Vec::new())),
        None => Box::new(FullGradient::new(parameters, Vec::new())),
    };
    let losses = decoder.backward(packed, &mut trace, &mut scratch, sink.as_mut(), &vec![1.0; packed.targets.len()]);
    (losses.iter().sum(), std::mem::take(sink.values()))
}
