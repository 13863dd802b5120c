//! Gradients of weights: every window's source times what reaches the window, summed over all windows.
#![allow(clippy::inline_always)] // code of the widest vectors

use crate::kernels::vector::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::geometry::Geometry;
use super::Machine;
use super::route::{Pass, Route};
use super::tile::most_sums;

/// Most parts of a batch.
const MOST_PARTS: usize = 8;

/// Multiplications that are worth a part with sums of its own.
const WORTH_A_PART: usize = 1 << 21;

/// Most elements of sums of parts, unless there are few parts.
const MOST_SUMS: usize = 1 << 21;

/// Windows that a part has at least, so that its sums are few beside its products.
const WINDOWS_A_PART: usize = 32;

/// Filters that are written side by side.
const FILTERS: usize = 8;

/// Elements of sums that are worth handing to another thread.
const CHUNK: usize = 1 << 13;

/// Elements of both sides that stay in the fastest cache.
const CACHED: usize = 1 << 13;

/// Windows of a block that sums stay in registers for.
const WINDOWS: (usize, usize) = (32, 512);

/// Most vectors of channels of a block of sums.
const MOST_VECTORS: usize = 2;

/// Numbers of rows of a block of sums, for each number of vectors.
const ROWS: [&[usize]; MOST_VECTORS] = [&[1, 2, 4, 9, 12, 16], &[1, 2, 5, 8, 12]];

/// Rows of sums, one a product of a window, computed at once.
#[derive(Debug, Clone, Copy)]
struct Rows {
    /// Where the source of the first row lies, relative to the base of a window.
    offset: usize,
    /// The first row; rows that the ones before have are left out.
    first: usize,
    count: usize,
    skipped: usize,
}

/// The gradient of the weights for fixed sizes.
#[derive(Debug)]
pub(super) struct WeightGradient {
    route: Route,
    images: usize,
    windowed: usize,
    spread: usize,
    /// Products of a window and a channel: rows of sums, with one element a channel of the windows.
    depth: usize,
    /// Elements of a row, whole vectors.
    width: usize,
    /// Blocks of vectors of channels, and of rows for each.
    blocks: Vec<(usize, usize)>,
    rows: [Vec<Rows>; MOST_VECTORS],
    images_a_part: usize,
    block: usize,
    /// Windows that are worked on at once.
    at_once: usize,
}

/// How many rows of `length` are computed at once.
fn rows_at_once(length: usize, vectors: usize, machine: Machine) -> usize {
    let most = most_sums(machine.registers, machine.lanes);
    let fits = |&count: &usize| count == 1 || count <= length && count * vectors <= most;
    let cost = |count: usize| {
        let (sums, loads) = ((count * vectors) as f64, (count + vectors) as f64);
        length.div_ceil(count) as f64 * ((sums / 2.0).max(loads / 2.0).max(4.0) + 0.5)
    };
    let candidates = ROWS[vectors - 1].iter().copied().filter(fits);
    candidates.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1)
}

fn blocks_of_rows(pass: &Pass, vectors: usize, machine: Machine) -> Vec<Rows> {
    let mut rows = Vec::new();
    let mut row = 0;
    for run in &pass.runs {
        let count = rows_at_once(run.length, vectors, machine);
        for start in (0..run.length).step_by(count) {
            let first = start.min(run.length - count);
            rows.push(Rows { offset: run.offset + first, first: row + first, count, skipped: start - first });
        }
        row += run.length;
    }
    rows
}

