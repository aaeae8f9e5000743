//! Softmax and what goes by it: attention's shares, and the cross-entropy.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::wide::{LANES, dot, exp, total, wide};

/// Which keys the queries of a block see: each up to its own place, and no farther back than a window.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// The place of the first query.
    pub query: usize,
    /// The place of the first key.
    pub key: usize,
    /// How many keys a query sees at most.
    pub window: usize,
}

impl Sight {
    #[inline(always)]
    fn of(self, row: usize) -> Range<usize> {
        let end = self.query + row + 1;
        end.saturating_sub(self.window).max(self.key) - self.key..end - self.key
    }
}

wide! {
    /// Softmax of each row of scores over the keys that it sees; the rest becomes 0.
    pub fn seen_softmax<'k>(scores: &'k mut [f32], keys: usize, scale: f32, sight: Sight) -> () {
        for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let seen = sight.of(row);
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            softmax_row(&mut scores[seen], scale);
        }
    }
}

#[inline(always)]
fn softmax_row(row: &mut [f32], scale: f32) {
    let inverse = 1.0 / exponentials(row, largest(row), scale);
    for x in row {
        *x *= inverse;
    }
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let parts = row.chunks_exact(LANES);
    let mut largest = f32::NEG_INFINITY;
    for &x in parts.remainder() {
        largest = if x > largest { x } else { largest };
    }
    for part in parts {
        for lane in 0..LANES {
            most[lane] = if part[lane] > most[lane] { part[lane] } else { most[lane] };
        }
    }
    for x in most {
        largest = if x > largest { x } else { largest };
    }
    largest
}

/// Puts `e^((x - largest) scale)` in the place of each number, and gives their sum.
#[inline(always)]
fn exponentials(row: &mut [f32], largest: f32, scale: f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let mut chunks = row.chunks_exact_mut(LANES);
    for chunk in chunks.by_ref() {
        for lane in 0..LANES {
            chunk[lane] = exp((chunk[lane] - largest) * scale);
            sums[lane] += chunk[lane];
        }
    }
    let mut sum: f32 = 0.0;
    for x in chunks.into_remainder() {
        *x = exp((*x - largest) * scale);
        sum += *x;
    }
    sum + total(sums)
}

wide! {
    /// What a query makes of each key, of which there is one in each row of so many numbers, at the same place.
    pub fn scores<'k>(out: &'k mut [f32], query: &'k [f32], keys: &'k [f32], width: usize, place: Range<usize>) -> () {
        for (out, key) in out.iter_mut().zip(keys.chunks_exact(width)) {
            *out = dot(query, &key[place.start..place.end]);
        }
    }
}

wide! {
    /// Adds up values, of which there is one in each row of so many numbers at the same place, each by its share.
    pub fn gather<'k>(out: &'k mut [f32], shares: &'k [f32], values: &'k [f32], width: usize, place: Range<usize>) -> () {
        out.fill(0.0);
        for (share, value) in shares.iter().zip(values.chunks_exact(width)) {
            for (o, v) in out.iter_mut().zip(&value[place.start..place.end]) {
                *o = share.mul_add(*v, *o);
            }
        }
    }
}

wide! {
    /// Softmax of one row of scaled scores (generation attends with one row at a time).
    pub fn softmax<'k>(row: &'k mut [f32], scale: f32) -> () {
        softmax_row(row, scale);
    }
}

wide! {
    /// The backward of [`seen_softmax`]: the gradient of the probabilities becomes that of the scores.
    pub fn softmax_backward<'k>(gradient: &'k mut [f32], probabilities: &'k [f32], keys: usize, scale: f32) -> () {
        for (d, p) in gradient.chunks_exact_mut(keys).zip(probabilities.chunks_exact(keys)) {
            let along = dot(d, p);
            for (d, p) in d.iter_mut().zip(p) {
                *d = p * (*d - along) * scale;
            }
        }
    }
}

wide! {
    /// Cross-entropy of one row of logits, in nats; the row becomes the gradient of it times `weight`.
    pub fn cross_entropy<'k>(logits: &'k mut [f32], target: usize, weight: f32) -> f64 {
        let (largest, wanted) = (largest(logits), logits[target]);
        let sum = exponentials(logits, largest, 1.0);
        let scale = weight / sum;
        for p in logits.iter_mut() {
            *p *= scale;
        }
        let loss = f64::from(sum).ln() - f64::from(wanted - largest);
        logits[target] -= weight;
        loss
    }
}

/// The natural logarithm of how likely a row of logits makes a token; the row is used up.
#[must_use]
pub fn likelihood(logits: &mut [f32], target: usize) -> f64 {
    -cross_entropy(logits, target, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_softmax_row_sums_to_one_and_keeps_the_order() {
        let mut row: Vec<f32> = (0_i16..37).map(|i| f32::from(i * 7 % 11)).collect();
        let before = row.clone();
        softmax(&mut row, 0.5);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(row[0] < row[1], before[0] < before[1]);
    }
}
