//! `BatchNormalization` of `[N, C, …]`, in training and with running statistics.
//!
//! Channels are computed independently, so they are what threads divide.

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::normalization::BatchNormalization;

use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

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

    /// The rows of a channel: `[inner]` for each example.
    fn rows(self, data: &[f32], channel: usize) -> impl Iterator<Item = &[f32]> + Clone {
        (0..self.examples).map(move |example| &data[(example * self.channels + channel) * self.inner..][..self.inner])
    }

    /// The rows of a channel, with their places.
    fn places(self, channel: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.examples).map(move |example| {
            let start = (example * self.channels + channel) * self.inner;
            start..start + self.inner
        })
    }
}

/// Lanes of a sum that are independent, so that it can be vectorised.
const LANES: usize = 16;

/// `Σ term(a[i], b[i])`, in lanes.
#[allow(clippy::inline_always)] // only inside a dispatched function is it compiled for the vectors that there are
#[inline(always)]
fn sum_two(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = chunks_a.remainder().iter().zip(chunks_b.remainder()).map(|(&a, &b)| term(a, b)).sum();
    for (a, b) in chunks_a.zip(chunks_b) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Outputs divided by channel among threads, though a channel's rows do not lie side by side.
struct Shared(*mut f32, usize);

// SAFETY: threads take rows of different channels.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

impl Shared {
    fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr(), data.len())
    }

    /// # Safety
    /// Nobody else has an overlapping row.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    unsafe fn row(&self, range: std::ops::Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.1);
        // SAFETY: inside the slice (checked), and disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

/// `y = x · factor + shift` for a channel.
#[allow(unsafe_code)]
fn scale_channel(sizes: Sizes, x: &[f32], y: &Shared, channel: usize, factor: f32, shift: f32) {
    vectorized(
        #[inline(always)]
        || {
            for range in sizes.places(channel) {
                // SAFETY: rows of one channel belong to one thread.
                let y = unsafe { y.row(range.clone()) };
                y.iter_mut().zip(&x[range]).for_each(|(y, &x)| *y = x * factor + shift);
            }
        },
    );
}

#[derive(Debug)]
struct Inference(Sizes);

#[derive(Debug)]
struct Training(Sizes);

pub(super) fn prepare(op: &BatchNormalization, node: &NodeType<'_>) -> Prepared {
    let sizes = Sizes::of(op, &node.input(0)?.shape)?;
    Some(if op.training_mode { Box::new(Training(sizes)) } else { Box::new(Inference(sizes)) })
}

impl Kernel for Inference {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.0;
        let [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map(|slot| call.input::<f32>(slot));
        let y = Shared::new(call.output(0));
        (0..sizes.channels).into_par_iter().for_each(|channel| {
            let factor = scale[channel] / (variance[channel] + sizes.epsilon).sqrt();
            // (x − mean) · factor + bias loses less when the mean is subtracted first.
            let (mean, bias) = (mean[channel], bias[channel]);
            vectorized(
                #[inline(always)]
                || {
                    for range in sizes.places(channel) {
                        // SAFETY: rows of one channel belong to one thread.
                        #[allow(unsafe_code)]
                        let y = unsafe { y.row(range.clone()) };
                        y.iter_mut().zip(&x[range]).for_each(|(y, &x)| *y = (x - mean) * factor + bias);
                    }
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
        let count = sizes.count() as f64;
        let per_channel = statistics.each_mut().map(|data| Shared::new(data));
        (0..sizes.channels).into_par_iter().for_each(|channel| {
            let (mean, variance) = vectorized(
                #[inline(always)]
                || {
                    let sum: f64 = sizes.rows(x, channel).map(|row| f64::from(sum_two(row, row, |x, _| x))).sum();
                    let mean = sum / count;
                    let around = mean as f32;
                    let square = |x: f32, _| (x - around) * (x - around);
                    let sum: f64 = sizes.rows(x, channel).map(|row| f64::from(sum_two(row, row, square))).sum();
                    (mean, sum / count - (mean - f64::from(around)).powi(2))
                },
            );
            let inverse = 1.0 / (variance + f64::from(sizes.epsilon)).sqrt();
            let factor = f64::from(scale[channel]) * inverse;
            let shift = f64::from(bias[channel]) - mean * factor;
            scale_channel(sizes, x, &y, channel, factor as f32, shift as f32);
            let momentum = f64::from(sizes.momentum);
            let moved = |old: f32, new: f64| (f64::from(old) * momentum + new * (1.0 - momentum)) as f32;
            let results =
                [moved(old_mean[channel], mean), moved(old_variance[channel], variance), mean as f32, inverse as f32];
            for (target, result) in per_channel.iter().zip(results).filter(|(target, _)| target.1 > 0) {
                // SAFETY: one element for each channel.
                #[allow(unsafe_code)]
                unsafe {
                    target.row(channel..channel + 1)[0] = result;
                };
            }
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
    if op.training_mode && (gradient.outputs < 5 || statistics.iter().any(|&slot| node.input(slot).is_none())) {
        return None;
    }
    Some(Box::new(Backward { sizes, statistics, training: op.training_mode, gradient: slot }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let sizes = self.sizes;
        let (x, scale, dy) = (call.input::<f32>(0), call.input::<f32>(1), call.input::<f32>(self.gradient));
        let [means, spreads] = self.statistics.map(|slot| call.input::<f32>(slot));
        let mut outputs = [0, 1, 2].map(|slot| if call.has_output(slot) { call.output::<f32>(slot) } else { &mut [] });
        let [dx, dscale, dbias] = outputs.each_mut().map(|data| Shared::new(data));
        let count = sizes.count() as f32;
        (0..sizes.channels).into_par_iter().for_each(|channel| {
            let mean = means[channel];
            let spread = spreads[channel];
            let inverse = if self.training { spread } else { 1.0 / (spread + sizes.epsilon).sqrt() };
            vectorized(
                #[inline(always)]
                || {
                    let rows = sizes.rows(x, channel).zip(sizes.rows(dy, channel));
                    let sum_dy: f64 = rows.clone().map(|(_, dy)| f64::from(sum_two(dy, dy, |dy, _| dy))).sum();
                    let product = |x: f32, dy: f32| (x - mean) * dy;
                    let sum_product: f64 = rows.map(|(x, dy)| f64::from(sum_two(x, dy, product))).sum();
                    let dscale_here = sum_product as f32 * inverse;
                    let factor = scale[channel] * inverse;
                    // SAFETY: elements and rows of one channel belong to one thread.
                    #[allow(unsafe_code)]
                    unsafe {
                        if dscale.1 > 0 {
                            dscale.row(channel..channel + 1)[0] = dscale_here;
                        }
                        if dbias.1 > 0 {
                            dbias.row(channel..channel + 1)[0] = sum_dy as f32;
                        }
                    }
                    if dx.1 == 0 {
                        return;
                    }
                    // Through the batch's own statistics: what is constant or linear in x has no effect.
                    let (constant, linear) =
                        if self.training { (sum_dy as f32 / count, dscale_here * inverse / count) } else { (0.0, 0.0) };
                    for range in sizes.places(channel) {
                        // SAFETY: as above.
                        #[allow(unsafe_code)]
                        let dx = unsafe { dx.row(range.clone()) };
                        let pairs = x[range.clone()].iter().zip(&dy[range]);
                        dx.iter_mut().zip(pairs).for_each(|(dx, (x, dy))| {
                            *dx = factor * (dy - constant - (x - mean) * linear);
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
