//! `BatchNormalization` of tensors whose channels come last, as rows of columns.
//!
//! Short rows are joined to longer ones, so that every column has vectors to fill; a channel then has several columns.
//! Statistics are gathered in one pass over memory, results written in a second one.
// Helpers of inner loops must end up in the code that is compiled for the machine's vectors.
#![allow(clippy::inline_always)]

mod passes;

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::BatchNormalization;

use self::passes::{Gather, Task, Write};
use crate::kernels::arrangement::{Arrangement, Layout};
use crate::kernels::channels::{Steps, dispatch};
use crate::kernels::{Call, Epilogue, Kernel, KernelError, NodeType, Prepared};

/// Columns that fill the vectors whose sums are in registers together.
const FILLING: usize = 64;

/// Rows of a block, whose sums are in `float32`.
const BLOCK: usize = 64;

/// Elements of a part of the work.
const PART: usize = 1 << 16;

/// Rows of which the mean is taken first.
const SAMPLE: usize = 32;

/// Channels whose sums are added up together.
const TOGETHER: usize = 16;

/// Sizes of one application.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rows: usize,
    channels: usize,
    /// Columns of each channel.
    joined: usize,
    epsilon: f32,
    momentum: f32,
}

impl Sizes {
    /// `None` if there are no elements.
    fn of(op: &BatchNormalization, shape: &[usize]) -> Option<Self> {
        let (&channels, others) = shape.split_last()?;
        let rows: usize = others.iter().product();
        if shape.len() < 3 || rows * channels == 0 {
            return None;
        }
        // As many as fill the vectors, or the most whose columns come out even.
        let mut joined = 1;
        while joined * channels % FILLING != 0 && rows.is_multiple_of(joined * 2) {
            joined *= 2;
        }
        Some(Self { rows: rows / joined, channels, joined, epsilon: op.epsilon, momentum: op.momentum })
    }

    fn columns(self) -> usize {
        self.channels * self.joined
    }

    /// Elements of a channel.
    fn count(self) -> f64 {
        (self.rows * self.joined) as f64
    }

    /// Blocks of a part of the work.
    fn blocks(self) -> usize {
        (PART / (BLOCK * self.columns())).max(1)
    }

    /// Elements of the sums of all blocks: two rows of columns each.
    fn sums(self) -> usize {
        2 * self.columns() * self.rows.div_ceil(BLOCK)
    }

    /// Writes a number of each channel for each of its columns.
    fn spread(self, columns: &mut [f32], mut value: impl FnMut(usize) -> f32) {
        let (first, others) = columns[..self.columns()].split_at_mut(self.channels);
        first.iter_mut().enumerate().for_each(|(channel, column)| *column = value(channel));
        others.chunks_exact_mut(self.channels).for_each(|columns| columns.copy_from_slice(first));
    }

    /// Adds up two rows of columns of each block and calls `each` with the sums of each channel.
    fn totals(self, sums: &[f32], mut each: impl FnMut(usize, [f64; 2])) {
        let columns = self.columns();
        for first in (0..self.channels).step_by(TOGETHER) {
            let width = TOGETHER.min(self.channels - first);
            let mut totals = [[0f64; TOGETHER]; 2];
            for block in sums.chunks_exact(2 * columns) {
                for (totals, sums) in totals.iter_mut().zip(block.chunks_exact(columns)) {
                    for sums in sums.chunks_exact(self.channels) {
                        let sums = &sums[first..][..width];
                        totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
                    }
                }
            }
            (0..width).for_each(|index| each(first + index, totals.map(|totals| totals[index])));
        }
    }

    /// Mean of some rows of each channel, near enough to the mean that the sum of squares around it loses nothing.
    fn near(self, x: &[f32], near: &mut [f32]) {
        let columns = self.columns();
        let step = self.rows.div_ceil(SAMPLE);
        for first in (0..self.channels).step_by(TOGETHER) {
            let width = TOGETHER.min(self.channels - first);
            let mut totals = [0f32; TOGETHER];
            let mut count = 0;
            for row in x.chunks_exact(columns).step_by(step) {
                for values in row.chunks_exact(self.channels) {
                    totals.iter_mut().zip(&values[first..][..width]).for_each(|(total, value)| *total += value);
                    count += 1;
                }
            }
            for (near, total) in near[first..][..width].iter_mut().zip(totals) {
                *near = total / count as f32;
            }
        }
        let (first, others) = near[..columns].split_at_mut(self.channels);
        others.chunks_exact_mut(self.channels).for_each(|columns| columns.copy_from_slice(first));
    }

