//! `Softmax` and `LogSoftmax` along an axis.

use rayon::prelude::*;
use slimnet_graph::ops::normalization::SoftmaxKind;

use crate::kernels::functions::{exp, ln};
use crate::kernels::vector::{LANES, join, last, padded, sum, vectorized};
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Elements of a part of the work.
const PART: usize = 8 * 1024;

/// Sizes of one application: `[outer, length, inner]`.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    log: bool,
    length: usize,
    inner: usize,
}

impl Sizes {
    fn of(kind: SoftmaxKind, axis: i64, shape: &[usize]) -> Option<Self> {
        let log = match kind {
            SoftmaxKind::Softmax => false,
            SoftmaxKind::LogSoftmax => true,
            SoftmaxKind::Hardmax => return None,
        };
        let rank = shape.len() as i64;
        let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
        Some(Self { log, length: *shape.get(axis)?, inner: shape[axis + 1..].iter().product() })
    }

    /// Blocks that are independent.
    fn block(self) -> usize {
        (self.length * self.inner).max(1)
    }
}

#[derive(Debug)]
struct Forward(Sizes);

pub(super) fn prepare(kind: SoftmaxKind, axis: i64, node: &NodeType<'_>) -> Prepared {
    let x = node.input(0).filter(|x| x.is_f32())?;
    Some(Box::new(Forward(Sizes::of(kind, axis, &x.shape)?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.0;
        let x = call.input::<f32>(0);
        sizes.each_block(
            call.output(0),
            #[inline(always)]
            |y, start| {
                let x = &x[start..][..y.len()];
                if sizes.inner == 1 { sizes.row(y, x) } else { sizes.columns(y, x) }
            },
        );
        Ok(())
    }
}

/// Slots of the gradient node.
const OUTPUT: usize = 1;
const GRADIENT: usize = 2;

#[derive(Debug)]
struct Backward(Sizes);

pub(super) fn prepare_gradient(kind: SoftmaxKind, axis: i64, node: &NodeType<'_>) -> Prepared {
    let dy = node.input(GRADIENT).filter(|dy| dy.is_f32())?;
    Some(Box::new(Backward(Sizes::of(kind, axis, &dy.shape)?)))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.0;
        let (y, dy) = (call.input::<f32>(OUTPUT), call.input::<f32>(GRADIENT));
        sizes.each_block(
            call.output(0),
            #[inline(always)]
            |dx, start| {
                let (y, dy) = (&y[start..][..dx.len()], &dy[start..][..dx.len()]);
                if sizes.inner == 1 { sizes.row_gradient(dx, y, dy) } else { sizes.columns_gradient(dx, y, dy) }
            },
        );
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == OUTPUT || input == GRADIENT
    }
}

/// `result[i] = function(a[i], b[i])`, a whole vector at a time, also of the last few elements.
#[allow(clippy::inline_always)]
#[inline(always)]
fn zip(result: &mut [f32], a: &[f32], b: &[f32], function: impl Fn(f32, f32) -> f32) {
    let whole = result.len() / LANES * LANES;
    let (results, _) = result.as_chunks_mut::<LANES>();
    let (vectors_a, vectors_b) = (a.as_chunks::<LANES>().0, b.as_chunks::<LANES>().0);
    for (result, (a, b)) in results.iter_mut().zip(vectors_a.iter().zip(vectors_b)) {
        for lane in 0..LANES {
            result[lane] = function(a[lane], b[lane]);
        }
    }
    if whole == result.len() {
        return;
    }
    let ((last_a, before), (last_b, _)) = (last(a), last(b));
    let mut values = [0f32; LANES];
    for lane in 0..LANES {
        values[lane] = function(last_a[lane], last_b[lane]);
    }
    match result.last_chunk_mut::<LANES>() {
        // Elements that whole vectors had before get the same values again.
        Some(result) => *result = values,
        None => result.copy_from_slice(&values[before..]),
    }
}

/// The sum of `term(a[i], b[i])`.
#[allow(clippy::inline_always)]
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let ((vectors_a, rest), (vectors_b, _)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (a, b) in vectors_a.iter().zip(vectors_b) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    if !rest.is_empty() {
        let ((a, before), (b, _)) = (last(a), last(b));
        for lane in 0..LANES {
            let term = term(a[lane], b[lane]);
            sums[lane] += if lane < before { 0.0 } else { term };
        }
    }
    join(
        sums,
        #[inline(always)]
        |a, b| a + b,
    )
}

#[allow(clippy::inline_always)] // only inside a vectorised function are they compiled for the vectors that there are
impl Sizes {
    /// Calls `work(block, start)` on independent blocks of an output, many at a time.
    #[inline(always)]
    fn each_block(self, output: &mut [f32], work: impl Fn(&mut [f32], usize) + Sync) {
        let block = self.block();
        let length = (PART / block).max(1) * block;
        let part = |(part, output): (usize, &mut [f32])| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, output) in output.chunks_exact_mut(block).enumerate() {
                        work(output, part * length + index * block);
                    }
                },
            );
        };
        if output.len() <= length {
            part((0, output));
        } else {
            output.par_chunks_mut(length).enumerate().for_each(part);
        }
    }

    #[inline(always)]
    fn row(self, y: &mut [f32], x: &[f32]) {
        let (whole, rest) = x.as_chunks::<LANES>();
        let mut most = [f32::NEG_INFINITY; LANES];
        for x in whole {
            for lane in 0..LANES {
                most[lane] = larger(x[lane], most[lane]);
            }
        }
        if !rest.is_empty() {
            // What whole vectors had before does no harm; zeros before a short row would.
            let (last, before) = last(x);
            let before = if x.len() < LANES { before } else { 0 };
            for lane in 0..LANES {
                most[lane] = if lane < before { most[lane] } else { larger(last[lane], most[lane]) };
            }
        }
        let largest = join(most, larger);
        if self.log {
            let sum = sum_of(
                x,
                x,
                #[inline(always)]
                |x, _| exp(x - largest),
            );
            let shift = ln(sum);
            zip(
                y,
                x,
                x,
                #[inline(always)]
                // In this order numbers far from 0 lose nothing.
                |x, _| (x - largest) - shift,
            );
        } else {
            zip(
                y,
                x,
                x,
                #[inline(always)]
                |x, _| exp(x - largest),
            );
            let scale = 1.0 / sum(y);
            for y in y {
                *y *= scale;
            }
        }
    }

    #[inline(always)]
    fn row_gradient(self, dx: &mut [f32], y: &[f32], dy: &[f32]) {
        if self.log {
            let sum = sum(dy);
            zip(
                dx,
                y,
                dy,
                #[inline(always)]
                |y, dy| dy - exp(y) * sum,
            );
        } else {
            let sum = sum_of(
                y,
                dy,
                #[inline(always)]
                |y, dy| y * dy,
            );
            zip(
                dx,
                y,
                dy,
                #[inline(always)]
                |y, dy| y * (dy - sum),
            );
        }
    }

    /// A block of rows that are not side by side: [`LANES`] columns at a time.
    #[inline(always)]
    fn columns(self, y: &mut [f32], x: &[f32]) {
        for first in (0..self.inner).step_by(LANES) {
            let width = LANES.min(self.inner - first);
            let load = |data: &[f32], index: usize| padded(&data[index * self.inner + first..][..width], 0.0);
            let mut most = [f32::NEG_INFINITY; LANES];
            for index in 0..self.length {
                let x = load(x, index);
                for lane in 0..LANES {
                    most[lane] = larger(x[lane], most[lane]);
                }
            }
            let mut sums = [0f32; LANES];
            for index in 0..self.length {
                let mut powers = load(x, index);
                for lane in 0..LANES {
                    powers[lane] = exp(powers[lane] - most[lane]);
                    sums[lane] += powers[lane];
                }
                y[index * self.inner + first..][..width].copy_from_slice(&powers[..width]);
            }
            for lane in 0..LANES {
                sums[lane] = if self.log { ln(sums[lane]) } else { 1.0 / sums[lane] };
            }
            for index in 0..self.length {
                let mut result = load(if self.log { x } else { y }, index);
                for lane in 0..LANES {
                    result[lane] =
                        if self.log { (result[lane] - most[lane]) - sums[lane] } else { result[lane] * sums[lane] };
                }
                y[index * self.inner + first..][..width].copy_from_slice(&result[..width]);
            }
        }
    }

    #[inline(always)]
    fn columns_gradient(self, dx: &mut [f32], y: &[f32], dy: &[f32]) {
        for first in (0..self.inner).step_by(LANES) {
            let width = LANES.min(self.inner - first);
            let load = |data: &[f32], index: usize| padded(&data[index * self.inner + first..][..width], 0.0);
            let mut sums = [0f32; LANES];
            for index in 0..self.length {
                let (y, dy) = (load(y, index), load(dy, index));
                for lane in 0..LANES {
                    sums[lane] += if self.log { dy[lane] } else { dy[lane] * y[lane] };
                }
            }
            for index in 0..self.length {
                let (mut y, dy) = (load(y, index), load(dy, index));
                for lane in 0..LANES {
                    y[lane] =
                        if self.log { dy[lane] - exp(y[lane]) * sums[lane] } else { y[lane] * (dy[lane] - sums[lane]) };
                }
                dx[index * self.inner + first..][..width].copy_from_slice(&y[..width]);
            }
        }
    }
}

#[allow(clippy::inline_always)]
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
