//! `BatchNormalization` of `[N, C, …]`, in training and with running statistics.
//!
//! Channels are computed independently, so they are what threads divide. Where a channel of an example is too short for
//! vectors, neighbouring channels are computed together, each element of an example in a column of its own.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::BatchNormalization;

use super::columns;
use super::shared::Shared;
use super::sums::sums;
use crate::kernels::arrangement::Layout;
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Columns that are computed together, at most.
const COLUMNS: usize = 64;

/// Elements of a channel of an example from which on it is vectorised by itself.
const WIDE: usize = 16;

/// Examples after which sums of columns go on in `float64`.
const BLOCK: usize = 64;

/// Elements that are worth handing to another thread.
const LEAST: usize = 8 * 1024;

/// Numbers for each column; where a part is one channel only the first counts.
type Columns<T> = [T; COLUMNS];

/// Sizes of one application.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    examples: usize,
    channels: usize,
    inner: usize,
    epsilon: f32,
    momentum: f32,
}

impl Sizes {
    fn of(op: &BatchNormalization, shape: &[usize]) -> Option<Self> {
        let (&examples, &channels) = (shape.first()?, shape.get(1)?);
        let inner = shape[2..].iter().product();
        Some(Self { examples, channels, inner, epsilon: op.epsilon, momentum: op.momentum })
    }

    /// Elements of a channel.
    fn count(self) -> usize {
        self.examples * self.inner
    }

    /// Whether a part is one channel.
    fn is_wide(self) -> bool {
        self.inner >= WIDE
    }

    /// Channels of a part of the work.
    fn together(self) -> usize {
        if self.is_wide() { 1 } else { COLUMNS / self.inner.max(1) }
    }

    fn parts(self) -> usize {
        self.channels.div_ceil(self.together())
    }

    /// Calls `work` with each part, on all threads; few elements are not worth handing over.
    fn each_part(self, work: impl Fn(usize) + Sync) {
        let elements = self.together() * self.count();
        (0..self.parts()).into_par_iter().with_min_len((LEAST / elements.max(1)).max(1)).for_each(&work);
    }

    /// The channels of a part.
    fn channels(self, part: usize) -> Range<usize> {
        let first = part * self.together();
        first..(first + self.together()).min(self.channels)
    }

    /// Where the rows of a part lie, one for each example.
    #[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
    #[inline(always)]
    fn rows(self, part: usize) -> impl Iterator<Item = Range<usize>> + Clone {
        let channels = self.channels(part);
        (0..self.examples).map(move |example| {
            let start = (example * self.channels + channels.start) * self.inner;
            start..start + channels.len() * self.inner
        })
    }

