//! The parts of a decoder that are no matrix products, forward and backward. All are written so that the
//! compiler makes vector code of them for whatever CPU it finds at run time, with sums in a fixed order.

use pulp::Arch;

use super::architecture::{Architecture, NORM_EPSILON, ROPE_BASE};

const LANES: usize = 16;

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// `e^x` to about 1e-7 relative, for `x` from -87 to 88; beyond that it stays at the end.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number without a library call.
    const ROUND: f32 = 12_582_912.0;
    let scaled = x.clamp(-87.0, 88.0) * std::f32::consts::LOG2_E;
    let whole = (scaled + ROUND) - ROUND;
    let part = (scaled - whole) * std::f32::consts::LN_2;
    // The Taylor series on [-ln2/2, ln2/2].
    let series = 1.0 + part * (1.0 + part * (0.5 + part * (1.0 / 6.0 + part * (1.0 / 24.0 + part * (1.0 / 120.0 + part / 720.0)))));
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number from -126 to 127")]
    let exponent = whole as i32;
    series * f32::from_bits(((exponent + 127) << 23).cast_unsigned())
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// RMS norm of each row, with a gain for each column. Keeps one over the root mean square of each row.
pub fn norm(out: &mut [f32], inverse: &mut [f32], input: &[f32], gain: &[f32]) {
    Arch::new().dispatch(|| {
        let width = gain.len();
        for ((row, y), inverse) in input.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(inverse.iter_mut()) {
            #[expect(clippy::cast_precision_loss, reason = "widths are small")]
            let mean = dot(row, row) / width as f32;
            *inverse = 1.0 / (mean + NORM_EPSILON).sqrt();
            for ((y, x), g) in y.iter_mut().zip(row).zip(gain) {
                *y = x * *inverse * g;
            }
        }
    });
}

/// The backward of [`norm`]: adds to the gradient of the input, and to that of the gain where it is wanted.
pub fn norm_backward(d_input: &mut [f32], d_gain: Option<&mut [f32]>, d_out: &[f32], input: &[f32], inverse: &[f32], gain: &[f32]) {
    Arch::new().dispatch(|| {
        let width = gain.len();
        let mut weighted = vec![0.0_f32; width];
        let rows = d_out.chunks_exact(width).zip(input.chunks_exact(width)).zip(d_input.chunks_exact_mut(width)).zip(inverse);
        for (((dy, x), dx), &inverse) in rows {
            for ((w, dy), g) in weighted.iter_mut().zip(dy).zip(gain) {
                *w = dy * g;
            }
            #[expect(clippy::cast_precision_loss, reason = "widths are small")]
            let along = dot(&weighted, x) * inverse * inverse / width as f32;
            for ((dx, w), x) in dx.iter_mut().zip(&weighted).zip(x) {
                *dx += inverse * (w - x * along);
            }
        }
        if let Some(d_gain) = d_gain {
            for ((dy, x), &inverse) in d_out.chunks_exact(width).zip(input.chunks_exact(width)).zip(inverse) {
                for ((dg, dy), x) in d_gain.iter_mut().zip(dy).zip(x) {
                    *dg += dy * x * inverse;
                }
            }
        }
    });
}

/// Cosines and sines of the rotary positions: for each position, half a head's width of each.
#[derive(Clone, Debug)]
pub struct Rotary {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotary {
    /// The tables for a model's whole context.
    #[must_use]
    pub fn new(architecture: &Architecture) -> Self {
        let half = architecture.head_width() / 2;
        let angles = (0..architecture.context).flat_map(|position| {
            #[expect(clippy::cast_precision_loss, reason = "positions and widths are small")]
            let angle = move |i: usize| position as f32 * ROPE_BASE.powf(-(i as f32) / half as f32);
            (0..half).map(angle)
        });
        let angles: Vec<f32> = angles.collect();
        Self { half, cosines: angles.iter().map(|a| a.cos()).collect(), sines: angles.iter().map(|a| a.sin()).collect() }
    }

    /// Turns each head in a row by its position; `direction` is 1 forward and -1 for the way back.
    pub fn turn(&self, row: &mut [f32], position: usize, direction: f32) {
        let table = position * self.half..(position + 1) * self.half;
        let (cosines, sines) = (&self.cosines[table.clone()], &self.sines[table]);
        for head in row.chunks_exact_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                let (x, y, sine) = (*a, *b, sine * direction);
                *a = x * cosine - y * sine;
                *b = y * cosine + x * sine;
            }
        }
    }
}

