//! Products of matrices: the one door to the `gemm` crate.

use gemm::Parallelism;

/// A matrix that is read: some part of a slice, with any strides.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// The first `rows` x `columns` of a slice that holds rows of `stride` numbers.
    #[must_use]
    pub const fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The same numbers with rows for columns.
    #[must_use]
    pub const fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    const fn reach(&self) -> usize {
        if self.rows == 0 || self.columns == 0 { 0 } else { (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1 }
    }
}

/// Writes `scale * a * b` to `out`, or adds it where `add` says so. `out` holds rows of `stride` numbers.
///
/// # Panics
/// When the shapes do not fit each other or the slices.
pub fn product(out: &mut [f32], stride: usize, a: View<'_>, b: View<'_>, scale: f32, add: bool) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    assert!(b.rows == k && stride >= n, "the shapes of a product must fit");
    assert!(a.reach() <= a.data.len() && b.reach() <= b.data.len(), "a factor must lie in its slice");
    assert!((m - 1) * stride + n <= out.len(), "the result must fit its slice");
    let signed = usize::cast_signed;
    // SAFETY: `gemm` reads a.rows x a.columns and b.rows x b.columns numbers at the given strides and writes
    // m x n numbers with rows `stride` apart. The assertions above keep all of them inside the slices; `out`
    // is borrowed mutably, so it overlaps neither factor; every `f32` is a valid value to read.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            signed(stride),
            add,
            a.data.as_ptr(),
            signed(a.column_stride),
            signed(a.row_stride),
            b.data.as_ptr(),
            signed(b.column_stride),
            signed(b.row_stride),
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_are_right() {
        // A is 2 x 3 in rows of 4, B is 2 x 3 in rows of 5 and is used transposed.
        let a = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0];
        let b = [1.0, 0.0, 2.0, 9.0, 9.0, 0.0, 1.0, 1.0, 9.0, 9.0];
        let mut out = [1.0; 6];
        product(&mut out, 3, View::new(&a, 2, 3, 4), View::new(&b, 2, 3, 5).transposed(), 2.0, true);
        assert_eq!(out, [15.0, 11.0, 1.0, 33.0, 23.0, 1.0]);
        product(&mut out, 3, View::new(&a, 2, 3, 4), View::new(&b, 2, 3, 5).transposed(), 1.0, false);
        assert_eq!(out, [7.0, 5.0, 1.0, 16.0, 11.0, 1.0]);
    }
}
