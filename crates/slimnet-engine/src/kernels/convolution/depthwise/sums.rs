//! One side of a depthwise convolution from the other: sums over taps.

use pulp::Simd;
use rayon::prelude::*;

use super::super::geometry::{Axis, Geometry};
use crate::kernels::channels::{Block, Steps, Work, dispatch};
use crate::kernels::reach::Reach;
use crate::kernels::window;

/// Multiplications of a part of the work.
const PART: usize = 1 << 17;

/// Sums over taps: from the axes to the windows or back.
#[derive(Debug)]
pub(super) struct Sums {
    channels: usize,
    reach: [Reach; 3],
    /// Lengths of the axes of the source.
    source: [usize; 3],
    /// Taps of each axis.
    taps: [usize; 3],
    /// If taps of a row are three neighbours: element `o` of the target reads from `o − shift` on, and whether the first
    /// that it reads has the last tap.
    slide: Option<(isize, bool)>,
    /// If taps of a row are three, but not neighbours or not with stride 1: stride, dilation and padding in front.
    strided: Option<(usize, usize, usize)>,
    /// Rows of all images.
    rows: usize,
    /// Rows of a part of the work.
    together: usize,
}

/// Operands of one application.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// `[N, spatial…, C]`.
    pub source: &'a [f32],
    /// `[taps, C]`.
    pub weights: &'a [f32],
    /// `[C]`, or empty.
    pub bias: &'a [f32],
    /// What is added, of the shape of the result, or empty.
    pub added: &'a [f32],
    pub steps: Steps,
}

impl Sums {
    pub fn new(geometry: &Geometry, to_windows: bool) -> Option<Self> {
        let axes = &geometry.axes;
        let of = |axis: &Axis| {
            let axis = window::Axis::from(*axis);
            if to_windows { Reach::to_windows(&axis) } else { Reach::to_axis(&axis) }
        };
        let reach = [of(&axes[0])?, of(&axes[1])?, of(&axes[2])?];
        let source = axes.map(|axis| if to_windows { axis.length } else { axis.windows });
        let row = axes[2];
        let slides = row.taps == 3 && row.stride == 1 && row.dilation == 1;
        let begin = isize::try_from(row.begin).ok()?;
        let slide = slides.then_some(if to_windows { (begin, false) } else { (2 - begin, true) });
        let strided = (to_windows && row.taps == 3 && !slides).then_some((row.stride, row.dilation, row.begin));
        let rows = geometry.images * reach[0].targets() * reach[1].targets();
        let work = reach[2].targets() * geometry.groups * geometry.taps();
        let taps = axes.map(|axis| axis.taps);
        Some(Self {
            channels: geometry.groups,
            reach,
            source,
            taps,
            slide,
            strided,
            rows,
            together: (PART / work).max(1),
        })
    }

    /// Elements of a row of the target.
    fn row(&self) -> usize {
        self.reach[2].targets() * self.channels
    }

    pub fn run(&self, operands: Operands<'_>, target: &mut [f32]) {
        let length = self.together * self.row();
        let part = |index: usize, target: &mut [f32]| {
            dispatch(self.channels, Part { sums: self, operands, first: index * self.together, target });
        };
        if self.rows <= self.together {
            part(0, target);
        } else {
            target.par_chunks_mut(length).enumerate().for_each(|(index, target)| part(index, target));
        }
    }
}

