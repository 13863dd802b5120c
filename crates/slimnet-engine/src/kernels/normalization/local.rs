//! `LRN`: division of `[N, C, …]` by a power of the sum of squares of neighbouring channels.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::Lrn;

use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Sizes of one application.
#[derive(Debug, Clone)]
struct Sizes {
    channels: usize,
    /// Elements of a channel of an example: a row.
    inner: usize,
    /// Channels before and behind whose squares count.
    before: usize,
    behind: usize,
    /// Scale of the sum of squares.
    scale: f32,
    beta: f32,
    bias: f32,
}

/// Columns of rows that are computed together.
const COLUMNS: usize = 128;

/// Elements of a part of the work.
const PART: usize = 8 * 1024;

/// `base` to the power of `−beta`.
#[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
#[inline(always)]
fn inverse_power(base: &mut [f32], beta: f32) {
    if beta == 0.75 {
        // The usual exponent needs roots only, which are vector instructions.
        for base in base {
            let root = base.sqrt();
            *base = 1.0 / (root * root.sqrt());
        }
    } else if beta == 0.5 {
        for base in base {
            *base = 1.0 / base.sqrt();
        }
    } else {
        for base in base {
            *base = base.powf(-beta);
        }
    }
}

impl Sizes {
    fn of(op: &Lrn, shape: &[usize]) -> Option<Self> {
        let (_, &channels) = (shape.first()?, shape.get(1)?);
        let size = usize::try_from(op.size).ok().filter(|&size| size > 0)?;
        Some(Self {
            channels,
            inner: shape[2..].iter().product(),
            before: (size - 1) / 2,
            behind: size / 2,
            scale: (f64::from(op.alpha) / size as f64) as f32,
            beta: op.beta,
            bias: op.bias,
        })
    }

    /// Rows of a part of the work.
    fn rows(&self) -> usize {
        (PART / self.inner.max(1)).max(1)
    }

    /// The rows of the same example that lie from `before` before to `behind` behind a row.
    fn near(&self, row: usize, before: usize, behind: usize) -> Range<usize> {
        let channel = row % self.channels;
        row - before.min(channel)..row + behind.min(self.channels - 1 - channel) + 1
    }

    /// The sum over rows of `term` in some columns.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn sum(&self, sums: &mut [f32], rows: Range<usize>, first: usize, data: &[f32], term: impl Fn(f32) -> f32) {
        sums.fill(0.0);
        for row in rows {
            let data = &data[row * self.inner + first..][..sums.len()];
            sums.iter_mut().zip(data).for_each(|(sum, &data)| *sum += term(data));
        }
    }

    /// What a row is divided by a power of, in some columns.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn bases(&self, bases: &mut [f32], row: usize, first: usize, x: &[f32]) {
        self.sum(bases, self.near(row, self.before, self.behind), first, x, |x| x * x);
        for base in bases {
            *base = self.bias + self.scale * *base;
        }
    }

    /// Calls `work` with blocks of columns.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn each_block(&self, mut work: impl FnMut(Range<usize>)) {
        let mut first = 0;
        while first < self.inner {
            let end = (first + COLUMNS).min(self.inner);
            work(first..end);
            first = end;
        }
    }
}

#[derive(Debug)]
struct Forward(Sizes);

pub(super) fn prepare(op: &Lrn, node: &NodeType<'_>) -> Prepared {
    Some(Box::new(Forward(Sizes::of(op, &node.input(0)?.shape)?)))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.0;
        let (x, y) = (call.input::<f32>(0), call.output::<f32>(0));
        if y.is_empty() {
            return Ok(());
        }
        y.par_chunks_mut(sizes.rows() * sizes.inner).enumerate().for_each(|(part, y)| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, y) in y.chunks_exact_mut(sizes.inner).enumerate() {
                        let row = part * sizes.rows() + index;
                        let x_row = &x[row * sizes.inner..][..sizes.inner];
                        sizes.each_block(
                            #[inline(always)]
                            |columns| {
                                let mut powers = [0f32; COLUMNS];
                                let powers = &mut powers[..columns.len()];
                                sizes.bases(powers, row, columns.start, x);
                                inverse_power(powers, sizes.beta);
                                let pairs = x_row[columns.clone()].iter().zip(powers);
                                y[columns].iter_mut().zip(pairs).for_each(|(y, (x, power))| *y = x * *power);
                            },
                        );
                    }
                },
            );
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    elements: usize,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &Lrn, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let x = node.input(0)?;
    let sizes = Sizes::of(op, &x.shape)?;
    let gradient = gradient.gradient_slot(0);
    node.input(gradient)?;
    Some(Box::new(Backward { sizes, elements: x.len(), gradient }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = &self.sizes;
        let (x, dy, dx) = (call.input::<f32>(0), call.input::<f32>(self.gradient), call.output::<f32>(0));
        if dx.is_empty() {
            return Ok(());
        }
        // With s the bases: dx_j = dy_j · s_j^−β − 2 · scale · β · x_j · Σ_i dy_i · x_i · s_i^(−β − 1), over the
        // channels i that j counts for. First the first term, and the terms of the sum.
        let terms = call.scratch();
        let length = sizes.rows() * sizes.inner;
        let outputs = dx.par_chunks_mut(length).zip(terms.par_chunks_mut(length));
        outputs.enumerate().for_each(|(part, (dx, terms))| {
            vectorized(
                #[inline(always)]
                || {
                    let rows = dx.chunks_exact_mut(sizes.inner).zip(terms.chunks_exact_mut(sizes.inner));
                    for (index, (dx, terms)) in rows.enumerate() {
                        let row = part * sizes.rows() + index;
                        let start = row * sizes.inner;
                        sizes.each_block(
                            #[inline(always)]
                            |columns| {
                                let (mut bases, mut powers) = ([0f32; COLUMNS], [0f32; COLUMNS]);
                                let count = columns.len();
                                let (bases, powers) = (&mut bases[..count], &mut powers[..count]);
                                sizes.bases(bases, row, columns.start, x);
                                powers.copy_from_slice(bases);
                                inverse_power(powers, sizes.beta);
                                let x = &x[start + columns.start..][..count];
                                let dy = &dy[start + columns.start..][..count];
                                let (dx, terms) = (&mut dx[columns.clone()], &mut terms[columns]);
                                for column in 0..count {
                                    dx[column] = dy[column] * powers[column];
                                    terms[column] = dx[column] * x[column] / bases[column];
                                }
                            },
                        );
                    }
                },
            );
        });
        let terms = &*terms;
        let factor = 2.0 * sizes.scale * sizes.beta;
        dx.par_chunks_mut(length).enumerate().for_each(|(part, dx)| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, dx) in dx.chunks_exact_mut(sizes.inner).enumerate() {
                        let row = part * sizes.rows() + index;
                        let x = &x[row * sizes.inner..][..sizes.inner];
                        sizes.each_block(
                            #[inline(always)]
                            |columns| {
                                let mut sums = [0f32; COLUMNS];
                                let sums = &mut sums[..columns.len()];
                                let near = sizes.near(row, sizes.behind, sizes.before);
                                sizes.sum(sums, near, columns.start, terms, |term| term);
                                let pairs = x[columns.clone()].iter().zip(sums);
                                dx[columns].iter_mut().zip(pairs).for_each(|(dx, (x, sum))| *dx -= factor * x * *sum);
                            },
                        );
                    }
                },
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == self.gradient
    }

    fn scratch(&self) -> usize {
        self.elements
    }
}
