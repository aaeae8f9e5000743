use super::adapter::Adapter;
use super::architecture::Architecture;
use super::batch::Packed;
use super::decoder::{Decoder, LayerTrace, Trace, score_scale, sized};
use super::gradient::{FullGradient, GradientSink, LinearGradient, LoraGradient};
use super::kernel;
use super::matmul::{View, product};
use super::weights::{Matrix, Weights};

/// Buffers of the backward pass, kept from step to step.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    stream: Vec<f32>,
    wide: Vec<f32>,
    active: Vec<f32>,
    narrow: Vec<f32>,
    scores: Vec<f32>,
}

/// Gradient of the outputs of `rows x outputs` weights with respect to their inputs.
fn linear_backward(out: &mut [f32], d_out: &[f32], weight: &[f32], rows: usize, inputs: usize) {
    let outputs = weight.len() / inputs;
    product(out, inputs, View::new(d_out, rows, outputs, outputs), View::new(weight, outputs, inputs, inputs), 1.0, false);
}

impl Decoder<'_> {
    /// The loss of packed samples after [`Decoder::forward`], and the gradients of it into `sink`, each
    /// token weighted by `weight`. Returns the summed loss, unweighted.
    pub fn backward(&self, packed: &Packed, trace: &Trace, scratch: &mut Scratch, sink: &mut dyn GradientSink, weight: f32) -> f64 {
        let a = self.weights.architecture;
        let rows = packed.tokens.len();
        let loss = self.head_backward(packed, trace, scratch, sink, weight);
        for layer in (0..a.layers).rev() {
            self.layer_backward(layer, packed, &trace.layers[layer], scratch, sink);
        }
        if let Some(gradient) = sink.embedding() {
            for (row, &token) in scratch.stream[..rows * a.width].chunks_exact(a.width).zip(&packed.tokens) {
                let start = token as usize * a.width;
                kernel::add(&mut gradient[start..start + a.width], row);
            }
        }
        loss
    }

    fn head_backward(&self, packed: &Packed, trace: &Trace, scratch: &mut Scratch, sink: &mut dyn GradientSink, weight: f32) -> f64 {
        let (a, layout) = (self.weights.architecture, self.weights.layout());
        let (rows, targets) = (packed.tokens.len(), packed.targets.len());
        let mut logits = self.logits(trace, packed.targets.iter().map(|(row, _)| *row));
        let scored = logits.chunks_exact_mut(a.vocabulary).zip(&packed.targets);
        let loss = scored.map(|(row, (_, target))| kernel::cross_entropy(row, *target as usize, weight)).sum();
        let embedding = &self.weights.values[layout.embedding()];
        let gathered = sized(&mut scratch.narrow, targets * a.width);
        linear_backward(gathered, &logits, embedding, targets, a.width);
        let spread = sized(&mut scratch.wide, rows * a.width);
        spread.fill(0.0);
        for (from, (row, _)) in gathered.chunks_exact(a.width).zip(&packed.targets) {
            spread[row * a.width..(row + 1) * a.width].copy_from_slice(from);
        }
        let stream = sized(&mut scratch.stream, rows * a.width);
        stream.fill(0.0);
        let gain = &self.weights.values[layout.final_norm()];
        kernel::norm_backward(stream, sink.final_norm(), spread, &trace.last, &trace.last_inverse, gain);
        if let Some(gradient) = sink.embedding() {
            for (gathered, (row, _)) in scratch.narrow.chunks_exact_mut(a.width).zip(&packed.targets) {
                gathered.copy_from_slice(&trace.last_normed[row * a.width..(row + 1) * a.width]);
            }
            let d_out = View::new(&logits, targets, a.vocabulary, a.vocabulary);
            product(gradient, a.width, d_out.transposed(), View::new(&scratch.narrow, targets, a.width, a.width), 1.0, true);
        }
        loss
    }

    fn layer_backward(&self, layer: usize, packed: &Packed, trace: &LayerTrace, scratch: &mut Scratch, sink: &mut dyn GradientSink) {
        let (a, layout, rows) = (self.weights.architecture, self.weights.layout(), packed.tokens.len());
        let part = |range: std::ops::Range<usize>| &self.weights.values[range];
        let Scratch { stream, wide, active, narrow, scores } = scratch;
        let stream = &mut stream[..rows * a.width];
        fn whole(data: &[f32], width: usize) -> View<'_> {
            View::new(data, data.len() / width, width, width)
        }

        sink.matrix(layer, Matrix::Down, LinearGradient { d_out: whole(stream, a.width), input: whole(&trace.active, a.hidden), rows });
        let d_active = sized(active, rows * a.hidden);
        linear_backward(d_active, stream, part(layout.matrix(layer, Matrix::Down)), rows, a.hidden);
        let d_gate_up = sized(wide, rows * 2 * a.hidden);
        kernel::swiglu_backward(d_gate_up, d_active, &trace.gate_up, a.hidden);
        for (index, matrix) in [Matrix::Gate, Matrix::Up].into_iter().enumerate() {
            let d_out = View::new(&d_gate_up[index * a.hidden..], rows, a.hidden, 2 * a.hidden);
            sink.matrix(layer, matrix, LinearGradient { d_out, input: whole(&trace.middle_normed, a.width), rows });
        }
        let d_normed = sized(narrow, rows * a.width);
        linear_backward(d_normed, d_gate_up, part(layout.feed_in(layer)), rows, a.width);
        kernel::norm_backward(stream, sink.norm(layer, 1), d_normed, &trace.middle, &trace.middle_inverse, part(layout.norm(layer, 1)));

        sink.matrix(layer, Matrix::Output, LinearGradient { d_out: whole(stream, a.width), input: whole(&trace.attended, a.width), rows });
        let d_attended = sized(active, rows * a.width);
        linear_backward(d_attended, stream, part(layout.matrix(layer, Matrix::Output)), rows, a.width);
        let d_qkv = sized(wide, rows * 3 * a.width);
        attention_backward(&a, packed, trace, d_attended, d_qkv, scores);
        for sample in packed.starts.windows(2) {
            for (position, row) in d_qkv[sample[0] * 3 * a.width..sample[1] * 3 * a.width].chunks_exact_mut(3 * a.width).enumerate() {
                self.rotary.turn(&mut row[..2 * a.width], position, -1.0);
            }
        }
        for (index, matrix) in [Matrix::Query, Matrix::Key, Matrix::Value].into_iter().enumerate() {
            let d_out = View::new(&d_qkv[index * a.width..], rows, a.width, 3 * a.width);
            sink.matrix(layer, matrix, LinearGradient { d_out, input: whole(&trace.normed, a.width), rows });
        }
        let d_normed = sized(narrow, rows * a.width);
        linear_backward(d_normed, d_qkv, part(layout.attention_in(layer)), rows, a.width);
        kernel::norm_backward(stream, sink.norm(layer, 0), d_normed, &trace.input, &trace.inverse, part(layout.norm(layer, 0)));
    }
}

