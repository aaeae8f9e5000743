use super::architecture::Architecture;
use super::batch::Packed;
use super::kernel::{self, Rotary};
use super::matmul::{View, product};
use super::weights::{Layout, Matrix, Weights};

/// What the forward pass of one layer leaves for the backward pass.
#[derive(Clone, Debug, Default)]
pub struct LayerTrace {
    /// Input of the layer, rows x width.
    pub input: Vec<f32>,
    /// It after the first norm, and one over the roots of that.
    pub normed: Vec<f32>,
    pub inverse: Vec<f32>,
    /// Query, key and value of each row, turned by position.
    pub qkv: Vec<f32>,
    /// Attention: for each sample and head, length x length.
    pub probabilities: Vec<f32>,
    /// What the heads gathered.
    pub attended: Vec<f32>,
    /// After the attention, rows x width, and after the second norm.
    pub middle: Vec<f32>,
    pub middle_normed: Vec<f32>,
    pub middle_inverse: Vec<f32>,
    /// Gates and values of the feed-forward block, and their product.
    pub gate_up: Vec<f32>,
    pub active: Vec<f32>,
}

/// Everything that a forward pass leaves; kept and used again, so that nothing is allocated a second time.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub layers: Vec<LayerTrace>,
    /// The residual stream after the last layer.
    pub last: Vec<f32>,
    pub last_normed: Vec<f32>,
    pub last_inverse: Vec<f32>,
}

/// The forward pass of a model.
#[derive(Debug)]
pub struct Decoder<'a> {
    pub weights: &'a Weights,
    pub rotary: &'a Rotary,
}

pub fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

/// `rows x inputs` times the transpose of a weight matrix of `outputs x inputs`.
pub fn linear(out: &mut [f32], input: &[f32], weight: &[f32], rows: usize, inputs: usize, add: bool) {
    let outputs = weight.len() / inputs;
    product(out, outputs, View::new(input, rows, inputs, inputs), View::new(weight, outputs, inputs, inputs).transposed(), 1.0, add);
}

impl Decoder<'_> {
    fn architecture(&self) -> &Architecture {
        &self.weights.architecture
    }

    fn layout(&self) -> Layout {
        self.weights.layout()
    }

    fn part(&self, range: std::ops::Range<usize>) -> &[f32] {
        &self.weights.values[range]
    }

    /// The rows of the embedding for tokens.
    pub fn embed(&self, tokens: &[u32], out: &mut Vec<f32>) {
        let width = self.architecture().width;
        let embedding = self.part(self.layout().embedding());
        out.clear();
        for &token in tokens {
            let start = token as usize * width;
            out.extend_from_slice(&embedding[start..start + width]);
        }
    }

    /// Runs all layers over packed samples and leaves everything in `trace`.
    pub fn forward(&self, packed: &Packed, trace: &mut Trace) {
        let a = *self.architecture();
        trace.layers.resize_with(a.layers, LayerTrace::default);
        let mut stream = std::mem::take(&mut trace.last);
        self.embed(&packed.tokens, &mut stream);
        for layer in 0..a.layers {
            self.layer(layer, packed, &mut stream, &mut trace.layers[layer]);
        }
        trace.last = stream;
        let rows = packed.tokens.len();
        let gain = self.part(self.layout().final_norm());
        kernel::norm(sized(&mut trace.last_normed, rows * a.width), sized(&mut trace.last_inverse, rows), &trace.last, gain);
    }

    fn layer(&self, layer: usize, packed: &Packed, stream: &mut [f32], trace: &mut LayerTrace) {
        let (a, layout, rows) = (*self.architecture(), self.layout(), packed.tokens.len());
        trace.input.clear();
        trace.input.extend_from_slice(stream);
        kernel::norm(sized(&mut trace.normed, rows * a.width), sized(&mut trace.inverse, rows), stream, self.part(layout.norm(layer, 0)));
        linear(sized(&mut trace.qkv, rows * 3 * a.width), &trace.normed, self.part(layout.attention_in(layer)), rows, a.width, false);
        for sample in packed.starts.windows(2) {
            for (position, row) in trace.qkv[sample[0] * 3 * a.width..sample[1] * 3 * a.width].chunks_exact_mut(3 * a.width).enumerate() {
                self.rotary.turn(&mut row[..2 * a.width], position, 1.0);
            }
        }
        attention(&a, packed, trace);
        linear(stream, &trace.attended, self.part(layout.matrix(layer, Matrix::Output)), rows, a.width, true);
        trace.middle.clear();
        trace.middle.extend_from_slice(stream);
        let gain = self.part(layout.norm(layer, 1));
        kernel::norm(sized(&mut trace.middle_normed, rows * a.width), sized(&mut trace.middle_inverse, rows), stream, gain);
        linear(sized(&mut trace.gate_up, rows * 2 * a.hidden), &trace.middle_normed, self.part(layout.feed_in(layer)), rows, a.width, false);
        kernel::swiglu(sized(&mut trace.active, rows * a.hidden), &trace.gate_up, a.hidden);
        linear(stream, &trace.active, self.part(layout.matrix(layer, Matrix::Down)), rows, a.hidden, true);
    }

    /// The logits after some of the rows of a finished forward pass.
    pub fn logits(&self, trace: &Trace, rows: impl Iterator<Item = usize>) -> Vec<f32> {
        let width = self.architecture().width;
        let mut gathered = Vec::new();
        for row in rows {
            gathered.extend_from_slice(&trace.last_normed[row * width..(row + 1) * width]);
        }
        self.head(&gathered)
    }

    /// The logits of normed rows.
    pub fn head(&self, rows: &[f32]) -> Vec<f32> {
        let a = self.architecture();
        let count = rows.len() / a.width;
        let mut logits = vec![0.0; count * a.vocabulary];
        linear(&mut logits, rows, self.part(self.layout().embedding()), count, a.width, false);
        logits
    }
}