impl WeightGradient {
    /// The plan; `None` if the copy with its padding would be absurdly large.
    pub fn new(geometry: &Geometry) -> Option<Self> {
        let machine = Machine::find();
        let mut route = Route::new(geometry, true)?;
        let (images, windows) = (geometry.images, geometry.windows());
        let pass = route.passes.first()?;
        let depth = pass.depth();
        let vectors = geometry.windowed.div_ceil(machine.lanes);
        let width = vectors * machine.lanes;
        let parts = (geometry.work().saturating_mul(images) / WORTH_A_PART).clamp(1, MOST_PARTS);
        let parts = parts.min((MOST_SUMS / (depth * width)).max(2)).min((images * windows / WINDOWS_A_PART).max(1));
        let images_a_part = images.div_ceil(parts);
        let at_once = (CACHED / (width + geometry.spread)).clamp(WINDOWS.0, WINDOWS.1);
        let block = at_once.div_ceil(windows).clamp(1, images_a_part);
        let rows = [1, 2].map(|vectors| blocks_of_rows(pass, vectors, machine));
        let blocks = (0..vectors).step_by(MOST_VECTORS).map(|first| (first, MOST_VECTORS.min(vectors - first)));
        let blocks = blocks.collect();
        route.repeat(block);
        Some(Self {
            route,
            images,
            windowed: geometry.windowed,
            spread: geometry.spread,
            depth,
            width,
            blocks,
            rows,
            images_a_part,
            block,
            at_once,
        })
    }

    fn sums(&self) -> usize {
        self.depth * self.width
    }

    fn parts(&self) -> usize {
        self.images.div_ceil(self.images_a_part)
    }

    /// Elements of the copies of a part's images: of what windows lie on, and of windows whose channels do not fill vectors.
    fn copies(&self) -> (usize, usize) {
        let axes = if self.route.copy.is_some() { self.block * self.route.image } else { 0 };
        let windows = self.route.passes[0].bases.len();
        (axes, if self.windowed == self.width { 0 } else { windows * self.width })
    }

    /// Elements of scratch memory.
    pub fn scratch(&self) -> usize {
        let (axes, windows) = self.copies();
        self.parts() * (self.sums() + axes + windows)
    }

    /// Computes the gradient from what has one pixel a window and what lies on the axes.
    pub fn run(&self, windows: &[f32], axes: &[f32], gradient: &mut [f32], scratch: &mut [f32]) {
        let (axes_copy, windows_copy) = self.copies();
        let (sums, spaces) = scratch.split_at_mut(self.parts() * self.sums());
        let work = |part: usize, sums: &mut [f32], space: &mut [f32]| {
            let first = part * self.images_a_part;
            let images = self.images_a_part.min(self.images - first);
            let windows = &windows[first * self.route.result..][..images * self.route.result];
            let axes = &axes[first * self.route.source..];
            let (axes_copy, windows_copy) = space.split_at_mut(axes_copy);
            arch().dispatch(Part { of: self, windows, axes, sums, axes_copy, windows_copy });
        };
        let space = axes_copy + windows_copy;
        if self.parts() == 1 {
            work(0, sums, spaces);
        } else if space == 0 {
            sums.par_chunks_mut(self.sums()).enumerate().for_each(|(part, sums)| work(part, sums, &mut []));
        } else {
            let spaces = spaces.par_chunks_mut(space);
            let parts = sums.par_chunks_mut(self.sums()).zip(spaces).enumerate();
            parts.for_each(|(part, (sums, space))| work(part, sums, space));
        }
        let (total, others) = sums.split_at_mut(self.sums());
        if !others.is_empty() {
            total.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, total)| {
                for sums in others.chunks_exact(self.sums()) {
                    total.iter_mut().zip(&sums[chunk * CHUNK..]).for_each(|(total, sum)| *total += sum);
                }
            });
        }
        let total = &*total;
        let taps = &self.route.passes[0].taps;
        let filter = self.spread * taps.len();
        let filters = gradient.par_chunks_mut(filter * FILTERS).with_min_len(CHUNK.div_ceil(filter * FILTERS));
        filters.enumerate().for_each(|(block, filters)| {
            let (first, count) = (block * FILTERS, filters.len() / filter);
            for (rows, &tap) in total.chunks_exact(self.spread * self.width).zip(taps) {
                for (channel, sums) in rows.chunks_exact(self.width).enumerate() {
                    let weights = filters[channel * taps.len() + tap..].iter_mut().step_by(filter);
                    weights.zip(&sums[first..][..count]).for_each(|(weight, sum)| *weight = *sum);
                }
            }
        });
    }
}

