//! The parts of a decoder that are no matrix products, row by row.

use pulp::{Arch, Simd, WithSimd};

use super::wide::{dot, weighted_dot, wide};

wide! {
    /// RMS norm of each row, with a gain for each column (Zhang and Sennrich 2019). Keeps one over the root mean square of each row.
    pub fn norm<'k>(out: &'k mut [f32], inverse: &'k mut [f32], input: &'k [f32], gain: &'k [f32], epsilon: f32) -> () {
        let width = gain.len();
        for ((row, y), inverse) in input.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(inverse.iter_mut()) {
            #[expect(clippy::cast_precision_loss, reason = "widths are small")]
            let mean = dot(row, row) / width as f32;
            *inverse = 1.0 / (mean + epsilon).sqrt();
            for ((y, x), g) in y.iter_mut().zip(row).zip(gain) {
                *y = x * *inverse * g;
            }
        }
    }
}

wide! {
    /// The backward of [`norm`]: adds to the gradient of the input, and to that of the gain where it is wanted.
    pub fn norm_backward<'k>(
        d_input: &'k mut [f32], d_gain: Option<&'k mut [f32]>, d_out: &'k [f32], input: &'k [f32], inverse: &'k [f32], gain: &'k [f32],
    ) -> () {
        let width = gain.len();
        let rows = d_out.chunks_exact(width).zip(input.chunks_exact(width)).zip(d_input.chunks_exact_mut(width)).zip(inverse);
        for (((dy, x), dx), &inverse) in rows {
            #[expect(clippy::cast_precision_loss, reason = "widths are small")]
            let along = weighted_dot(dy, gain, x) * inverse * inverse / width as f32;
            for (((dx, dy), g), x) in dx.iter_mut().zip(dy).zip(gain).zip(x) {
                *dx += inverse * (dy * g - x * along);
            }
        }
        if let Some(d_gain) = d_gain {
            for ((dy, x), &inverse) in d_out.chunks_exact(width).zip(input.chunks_exact(width)).zip(inverse) {
                for ((dg, dy), x) in d_gain.iter_mut().zip(dy).zip(x) {
                    *dg += dy * x * inverse;
                }
            }
        }
    }
}

wide! {
    /// Multiplies each row of a matrix, which may be a part of wider rows, by a number for each column.
    pub fn scale_columns<'k>(rows: &'k mut [f32], stride: usize, scales: &'k [f32]) -> () {
        for row in rows.chunks_mut(stride) {
            for (x, scale) in row.iter_mut().zip(scales) {
                *x *= scale;
            }
        }
    }
}

wide! {
    /// Adds a row to each row.
    pub fn add_to_rows<'k>(rows: &'k mut [f32], added: &'k [f32]) -> () {
        for row in rows.chunks_exact_mut(added.len()) {
            for (x, y) in row.iter_mut().zip(added) {
                *x += y;
            }
        }
    }
}

wide! {
    /// Adds one slice to another.
    pub fn add<'k>(to: &'k mut [f32], from: &'k [f32]) -> () {
        for (x, y) in to.iter_mut().zip(from) {
            *x += y;
        }
    }
}

wide! {
    /// The sum of squares of a slice, in double precision over fixed blocks.
    pub fn sum_of_squares<'k>(values: &'k [f32]) -> f64 {
        let mut sum = 0.0;
        for block in values.chunks(4096) {
            sum += f64::from(dot(block, block));
        }
        sum
    }
}
