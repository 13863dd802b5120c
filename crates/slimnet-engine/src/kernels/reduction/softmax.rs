//! `Softmax` and `LogSoftmax` along an axis.

use rayon::prelude::*;
use slimnet_graph::ops::normalization::SoftmaxKind;

use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

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
        let (x, y) = (call.input::<f32>(0), call.output::<f32>(0));
        y.par_chunks_mut(sizes.block()).with_min_len(16).zip(x.par_chunks(sizes.block())).for_each(|(y, x)| {
            for offset in 0..sizes.inner {
                let place = |index: usize| offset + index * sizes.inner;
                let largest = (0..sizes.length).map(|index| x[place(index)]).fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0f32;
                for index in 0..sizes.length {
                    let power = (x[place(index)] - largest).exp();
                    sum += power;
                    y[place(index)] = power;
                }
                if sizes.log {
                    let shift = largest + sum.ln();
                    (0..sizes.length).for_each(|index| y[place(index)] = x[place(index)] - shift);
                } else {
                    (0..sizes.length).for_each(|index| y[place(index)] /= sum);
                }
            }
        });
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
        let (y, dy, dx) = (call.input::<f32>(OUTPUT), call.input::<f32>(GRADIENT), call.output::<f32>(0));
        let blocks = y.par_chunks(sizes.block()).zip(dy.par_chunks(sizes.block()));
        dx.par_chunks_mut(sizes.block()).with_min_len(16).zip(blocks).for_each(|(dx, (y, dy))| {
            for offset in 0..sizes.inner {
                let place = |index: usize| offset + index * sizes.inner;
                if sizes.log {
                    let sum: f32 = (0..sizes.length).map(|index| dy[place(index)]).sum();
                    (0..sizes.length).map(place).for_each(|place| dx[place] = dy[place] - y[place].exp() * sum);
                } else {
                    let sum: f32 = (0..sizes.length).map(place).map(|place| dy[place] * y[place]).sum();
                    (0..sizes.length).map(place).for_each(|place| dx[place] = y[place] * (dy[place] - sum));
                }
            }
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == OUTPUT || input == GRADIENT
    }
}
