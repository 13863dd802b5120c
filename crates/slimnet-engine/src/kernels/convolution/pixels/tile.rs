//! The inner loops: blocks of pixels and channels of the result that stay in registers over all products.
#![allow(clippy::inline_always)] // code of the widest vectors

use pulp::Simd;

use super::Machine;
use super::route::Run;

/// Most vectors of channels of a block.
pub(super) const MOST_VECTORS: usize = 4;

/// Numbers of pixels of a block, for each number of vectors.
const PIXELS: [&[usize]; MOST_VECTORS] = [&[1, 2, 4, 8, 12, 16], &[1, 2, 4, 6, 8, 12], &[1, 2, 4, 8], &[1, 2, 4, 6]];

/// Most sums that the registers hold beside what is added to them.
#[inline(always)]
pub(super) const fn most_sums(registers: usize, lanes: usize) -> usize {
    match registers {
        _ if lanes == 1 => 4,
        32.. => 24,
        _ => 12,
    }
}

/// How many pixels are computed at once of `pixels`, with so many vectors of channels, and how long all takes, in cycles
/// for each product of a pixel.
pub(super) fn pixels_at_once(pixels: usize, vectors: usize, machine: Machine) -> (usize, f64) {
    let most = most_sums(machine.registers, machine.lanes);
    let fits = |&count: &usize| count == 1 || count <= pixels && count * vectors <= most;
    let cost = |count: usize| {
        // Two products or loads a cycle; a sum can be added to every fourth. Weights come from farther away.
        let (sums, loads) = ((count * vectors) as f64, (count + vectors) as f64);
        let cycles = (sums / 2.0).max(loads / 2.0).max(4.0) + 0.15 * vectors as f64;
        pixels.div_ceil(count) as f64 * cycles
    };
    let costs = PIXELS[vectors - 1].iter().copied().filter(fits).map(|count| (count, cost(count)));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1, f64::INFINITY))
}

/// What happens to the sums of a block before they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending<'a> {
    /// What is added to the result, of its size, or nothing.
    pub addend: &'a [f32],
    /// Limits of the result.
    pub clamp: Option<(f32, f32)>,
}

/// Channels of the result, at some pixels: `result[places[q] + n] = start[n] + Σ_k weights[k, n] · source[bases[q] + k's]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<'a> {
    pub source: &'a [f32],
    pub runs: &'a [Run],
    pub bases: &'a [usize],
    pub places: &'a [usize],
    /// Where the result begins, in the numbers of `places`.
    pub origin: usize,
    /// What sums begin with, then the weights in the order of the runs; whole vectors of channels.
    pub weights: &'a [f32],
    /// The first channel, and how many there are.
    pub first: usize,
    pub channels: usize,
    pub ending: Ending<'a>,
}

