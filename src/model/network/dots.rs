//! Sums of products of a few rows with the rows of a matrix. What costs is reading the matrix, so that four of its rows are held against up
//! to four others at a time; each sum is made in the same order however many there are.

use pulp::{Arch, Simd, WithSimd};

/// Rows of each side that are held in registers.
pub const HELD: usize = 4;

struct Dots<'a> {
    out: &'a mut [f32],
    weights: &'a [f32],
    input: &'a [f32],
    inputs: usize,
}

/// Writes, for each row of weights, its sum of products with each of a few rows.
pub fn dots(out: &mut [f32], weights: &[f32], input: &[f32], inputs: usize) {
    Arch::new().dispatch(Dots { out, weights, input, inputs });
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, weights, input, inputs } = self;
        let rows = input.len() / inputs;
        for (out, weights) in out.chunks_mut(HELD * rows).zip(weights.chunks(HELD * inputs)) {
            if weights.len() == HELD * inputs {
                several::<S, HELD>(simd, out, weights, input, inputs);
            } else {
                for (out, weights) in out.chunks_mut(rows).zip(weights.chunks(inputs)) {
                    several::<S, 1>(simd, out, weights, input, inputs);
                }
            }
        }
    }
}

/// `O` rows of weights with all rows: `out` is `O x rows`.
#[inline(always)]
fn several<S: Simd, const O: usize>(simd: S, out: &mut [f32], weights: &[f32], input: &[f32], inputs: usize) {
    let rows = input.len() / inputs;
    let weights: [&[f32]; O] = std::array::from_fn(|row| &weights[row * inputs..(row + 1) * inputs]);
    let mut row = 0;
    while row + HELD <= rows {
        held::<S, O, HELD>(simd, out, weights, input, row, rows);
        row += HELD;
    }
    while row < rows {
        held::<S, O, 1>(simd, out, weights, input, row, rows);
        row += 1;
    }
}

#[inline(always)]
fn held<S: Simd, const O: usize, const R: usize>(simd: S, out: &mut [f32], weights: [&[f32]; O], input: &[f32], row: usize, rows: usize) {
    let inputs = input.len() / rows;
    let input: [&[f32]; R] = std::array::from_fn(|at| &input[(row + at) * inputs..(row + at + 1) * inputs]);
    let (weights, input) = (weights.map(S::as_simd_f32s), input.map(S::as_simd_f32s));
    let length = weights[0].0.len();
    let mut sums = [[simd.splat_f32s(0.0); R]; O];
    let (wide_weights, wide_input) = (weights.map(|(wide, _)| &wide[..length]), input.map(|(wide, _)| &wide[..length]));
    for at in 0..length {
        for (sums, weights) in sums.iter_mut().zip(wide_weights) {
            for (sum, input) in sums.iter_mut().zip(wide_input) {
                *sum = simd.mul_add_f32s(weights[at], input[at], *sum);
            }
        }
    }
    for (output, (sums, (_, weights))) in sums.into_iter().zip(weights).enumerate() {
        for (at, (sum, (_, input))) in sums.into_iter().zip(input).enumerate() {
            let rest: f32 = weights.iter().zip(input).map(|(weight, input)| weight * input).sum();
            out[output * rows + row + at] = simd.reduce_sum_f32s(sum) + rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    #[test]
    fn each_sum_is_the_same_whoever_else_is_asked() {
        let mut random = Random::new(1, "dots");
        for inputs in [3, 16, 37, 192] {
            let numbers = |count: usize, random: &mut Random| (0..count).map(|_| random.normal()).collect::<Vec<f32>>();
            let (weights, input) = (numbers(9 * inputs, &mut random), numbers(6 * inputs, &mut random));
            let mut together = vec![0.0; 9 * 6];
            dots(&mut together, &weights, &input, inputs);
            for (row, input) in input.chunks_exact(inputs).enumerate() {
                let mut alone = vec![0.0; 9];
                dots(&mut alone, &weights, input, inputs);
                for (output, weights) in weights.chunks_exact(inputs).enumerate() {
                    assert_eq!(together[output * 6 + row], alone[output]);
                    let wanted: f64 = weights.iter().zip(input).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    assert!((f64::from(alone[output]) - wanted).abs() < 1e-4, "{wanted}");
                }
            }
        }
    }
}
