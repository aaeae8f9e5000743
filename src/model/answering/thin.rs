//! One token more of a few conversations: products with so few rows that reading the weights is what they cost. Each row's sums are made
//! in the same order whoever else is answered.

use rayon::prelude::*;

use crate::model::network::decoder::{ATTENTION_IN, Decoder, FEED_IN};
use crate::model::network::dots::{HELD, dots};
use crate::model::network::gate::gated;
use crate::model::network::kernel;
use crate::model::network::layout::{Matrix, Norm};
use crate::model::network::parameters::{Part, widened};
use crate::model::network::trace::sized;

use super::generate::{Answer, attend_to};

/// Buffers, kept from token to token.
#[derive(Debug, Default)]
pub struct Thin {
    stream: Vec<f32>,
    normed: Vec<f32>,
    inverse: Vec<f32>,
    qkv: Vec<f32>,
    plain: Vec<f32>,
    attended: Vec<f32>,
    given: Vec<f32>,
    gate_up: Vec<f32>,
    active: Vec<f32>,
    narrow: Vec<f32>,
    columns: Vec<f32>,
    scores: Vec<f32>,
}

/// Outputs that one core takes at a time.
const OUTPUTS: usize = 64;
/// Fewer weights than these are not worth a second core.
const ALONE: usize = 1 << 17;

/// What a matrix of `outputs x inputs` makes of a few rows, transposed: `outputs x rows`.
fn columns(out: &mut Vec<f32>, weight: Part<'_>, input: &[f32], inputs: usize) {
    let (outputs, rows) = (weight.len() / inputs, input.len() / inputs);
    let out = sized(out, outputs * rows);
    match weight {
        Part::F32(weight) if weight.len() < ALONE => dots(out, weight, input, inputs),
        Part::F32(weight) => {
            out.par_chunks_mut(OUTPUTS * rows).zip(weight.par_chunks(OUTPUTS * inputs)).for_each(|(out, weight)| dots(out, weight, input, inputs));
        }
        Part::Bf16(weight) => {
            out.par_chunks_mut(OUTPUTS * rows).zip(weight.par_chunks(OUTPUTS * inputs)).for_each(|(out, weight)| {
                // A few rows at a time stay in the nearest cache while they are wide.
                for (out, weight) in out.chunks_mut(HELD * rows).zip(weight.chunks(HELD * inputs)) {
                    widened(weight, |weight| dots(out, weight, input, inputs));
                }
            });
        }
    }
}

/// Writes `columns x rows` numbers as `rows x columns`, into rows of `stride` numbers.
fn turn(out: &mut [f32], columns: &[f32], rows: usize, stride: usize) {
    for (column, of_rows) in columns.chunks_exact(rows).enumerate() {
        for (row, value) in of_rows.iter().enumerate() {
            out[row * stride + column] = *value;
        }
    }
}

