//! `Trilu`: one triangle of the last two axes.

use bytemuck::Pod;
use rayon::prelude::*;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::layout::Trilu;

use super::walk::PART;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Keeps a triangle; of the gradient it keeps the same.
#[derive(Debug)]
struct Triangle {
    /// Slot of what is kept.
    from: usize,
    upper: bool,
    /// How far the diagonal is to the right.
    diagonal: i64,
    height: usize,
    width: usize,
    /// Bytes of an element.
    bytes: usize,
}

fn triangle(op: &Trilu, node: &NodeType<'_>, inputs: usize, from: usize) -> Option<Triangle> {
    let x = node.input(0)?;
    let &[.., height, width] = &x.shape[..] else { return None };
    let diagonal = match node.input(1).filter(|_| inputs > 1) {
        Some(diagonal) => *diagonal.integers()?.first()?,
        None => 0,
    };
    let bytes = x.element_type.bits().filter(|bits| [8, 16, 32, 64, 128].contains(bits))? / 8;
    (node.output(0)?.shape == x.shape).then_some(Triangle { from, upper: op.upper, diagonal, height, width, bytes })
}

pub(super) fn prepare(op: &Trilu, node: &NodeType<'_>) -> Prepared {
    Some(Box::new(triangle(op, node, node.inputs.len(), 0)?))
}

pub(super) fn prepare_gradient(op: &Trilu, gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let slot = gradient.gradient_slot(0);
    node.input(slot).filter(|dy| dy.is_f32())?;
    if node.outputs[1..].iter().any(Option::is_some) {
        return None;
    }
    Some(Box::new(triangle(op, node, gradient.inputs, slot)?))
}

impl Triangle {
    fn keep<T: Pod + Send + Sync>(&self, call: &mut Call<'_>) {
        let (x, y) = (call.input::<T>(self.from), call.output::<T>(0));
        if y.is_empty() {
            return;
        }
        let rows = (PART / self.width).max(1);
        let part = rows * self.width;
        y.par_chunks_mut(part).zip(x.par_chunks(part)).enumerate().for_each(|(index, (y, x))| {
            for (row, (y, x)) in y.chunks_exact_mut(self.width).zip(x.chunks_exact(self.width)).enumerate() {
                let row = ((index * rows + row) % self.height) as i64;
                // The first column that is not left of the diagonal, or that is right of it.
                let column = row.saturating_add(self.diagonal).saturating_add(i64::from(!self.upper));
                let column = column.clamp(0, self.width as i64) as usize;
                let (left, right) = y.split_at_mut(column);
                if self.upper {
                    left.fill(T::zeroed());
                    right.copy_from_slice(&x[column..]);
                } else {
                    left.copy_from_slice(&x[..column]);
                    right.fill(T::zeroed());
                }
            }
        });
    }
}

impl Kernel for Triangle {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.keep::<u8>(call),
            2 => self.keep::<u16>(call),
            4 => self.keep::<u32>(call),
            8 => self.keep::<u64>(call),
            _ => self.keep::<[u64; 2]>(call),
        }
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.from
    }
}
