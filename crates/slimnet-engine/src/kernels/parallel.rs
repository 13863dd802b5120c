//! Dividing work among threads into parts that do not depend on how many threads there are.

use std::ops::Range;

use rayon::prelude::*;

/// Elements of an elementwise part: small enough for the cache, large enough to be worth handing over.
const CHUNK: usize = 16 * 1024;

/// Calls `work` on chunks of `output` with their ranges, on all threads of the pool.
pub fn each_chunk<T: Send>(output: &mut [T], work: impl Fn(Range<usize>, &mut [T]) + Sync) {
    if output.len() <= CHUNK {
        return work(0..output.len(), output);
    }
    output.par_chunks_mut(CHUNK).enumerate().for_each(|(index, chunk)| {
        let start = index * CHUNK;
        work(start..start + chunk.len(), chunk);
    });
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