    /// Sums of each block: of `x − centre` and its square, or, given `dy`, of `dy` and `(x − centre) · dy`.
    fn gather(self, x: &[f32], dy: Option<&[f32]>, centre: &[f32], sums: &mut [f32]) {
        let (columns, blocks) = (self.columns(), self.blocks());
        let part = |index: usize, sums: &mut [f32]| {
            let first = index * blocks * BLOCK * columns;
            let (x, dy) = (&x[first..], dy.map(|dy| &dy[first..]));
            dispatch(columns, Gather { columns, x, dy, centre, sums });
        };
        if self.rows <= blocks * BLOCK {
            part(0, sums);
        } else {
            sums.par_chunks_mut(2 * columns * blocks).enumerate().for_each(|(index, sums)| part(index, sums));
        }
    }

    /// Writes an output, row by row of columns.
    fn write<'a>(self, output: &mut [f32], task: impl Fn(usize, &'a [f32]) -> Task<'a> + Sync, x: &'a [f32]) {
        let columns = self.columns();
        let length = (PART / columns).max(1) * columns;
        let part = |index: usize, output: &mut [f32]| {
            let first = index * length;
            dispatch(columns, Write { columns, task: task(first, &x[first..]), output });
        };
        if output.len() <= length {
            part(0, output);
        } else {
            output.par_chunks_mut(length).enumerate().for_each(|(index, output)| part(index, output));
        }
    }
}

/// Whether there are kernels for the operator on a tensor of this shape with its channels last.
pub(super) fn arrangement(shape: &[usize]) -> Arrangement {
    if shape.len() >= 3 && !shape.contains(&0) { Arrangement::ChannelsLast } else { Arrangement::Plain }
}

#[derive(Debug)]
struct Forward {
    sizes: Sizes,
    training: bool,
    steps: Steps,
}

pub(super) fn prepare(op: &BatchNormalization, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, &node.input(0)?.shape)?;
    if node.output(0).is_none() || node.layout != Layout::ChannelsLast {
        return None;
    }
    Some(Box::new(Forward { sizes, training: op.training_mode, steps: Steps::default() }))
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (sizes, steps) = (self.sizes, self.steps);
        let columns = sizes.columns();
        let [x, scale, bias, old_mean, old_variance] = [0, 1, 2, 3, 4].map(|slot| call.input::<f32>(slot));
        let added = steps.added().map_or(&[][..], |slot| call.input(slot));
        let (numbers, sums) = call.scratch().split_at_mut(3 * columns);
        let (centre, numbers) = numbers.split_at_mut(columns);
        let (factor, shift) = numbers.split_at_mut(columns);
        if self.training {
            let sums = &mut sums[..sizes.sums()];
            sizes.near(x, centre);
            sizes.gather(x, None, centre, sums);
            let mut statistics =
                [1, 2, 3, 4].map(|slot| if call.has_output(slot) { call.output::<f32>(slot) } else { &mut [] });
            let momentum = f64::from(sizes.momentum);
            let moved = |old: f32, new: f64| (f64::from(old) * momentum + new * (1.0 - momentum)) as f32;
            sizes.totals(sums, |channel, [sum, squares]| {
                let away = sum / sizes.count();
                let variance = squares / sizes.count() - away * away;
                // Rounding may take it below 0; what is no number stays none.
                let variance = if variance < 0.0 { 0.0 } else { variance };
                let mean = f64::from(centre[channel]) + away;
                let inverse = 1.0 / (variance + f64::from(sizes.epsilon)).sqrt();
                centre[channel] = mean as f32;
                factor[channel] = scale[channel] * inverse as f32;
                let old = [old_mean[channel], old_variance[channel]];
                let results = [moved(old[0], mean), moved(old[1], variance), mean as f32, inverse as f32];
                for (target, result) in statistics.iter_mut().zip(results) {
                    if let Some(target) = target.get_mut(channel) {
                        *target = result;
                    }
                }
            });
            for columns in [&mut *centre, &mut *factor] {
                let (first, others) = columns.split_at_mut(sizes.channels);
                others.chunks_exact_mut(sizes.channels).for_each(|columns| columns.copy_from_slice(first));
            }
        } else {
            sizes.spread(centre, |channel| old_mean[channel]);
            sizes.spread(factor, |channel| scale[channel] / (old_variance[channel] + sizes.epsilon).sqrt());
        }
        sizes.spread(shift, |channel| bias[channel]);
        let (mean, factor, bias) = (&*centre, &*factor, &*shift);
        let task = |first: usize, x| {
            let added = if added.is_empty() { added } else { &added[first..] };
            Task::Normalize { x, added, mean, factor, bias, steps }
        };
        sizes.write(call.output(0), task, x);
        Ok(())
    }

    fn scratch(&self) -> usize {
        3 * self.sizes.columns() + if self.training { self.sizes.sums() } else { 0 }
    }

    fn absorb(&mut self, step: &Epilogue) -> bool {
        self.steps.absorb(step)
    }
}

