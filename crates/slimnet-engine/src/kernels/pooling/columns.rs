//! Pooling of tensors whose channels come last, along vectors of channels.

use pulp::Simd;
use rayon::prelude::*;

use super::Slots;
use super::plane::Plane;
use crate::kernels::channels::{Block, Work, dispatch};
use crate::kernels::reach::Reach;
use crate::kernels::{Call, Kernel, KernelError};

/// Elements that are read in a part of the work.
const PART: usize = 1 << 16;

/// What windows become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The largest element.
    Max,
    /// The mean, of the padding too if so.
    Average { padding: bool },
}

/// Windows over images, and which elements they see.
#[derive(Debug)]
pub(super) struct Windows {
    what: What,
    channels: usize,
    plane: Plane,
    /// For each axis: elements of each window.
    seen: [Reach; 3],
    /// For each axis: windows of each element.
    seers: [Reach; 3],
    /// For means: what depth and row, and the column, contribute to the factor of a window.
    factors: (Vec<f32>, Vec<f32>),
}

/// Calls `part` with the first row of a part of `output` and its rows.
fn each_part(output: &mut [f32], row: usize, read: usize, part: impl Fn(usize, &mut [f32]) + Sync) {
    let together = (PART / read.max(1)).max(1);
    if output.len() <= together * row {
        part(0, output);
    } else {
        let parts = output.par_chunks_mut(together * row).enumerate();
        parts.for_each(|(index, output)| part(index * together, output));
    }
}

impl Windows {
    /// `None` for windows that are too many to be written down.
    pub fn new(what: What, plane: Plane, channels: usize) -> Option<Self> {
        let axes = &plane.axes;
        let seen = [Reach::to_windows(&axes[0])?, Reach::to_windows(&axes[1])?, Reach::to_windows(&axes[2])?];
        let seers = [Reach::to_axis(&axes[0])?, Reach::to_axis(&axes[1])?, Reach::to_axis(&axes[2])?];
        let factors = match what {
            What::Max => (Vec::new(), Vec::new()),
            What::Average { padding } => {
                let rows = plane.rows().map(|at| 1.0 / plane.row_counts(padding, at));
                let columns = plane.column_counts(padding).into_iter().map(|count| 1.0 / count);
                (rows.collect(), columns.collect())
            }
        };
        Some(Self { what, channels, plane, seen, seers, factors })
    }

    /// How many elements or windows there are: along each axis, and in a row of channels.
    fn lengths(&self, windows: bool) -> [usize; 3] {
        self.plane.axes.map(|axis| if windows { axis.windows } else { axis.length })
    }

    fn forward(&self, x: &[f32], y: &mut [f32]) {
        let [.., columns] = self.lengths(true);
        let row = columns * self.channels;
        let read = row * self.plane.axes.iter().map(|axis| axis.taps).product::<usize>();
        each_part(y, row, read, |first, y| {
            dispatch(self.channels, Forward { windows: self, x, first, y });
        });
    }

    fn backward(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let [depths, rows, columns] = self.lengths(false);
        match self.what {
            What::Average { .. } => {
                let row = columns * self.channels;
                each_part(dx, row, row * 2, |first, dx| {
                    dispatch(self.channels, Shares { windows: self, dy, first, dx });
                });
            }
            What::Max => {
                // Windows share elements, so a part has whole images.
                let image = depths * rows * columns * self.channels;
                each_part(dx, image, image * 2, |first, dx| {
                    dispatch(self.channels, Choices { windows: self, x, dy, first, dx });
                });
            }
        }
    }
}

/// The larger one, or the first that is no number.
#[inline(always)]
fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    let number = simd.equal_f32s(b, b);
    let kept = simd.select_f32s(number, a, b);
    simd.select_f32s(simd.greater_than_f32s(b, a), b, kept)
}

/// Some rows of windows.
struct Forward<'a> {
    windows: &'a Windows,
    x: &'a [f32],
    first: usize,
    y: &'a mut [f32],
}

impl Work for Forward<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(self, simd: S) {
        let Self { windows, x, first, y } = self;
        let [depths, heights, columns] = windows.lengths(true);
        let [source_depths, source_heights, source_columns] = windows.lengths(false);
        for (index, y) in y.chunks_exact_mut(columns * windows.channels).enumerate() {
            let row = first + index;
            let (image, at) = (row / (depths * heights), row % (depths * heights));
            for column in 0..columns {
                for index in 0..Block::<S, WHOLE>::count(windows.channels) {
                    let block = Block::<S, WHOLE>::new(simd, windows.channels, index);
                    let start = if windows.what == What::Max { f32::NEG_INFINITY } else { 0.0 };
                    let mut total = simd.splat_f32s(start);
                    for &(_, depth) in windows.seen[0].of(at / heights) {
                        for &(_, height) in windows.seen[1].of(at % heights) {
                            let place = ((image * source_depths + depth) * source_heights + height) * source_columns;
                            // Rows by themselves, so that rounding does not grow with the length of a long sum.
                            let mut part = simd.splat_f32s(start);
                            for &(_, column) in windows.seen[2].of(column) {
                                let value = block.load(x, place + column);
                                part = match windows.what {
                                    What::Max => larger(simd, part, value),
                                    What::Average { .. } => simd.add_f32s(part, value),
                                };
                            }
                            total = match windows.what {
                                What::Max => larger(simd, total, part),
                                What::Average { .. } => simd.add_f32s(total, part),
                            };
                        }
                    }
                    if windows.what != What::Max {
                        let factor = windows.factors.0[at] * windows.factors.1[column];
                        total = simd.mul_f32s(total, simd.splat_f32s(factor));
                    }
                    block.store(y, column, total);
                }
            }
        }
    }
}