    /// A number of each channel of a part for each of its columns.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn spread<T: Copy + Default>(self, part: usize, value: impl Fn(usize) -> T) -> Columns<T> {
        let mut columns = [T::default(); COLUMNS];
        for (index, channel) in self.channels(part).enumerate() {
            let value = value(channel);
            let width = if self.is_wide() { 1 } else { self.inner };
            columns[index * width..][..width].fill(value);
        }
        columns
    }

    /// The sums of each channel over some rows of a part, for each of its columns.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn sums(
        self,
        rows: impl Iterator<Item = Range<usize>>,
        [a, b]: [&[f32]; 2],
        term: impl Fn(f32, f32, usize) -> (f32, f32),
    ) -> [Columns<f64>; 2] {
        let mut result = [[0f64; COLUMNS]; 2];
        if self.is_wide() {
            let rows = rows.map(|row| [&a[row.clone()], &b[row.clone()], &b[row]]);
            [result[0][0], result[1][0]] = sums(rows, |a, b, _| term(a, b, 0));
            return result;
        }
        let (mut first, mut second) = ([0f32; COLUMNS], [0f32; COLUMNS]);
        let mut flush = |sums: [&mut Columns<f32>; 2]| {
            for (sums, result) in sums.into_iter().zip(&mut result) {
                sums.iter_mut().zip(result).for_each(|(sum, result)| *result += f64::from(std::mem::take(sum)));
            }
        };
        for (example, row) in rows.enumerate() {
            if example % BLOCK == BLOCK - 1 {
                flush([&mut first, &mut second]);
            }
            let width = row.len().min(COLUMNS);
            let (a, b) = (&a[row.start..][..width], &b[row.start..][..width]);
            for column in 0..width {
                let (one, other) = term(a[column], b[column], column);
                first[column] += one;
                second[column] += other;
            }
        }
        flush([&mut first, &mut second]);
        for sums in &mut result {
            for columns in sums.chunks_exact_mut(self.inner.max(1)) {
                let sum = columns.iter().sum();
                columns.fill(sum);
            }
        }
        result
    }

    /// Computes a part of an output.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write(self, part: usize, output: &Shared, [a, b]: [&[f32]; 2], value: impl Fn(f32, f32, usize) -> f32) {
        for row in self.rows(part) {
            // SAFETY: the rows of a part belong to one thread.
            #[allow(unsafe_code)]
            let output = unsafe { output.row(row.clone()) };
            let inputs = a[row.clone()].iter().zip(&b[row]);
            if self.is_wide() {
                output.iter_mut().zip(inputs).for_each(|(output, (&a, &b))| *output = value(a, b, 0));
            } else {
                let columns = output.iter_mut().zip(inputs).take(COLUMNS);
                columns.enumerate().for_each(|(column, (output, (&a, &b)))| *output = value(a, b, column));
            }
        }
    }

    /// Mean and variance of each channel of a part.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn statistics(self, part: usize, x: &[f32]) -> [Columns<f64>; 2] {
        // The mean of a few examples is near enough to the mean that the sum of squares around it loses nothing, and
        // memory is read once only.
        let step = self.examples.div_ceil(SAMPLE).max(1);
        let sampled = self.rows(part).step_by(step).map(|row| row.start..row.end.min(row.start + SAMPLED));
        let each = if self.is_wide() { self.inner.min(SAMPLED) } else { self.inner };
        let count = (self.examples.div_ceil(step) * each) as f64;
        let [sums, _] = self.sums(sampled, [x, x], |x, _, _| (x, 0.0));
        let near = sums.map(|sum| (sum / count) as f32);
        let around = |x: f32, _, column: usize| {
            let away = x - near[column];
            (away, away * away)
        };
        let [mut mean, mut variance] = self.sums(self.rows(part), [x, x], around);
        let count = self.count() as f64;
        for ((mean, variance), near) in mean.iter_mut().zip(&mut variance).zip(near) {
            let away = *mean / count;
            let squares = *variance / count - away * away;
            // Rounding may take it below 0; what is no number stays none.
            *variance = if squares < 0.0 { 0.0 } else { squares };
            *mean = f64::from(near) + away;
        }
        [mean, variance]
    }

    /// The column that holds the numbers of a channel of a part.
    fn column(self, index: usize) -> usize {
        if self.is_wide() { 0 } else { index * self.inner }
    }
}

/// Examples of which the mean is taken first, and most elements of each; at least [`COLUMNS`].
const SAMPLE: usize = 8;
const SAMPLED: usize = 128;

#[derive(Debug)]
struct Inference(Sizes);

#[derive(Debug)]
struct Training(Sizes);

pub(super) fn prepare(op: &BatchNormalization, node: &NodeType<'_>) -> Prepared {
    if node.layout == Layout::ChannelsLast {
        return columns::prepare(op, node);
    }
    let sizes = Sizes::of(op, &node.input(0)?.shape)?;
    if sizes.count() == 0 || node.output(0).is_none() {
        return None;
    }
    Some(if op.training_mode { Box::new(Training(sizes)) } else { Box::new(Inference(sizes)) })
}

impl Kernel for Inference {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.0;
        let [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map(|slot| call.input::<f32>(slot));
        let y = Shared::new(call.output(0));
        sizes.each_part(|part| {
            vectorized(
                #[inline(always)]
                || {
                    let factor =
                        sizes.spread(part, |channel| scale[channel] / (variance[channel] + sizes.epsilon).sqrt());
                    let bias = sizes.spread(part, |channel| bias[channel]);
                    let mean = sizes.spread(part, |channel| mean[channel]);
                    // It loses less when the mean is subtracted first.
                    let value = |x: f32, _, column: usize| (x - mean[column]) * factor[column] + bias[column];
                    sizes.write(part, &y, [x, x], value);
                },
            );
        });
        Ok(())
    }
}

