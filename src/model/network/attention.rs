//! Causal attention with grouped heads, a block of queries at a time: there is never a square of all rows, and the way back computes
//! the probabilities a second time.

use std::ops::Range;

use super::architecture::Architecture;
use super::matmul::{View, product};
use super::softmax::{self, Sight};
use super::trace::room;

/// Queries that are looked at together.
const BLOCK: usize = 128;

/// The queries of one block, and the keys that at least one of them sees, by their places in the sample.
#[derive(Clone, Debug)]
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
    window: usize,
}

impl Block {
    fn all(length: usize, window: Option<usize>) -> impl Iterator<Item = Self> {
        let window = window.unwrap_or(usize::MAX);
        (0..length).step_by(BLOCK).map(move |start| {
            let end = (start + BLOCK).min(length);
            Self { queries: start..end, keys: (start + 1).saturating_sub(window)..end, window }
        })
    }

    const fn sight(&self) -> Sight {
        Sight { query: self.queries.start, key: self.keys.start, window: self.window }
    }
}

/// Where the parts of a head lie in a row of queries, keys and values.
struct Head {
    query: usize,
    key: usize,
    value: usize,
}

impl Head {
    const fn of(a: &Architecture, head: usize) -> Self {
        let shared = head / (a.heads / a.key_heads) * a.head_width;
        Self { query: head * a.head_width, key: a.query_width() + shared, value: a.query_width() + a.key_width() + shared }
    }
}

fn part<'a>(a: &Architecture, rows: &'a [f32], range: &Range<usize>, column: usize, stride: usize) -> View<'a> {
    View::new(&rows[range.start * stride + column..], range.len(), a.head_width, stride)
}

/// The probabilities of a block.
fn probabilities(a: &Architecture, qkv: &[f32], head: &Head, block: &Block, scores: &mut [f32]) {
    let (stride, keys) = (a.attention_width(), block.keys.len());
    let queries = part(a, qkv, &block.queries, head.query, stride);
    product(scores, keys, queries, part(a, qkv, &block.keys, head.key, stride).transposed(), 1.0, false);
    softmax::seen_softmax(scores, keys, a.score_scale, block.sight());
}

/// What the heads gather in each sample: `qkv` holds rows of queries, keys and values, `out` rows of what each head gathers.
pub fn attention(a: &Architecture, window: Option<usize>, starts: &[usize], qkv: &[f32], out: &mut [f32], scores: &mut Vec<f32>) {
    let (stride, width) = (a.attention_width(), a.query_width());
    for sample in starts.windows(2) {
        let qkv = &qkv[sample[0] * stride..sample[1] * stride];
        let out = &mut out[sample[0] * width..sample[1] * width];
        for block in Block::all(sample[1] - sample[0], window) {
            let (rows, keys) = (block.queries.len(), block.keys.len());
            let scores = room(scores, rows * keys);
            for number in 0..a.heads {
                let head = Head::of(a, number);
                probabilities(a, qkv, &head, &block, scores);
                let out = &mut out[block.queries.start * width + head.query..];
                product(out, width, View::new(scores, rows, keys, keys), part(a, qkv, &block.keys, head.value, stride), 1.0, false);
            }
        }
    }
}

/// Buffers of [`attention_backward`].
#[derive(Clone, Debug, Default)]
pub struct Squares {
    scores: Vec<f32>,
    d_scores: Vec<f32>,
}

/// The backward of [`attention`]: writes the gradients of queries, keys and values over `d_qkv`.
pub fn attention_backward(a: &Architecture, window: Option<usize>, starts: &[usize], (qkv, d_out): (&[f32], &[f32]), d_qkv: &mut [f32], squares: &mut Squares) {
    let (stride, width) = (a.attention_width(), a.query_width());
    d_qkv.fill(0.0);
    for sample in starts.windows(2) {
        let qkv = &qkv[sample[0] * stride..sample[1] * stride];
        let d_out = &d_out[sample[0] * width..sample[1] * width];
        let d_qkv = &mut d_qkv[sample[0] * stride..sample[1] * stride];
        for block in Block::all(sample[1] - sample[0], window) {
            let (rows, keys) = (block.queries.len(), block.keys.len());
            let (scores, d_scores) = (room(&mut squares.scores, rows * keys), room(&mut squares.d_scores, rows * keys));
            for number in 0..a.heads {
                let head = Head::of(a, number);
                probabilities(a, qkv, &head, &block, scores);
                let square = |of| View::new(of, rows, keys, keys);
                let d_out = part(a, d_out, &block.queries, head.query, width);
                let (first, own) = (block.keys.start * stride, block.queries.start * stride);
                product(&mut d_qkv[first + head.value..], stride, square(scores).transposed(), d_out, 1.0, true);
                product(d_scores, keys, d_out, part(a, qkv, &block.keys, head.value, stride).transposed(), 1.0, false);
                softmax::softmax_backward(d_scores, scores, keys, a.score_scale);
                product(&mut d_qkv[own + head.query..], stride, square(d_scores), part(a, qkv, &block.keys, head.key, stride), 1.0, true);
                let queries = part(a, qkv, &block.queries, head.query, stride);
                product(&mut d_qkv[first + head.key..], stride, square(d_scores).transposed(), queries, 1.0, true);
            }
        }
    }
}

/// One row's attention over all that is remembered: `keys` and `values` hold rows of all heads.
pub fn attend(a: &Architecture, query: &[f32], (keys, values): (&[f32], &[f32]), out: &mut [f32], scores: &mut Vec<f32>) {
    let (width, group) = (a.key_width(), a.heads / a.key_heads);
    for (head, (query, out)) in query.chunks_exact(a.head_width).zip(out.chunks_exact_mut(a.head_width)).enumerate() {
        let place = head / group * a.head_width..(head / group + 1) * a.head_width;
        let scores = room(scores, keys.len() / width);
        softmax::scores(scores, query, keys, width, place.clone());
        softmax::softmax(scores, a.score_scale);
        softmax::gather(out, scores, values, width, place);
    }
}