/// `P` pixels of `V` vectors from pixel `pixel` on, with `U` products between two looks at where a pixel's source is.
#[inline(always)]
fn block<S: Simd, const P: usize, const V: usize, const U: usize>(
    simd: S,
    tile: &Tile<'_>,
    pixel: usize,
    result: &mut [f32],
) {
    if P * V > most_sums(S::REGISTER_COUNT, S::F32_LANES) && P > 1 {
        return; // never chosen; spares the code
    }
    let Some(bases) = tile.bases[pixel..].first_chunk::<P>() else { return };
    let Some((start, mut weights)) = S::as_simd_f32s(tile.weights).0.as_chunks::<V>().0.split_first() else { return };
    let mut totals = [*start; P];
    for run in tile.runs {
        let (own, rest) = weights.split_at(run.length);
        weights = rest;
        let source = &tile.source[run.offset..];
        let (own, own_rest) = own.as_chunks::<U>();
        let mut rows: [&[[f32; U]]; P] = [&[]; P];
        let mut rest: [&[f32]; P] = [&[]; P];
        each!(p in 0..P {
            let (row, row_rest) = source[bases[p]..][..run.length].as_chunks::<U>();
            rows[p] = &row[..own.len()];
            rest[p] = &row_rest[..own_rest.len()];
        });
        for (k, own) in own.iter().enumerate() {
            each!(p in 0..P {
                let values = &rows[p][k];
                each!(u in 0..U of 4 {
                    let value = simd.splat_f32s(values[u]);
                    each!(v in 0..V of 4 {
                        totals[p][v] = simd.mul_add_e_f32s(value, own[u][v], totals[p][v]);
                    });
                });
            });
        }
        for (k, own) in own_rest.iter().enumerate() {
            each!(p in 0..P {
                let value = simd.splat_f32s(rest[p][k]);
                each!(v in 0..V of 4 {
                    totals[p][v] = simd.mul_add_e_f32s(value, own[v], totals[p][v]);
                });
            });
        }
    }
    let Some(places) = tile.places[pixel..].first_chunk::<P>() else { return };
    each!(p in 0..P {
        let mut total = totals[p]; // a copy, so that all of the sums stay in registers
        let place = places[p] - tile.origin + tile.first;
        if !tile.ending.addend.is_empty() {
            let addend = &tile.ending.addend[place..][..tile.channels];
            for (v, total) in total.iter_mut().enumerate() {
                let addend = &addend[(v * S::F32_LANES).min(addend.len())..];
                let addend = &addend[..addend.len().min(S::F32_LANES)];
                *total = simd.add_f32s(*total, simd.partial_load_f32s(addend));
            }
        }
        if let Some((low, high)) = tile.ending.clamp {
            let (low, high) = (simd.splat_f32s(low), simd.splat_f32s(high));
            for total in &mut total {
                // Comparisons with what is not a number are false.
                *total = simd.select_f32s(simd.less_than_f32s(*total, low), low, *total);
                *total = simd.select_f32s(simd.less_than_f32s(high, *total), high, *total);
            }
        }
        let target = &mut result[place..][..tile.channels];
        if target.len() == V * S::F32_LANES {
            S::as_mut_simd_f32s(target).0.copy_from_slice(&total);
        } else {
            for (target, total) in target.chunks_mut(S::F32_LANES).zip(total) {
                simd.partial_store_f32s(target, total);
            }
        }
    });
}

/// All pixels, in blocks of `P`; the last block may compute again what the one before has.
#[inline(always)]
fn pixels<S: Simd, const P: usize, const V: usize, const U: usize>(simd: S, tile: &Tile<'_>, result: &mut [f32]) {
    let count = tile.bases.len();
    let mut pixel = 0;
    while pixel + P <= count {
        block::<S, P, V, U>(simd, tile, pixel, result);
        pixel += P;
    }
    if pixel < count && count >= P {
        block::<S, P, V, U>(simd, tile, count - P, result);
    }
}

impl Tile<'_> {
    /// Computes all pixels for `vectors` vectors of channels, `at_once` pixels in a block, as [`pixels_at_once`] says.
    #[inline(always)]
    pub fn compute<S: Simd>(&self, simd: S, vectors: usize, at_once: usize, result: &mut [f32]) {
        macro_rules! blocks {
            ($($v:literal $wide:literal $narrow:literal: [$($p:literal)*])*) => {
                match (vectors, at_once) {
                    $($(
                        ($v, $p) if S::REGISTER_COUNT >= 32 => pixels::<S, $p, $v, $wide>(simd, self, result),
                        ($v, $p) => pixels::<S, $p, $v, $narrow>(simd, self, result),
                    )*)*
                    _ => unreachable!("a block of another size"),
                }
            };
        }
        // The more vectors, the fewer of the weights does a register remain for.
        blocks!(1 4 2: [1 2 4 8 12 16] 2 2 1: [1 2 4 6 8 12] 3 1 1: [1 2 4 8] 4 1 1: [1 2 4 6]);
    }
}