impl Decoder<'_> {
    /// Takes each answer's last token in, and gives the logits after it.
    pub fn next(&self, mut answers: Vec<&mut Answer>, thin: &mut Thin) -> Vec<f32> {
        let (a, layout, rows) = (self.architecture(), self.layout(), answers.len());
        let tokens: Vec<u32> = answers.iter().filter_map(|answer| answer.tokens.last().copied()).collect();
        let mut stream = std::mem::take(&mut thin.stream);
        self.embed(&tokens, &mut stream);
        for layer in 0..a.layers {
            self.norm_rows(&stream, layout.norm(layer, Norm::Attention), thin);
            let normed = std::mem::take(&mut thin.normed);
            let mut qkv = std::mem::take(&mut thin.qkv);
            self.project_few(layer, ATTENTION_IN, &normed, sized(&mut qkv, rows * a.attention_width()), thin);
            self.settle(layer, &mut qkv, thin);
            let mut attended = std::mem::take(&mut thin.attended);
            let both = a.query_width() + a.key_width();
            let outs = sized(&mut attended, rows * a.query_width()).chunks_exact_mut(a.query_width());
            for ((answer, row), out) in answers.iter_mut().zip(qkv.chunks_exact_mut(a.attention_width())).zip(outs) {
                self.rotary.turn(&mut row[..both], answer.position, 1.0, a.window(layer).is_some());
                let memory = &mut answer.memories[layer];
                memory.keys.extend_from_slice(&row[a.query_width()..both]);
                memory.values.extend_from_slice(&row[both..]);
                attend_to(self, layer, &row[..a.query_width()], memory, out, &mut thin.scores);
            }
            self.give_few(layer, (Matrix::Output, Norm::AfterAttention), &attended, &mut stream, thin);
            (thin.normed, thin.qkv, thin.attended) = (normed, qkv, attended);
            self.norm_rows(&stream, layout.norm(layer, Norm::Feed), thin);
            let normed = std::mem::take(&mut thin.normed);
            let (mut gate_up, mut active) = (std::mem::take(&mut thin.gate_up), std::mem::take(&mut thin.active));
            self.project_few(layer, FEED_IN, &normed, sized(&mut gate_up, rows * 2 * a.hidden), thin);
            gated(sized(&mut active, rows * a.hidden), &gate_up, a.hidden, a.family.has_gelu());
            self.give_few(layer, (Matrix::Down, Norm::AfterFeed), &active, &mut stream, thin);
            (thin.normed, thin.gate_up, thin.active) = (normed, gate_up, active);
        }
        for answer in answers {
            answer.position += 1;
        }
        let logits = self.head_of_stream(&stream);
        thin.stream = stream;
        logits
    }

    /// The logits of rows of the stream after the last layer.
    pub fn head_of_stream(&self, stream: &[f32]) -> Vec<f32> {
        let (a, layout, mut thin) = (self.architecture(), self.layout(), Thin::default());
        let rows = stream.len() / a.width;
        self.norm_rows(stream, layout.final_norm(), &mut thin);
        columns(&mut thin.columns, self.part(layout.head()), &thin.normed, a.width);
        if rows == 1 {
            return thin.columns;
        }
        let mut logits = vec![0.0; rows * a.vocabulary];
        turn(&mut logits, &thin.columns, rows, a.vocabulary);
        logits
    }

    fn norm_rows(&self, stream: &[f32], gain: std::ops::Range<usize>, thin: &mut Thin) {
        let rows = stream.len() / self.architecture().width;
        let out = sized(&mut thin.normed, stream.len());
        kernel::norm(out, sized(&mut thin.inverse, rows), stream, &self.few(gain), self.architecture().epsilon);
    }

    fn project_few(&self, layer: usize, matrices: &[Matrix], input: &[f32], out: &mut [f32], thin: &mut Thin) {
        let (a, layout) = (self.architecture(), self.layout());
        let (Some(first), Some(last)) = (matrices.first(), matrices.last()) else {
            return;
        };
        let inputs = first.shape(a).1;
        let rows = input.len() / inputs;
        let stride = out.len() / rows;
        columns(&mut thin.columns, self.part(layout.matrix(layer, *first).start..layout.matrix(layer, *last).end), input, inputs);
        turn(out, &thin.columns, rows, stride);
        let mut column = 0;
        for &matrix in matrices {
            self.adapt_few((layer, matrix), input, (&mut out[column..], stride), thin);
            column += matrix.shape(a).0;
        }
        if first == &Matrix::Query && !layout.biases(layer).is_empty() {
            kernel::add_to_rows(out, &self.few(layout.biases(layer)));
        }
    }

    fn adapt_few(&self, at: (usize, Matrix), input: &[f32], (out, stride): (&mut [f32], usize), thin: &mut Thin) {
        let Some((fitted, pair)) = self.adapter.and_then(|fitted| Some((fitted, fitted.adapter.layout().pair(at.0, at.1)?))) else {
            return;
        };
        let (adapter, inputs) = (fitted.adapter, at.1.shape(self.architecture()).1);
        let (rows, rank) = (input.len() / inputs, adapter.shape.rank);
        columns(&mut thin.columns, Part::F32(&adapter.values[pair.down]), input, inputs);
        let narrow = sized(&mut thin.narrow, rows * rank);
        turn(narrow, &thin.columns, rows, rank);
        columns(&mut thin.columns, Part::F32(&adapter.values[pair.up]), narrow, rank);
        let (scale, ratios) = (adapter.shape.scale(), fitted.ratios(at.0, at.1));
        for (column, of_rows) in thin.columns.chunks_exact(rows).enumerate() {
            for (row, value) in of_rows.iter().enumerate() {
                let out = &mut out[row * stride + column];
                *out = scale.mul_add(*value, *out) * ratios.get(column).unwrap_or(&1.0);
            }
        }
    }

    fn settle(&self, layer: usize, qkv: &mut [f32], thin: &mut Thin) {
        let a = self.architecture();
        if !a.family.has_head_norms() {
            return;
        }
        let (queries, both) = (a.query_width(), a.query_width() + a.key_width());
        let (plain, inverse) = (sized(&mut thin.plain, both), sized(&mut thin.inverse, a.heads + a.key_heads));
        let [query, key] = [Norm::Query, Norm::Key].map(|norm| self.few(self.layout().norm(layer, norm)));
        for row in qkv.chunks_exact_mut(a.attention_width()) {
            plain.copy_from_slice(&row[..both]);
            kernel::norm(&mut row[..queries], inverse, &plain[..queries], &query, a.epsilon);
            kernel::norm(&mut row[queries..both], inverse, &plain[queries..], &key, a.epsilon);
        }
    }

    fn give_few(&self, layer: usize, (matrix, norm): (Matrix, Norm), input: &[f32], stream: &mut [f32], thin: &mut Thin) {
        let (a, gain) = (self.architecture(), self.few(self.layout().norm(layer, norm)));
        let rows = stream.len() / a.width;
        let mut given = std::mem::take(&mut thin.given);
        let out = sized(&mut given, stream.len());
        columns(&mut thin.columns, self.part(self.layout().matrix(layer, matrix)), input, matrix.shape(a).1);
        turn(out, &thin.columns, rows, a.width);
        self.adapt_few((layer, matrix), input, (&mut *out, a.width), thin);
        if !gain.is_empty() {
            let plain = sized(&mut thin.plain, out.len());
            plain.copy_from_slice(out);
            kernel::norm(out, sized(&mut thin.inverse, rows), plain, &gain, a.epsilon);
        }
        kernel::add(stream, out);
        thin.given = given;
    }
}