/// The work on some images.
struct Part<'a> {
    of: &'a WeightGradient,
    windows: &'a [f32],
    axes: &'a [f32],
    sums: &'a mut [f32],
    axes_copy: &'a mut [f32],
    windows_copy: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, windows, axes, sums, axes_copy, windows_copy } = self;
        let Route { copy, image, source, result, passes } = &of.route;
        sums.fill(0.0);
        for (number, windows) in windows.chunks(of.block * result).enumerate() {
            let count = windows.len() / result;
            let axes = &axes[number * of.block * source..][..count * source];
            let axes = match copy {
                Some(copy) => {
                    for (axes, target) in axes.chunks_exact(*source).zip(axes_copy.chunks_exact_mut(*image)) {
                        copy.write(axes, target);
                    }
                    &*axes_copy
                }
                None => axes,
            };
            let windows = if of.windowed == of.width {
                windows
            } else {
                for (row, target) in windows.chunks_exact(of.windowed).zip(windows_copy.chunks_exact_mut(of.width)) {
                    let targets = S::as_mut_simd_f32s(target).0;
                    for (target, values) in targets.iter_mut().zip(row.chunks(S::F32_LANES)) {
                        *target = simd.partial_load_f32s(values);
                    }
                }
                &*windows_copy
            };
            let bases = &passes[0].bases[..count * passes[0].pixels];
            for (bases, windows) in bases.chunks(of.at_once).zip(windows.chunks(of.at_once * of.width)) {
                for &(first, vectors) in &of.blocks {
                    for rows in &of.rows[vectors - 1] {
                        let sums = &mut sums[rows.first * of.width..][..rows.count * of.width];
                        Sums {
                            axes: &axes[rows.offset..],
                            bases,
                            windows,
                            width: of.width,
                            first,
                            skipped: rows.skipped,
                        }
                        .add(simd, vectors, rows.count, sums);
                    }
                }
            }
        }
    }
}

/// Rows of sums: `sums[m, n] += Σ_q axes[bases[q] + m] · windows[q, n]`.
struct Sums<'a> {
    axes: &'a [f32],
    bases: &'a [usize],
    windows: &'a [f32],
    /// Elements of a row of windows and of sums.
    width: usize,
    /// The first vector of a row.
    first: usize,
    /// Rows that are not wanted.
    skipped: usize,
}

#[inline(always)]
fn add<S: Simd, const M: usize, const V: usize>(simd: S, of: &Sums<'_>, sums: &mut [f32]) {
    if M * V > most_sums(S::REGISTER_COUNT, S::F32_LANES) && M > 1 {
        return; // never chosen; spares the code
    }
    let mut totals = [[simd.splat_f32s(0.0); V]; M];
    let pitch = of.width / S::F32_LANES;
    let windows = S::as_simd_f32s(of.windows).0[of.first..].chunks(pitch);
    for (&base, window) in of.bases.iter().zip(windows) {
        let Some(values) = of.axes[base..].first_chunk::<M>() else { return };
        let Some(window) = window.first_chunk::<V>() else { return };
        each!(m in 0..M {
            let value = simd.splat_f32s(values[m]);
            each!(v in 0..V of 4 {
                totals[m][v] = simd.mul_add_e_f32s(value, window[v], totals[m][v]);
            });
        });
    }
    let rows = S::as_mut_simd_f32s(sums).0;
    each!(m in 0..M {
        let total = totals[m]; // a copy, so that all of the sums stay in registers
        if m >= of.skipped {
            let row = &mut rows[m * pitch + of.first..][..V];
            for (sum, &total) in row.iter_mut().zip(&total) {
                *sum = simd.add_f32s(*sum, total);
            }
        }
    });
}

impl Sums<'_> {
    /// Adds to `rows` rows and `vectors` vectors.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, vectors: usize, rows: usize, sums: &mut [f32]) {
        macro_rules! blocks {
            ($($v:literal: [$($m:literal)*])*) => {
                match (vectors, rows) {
                    $($(($v, $m) => add::<S, $m, $v>(simd, self, sums),)*)*
                    _ => unreachable!("a block of another size"),
                }
            };
        }
        blocks!(1: [1 2 4 9 12 16] 2: [1 2 5 8 12]);
    }
}
