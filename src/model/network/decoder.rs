//! The forward pass.

use std::borrow::Cow;
use std::ops::Range;

use super::adapter::Fitted;
use super::architecture::Architecture;
use super::attention::attention;
use super::dropout::Dropout;
use super::gate::gated;
use super::kernel;
use super::layout::{Layout, Matrix, Norm};
use super::matmul::{View, product};
use super::packed::{Packed, Target};
use super::parameters::{Parameters, Part};
use super::rotary::Rotary;
use super::softmax::likelihood;
use super::trace::{Buffers, Keep, LayerTrace, Normed, Trace, room, sized};

/// Queries, keys and values.
pub const ATTENTION_IN: &[Matrix] = &[Matrix::Query, Matrix::Key, Matrix::Value];
/// Gates and values.
pub const FEED_IN: &[Matrix] = &[Matrix::Gate, Matrix::Up];

/// A model that runs: its weights, with an adapter or without.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'a> {
    pub parameters: Parameters<'a>,
    pub adapter: Option<&'a Fitted<'a>>,
    pub rotary: &'a Rotary,
    /// What an adapter in training leaves out.
    pub dropout: Option<Dropout>,
}

/// `rows x inputs` times the transpose of a weight matrix of `outputs x inputs`.
pub fn linear(out: &mut [f32], input: &[f32], weight: Part<'_>, rows: usize, inputs: usize, add: bool) {
    if rows == 0 {
        return;
    }
    let outputs = weight.len() / inputs;
    weight.rows(inputs, |first, weight| {
        let weight = View::new(weight, weight.len() / inputs, inputs, inputs);
        product(&mut out[first..], outputs, View::new(input, rows, inputs, inputs), weight.transposed(), 1.0, add);
    });
}

/// Rows of logits that are made at a time.
pub const HEAD_ROWS: usize = 128;

impl<'a> Decoder<'a> {
    /// A model as it is asked.
    pub fn new(parameters: impl Into<Parameters<'a>>, adapter: Option<&'a Fitted<'a>>, rotary: &'a Rotary) -> Self {
        Self { parameters: parameters.into(), adapter, rotary, dropout: None }
    }