/// Some rows of the target.
struct Part<'a> {
    sums: &'a Sums,
    operands: Operands<'a>,
    first: usize,
    target: &'a mut [f32],
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(self, simd: S) {
        let Self { sums, operands, first, target } = self;
        let blocks = Block::<S, WHOLE>::count(sums.channels);
        let length = sums.row();
        let [depths, heights] = [0, 1].map(|axis| sums.reach[axis].targets());
        for (index, target) in target.chunks_exact_mut(length).enumerate() {
            let row = first + index;
            let (image, depth, height) = (row / (depths * heights), row / heights % depths, row % heights);
            let added = if operands.added.is_empty() { &[] } else { &operands.added[row * length..][..length] };
            let row = Row {
                sums,
                operands: Operands { added, ..operands },
                above: image * sums.source[0],
                depths: sums.reach[0].of(depth),
                heights: sums.reach[1].of(height),
            };
            let mut at = 0;
            if let ([(depth_tap, depth)], Some(slide), 1..=3) = (row.depths, sums.slide, row.heights.len()) {
                let under = (*depth_tap * sums.taps[1], (row.above + depth) * sums.source[1]);
                for at in 0..blocks {
                    match row.heights {
                        [a, b, c] => row.slide::<S, WHOLE, 3>(simd, at, [*a, *b, *c], under, slide, target),
                        [a, b] => row.slide::<S, WHOLE, 2>(simd, at, [*a, *b], under, slide, target),
                        [a] => row.slide::<S, WHOLE, 1>(simd, at, [*a], under, slide, target),
                        _ => unreachable!("one to three rows"),
                    }
                }
                continue;
            }
            if let ([(depth_tap, depth)], Some(strided), 1..=3) = (row.depths, sums.strided, row.heights.len()) {
                let under = (*depth_tap * sums.taps[1], (row.above + depth) * sums.source[1]);
                for at in 0..blocks {
                    match row.heights {
                        [a, b, c] => row.stride::<S, WHOLE, 3>(simd, at, [*a, *b, *c], under, strided, target),
                        [a, b] => row.stride::<S, WHOLE, 2>(simd, at, [*a, *b], under, strided, target),
                        [a] => row.stride::<S, WHOLE, 1>(simd, at, [*a], under, strided, target),
                        _ => unreachable!("one to three rows"),
                    }
                }
                continue;
            }
            while at < blocks {
                match blocks - at {
                    4.. => row.each::<S, WHOLE, 4>(simd, at, target),
                    2.. => row.each::<S, WHOLE, 2>(simd, at, target),
                    _ => row.each::<S, WHOLE, 1>(simd, at, target),
                }
                at += match blocks - at {
                    4.. => 4,
                    2.. => 2,
                    _ => 1,
                };
            }
        }
    }
}

/// A row of the target and what reaches it.
struct Row<'a> {
    sums: &'a Sums,
    operands: Operands<'a>,
    /// Planes of the source before the image.
    above: usize,
    depths: &'a [(usize, usize)],
    heights: &'a [(usize, usize)],
}

