//! Vector code for whatever CPU is found at run time, with sums in a fixed order.

/// Makes of a function one whose body is compiled for each kind of vectors, as no closure is: what is called in it must be inlined.
macro_rules! wide {
    ($(#[$about:meta])* pub fn $name:ident<$life:lifetime>($($argument:ident: $kind:ty),* $(,)?) -> $out:ty $body:block) => {
        $(#[$about])*
        pub fn $name<$life>($($argument: $kind),*) -> $out {
            struct Wide<$life> {
                $($argument: $kind),*
            }
            impl WithSimd for Wide<'_> {
                type Output = $out;

                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> $out {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            Arch::new().dispatch(Wide { $($argument),* })
        }
    };
}

pub(super) use wide;

/// Numbers that are summed side by side.
pub const LANES: usize = 16;

#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut rest = 0.0;
    for (x, y) in a_chunks.remainder().iter().zip(b_chunks.remainder()) {
        rest += x * y;
    }
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] = x[lane].mul_add(y[lane], sums[lane]);
        }
    }
    total(sums) + rest
}

/// The sum of products of three slices.
#[inline(always)]
pub fn weighted_dot(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let whole = a.len() / LANES * LANES;
    let mut rest = 0.0;
    for at in whole..a.len() {
        rest += a[at] * b[at] * c[at];
    }
    for ((x, y), z) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = (x[lane] * y[lane]).mul_add(z[lane], sums[lane]);
        }
    }
    total(sums) + rest
}

/// The sum of all lanes, halves on halves.
#[inline(always)]
pub fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// `e^x` to about 1e-7 relative, for `x` from -87 to 88; beyond that it stays at the end.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number without a library call.
    const ROUND: f32 = 12_582_912.0;
    let scaled = x.clamp(-87.0, 88.0) * std::f32::consts::LOG2_E;
    let whole = (scaled + ROUND) - ROUND;
    let part = (scaled - whole) * std::f32::consts::LN_2;
    // The Taylor series on [-ln2/2, ln2/2].
    let mut series = 1.0 / 720.0;
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = part.mul_add(series, coefficient);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number from -126 to 127")]
    let exponent = whole as i32;
    series * f32::from_bits(((exponent + 127) << 23).cast_unsigned())
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
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
}