    pub const fn architecture(&self) -> &'a Architecture {
        self.parameters.architecture
    }

    pub const fn layout(&self) -> Layout {
        self.parameters.layout()
    }

    /// A matrix, or several that lie one after the other.
    pub fn part(&self, range: Range<usize>) -> Part<'a> {
        self.parameters.part(range)
    }

    /// Gains or biases.
    pub fn few(&self, range: Range<usize>) -> Cow<'a, [f32]> {
        self.parameters.few(range)
    }

    /// The rows of the embedding for tokens.
    pub fn embed(&self, tokens: &[u32], out: &mut Vec<f32>) {
        let (width, scale) = (self.architecture().width, self.architecture().embedding_scale());
        let embedding = self.part(self.layout().embedding());
        out.clear();
        for &token in tokens {
            let start = token as usize * width;
            out.extend(embedding.at(start..start + width).single().iter().map(|value| value * scale));
        }
    }

    /// Runs all layers over packed samples, and leaves in `trace` what is to be kept.
    pub fn forward(&self, packed: &Packed, trace: &mut Trace, keep: Keep) {
        let (a, rows) = (self.architecture(), packed.tokens.len());
        let Trace { layers, inputs, last, last_normed, last_inverse, buffers } = trace;
        layers.resize_with(if keep == Keep::All { a.layers } else { 1 }, LayerTrace::default);
        inputs.resize_with(if keep == Keep::Inputs { a.layers } else { 0 }, Vec::new);
        self.embed(&packed.tokens, last);
        for layer in 0..a.layers {
            if let Some(input) = inputs.get_mut(layer) {
                input.clone_from(last);
            }
            let place = if keep == Keep::All { layer } else { 0 };
            self.layer(layer, &packed.starts, last, &mut layers[place], buffers);
        }
        let gain = self.few(self.layout().final_norm());
        kernel::norm(sized(last_normed, rows * a.width), sized(last_inverse, rows), last, &gain, a.epsilon);
    }

    /// Runs one layer: `stream` becomes what comes out of it.
    pub fn layer(&self, layer: usize, starts: &[usize], stream: &mut Vec<f32>, trace: &mut LayerTrace, buffers: &mut Buffers) {
        let (a, layout) = (self.architecture(), self.layout());
        let rows = stream.len() / a.width;
        trace.input.clone_from(stream);
        kernel::norm(
            sized(&mut trace.normed, rows * a.width),
            sized(&mut trace.inverse, rows),
            stream,
            &self.few(layout.norm(layer, Norm::Attention)),
            a.epsilon,
        );
        self.project(layer, ATTENTION_IN, &trace.normed, sized(&mut trace.qkv, rows * a.attention_width()), &mut buffers.narrow);
        self.settle_heads(layer, trace);
        let is_local = a.window(layer).is_some();
        for sample in starts.windows(2) {
            for (position, row) in trace.qkv[sample[0] * a.attention_width()..sample[1] * a.attention_width()].chunks_exact_mut(a.attention_width()).enumerate()
            {
                self.rotary.turn(&mut row[..a.query_width() + a.key_width()], position, 1.0, is_local);
            }
        }
        let attended = sized(&mut trace.attended, rows * a.query_width());
        attention(a, a.window(layer), starts, &trace.qkv, attended, &mut buffers.scores);
        self.give(layer, (Matrix::Output, Norm::AfterAttention), &trace.attended, stream, &mut trace.given, buffers);
        trace.middle.clone_from(stream);
        let gain = self.few(layout.norm(layer, Norm::Feed));
        kernel::norm(sized(&mut trace.middle_normed, rows * a.width), sized(&mut trace.middle_inverse, rows), stream, &gain, a.epsilon);
        self.project(layer, FEED_IN, &trace.middle_normed, sized(&mut trace.gate_up, rows * 2 * a.hidden), &mut buffers.narrow);
        gated(sized(&mut trace.active, rows * a.hidden), &trace.gate_up, a.hidden, a.family.has_gelu());
        self.give(layer, (Matrix::Down, Norm::AfterFeed), &trace.active, stream, &mut trace.fed, buffers);
    }

    /// Writes what matrices that lie one after the other make of the same inputs, side by side in each row.
    pub fn project(&self, layer: usize, matrices: &[Matrix], input: &[f32], out: &mut [f32], narrow: &mut Vec<f32>) {
        let (a, layout) = (self.architecture(), self.layout());
        let (Some(first), Some(last)) = (matrices.first(), matrices.last()) else {
            return;
        };
        let inputs = first.shape(a).1;
        let rows = input.len() / inputs;
        linear(out, input, self.part(layout.matrix(layer, *first).start..layout.matrix(layer, *last).end), rows, inputs, false);
        let (stride, mut column) = (out.len() / rows.max(1), 0);
        for &matrix in matrices {
            self.adapt(layer, matrix, input, (&mut out[column..], stride), narrow);
            column += matrix.shape(a).0;
        }
        if first == &Matrix::Query && !layout.biases(layer).is_empty() {
            kernel::add_to_rows(out, &self.few(layout.biases(layer)));
        }
    }

    fn adapt(&self, layer: usize, matrix: Matrix, input: &[f32], (out, stride): (&mut [f32], usize), narrow: &mut Vec<f32>) {
        let inputs = matrix.shape(self.architecture()).1;
        match (self.adapter, self.dropout) {
            (Some(adapter), Some(dropout)) if adapter.adapter.shape.targets.holds(matrix) => {
                adapter.add_some((layer, matrix), input, dropout, out, stride, narrow);
            }
            (Some(adapter), _) => adapter.add((layer, matrix), View::new(input, input.len() / inputs, inputs, inputs), out, stride, narrow),
            (None, _) => {}
        }
    }

    /// Norms each head's query and key, in families that do, and keeps what they were.
    fn settle_heads(&self, layer: usize, trace: &mut LayerTrace) {
        let a = self.architecture();
        if !a.family.has_head_norms() {
            return;
        }
        let rows = trace.qkv.len() / a.attention_width();
        let (queries, both) = (a.query_width(), a.query_width() + a.key_width());
        let [of_query, of_key] = [Norm::Query, Norm::Key].map(|norm| self.few(self.layout().norm(layer, norm)));
        let (plain, inverse) = (sized(&mut trace.plain, rows * both), sized(&mut trace.head_inverse, rows * (a.heads + a.key_heads)));
        for ((row, plain), inverse) in
            trace.qkv.chunks_exact_mut(a.attention_width()).zip(plain.chunks_exact_mut(both)).zip(inverse.chunks_exact_mut(a.heads + a.key_heads))
        {
            plain.copy_from_slice(&row[..both]);
            let (of_queries, of_keys) = inverse.split_at_mut(a.heads);
            kernel::norm(&mut row[..queries], of_queries, &plain[..queries], &of_query, a.epsilon);
            kernel::norm(&mut row[queries..both], of_keys, &plain[queries..], &of_key, a.epsilon);
        }
    }

    /// Adds what the last matrix of a block makes of its inputs to the stream, normed before in families that do.
    pub fn give(&self, layer: usize, (matrix, norm): (Matrix, Norm), input: &[f32], stream: &mut [f32], normed: &mut Normed, buffers: &mut Buffers) {
        let (a, gain) = (self.architecture(), self.few(self.layout().norm(layer, norm)));
        let rows = stream.len() / a.width;
        let weight = self.part(self.layout().matrix(layer, matrix));
        let is_scaled = self.adapter.is_some_and(|adapter| !adapter.ratios(layer, matrix).is_empty());
        if gain.is_empty() && !is_scaled {
            linear(stream, input, weight, rows, input.len() / rows.max(1), true);
            return self.adapt(layer, matrix, input, (stream, a.width), &mut buffers.narrow);
        }
        let given = sized(if gain.is_empty() { &mut buffers.given } else { &mut normed.input }, rows * a.width);
        linear(given, input, weight, rows, input.len() / rows.max(1), false);
        self.adapt(layer, matrix, input, (given, a.width), &mut buffers.narrow);
        if gain.is_empty() {
            return kernel::add(stream, given);
        }
        let out = sized(&mut buffers.given, rows * a.width);
        kernel::norm(out, sized(&mut normed.inverse, rows), &normed.input, &gain, a.epsilon);
        kernel::add(stream, out);
    }

    /// The logits after the rows of some targets of a finished forward pass; `normed` is the stream after the last norm.
    pub fn logits<'l>(&self, normed: &[f32], targets: &[Target], (gathered, logits): (&mut Vec<f32>, &'l mut Vec<f32>)) -> &'l mut [f32] {
        let a = self.architecture();
        gathered.clear();
        targets.iter().for_each(|target| gathered.extend_from_slice(&normed[target.row * a.width..(target.row + 1) * a.width]));
        let logits = room(logits, targets.len() * a.vocabulary);
        linear(logits, gathered, self.part(self.layout().head()), targets.len(), a.width, false);
        logits
    }

    /// How likely each target of packed samples is after a finished forward pass, as a natural logarithm.
    pub fn likelihoods(&self, packed: &Packed, trace: &mut Trace) -> Vec<f64> {
        let Buffers { gathered, logits, .. } = &mut trace.buffers;
        let mut likelihoods = Vec::with_capacity(packed.targets.len());
        for targets in packed.targets.chunks(HEAD_ROWS) {
            let logits = self.logits(&trace.last_normed, targets, (&mut *gathered, &mut *logits));
            let rows = logits.chunks_exact_mut(self.architecture().vocabulary).zip(targets);
            likelihoods.extend(rows.map(|(row, target)| likelihood(row, target.token as usize)));
        }
        likelihoods
    }

    /// The summed loss of packed samples, in nats, and how many tokens it is over.
    pub fn loss(&self, packed: &Packed) -> (f64, usize) {
        let mut trace = Trace::default();
        self.forward(packed, &mut trace, Keep::End);
        (-self.likelihoods(packed, &mut trace).iter().sum::<f64>(), packed.targets.len())
    }
}

/// The summed loss of packed samples, in nats, and how many tokens it is over.
#[must_use]
pub fn loss<'a>(parameters: impl Into<Parameters<'a>>, adapter: Option<&Fitted<'_>>, packed: &Packed) -> (f64, usize) {
    let parameters = parameters.into();
    let rotary = Rotary::new(parameters.architecture, packed.longest());
    Decoder::new(parameters, adapter, &rotary).loss(packed)
}

/// What the model makes of the token after some others: a logit for each.
#[must_use]
pub fn likely<'a>(parameters: impl Into<Parameters<'a>>, adapter: Option<&Fitted<'_>>, tokens: &[u32]) -> Vec<f32> {
    let parameters = parameters.into();
    let rotary = Rotary::new(parameters.architecture, tokens.len());
    Decoder::new(parameters, adapter, &rotary).read([tokens]).1
}
