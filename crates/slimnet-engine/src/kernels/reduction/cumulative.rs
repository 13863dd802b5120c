//! `CumSum`: running sums along an axis.

use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::reduction::CumSum;

use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Running sums of `[outer, length, inner]` along the middle. Its gradient is the same from the other end.
#[derive(Debug)]
struct Running {
    /// Slot of what is summed.
    from: usize,
    length: usize,
    inner: usize,
    exclusive: bool,
    reverse: bool,
}

/// Columns that are summed side by side.
const COLUMNS: usize = 64;

/// Elements from which on it is worth to divide the work.
const PART: usize = 16 * 1024;

fn running(op: &CumSum, node: &NodeType<'_>, from: usize, reverse: bool) -> Option<Running> {
    let shape = &node.input(0).filter(|x| x.is_f32())?.shape;
    let [axis] = node.input(1)?.integers()?[..] else { return None };
    let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
    let length = *shape.get(axis)?;
    let inner = shape[axis + 1..].iter().product();
    (node.output(0)?.shape == *shape).then_some(Running { from, length, inner, exclusive: op.exclusive, reverse })
}

pub(super) fn prepare(op: &CumSum, node: &NodeType<'_>) -> Prepared {
    Some(Box::new(running(op, node, 0, op.reverse)?))
}

pub(super) fn prepare_gradient(op: &CumSum, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let slot = gradient.gradient_slot(0);
    node.input(slot).filter(|dy| dy.is_f32() && node.output(1).is_none())?;
    Some(Box::new(running(op, node, slot, !op.reverse)?))
}

impl Running {
    /// The sums of one `[length, inner]`. Sums are kept in double precision, so that long ones stay exact.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn block(&self, x: &[f32], y: &mut [f32]) {
        let Self { length, inner, .. } = *self;
        for first in (0..inner).step_by(COLUMNS) {
            let width = COLUMNS.min(inner - first);
            let mut sums = [0f64; COLUMNS];
            for step in 0..length {
                let start = (if self.reverse { length - 1 - step } else { step }) * inner + first;
                let (x, y) = (&x[start..start + width], &mut y[start..start + width]);
                for ((y, &x), sum) in y.iter_mut().zip(x).zip(&mut sums) {
                    let next = *sum + f64::from(x);
                    *y = if self.exclusive { *sum } else { next } as f32;
                    *sum = next;
                }
            }
        }
    }
}

impl Kernel for Running {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let (x, y) = (call.input::<f32>(self.from), call.output::<f32>(0));
        let block = self.length * self.inner;
        if block == 0 {
            return Ok(());
        }
        let least = (PART / block).max(1);
        y.par_chunks_mut(block).zip(x.par_chunks(block)).with_min_len(least).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || self.block(x, y),
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.from
    }
}