fn attention_backward(a: &Architecture, packed: &Packed, trace: &LayerTrace, d_attended: &[f32], d_qkv: &mut [f32], scores: &mut Vec<f32>) {
    let (head_width, stride) = (a.head_width(), 3 * a.width);
    let mut offset = 0;
    for sample in packed.starts.windows(2) {
        let length = sample[1] - sample[0];
        let qkv = &trace.qkv[sample[0] * stride..sample[1] * stride];
        let d_out = &d_attended[sample[0] * a.width..sample[1] * a.width];
        let d_qkv = &mut d_qkv[sample[0] * stride..sample[1] * stride];
        let d_scores = sized(scores, length * length);
        for head in 0..a.heads {
            let at = head * head_width;
            let part = |which: usize| View::new(&qkv[which * a.width + at..], length, head_width, stride);
            let probabilities = &trace.probabilities[offset..offset + length * length];
            let square = |data| View::new(data, length, length, length);
            let d_out = View::new(&d_out[at..], length, head_width, a.width);
            product(&mut d_qkv[2 * a.width + at..], stride, square(probabilities).transposed(), d_out, 1.0, false);
            product(d_scores, length, d_out, part(2).transposed(), 1.0, false);
            kernel::softmax_backward(d_scores, probabilities, length, score_scale(a));
            product(&mut d_qkv[at..], stride, square(d_scores), part(1), 1.0, false);
            product(&mut d_qkv[a.width + at..], stride, square(d_scores).transposed(), part(0), 1.0, false);
            offset += length * length;
        }
    }
}

/// The summed loss of packed samples and its gradient: of all weights, or of an adapter that has been merged into them.
#[must_use]
pub fn gradient(weights: &Weights, adapter: Option<&Adapter>, packed: &Packed) -> (f64, Vec<f32>) {
    let rotary = kernel::Rotary::new(&weights.architecture);
    let decoder = Decoder { weights, rotary: &rotary };
    let (mut trace, mut scratch) = (Trace::default(), Scratch::default());
    decoder.forward(packed, &mut trace);
    let mut sink: Box<dyn GradientSink> = match adapter {
        Some(adapter) => Box::new(LoraGradient::new(adapter, Vec::new())),
        None => Box::new(FullGradient::new(weights.layout(), &weights.architecture, Vec::new())),
    };
    let loss = decoder.backward(packed, &trace, &mut scratch, sink.as_mut(), 1.0);
    (loss, std::mem::take(sink.values()))
}
