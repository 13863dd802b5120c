//! Gradients of the weights and the bias of a depthwise convolution.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::super::geometry::{Axis, Geometry};
use crate::kernels::channels::{Block, Work, dispatch};
use crate::kernels::reach::Reach;
use crate::kernels::window;

/// Most parts into which images fall, and multiplications that are worth one.
const PARTS: usize = 16;
const WORTH: usize = 1 << 17;

/// Neighbouring taps of a row whose sums are in registers together, and rows of taps.
const TOGETHER: usize = 3;

/// The windows that see the axis through taps `first..first + count`.
#[derive(Debug)]
struct Columns {
    first: usize,
    /// Those of each tap.
    windows: Vec<Range<usize>>,
    /// Those of all taps.
    common: Range<usize>,
}

impl Columns {
    fn new(axis: &Axis, first: usize) -> Self {
        let windows_of = |tap: usize| {
            let place = tap * axis.dilation;
            let start = axis.begin.saturating_sub(place).div_ceil(axis.stride).min(axis.windows);
            let end = (axis.length + axis.begin).saturating_sub(place).div_ceil(axis.stride).min(axis.windows);
            start..end.max(start)
        };
        let windows: Vec<_> = (first..axis.taps.min(first + TOGETHER)).map(windows_of).collect();
        let start = windows.iter().map(|windows| windows.start).max().unwrap_or(0);
        let end = windows.iter().map(|windows| windows.end).min().unwrap_or(0);
        Self { first, windows, common: start..end.max(start) }
    }
}

/// How gradients of weights and bias are computed.
#[derive(Debug)]
pub(super) struct WeightGradient {
    channels: usize,
    images: usize,
    axes: [Axis; 3],
    depths: Reach,
    heights: Reach,
    columns: Vec<Columns>,
    /// Images of a part of the work.
    together: usize,
    /// Whether the gradients of the weights and of the bias are wanted.
    wanted: [bool; 2],
}

impl WeightGradient {
    pub fn new(geometry: &Geometry, wanted: [bool; 2]) -> Option<Self> {
        let axes = geometry.axes;
        let columns = (0..axes[2].taps).step_by(TOGETHER).map(|first| Columns::new(&axes[2], first)).collect();
        let parts = (geometry.images.saturating_mul(geometry.work()) / WORTH).clamp(1, PARTS);
        Some(Self {
            channels: geometry.groups,
            images: geometry.images,
            axes,
            depths: Reach::to_windows(&window::Axis::from(axes[0]))?,
            heights: Reach::to_windows(&window::Axis::from(axes[1]))?,
            columns,
            together: geometry.images.div_ceil(parts),
            wanted,
        })
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps).product()
    }

    /// Elements of the sums of a part: a row for each tap and one for the bias.
    fn part(&self) -> usize {
        (self.taps() + 1) * self.channels
    }

    pub fn scratch(&self) -> usize {
        self.part() * self.images.div_ceil(self.together)
    }

    /// `x` and `dy` have their channels last; `weights` is `[C, 1, taps…]` or empty, `bias` `[C]` or empty.
    pub fn run(&self, x: &[f32], dy: &[f32], weights: &mut [f32], bias: &mut [f32], scratch: &mut [f32]) {
        let scratch = &mut scratch[..self.scratch()];
        let part = |index: usize, sums: &mut [f32]| {
            let first = index * self.together;
            let images = first..(first + self.together).min(self.images);
            sums.fill(0.0);
            dispatch(self.channels, Part { gradient: self, images, x, dy, sums });
        };
        if self.together == self.images {
            part(0, scratch);
        } else {
            scratch.par_chunks_mut(self.part()).enumerate().for_each(|(index, sums)| part(index, sums));
        }
        let (total, others) = scratch.split_at_mut(self.part());
        for sums in others.chunks_exact(self.part()) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        let (taps, channels) = (self.taps(), self.channels);
        for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
            weights.iter_mut().enumerate().for_each(|(tap, weight)| *weight = total[tap * channels + channel]);
        }
        if self.wanted[1] {
            bias.copy_from_slice(&total[taps * channels..]);
        }
    }
}