/// The scale of the scores before the softmax.
#[expect(clippy::cast_precision_loss, reason = "heads are narrow")]
pub fn score_scale(a: &Architecture) -> f32 {
    1.0 / (a.head_width() as f32).sqrt()
}

/// Causal attention within each sample.
fn attention(a: &Architecture, packed: &Packed, trace: &mut LayerTrace) {
    let (head_width, stride) = (a.head_width(), 3 * a.width);
    let total: usize = packed.starts.windows(2).map(|sample| (sample[1] - sample[0]).pow(2) * a.heads).sum();
    let probabilities = sized(&mut trace.probabilities, total);
    let attended = sized(&mut trace.attended, packed.tokens.len() * a.width);
    let mut offset = 0;
    for sample in packed.starts.windows(2) {
        let length = sample[1] - sample[0];
        let qkv = &trace.qkv[sample[0] * stride..sample[1] * stride];
        let out = &mut attended[sample[0] * a.width..sample[1] * a.width];
        for head in 0..a.heads {
            let at = head * head_width;
            let part = |which: usize| View::new(&qkv[which * a.width + at..], length, head_width, stride);
            let scores = &mut probabilities[offset..offset + length * length];
            product(scores, length, part(0), part(1).transposed(), 1.0, false);
            kernel::causal_softmax(scores, length, score_scale(a));
            product(&mut out[at..], a.width, View::new(scores, length, length, length), part(2), 1.0, false);
            offset += length * length;
        }
    }
}

/// The summed loss of packed samples, in nats, and how many tokens it is over.
#[must_use]
pub fn loss(weights: &Weights, packed: &Packed) -> (f64, usize) {
    loss_with(weights, &Rotary::new(&weights.architecture), packed)
}

/// As [`loss`], with the rotary tables at hand.
pub fn loss_with(weights: &Weights, rotary: &Rotary, packed: &Packed) -> (f64, usize) {
    let decoder = Decoder { weights, rotary };
    let mut trace = Trace::default();
    decoder.forward(packed, &mut trace);
    let mut logits = decoder.logits(&trace, packed.targets.iter().map(|(row, _)| *row));
    let rows = logits.chunks_exact_mut(weights.architecture.vocabulary).zip(&packed.targets);
    let sum = rows.map(|(row, (_, target))| kernel::cross_entropy(row, *target as usize, 1.0)).sum();
    (sum, packed.targets.len())
}
