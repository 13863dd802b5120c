//! Sums of pixels, channel by channel: the gradient of a bias.
#![allow(clippy::inline_always)] // code of the widest vectors

use rayon::prelude::*;

use crate::kernels::vector::vectorized;

/// Most parts of the work.
pub(super) const MOST_PARTS: usize = 8;

/// Elements that are worth handing to another thread.
const WORTH_A_PART: usize = 1 << 16;

/// Pixels of a partial sum, so that rounding grows slowly, and channels of one.
const PIXELS: usize = 64;
const CHANNELS: usize = 64;

/// `sums[n] = Σ_q pixels[q, n]`; `scratch` has room for [`MOST_PARTS`] times the channels.
pub(super) fn sum_columns(sums: &mut [f32], pixels: &[f32], scratch: &mut [f32]) {
    let channels = sums.len();
    let parts = (pixels.len() / WORTH_A_PART).clamp(1, MOST_PARTS);
    let rows_a_part = (pixels.len() / channels).div_ceil(parts).max(1);
    if parts == 1 {
        return part(sums, pixels);
    }
    let count = pixels.len().div_ceil(rows_a_part * channels);
    let scratch = &mut scratch[..count * channels];
    let rows = pixels.par_chunks(rows_a_part * channels);
    scratch.par_chunks_exact_mut(channels).zip(rows).for_each(|(sums, rows)| part(sums, rows));
    sums.fill(0.0);
    for part in scratch.chunks_exact(channels) {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}

fn part(sums: &mut [f32], pixels: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            let channels = sums.len();
            sums.fill(0.0);
            for pixels in pixels.chunks(channels * PIXELS) {
                for (index, sums) in sums.chunks_mut(CHANNELS).enumerate() {
                    let mut partial = [0f32; CHANNELS];
                    let partial = &mut partial[..sums.len()];
                    for pixel in pixels.chunks_exact(channels) {
                        let pixel = &pixel[index * CHANNELS..][..partial.len()];
                        partial.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                    }
                    sums.iter_mut().zip(&*partial).for_each(|(sum, partial)| *sum += partial);
                }
            }
        },
    );
}