#[derive(Debug)]
struct Backward {
    sizes: Sizes,
    /// Slots of the mean and of 1 / √(variance + epsilon), in training of the batch, else of the mean and the variance.
    statistics: [usize; 2],
    training: bool,
    gradient: usize,
    /// Whether sums over the rows are needed, and the gradient of the input.
    sums: bool,
    input: bool,
}

pub(super) fn prepare_gradient(
    op: &BatchNormalization,
    gradient: &Gradient,
    node: &NodeType<'_>,
    statistics: [usize; 2],
) -> Prepared {
    let sizes = Sizes::of(op, &node.input(0)?.shape)?;
    let wanted = [0, 1, 2].map(|slot| node.output(slot).is_some());
    Some(Box::new(Backward {
        sizes,
        statistics,
        training: op.training_mode,
        gradient: gradient.gradient_slot(0),
        sums: op.training_mode || wanted[1] || wanted[2],
        input: wanted[0],
    }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.sizes;
        let columns = sizes.columns();
        let (scale, dy) = (call.input::<f32>(1), call.input::<f32>(self.gradient));
        let x = if self.sums { call.input::<f32>(0) } else { dy };
        let [means, spreads] = self.statistics.map(|slot| call.input::<f32>(slot));
        let inverse = |channel: usize| {
            let spread = spreads[channel];
            if self.training { spread } else { 1.0 / (spread + sizes.epsilon).sqrt() }
        };
        let (numbers, sums) = call.scratch().split_at_mut(4 * columns);
        let (mean, numbers) = numbers.split_at_mut(columns);
        let (factor, numbers) = numbers.split_at_mut(columns);
        let (constant, linear) = numbers.split_at_mut(columns);
        if self.sums {
            sizes.spread(mean, |channel| means[channel]);
            let sums = &mut sums[..sizes.sums()];
            sizes.gather(x, Some(dy), mean, sums);
            let mut results = [1, 2].map(|slot| if call.has_output(slot) { call.output::<f32>(slot) } else { &mut [] });
            sizes.totals(sums, |channel, [sum, product]| {
                let inverse = f64::from(inverse(channel));
                for (target, result) in results.iter_mut().zip([product * inverse, sum]) {
                    if let Some(target) = target.get_mut(channel) {
                        *target = result as f32;
                    }
                }
                // Through the batch's own statistics: what is constant or linear in x has no effect.
                constant[channel] = (sum / sizes.count()) as f32;
                linear[channel] = (product * inverse * inverse / sizes.count()) as f32;
            });
            for columns in [&mut *constant, &mut *linear] {
                let (first, others) = columns.split_at_mut(sizes.channels);
                others.chunks_exact_mut(sizes.channels).for_each(|columns| columns.copy_from_slice(first));
            }
        }
        if self.input {
            sizes.spread(factor, |channel| scale[channel] * inverse(channel));
            let (mean, factor, constant, linear) = (&*mean, &*factor, &*constant, &*linear);
            let task = |first: usize, x| {
                let dy = &dy[first..];
                if self.training {
                    Task::Gradient { x, dy, mean, factor, constant, linear }
                } else {
                    Task::Scale { dy, factor }
                }
            };
            sizes.write(call.output(0), task, x);
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        (input == 0 && self.sums) || input == 1 || input == self.gradient || self.statistics.contains(&input)
    }

    fn scratch(&self) -> usize {
        4 * self.sizes.columns() + if self.sums { self.sizes.sums() } else { 0 }
    }
}
