//! Dividing work among threads into parts that do not depend on how many threads there are.

use std::ops::Range;

use rayon::prelude::*;

use super::vector::vectorized;

/// Elements of an elementwise part: small enough for the cache, large enough to be worth handing over.
const CHUNK: usize = 16 * 1024;

/// Calls `work` on chunks of `output` with their ranges, on all threads of the pool.
pub fn each_chunk<T: Send>(output: &mut [T], work: impl Fn(Range<usize>, &mut [T]) + Sync) {
    let part = |index: usize, chunk: &mut [T]| {
        let start = index * CHUNK;
        work(start..start + chunk.len(), chunk);
    };
    in_parts(output, CHUNK, &part);
}

/// Calls `work` on parts of this length and their numbers, on all threads of the pool. Not generic in `work`: compiled once
/// for all elementwise operators.
fn in_parts<T: Send>(output: &mut [T], length: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if output.len() <= length {
        return work(0, output);
    }
    output.par_chunks_mut(length).enumerate().for_each(|(index, part)| work(index, part));
}

/// Elements of a segment of a row at most.
pub const SEGMENT: usize = CHUNK;

/// Into how many segments rows of this length are divided, `elements` in all.
pub fn segments(elements: usize, row: usize) -> usize {
    elements.checked_div(row).unwrap_or(0) * row.div_ceil(SEGMENT)
}

/// The row and the columns of a segment.
pub fn segment_place(row: usize, segment: usize) -> (usize, Range<usize>) {
    let a_row = row.div_ceil(SEGMENT);
    let first = segment % a_row * SEGMENT;
    (segment / a_row, first..row.min(first + SEGMENT))
}

/// Calls `work(row, columns, elements)` on all rows of `output`, long ones in segments, in code for the widest vectors
/// (if it is inlined) and on all threads of the pool.
#[allow(clippy::inline_always)]
#[inline(always)]
pub fn each_segment(output: &mut [f32], row: usize, work: impl Fn(usize, Range<usize>, &mut [f32]) + Sync) {
    if output.is_empty() {
        return;
    }
    if row > SEGMENT {
        let segment = |index: usize, segment: usize, output: &mut [f32]| {
            vectorized(
                #[inline(always)]
                || work(index, segment * SEGMENT..segment * SEGMENT + output.len(), output),
            );
        };
        let each_row = |index: usize, output: &mut [f32]| {
            in_parts(output, SEGMENT, &|number, output| segment(index, number, output));
        };
        return in_parts(output, row, &each_row);
    }
    let rows = SEGMENT / row;
    let part = |part: usize, output: &mut [f32]| {
        vectorized(
            #[inline(always)]
            || {
                for (index, output) in output.chunks_exact_mut(row).enumerate() {
                    work(part * rows + index, 0..row, output);
                }
            },
        );
    };
    in_parts(output, rows * row, &part);
}

/// `sums[j] = Σ_i rows[i, j]` of `[rows, sums.len()]`, in order of the rows.
pub fn sum_rows(sums: &mut [f32], rows: &[f32]) {
    let columns = sums.len();
    sums.fill(0.0);
    if columns == 0 {
        return;
    }
    // In blocks, so that rounding grows with the logarithm of a long sum rather than with its length.
    let mut part = [0f32; BLOCK];
    for columns_block in (0..columns).step_by(BLOCK) {
        let width = BLOCK.min(columns - columns_block);
        for block in rows.chunks(columns * BLOCK) {
            let part = &mut part[..width];
            part.fill(0.0);
            for row in block.chunks_exact(columns) {
                part.iter_mut().zip(&row[columns_block..]).for_each(|(sum, value)| *sum += value);
            }
            sums[columns_block..].iter_mut().zip(&*part).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// Rows and columns of a block of a sum.
const BLOCK: usize = 64;
