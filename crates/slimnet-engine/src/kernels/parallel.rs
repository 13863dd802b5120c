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