/// Some images.
struct Part<'a> {
    gradient: &'a WeightGradient,
    images: Range<usize>,
    x: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(mut self, simd: S) {
        let gradient = self.gradient;
        let [depths, heights, _] = gradient.axes.map(|axis| axis.windows);
        for image in self.images.clone() {
            for index in 0..Block::<S, WHOLE>::count(gradient.channels) {
                let block = Block::<S, WHOLE>::new(simd, gradient.channels, index);
                if gradient.wanted[1] {
                    self.bias(block, image);
                }
                if !gradient.wanted[0] {
                    continue;
                }
                for row in 0..depths * heights {
                    let above = image * gradient.axes[0].length;
                    for &(depth_tap, depth) in gradient.depths.of(row / heights) {
                        let rows = gradient.heights.of(row % heights);
                        let taps = depth_tap * gradient.axes[1].taps;
                        let start = (above + depth) * gradient.axes[1].length;
                        for rows in rows.chunks(TOGETHER) {
                            let at = (image * depths * heights + row, start, taps);
                            match *rows {
                                [a, b, c] => self.rows(block, at, [a, b, c]),
                                [a, b] => self.rows(block, at, [a, b]),
                                [a] => self.rows(block, at, [a]),
                                _ => unreachable!("chunks of one to three"),
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Part<'_> {
    /// Adds the sums of `dy` of an image.
    #[inline(always)]
    fn bias<S: Simd, const WHOLE: bool>(&mut self, block: Block<S, WHOLE>, image: usize) {
        const LANES: usize = 4;
        let positions: usize = self.gradient.axes.iter().map(|axis| axis.windows).product();
        let mut totals = [block.simd.splat_f32s(0.0); LANES];
        let first = image * positions;
        let whole = positions - positions % LANES;
        for pixel in (first..first + whole).step_by(LANES) {
            for lane in 0..LANES {
                totals[lane] = block.simd.add_f32s(totals[lane], block.load(self.dy, pixel + lane));
            }
        }
        for pixel in first + whole..first + positions {
            totals[0] = block.simd.add_f32s(totals[0], block.load(self.dy, pixel));
        }
        let [a, b, c, d] = totals;
        let total = block.simd.add_f32s(block.simd.add_f32s(a, b), block.simd.add_f32s(c, d));
        self.add(block, self.gradient.taps(), total);
    }

    #[inline(always)]
    fn add<S: Simd, const WHOLE: bool>(&mut self, block: Block<S, WHOLE>, tap: usize, value: S::f32s) {
        let sum = block.simd.add_f32s(block.load(self.sums, tap), value);
        block.store(self.sums, tap, sum);
    }

    /// A row of windows with some rows of taps.
    #[inline(always)]
    fn rows<S: Simd, const WHOLE: bool, const ROWS: usize>(
        &mut self,
        block: Block<S, WHOLE>,
        at: (usize, usize, usize),
        rows: [(usize, usize); ROWS],
    ) {
        for columns in &self.gradient.columns {
            match columns.windows.len() {
                3 => self.taps::<S, WHOLE, ROWS, 3>(block, at, rows, columns),
                2 => self.taps::<S, WHOLE, ROWS, 2>(block, at, rows, columns),
                _ => self.taps::<S, WHOLE, ROWS, 1>(block, at, rows, columns),
            }
        }
    }

    /// A row of windows with some taps of some rows. `at` is the row of windows, and the first of the rows of the source and
    /// of the taps that belong to the depth.
    #[inline(always)]
    fn taps<S: Simd, const WHOLE: bool, const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        block: Block<S, WHOLE>,
        (windows, start, taps): (usize, usize, usize),
        rows: [(usize, usize); ROWS],
        columns: &Columns,
    ) {
        let (simd, channels, axis) = (block.simd, self.gradient.channels, self.gradient.axes[2]);
        let dy = &self.dy[windows * axis.windows * channels..][..axis.windows * channels];
        let mut x = [self.x; ROWS];
        for (x, (_, row)) in x.iter_mut().zip(rows) {
            *x = &self.x[(start + row) * axis.length * channels..][..axis.length * channels];
        }
        let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; ROWS];
        for window in columns.common.clone() {
            let gradient = block.load(dy, window);
            let place = window * axis.stride + columns.first * axis.dilation - axis.begin;
            for row in 0..ROWS {
                for column in 0..COLUMNS {
                    let value = block.load(x[row], place + column * axis.dilation);
                    sums[row][column] = simd.mul_add_e_f32s(gradient, value, sums[row][column]);
                }
            }
        }
        for column in 0..COLUMNS {
            let Range { start, end } = columns.windows[column];
            let before = start..end.min(columns.common.start);
            let after = start.max(columns.common.end).max(before.end)..end;
            for window in before.chain(after) {
                let gradient = block.load(dy, window);
                let place = window * axis.stride + (columns.first + column) * axis.dilation - axis.begin;
                for row in 0..ROWS {
                    let value = block.load(x[row], place);
                    sums[row][column] = simd.mul_add_e_f32s(gradient, value, sums[row][column]);
                }
            }
        }
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                self.add(block, (taps + rows[row].0) * axis.taps + columns.first + column, sums[row][column]);
            }
        }
    }
}