/// Softmax of each row of scores over what is at or before its own position; the rest becomes 0.
pub fn causal_softmax(scores: &mut [f32], length: usize, scale: f32) {
    Arch::new().dispatch(|| {
        for (position, row) in scores.chunks_exact_mut(length).enumerate() {
            let (seen, future) = row.split_at_mut(position + 1);
            softmax_row(seen, scale);
            future.fill(0.0);
        }
    });
}

#[inline(always)]
fn softmax_row(row: &mut [f32], scale: f32) {
    let largest = row.iter().fold(f32::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest });
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
    let inverse = 1.0 / (sum + sums.iter().sum::<f32>());
    for x in row {
        *x *= inverse;
    }
}

/// Softmax of one row of scaled scores (generation attends with one row at a time).
pub fn softmax(row: &mut [f32], scale: f32) {
    Arch::new().dispatch(|| softmax_row(row, scale));
}

/// The backward of [`causal_softmax`]: the gradient of the probabilities becomes that of the scores.
pub fn softmax_backward(gradient: &mut [f32], probabilities: &[f32], length: usize, scale: f32) {
    Arch::new().dispatch(|| {
        for (position, (d, p)) in gradient.chunks_exact_mut(length).zip(probabilities.chunks_exact(length)).enumerate() {
            let (seen, future) = d.split_at_mut(position + 1);
            let p = &p[..=position];
            let along = dot(seen, p);
            for (d, p) in seen.iter_mut().zip(p) {
                *d = p * (*d - along) * scale;
            }
            future.fill(0.0);
        }
    });
}

/// SwiGLU: each row of `input` holds gates, then values; `out` is `silu(gate) * value`.
pub fn swiglu(out: &mut [f32], input: &[f32], hidden: usize) {
    Arch::new().dispatch(|| {
        for (out, input) in out.chunks_exact_mut(hidden).zip(input.chunks_exact(2 * hidden)) {
            let (gates, values) = input.split_at(hidden);
            for ((y, gate), value) in out.iter_mut().zip(gates).zip(values) {
                *y = gate * sigmoid(*gate) * value;
            }
        }
    });
}

/// The backward of [`swiglu`]: writes the gradient of the gates and values over `d_input`.
pub fn swiglu_backward(d_input: &mut [f32], d_out: &[f32], input: &[f32], hidden: usize) {
    Arch::new().dispatch(|| {
        let rows = d_input.chunks_exact_mut(2 * hidden).zip(d_out.chunks_exact(hidden)).zip(input.chunks_exact(2 * hidden));
        for ((d_input, d_out), input) in rows {
            let (d_gates, d_values) = d_input.split_at_mut(hidden);
            let (gates, values) = input.split_at(hidden);
            for ((((dg, dv), dy), gate), value) in d_gates.iter_mut().zip(d_values).zip(d_out).zip(gates).zip(values) {
                let s = sigmoid(*gate);
                *dg = dy * value * s * (1.0 + gate * (1.0 - s));
                *dv = dy * gate * s;
            }
        }
    });
}

/// Cross-entropy of one row of logits, in nats; the row becomes the gradient of it times `weight`.
#[must_use]
pub fn cross_entropy(logits: &mut [f32], target: usize, weight: f32) -> f64 {
    Arch::new().dispatch(|| {
        softmax_row(logits, 1.0);
        let loss = -f64::from(logits[target].max(1e-38)).ln();
        for p in logits.iter_mut() {
            *p *= weight;
        }
        logits[target] -= weight;
        loss
    })
}

/// Adds one slice to another.
pub fn add(to: &mut [f32], from: &[f32]) {
    Arch::new().dispatch(|| {
        for (x, y) in to.iter_mut().zip(from) {
            *x += y;
        }
    });
}

/// The sum of squares of a slice, in double precision over fixed blocks.
#[must_use]
pub fn sum_of_squares(values: &[f32]) -> f64 {
    Arch::new().dispatch(|| values.chunks(4096).map(|block| f64::from(dot(block, block))).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere_it_is_used() {
        for step in -8700..8800_i16 {
            let x = f32::from(step) / 100.0;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) / wanted - 1.0).abs() < 1e-5, "exp({x}) = {} and not {wanted}", exp(x));
        }
    }

    #[test]
    fn a_softmax_row_sums_to_one_and_keeps_the_order() {
        let mut row: Vec<f32> = (0_i16..37).map(|i| f32::from(i * 7 % 11)).collect();
        let before = row.clone();
        softmax(&mut row, 0.5);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(row[0] < row[1], before[0] < before[1]);
    }
}
