//! The gates of feed-forward blocks.

use pulp::{Arch, Simd, WithSimd};

use super::wide::{sigmoid, wide};

/// The gate of a feed-forward block at one number, and its slope.
trait Gate {
    fn at(x: f32) -> f32;
    fn with_slope(x: f32) -> (f32, f32);
}

/// `x` times its sigmoid.
struct Silu;

impl Gate for Silu {
    #[inline(always)]
    fn at(x: f32) -> f32 {
        x * sigmoid(x)
    }

    #[inline(always)]
    fn with_slope(x: f32) -> (f32, f32) {
        let s = sigmoid(x);
        (x * s, s * (1.0 + x * (1.0 - s)))
    }
}

/// `x` times the share of a normal distribution below it, approximated by a hyperbolic tangent (Hendrycks and Gimpel 2016).
struct Gelu;

/// The root of two over pi, and the weight of the cube.
const GELU: (f32, f32) = (0.797_884_6, 0.044_715);

impl Gate for Gelu {
    #[inline(always)]
    fn at(x: f32) -> f32 {
        // (1 + tanh(u)) / 2 is the sigmoid of 2 u.
        x * sigmoid(2.0 * GELU.0 * (x + GELU.1 * x * x * x))
    }

    #[inline(always)]
    fn with_slope(x: f32) -> (f32, f32) {
        let s = sigmoid(2.0 * GELU.0 * (x + GELU.1 * x * x * x));
        (x * s, s + x * s * (1.0 - s) * 2.0 * GELU.0 * (1.0 + 3.0 * GELU.1 * x * x))
    }
}

#[inline(always)]
fn gate_rows<G: Gate>(out: &mut [f32], input: &[f32], hidden: usize) {
    for (out, input) in out.chunks_exact_mut(hidden).zip(input.chunks_exact(2 * hidden)) {
        let (gates, values) = input.split_at(hidden);
        for ((y, gate), value) in out.iter_mut().zip(gates).zip(values) {
            *y = G::at(*gate) * value;
        }
    }
}

#[inline(always)]
fn gate_rows_backward<G: Gate>(d_input: &mut [f32], d_out: &[f32], input: &[f32], hidden: usize) {
    let rows = d_input.chunks_exact_mut(2 * hidden).zip(d_out.chunks_exact(hidden)).zip(input.chunks_exact(2 * hidden));
    for ((d_input, d_out), input) in rows {
        let (d_gates, d_values) = d_input.split_at_mut(hidden);
        let (gates, values) = input.split_at(hidden);
        for ((((dg, dv), dy), gate), value) in d_gates.iter_mut().zip(d_values).zip(d_out).zip(gates).zip(values) {
            let (at, slope) = G::with_slope(*gate);
            *dg = dy * value * slope;
            *dv = dy * at;
        }
    }
}

wide! {
    /// A gated block: each row of `input` holds gates, then values; `out` is `silu(gate) * value`, or `gelu(gate) * value` (Shazeer 2020).
    pub fn gated<'k>(out: &'k mut [f32], input: &'k [f32], hidden: usize, is_gelu: bool) -> () {
        if is_gelu { gate_rows::<Gelu>(out, input, hidden) } else { gate_rows::<Silu>(out, input, hidden) }
    }
}

wide! {
    /// The backward of [`gated`]: writes the gradient of the gates and values over `d_input`.
    pub fn gated_backward<'k>(d_input: &'k mut [f32], d_out: &'k [f32], input: &'k [f32], hidden: usize, is_gelu: bool) -> () {
        if is_gelu { gate_rows_backward::<Gelu>(d_input, d_out, input, hidden) } else { gate_rows_backward::<Silu>(d_input, d_out, input, hidden) }
    }
}