impl Kernel for Training {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.0;
        let [x, scale, bias, old_mean, old_variance] = [0, 1, 2, 3, 4].map(|slot| call.input::<f32>(slot));
        let y = Shared::new(call.output(0));
        let mut statistics =
            [1, 2, 3, 4].map(|slot| if call.has_output(slot) { call.output::<f32>(slot) } else { &mut [] });
        let lengths = statistics.each_ref().map(|data| data.len());
        let statistics = statistics.each_mut().map(|data| Shared::new(data));
        let momentum = f64::from(sizes.momentum);
        sizes.each_part(|part| {
            vectorized(
                #[inline(always)]
                || {
                    let [mean, variance] = sizes.statistics(part, x);
                    let inverse = variance.map(|variance| 1.0 / (variance + f64::from(sizes.epsilon)).sqrt());
                    let bias = sizes.spread(part, |channel| bias[channel]);
                    let mut factor = sizes.spread(part, |channel| scale[channel]);
                    factor.iter_mut().zip(&inverse).for_each(|(factor, inverse)| *factor *= *inverse as f32);
                    let centre = mean.map(|mean| mean as f32);
                    let value = |x: f32, _, column: usize| (x - centre[column]) * factor[column] + bias[column];
                    sizes.write(part, &y, [x, x], value);
                    let moved = |old: f32, new: f64| (f64::from(old) * momentum + new * (1.0 - momentum)) as f32;
                    for (index, channel) in sizes.channels(part).enumerate() {
                        let column = sizes.column(index);
                        let results = [
                            moved(old_mean[channel], mean[column]),
                            moved(old_variance[channel], variance[column]),
                            mean[column] as f32,
                            inverse[column] as f32,
                        ];
                        for ((target, length), result) in statistics.iter().zip(lengths).zip(results) {
                            if length > 0 {
                                // SAFETY: one element for each channel.
                                #[allow(unsafe_code)]
                                unsafe {
                                    target.row(channel..channel + 1)[0] = result;
                                };
                            }
                        }
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
    /// Slots of the mean and of 1 / √(variance + epsilon), in training of the batch, else of the mean and the variance.
    statistics: [usize; 2],
    training: bool,
    gradient: usize,
}

pub(super) fn prepare_gradient(op: &BatchNormalization, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, &node.input(0)?.shape)?;
    let statistics = if op.training_mode { [gradient.output_slot(3), gradient.output_slot(4)] } else { [3, 4] };
    let slot = gradient.gradient_slot(0);
    node.input(slot)?;
    // Gradients of statistics, and of the new ones, have no use in training.
    let others = (1..gradient.outputs).any(|output| node.input(gradient.gradient_slot(output)).is_some());
    if others || node.outputs.iter().skip(3).any(Option::is_some) {
        return None;
    }
    if op.training_mode && (gradient.outputs < 5 || statistics.iter().any(|&slot| node.input(slot).is_none())) {
        return None;
    }
    if node.layout == Layout::ChannelsLast {
        return columns::prepare_gradient(op, gradient, node, statistics);
    }
    Some(Box::new(Backward { sizes, statistics, training: op.training_mode, gradient: slot }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.sizes;
        let (x, scale, dy) = (call.input::<f32>(0), call.input::<f32>(1), call.input::<f32>(self.gradient));
        let [means, spreads] = self.statistics.map(|slot| call.input::<f32>(slot));
        let wanted = [0, 1, 2].map(|slot| call.has_output(slot));
        let mut outputs = [0, 1, 2].map(|slot| if wanted[slot] { call.output::<f32>(slot) } else { &mut [] });
        let [dx, dscale, dbias] = outputs.each_mut().map(|data| Shared::new(data));
        let count = sizes.count() as f64;
        sizes.each_part(|part| {
            vectorized(
                #[inline(always)]
                || {
                    let mean = sizes.spread(part, |channel| means[channel]);
                    let inverse = sizes.spread(part, |channel| {
                        let spread = spreads[channel];
                        if self.training { spread } else { 1.0 / (spread + sizes.epsilon).sqrt() }
                    });
                    let (mut constant, mut linear) = ([0f32; COLUMNS], [0f32; COLUMNS]);
                    if self.training || wanted[1] || wanted[2] {
                        let product = |x: f32, dy: f32, column: usize| (dy, (x - mean[column]) * dy);
                        let [sums, products] = sizes.sums(sizes.rows(part), [x, dy], product);
                        for (index, channel) in sizes.channels(part).enumerate() {
                            let column = sizes.column(index);
                            let results = [products[column] * f64::from(inverse[column]), sums[column]];
                            for ((target, wanted), result) in
                                [&dscale, &dbias].into_iter().zip(&wanted[1..]).zip(results)
                            {
                                if *wanted {
                                    // SAFETY: one element for each channel.
                                    #[allow(unsafe_code)]
                                    unsafe {
                                        target.row(channel..channel + 1)[0] = result as f32;
                                    };
                                }
                            }
                        }
                        if self.training {
                            // Through the batch's own statistics: what is constant or linear in x has no effect.
                            for column in 0..COLUMNS {
                                let inverse = f64::from(inverse[column]);
                                constant[column] = (sums[column] / count) as f32;
                                linear[column] = (products[column] * inverse * inverse / count) as f32;
                            }
                        }
                    }
                    if wanted[0] {
                        let mut factor = sizes.spread(part, |channel| scale[channel]);
                        factor.iter_mut().zip(&inverse).for_each(|(factor, inverse)| *factor *= inverse);
                        sizes.write(part, &dx, [x, dy], |x, dy, column| {
                            factor[column] * (dy - constant[column] - (x - mean[column]) * linear[column])
                        });
                    }
                },
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0 || input == 1 || input == self.gradient || self.statistics.contains(&input)
    }
}
