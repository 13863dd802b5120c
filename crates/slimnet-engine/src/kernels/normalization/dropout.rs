//! `Dropout`.

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::zoo::random::Stream;

use crate::kernels::parallel::each_chunk;
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Which part of the elements is dropped; `None` if nothing is: not in training, or a ratio of 0.
#[allow(clippy::option_option)] // unknown, nothing, or a ratio
fn ratio(node: &NodeType<'_>, inputs: usize) -> Option<Option<f32>> {
    let constant = |slot: usize| node.input(slot).filter(|_| inputs > slot).map(|input| input.constant.as_ref());
    let first = |slot: usize, default: f64| match constant(slot) {
        None => Some(default),
        Some(data) => data?.to_f64s().ok()?.first().copied(),
    };
    let training = first(2, 0.0)? != 0.0;
    let ratio = first(1, 0.5)? as f32;
    Some((training && ratio > 0.0).then_some(ratio))
}

/// Nothing is dropped.
#[derive(Debug)]
struct Pass {
    from: usize,
}

impl Kernel for Pass {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        // Only the mask: all true.
        if call.has_output(1) {
            call.output_bytes(1).fill(1);
        }
        Ok(())
    }

    fn alias(&self, output: usize) -> Option<usize> {
        (output == 0).then_some(self.from)
    }

    fn reads(&self, _input: usize) -> bool {
        false
    }
}

/// Elements are dropped at random, the others scaled so that the mean stays.
#[derive(Debug)]
struct Drop {
    ratio: f32,
}

pub(super) fn prepare(node: &NodeType<'_>) -> Prepared {
    match ratio(node, node.inputs.len())? {
        None => Some(Box::new(Pass { from: 0 })),
        Some(ratio) => node.input(0).filter(|x| x.is_f32()).map(|_| Box::new(Drop { ratio }) as Box<dyn Kernel>),
    }
}

/// The factor on what is kept; with everything dropped there is nothing to scale.
fn scale(ratio: f32) -> f32 {
    if ratio >= 1.0 { 0.0 } else { 1.0 / (1.0 - ratio) }
}

/// Elements of a part of the work, and of those whose random numbers are drawn together; both even.
const PART: usize = 16 * 1024;
const BLOCK: usize = 128;

/// 32 random bits for each element from `start` on, which is even: two from each number of the stream, the upper ones
/// first.
#[allow(clippy::inline_always)] // only inside a vectorised function is it compiled for the vectors that there are
#[inline(always)]
fn random(stream: Stream, start: usize) -> [u32; BLOCK] {
    let first = start as u64 / 2;
    let mut numbers = [0u64; BLOCK / 2];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = stream.bits(first.wrapping_add(index as u64));
    }
    let mut bits = [0u32; BLOCK];
    for (bits, number) in bits.chunks_exact_mut(2).zip(&numbers) {
        bits[0] = (number >> 32) as u32;
        bits[1] = *number as u32;
    }
    bits
}

impl Kernel for Drop {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let stream = call.context().stream();
        let (x, y) = (call.input::<f32>(0), call.output::<f32>(0));
        let mask = if call.has_output(1) { call.output_bytes(1) } else { &mut [] };
        let scale = scale(self.ratio);
        let least = (f64::from(self.ratio) * 2f64.powi(32)) as u64;
        // All bits of an element that is kept, and none of one that is dropped: without a jump, which nobody could
        // foresee. No 32 bits are as large as `least` if all are to be dropped.
        let (any, least) = (if least > u64::from(u32::MAX) { 0 } else { u32::MAX }, least as u32);
        let kept = |bits: u32| u32::from(bits >= least).wrapping_neg() & any;
        let inputs = x.par_chunks(PART);
        let draw = |part: usize, y: &mut [f32], x: &[f32], mask: &mut [u8]| {
            vectorized(
                #[inline(always)]
                || {
                    for (block, (y, x)) in y.chunks_mut(BLOCK).zip(x.chunks(BLOCK)).enumerate() {
                        let start = block * BLOCK;
                        let bits = random(stream, part * PART + start);
                        for (y, (x, &bits)) in y.iter_mut().zip(x.iter().zip(&bits)) {
                            *y = f32::from_bits((x * scale).to_bits() & kept(bits));
                        }
                        if !mask.is_empty() {
                            let mask = mask[start..].iter_mut().zip(&bits);
                            mask.for_each(|(mask, &bits)| *mask = kept(bits) as u8 & 1);
                        }
                    }
                },
            );
        };
        let parts = y.par_chunks_mut(PART).zip(inputs).enumerate();
        if mask.is_empty() {
            parts.for_each(|(part, (y, x))| draw(part, y, x, &mut []));
        } else {
            parts.zip(mask.par_chunks_mut(PART)).for_each(|((part, (y, x)), mask)| draw(part, y, x, mask));
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 0
    }
}

/// The gradient: through what was kept.
#[derive(Debug)]
struct Backward {
    scale: f32,
    mask: usize,
    gradient: usize,
}

pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let slot = gradient.gradient_slot(0);
    node.input(slot).filter(|dy| dy.is_f32())?;
    match ratio(node, gradient.inputs)? {
        None => Some(Box::new(Pass { from: slot })),
        Some(ratio) => {
            let mask = gradient.output_slot(1);
            (gradient.outputs > 1 && node.input(mask).is_some())
                .then(|| Box::new(Backward { scale: scale(ratio), mask, gradient: slot }) as Box<dyn Kernel>)
        }
    }
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let mask = call.input_bytes(self.mask);
        let (dy, dx) = (call.input::<f32>(self.gradient), call.output::<f32>(0));
        let scale = self.scale;
        each_chunk(dx, |range, dx| {
            vectorized(
                #[inline(always)]
                || {
                    let (mask, dy) = (&mask[range.clone()], &dy[range]);
                    let factor = |mask: u8| if mask == 1 { scale } else { 0.0 };
                    dx.iter_mut().zip(mask.iter().zip(dy)).for_each(|(dx, (&mask, dy))| *dx = factor(mask) * dy);
                },
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.mask || input == self.gradient
    }
}
