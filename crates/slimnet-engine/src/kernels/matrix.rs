//! Products of matrices with any strides, by the `gemm` crate.
//!
//! Large products are divided into blocks of rows or of columns of the result, as many as the sizes alone decide, so that
//! the bits of the result do not depend on the number of threads.
#![allow(unsafe_code)]

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

/// A matrix over a slice.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// Index of the last element, plus one.
fn extent(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + (columns - 1) * column_stride + 1 }
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie one after the other: `[rows, columns]`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns, 1)
    }

    /// A matrix whose element (i, j) is `data[i · row_stride + j · column_stride]`.
    ///
    /// # Panics
    /// If elements lie outside the slice.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Self {
        assert!(extent(rows, columns, row_stride, column_stride) <= data.len(), "matrix outside its slice");
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// The same elements, mirrored.
    #[must_use]
    pub fn transposed(self) -> Self {
        let Self { data, rows, columns, row_stride, column_stride } = self;
        Self { data, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// `transposed` if `yes`.
    #[must_use]
    pub fn transposed_if(self, yes: bool) -> Self {
        if yes { self.transposed() } else { self }
    }
}

/// Where a block of a result lies.
#[derive(Clone, Copy)]
struct Target {
    pointer: *mut f32,
    row_stride: usize,
    column_stride: usize,
}

// SAFETY: every thread writes to a block of its own.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The target that begins `offset` elements later.
    ///
    /// # Safety
    /// That element lies inside.
    unsafe fn at(self, offset: usize) -> Self {
        // SAFETY: by the caller's promise.
        Self { pointer: unsafe { self.pointer.add(offset) }, ..self }
    }
}

/// Multiplications and additions that are worth handing to another thread.
const WORTH_A_PART: usize = 1 << 21;

/// Most parts of a product.
const MOST_PARTS: usize = 16;

/// `result = before · result + scale · a · b`, with `result` of shape `[a.rows, b.columns]`, row by row. `before` is 0 or
/// 1; with 0 the result need not be initialised. On all threads of the pool.
///
/// # Panics
/// If the sizes do not fit.
pub fn multiply(result: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, scale: f32, add: bool) {
    let (rows, columns, inner) = check(result, a, b);
    let work = rows * columns * inner;
    let length = rows.max(columns);
    let parts = (work / WORTH_A_PART).clamp(1, MOST_PARTS).min(length.div_ceil(16).max(1));
    // Blocks are multiples of 16, the width of a vector register of the widest kind.
    let block = length.div_ceil(parts).div_ceil(16) * 16;
    let target = Target { pointer: result.as_mut_ptr(), row_stride: columns, column_stride: 1 };
    let by_rows = rows >= columns;
    let part = |index: usize| {
        let start = index * block;
        let count = block.min(length - start);
        // SAFETY: blocks of rows or columns of the result do not overlap and lie inside (checked above).
        unsafe {
            if by_rows {
                let target = target.at(start * columns);
                let a = Matrix { data: &a.data[(start * a.row_stride).min(a.data.len())..], rows: count, ..a };
                block_product(target, a, b, scale, add);
            } else {
                let target = target.at(start);
                let b = Matrix { data: &b.data[(start * b.column_stride).min(b.data.len())..], columns: count, ..b };
                block_product(target, a, b, scale, add);
            }
        }
    };
    let parts = if block == 0 { 0 } else { length.div_ceil(block) };
    if parts <= 1 {
        (0..parts).for_each(part);
    } else {
        (0..parts).into_par_iter().for_each(part);
    }
}

/// As [`multiply`], on the calling thread alone: for kernels that divide their work themselves.
///
/// # Panics
/// If the sizes do not fit.
pub fn multiply_here(result: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, scale: f32, add: bool) {
    let (_, columns, _) = check(result, a, b);
    let target = Target { pointer: result.as_mut_ptr(), row_stride: columns, column_stride: 1 };
    // SAFETY: the result is large enough (checked above) and borrowed mutably.
    unsafe { block_product(target, a, b, scale, add) }
}

fn check(result: &[f32], a: Matrix<'_>, b: Matrix<'_>) -> (usize, usize, usize) {
    assert_eq!(a.columns, b.rows, "inner lengths of a product");
    assert_eq!(result.len(), a.rows * b.columns, "elements of a product");
    (a.rows, b.columns, a.columns)
}

/// # Safety
/// The target's block of `[a.rows, b.columns]` may be written to and nobody else uses it.
unsafe fn block_product(target: Target, a: Matrix<'_>, b: Matrix<'_>, scale: f32, add: bool) {
    let stride = |length: usize| length as isize;
    if a.rows == 0 || b.columns == 0 {
        return;
    }
    // SAFETY: matrices lie inside their slices (constructor), the target by the caller's promise.
    unsafe {
        gemm(
            a.rows,
            b.columns,
            a.columns,
            target.pointer,
            stride(target.column_stride),
            stride(target.row_stride),
            add,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
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
    use slimnet_graph::zoo::random::Stream;

    fn random(stream: u64, count: usize) -> Vec<f32> {
        (0..count).map(|index| Stream::new(1, stream).normal(index as u64) as f32).collect()
    }

    #[test]
    fn products_are_right_in_any_layout_and_on_any_threads() {
        for (rows, columns, inner) in [(1, 1, 1), (3, 5, 7), (64, 300, 784), (700, 90, 65), (17, 1, 33), (4, 4, 0)] {
            let (a, b) = (random(1, rows * inner), random(2, inner * columns));
            let start = random(3, rows * columns);
            for layout in 0..4 {
                let left = if layout & 1 == 0 {
                    Matrix::new(&a, rows, inner)
                } else {
                    Matrix::new(&a, inner, rows).transposed()
                };
                let right = Matrix::new(
                    &b,
                    if layout & 2 == 0 { inner } else { columns },
                    if layout & 2 == 0 { columns } else { inner },
                );
                let right = right.transposed_if(layout & 2 != 0);
                for add in [false, true] {
                    let on = |threads: usize| {
                        let mut result = start.clone();
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        pool.install(|| multiply(&mut result, left, right, 0.5, add));
                        result
                    };
                    let (one, two) = (on(1), on(2));
                    assert!(one.iter().zip(&two).all(|(a, b)| a.to_bits() == b.to_bits()));
                    for i in 0..rows {
                        for j in 0..columns {
                            let a = |k: usize| left.data[i * left.row_stride + k * left.column_stride];
                            let b = |k: usize| right.data[k * right.row_stride + j * right.column_stride];
                            let sum: f64 = (0..inner).map(|k| f64::from(a(k)) * f64::from(b(k))).sum();
                            let expected = 0.5 * sum + if add { f64::from(start[i * columns + j]) } else { 0.0 };
                            assert!(
                                (f64::from(one[i * columns + j]) - expected).abs() < 1e-3,
                                "{rows} {columns} {inner}"
                            );
                        }
                    }
                }
            }
        }
    }
}