/// Some rows of elements, whose gradients come from all windows that see them.
struct Shares<'a> {
    windows: &'a Windows,
    dy: &'a [f32],
    first: usize,
    dx: &'a mut [f32],
}

impl Work for Shares<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(self, simd: S) {
        let Self { windows, dy, first, dx } = self;
        let [depths, heights, columns] = windows.lengths(false);
        let [window_depths, window_heights, window_columns] = windows.lengths(true);
        // One window that sees all.
        let whole = windows.plane.axes.iter().all(|axis| axis.windows == 1 && axis.taps_of(0).len() == axis.length);
        for (index, dx) in dx.chunks_exact_mut(columns * windows.channels).enumerate() {
            let row = first + index;
            let (image, depth, height) = (row / (depths * heights), row / heights % depths, row % heights);
            if whole {
                let factor = simd.splat_f32s(windows.factors.0[0] * windows.factors.1[0]);
                for index in 0..Block::<S, WHOLE>::count(windows.channels) {
                    let block = Block::<S, WHOLE>::new(simd, windows.channels, index);
                    let share = simd.mul_f32s(block.load(dy, image), factor);
                    for column in 0..columns {
                        block.store(dx, column, share);
                    }
                }
                continue;
            }
            for column in 0..columns {
                for index in 0..Block::<S, WHOLE>::count(windows.channels) {
                    let block = Block::<S, WHOLE>::new(simd, windows.channels, index);
                    let mut total = simd.splat_f32s(0.0);
                    for &(_, depth) in windows.seers[0].of(depth) {
                        for &(_, height) in windows.seers[1].of(height) {
                            let at = depth * window_heights + height;
                            let place = (image * window_depths * window_heights + at) * window_columns;
                            for &(_, column) in windows.seers[2].of(column) {
                                let factor = windows.factors.0[at] * windows.factors.1[column];
                                let share = block.load(dy, place + column);
                                total = simd.mul_add_e_f32s(share, simd.splat_f32s(factor), total);
                            }
                        }
                    }
                    block.store(dx, column, total);
                }
            }
        }
    }
}

/// Some images, in which the first of the largest elements of a window has its gradient; or the first that is no number.
struct Choices<'a> {
    windows: &'a Windows,
    x: &'a [f32],
    dy: &'a [f32],
    first: usize,
    dx: &'a mut [f32],
}

impl Work for Choices<'_> {
    #[inline(always)]
    fn run<S: Simd, const WHOLE: bool>(self, simd: S) {
        let Self { windows, x, dy, first, dx } = self;
        let [window_depths, window_heights, window_columns] = windows.lengths(true);
        let [depths, heights, columns] = windows.lengths(false);
        let (image_length, window_count) =
            (depths * heights * columns * windows.channels, window_depths * window_heights * window_columns);
        let zero = simd.splat_f32s(0.0);
        for (index, dx) in dx.chunks_exact_mut(image_length).enumerate() {
            let image = first + index;
            let x = &x[image * image_length..][..image_length];
            let dy = &dy[image * window_count * windows.channels..][..window_count * windows.channels];
            dx.fill(0.0);
            for window in 0..window_count {
                let (row, column) = (window / window_columns, window % window_columns);
                let seen = [
                    windows.seen[0].of(row / window_heights),
                    windows.seen[1].of(row % window_heights),
                    windows.seen[2].of(column),
                ];
                for index in 0..Block::<S, WHOLE>::count(windows.channels) {
                    let block = Block::<S, WHOLE>::new(simd, windows.channels, index);
                    let mut most = simd.splat_f32s(f32::NEG_INFINITY);
                    for &(_, depth) in seen[0] {
                        for &(_, height) in seen[1] {
                            for &(_, column) in seen[2] {
                                let place = (depth * heights + height) * columns + column;
                                most = larger(simd, most, block.load(x, place));
                            }
                        }
                    }
                    // What nobody has taken yet.
                    let mut left = block.load(dy, window);
                    for &(_, depth) in seen[0] {
                        for &(_, height) in seen[1] {
                            for &(_, column) in seen[2] {
                                let place = (depth * heights + height) * columns + column;
                                let value = block.load(x, place);
                                let (largest, number) = (simd.equal_f32s(value, most), simd.equal_f32s(value, value));
                                let kept = simd.select_f32s(largest, zero, simd.select_f32s(number, left, zero));
                                let taken = simd.select_f32s(largest, left, simd.select_f32s(number, zero, left));
                                block.store(dx, place, simd.add_f32s(block.load(dx, place), taken));
                                left = kept;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
struct Pool(Windows);

pub(super) fn prepare(windows: Windows) -> Box<dyn Kernel> {
    Box::new(Pool(windows))
}

impl Kernel for Pool {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        self.0.forward(call.input(0), call.output(0));
        Ok(())
    }
}

#[derive(Debug)]
struct PoolBackward {
    windows: Windows,
    slots: Slots,
}

pub(super) fn prepare_gradient(windows: Windows, slots: Slots) -> Box<dyn Kernel> {
    Box::new(PoolBackward { windows, slots })
}

impl Kernel for PoolBackward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let x = if self.reads(0) { call.input(0) } else { &[] };
        self.windows.backward(x, call.input(self.slots.dy), call.output(0));
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.slots.dy || (input == 0 && self.windows.what == What::Max)
    }
}