impl Row<'_> {
    #[inline(always)]
    fn bias<S: Simd, const WHOLE: bool>(&self, block: Block<S, WHOLE>) -> S::f32s {
        if self.operands.bias.is_empty() { block.simd.splat_f32s(0.0) } else { block.load(self.operands.bias, 0) }
    }

    #[inline(always)]
    fn finish<S: Simd, const WHOLE: bool>(
        &self,
        block: Block<S, WHOLE>,
        target: &mut [f32],
        pixel: usize,
        sum: S::f32s,
    ) {
        let Operands { added, steps, .. } = &self.operands;
        let sum = if added.is_empty() { sum } else { block.simd.add_f32s(sum, block.load(added, pixel)) };
        block.store(target, pixel, steps.limited(block.simd, sum));
    }

    /// Some blocks of the channels of every pixel, with any taps.
    ///
    /// Vectors are never given to closures of `map` and the like, which would not be compiled for them.
    #[inline(always)]
    fn each<S: Simd, const WHOLE: bool, const BLOCKS: usize>(&self, simd: S, first: usize, target: &mut [f32]) {
        let Operands { source, weights, .. } = self.operands;
        let sums = self.sums;
        let mut blocks = [Block::<S, WHOLE>::new(simd, sums.channels, first); BLOCKS];
        let mut bias = [simd.splat_f32s(0.0); BLOCKS];
        for index in 0..BLOCKS {
            blocks[index] = Block::new(simd, sums.channels, first + index);
            bias[index] = self.bias(blocks[index]);
        }
        for pixel in 0..sums.reach[2].targets() {
            let columns = sums.reach[2].of(pixel);
            let mut totals = bias;
            for &(depth_tap, depth) in self.depths {
                for &(tap, height) in self.heights {
                    let tap = (depth_tap * sums.taps[1] + tap) * sums.taps[2];
                    let place = ((self.above + depth) * sums.source[1] + height) * sums.source[2];
                    for &(column_tap, column) in columns {
                        for index in 0..BLOCKS {
                            let value = blocks[index].load(source, place + column);
                            let weight = blocks[index].load(weights, tap + column_tap);
                            totals[index] = simd.mul_add_e_f32s(value, weight, totals[index]);
                        }
                    }
                }
            }
            for index in 0..BLOCKS {
                self.finish(blocks[index], target, pixel, totals[index]);
            }
        }
    }

    /// A block of the channels where three neighbours in each of some rows are summed: every element of the source is
    /// read once, and weights stay in registers.
    ///
    /// `under` is the first of the rows of taps and of the source that belong to the depth.
    #[inline(always)]
    fn slide<S: Simd, const WHOLE: bool, const ROWS: usize>(
        &self,
        simd: S,
        first: usize,
        heights: [(usize, usize); ROWS],
        under: (usize, usize),
        (shift, mirrored): (isize, bool),
        target: &mut [f32],
    ) {
        let Operands { source, weights, .. } = self.operands;
        let sums = self.sums;
        let block = Block::<S, WHOLE>::new(simd, sums.channels, first);
        let bias = self.bias(block);
        let (length, order) = (sums.source[2] * sums.channels, if mirrored { [2, 1, 0] } else { [0, 1, 2] });
        let mut factors = [[bias; 3]; ROWS];
        let mut rows = [source; ROWS];
        for row in 0..ROWS {
            let (tap, height) = heights[row];
            for place in 0..3 {
                factors[row][place] = block.load(weights, (under.0 + tap) * 3 + order[place]);
            }
            rows[row] = &source[(under.1 + height) * length..][..length];
        }
        let windows = sums.reach[2].targets();
        // The sums of the window that ends at the step, of the next, and of that after.
        let (mut last, mut middle) = (bias, bias);
        for step in 0..windows + 2 {
            let mut new = bias;
            let column = (step as isize).wrapping_sub(shift) as usize;
            if column < sums.source[2] {
                for row in 0..ROWS {
                    let value = block.load(rows[row], column);
                    last = simd.mul_add_e_f32s(value, factors[row][2], last);
                    middle = simd.mul_add_e_f32s(value, factors[row][1], middle);
                    new = simd.mul_add_e_f32s(value, factors[row][0], new);
                }
            }
            if step >= 2 {
                self.finish(block, target, step - 2, last);
            }
            (last, middle) = (middle, new);
        }
    }
    /// A block of the channels where three taps in each of some rows are summed, with weights in registers.
    ///
    /// `under` is the first of the rows of taps and of the source that belong to the depth.
    #[inline(always)]
    fn stride<S: Simd, const WHOLE: bool, const ROWS: usize>(
        &self,
        simd: S,
        first: usize,
        heights: [(usize, usize); ROWS],
        under: (usize, usize),
        (stride, dilation, begin): (usize, usize, usize),
        target: &mut [f32],
    ) {
        let Operands { source, weights, .. } = self.operands;
        let sums = self.sums;
        let block = Block::<S, WHOLE>::new(simd, sums.channels, first);
        let bias = self.bias(block);
        let columns = sums.source[2];
        let length = columns * sums.channels;
        let mut factors = [[bias; 3]; ROWS];
        let mut rows = [source; ROWS];
        for row in 0..ROWS {
            let (tap, height) = heights[row];
            for place in 0..3 {
                factors[row][place] = block.load(weights, (under.0 + tap) * 3 + place);
            }
            rows[row] = &source[(under.1 + height) * length..][..length];
        }
        for pixel in 0..sums.reach[2].targets() {
            // A sum for each column, so that products need not wait for each other.
            let mut totals = [bias, simd.splat_f32s(0.0), simd.splat_f32s(0.0)];
            for place in 0..3 {
                // In front of the image it wraps around to what lies behind the last column.
                let column = (pixel * stride + place * dilation).wrapping_sub(begin);
                if column < columns {
                    for row in 0..ROWS {
                        let value = block.load(rows[row], column);
                        totals[place] = simd.mul_add_e_f32s(value, factors[row][place], totals[place]);
                    }
                }
            }
            let [left, middle, right] = totals;
            self.finish(block, target, pixel, simd.add_f32s(simd.add_f32s(left, middle), right));
        }
    }
}
